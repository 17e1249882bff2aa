//! `gwa man`: manual pages, one for each command, made from the parser.
//!
//! Always true: the same program writes the same bytes, so that packages made of it
//! can be compared.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::parser;

/// What the pages say they are part of.
const MANUAL: &str = "Global Whisper Archive";

/// What they are of.
const SOURCE: &str = concat!("gwa ", env!("CARGO_PKG_VERSION"));

/// The section of commands.
const SECTION: &str = "1";

/// Arguments of `gwa man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The folder to write `gwa.1`, `gwa-serve.1` and the others into; made if absent.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// A page, as it is printed.
#[derive(Serialize)]
struct Row {
    /// The file that was written.
    file: PathBuf,
}

/// Writes the pages and prints their files.
pub fn run(args: &ManArgs, context: &mut Context) -> Result<(), CliError> {
    let folder = &args.folder;
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    for command in with_subcommands(&parser()) {
        let file = folder.join(format!("{}.{SECTION}", page_of(&command)));
        fs::write(&file, page(&command)).map_err(|error| failed(&file, &error))?;
        let line = file.display().to_string();
        context.output.result(&Row { file }, line)?;
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> CliError {
    let what = format!("cannot write the manual into {}", path.display());
    CliError::new(Kind::Error, what).because(error)
}

/// A command and what is below it, in that order, as far as users are to see it.
fn with_subcommands(command: &Command) -> Vec<Command> {
    let below = command.get_subcommands().filter(|c| !c.is_hide_set());
    let mut all = vec![command.clone()];
    all.extend(below.flat_map(with_subcommands));
    all
}

/// The page's name: `gwa-store-carry`.
fn page_of(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> String {
    // What stands after the help are examples, and their lines are to stay lines.
    let examples = command.get_after_help().map(ToString::to_string);
    let plain = command.clone().after_help(None);
    let mut page = Vec::new();
    Man::new(plain)
        .render(&mut page)
        .expect("writing into memory does not fail");
    let page = String::from_utf8(page).expect("a page is made of UTF-8 alone");
    let mut page = with_title(&page, page_of(command));
    if let Some(examples) = examples {
        page.push_str(&examples_section(&examples).to_roff());
    }
    page.push_str(&exit_section().to_roff());
    page.push_str(&see_also(command).to_roff());
    page
}

/// The page under a title whose date is empty: an empty argument needs quotes, and
/// would be lost without them.
fn with_title(page: &str, name: &str) -> String {
    let title = format!(".TH {name} {SECTION} \"\" \"{SOURCE}\" \"{MANUAL}\"");
    let lines = page.lines().map(|line| {
        if line.starts_with(".TH ") {
            &title
        } else {
            line
        }
    });
    lines.fold(String::with_capacity(page.len()), |out, line| {
        out + line + "\n"
    })
}

fn examples_section(examples: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.trim_start_matches("Examples:\n").lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

fn exit_section() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    let codes = Kind::FAILURES.map(|kind| (kind.code(), kind.meaning()));
    for (code, meaning) in [(0, "done")].into_iter().chain(codes) {
        roff.control("TP", [])
            .text([bold(code.to_string())])
            .text([roman(meaning)]);
    }
    roff
}

/// The pages above and below.
fn see_also(command: &Command) -> Roff {
    let own = page_of(command);
    let above = own.rsplit_once('-').map(|(above, _)| above);
    let below = command.get_subcommands().filter(|c| !c.is_hide_set());
    let mut line = Vec::new();
    for page in above.into_iter().chain(below.map(page_of)) {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([bold(page), roman(format!("({SECTION})"))]);
    }
    let mut roff = Roff::new();
    if !line.is_empty() {
        roff.control("SH", ["SEE ALSO"]).text(line);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_a_user_sees_has_a_page_and_those_below_it_too() {
        let all = with_subcommands(&parser());
        let pages: Vec<&str> = all.iter().map(page_of).collect();
        assert_eq!(pages.first(), Some(&"gwa"));
        for page in ["gwa-serve", "gwa-read", "gwa-store", "gwa-store-carry"] {
            assert!(pages.contains(&page), "{page}");
        }
        assert!(!pages.contains(&"gwa-commands"));
    }

    #[test]
    fn a_page_tells_options_environment_examples_and_exit_codes() {
        let all = with_subcommands(&parser());
        let store = all.iter().find(|c| page_of(c) == "gwa-store").unwrap();
        let page = page(store);
        for part in [
            ".TH gwa-store 1 \"\" \"gwa ",
            "\\-\\-data",
            "GWA_DATA",
            ".SH EXAMPLES",
            "gwa store carry",
            ".SH \"EXIT STATUS\"",
            "\\fB130\\fR",
            "\\fBgwa\\-store\\-carry\\fR(1)",
        ] {
            assert!(page.contains(part), "no {part} in:\n{page}");
        }
    }
}
