//! `gwa commands`: the reference of all commands, as `docs/commands.md` has it.
//!
//! Always true: it says what the parser says, and nothing of the machine or the
//! environment it is written on.

use std::fmt::{self, Write};

use clap::{Arg, Command};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::parser;

const INTRODUCTION: &str = "\
# Commands

What every command takes, as the program itself tells it: `gwa COMMAND --help` says
the same, and `gwa man DIR` writes it as manual pages. The program writes this page
too, by `gwa commands`, and a test compares the two.

Results go to stdout, one a line, or with `--json` one JSON object a line. All else
goes to stderr.
";

/// The page, as it is printed.
#[derive(Serialize)]
struct Row<'a> {
    markdown: &'a str,
}

/// Prints the page.
pub fn run(context: &mut Context) -> Result<(), CliError> {
    let page = page(&parser());
    let row = Row { markdown: &page };
    context.output.result(&row, page.trim_end())
}

/// The page, in Markdown.
fn page(parser: &Command) -> String {
    let mut out = String::new();
    write_page(parser, &mut out).expect("writing into memory does not fail");
    out
}

fn write_page(parser: &Command, out: &mut String) -> fmt::Result {
    writeln!(out, "{INTRODUCTION}")?;
    writeln!(out, "| command | does |\n| --- | --- |")?;
    for command in seen(parser) {
        let name = full_name(command);
        let anchor = name.replace(' ', "-");
        let about = about(command).replace('|', "\\|");
        writeln!(out, "| [`{name}`](#{anchor}) | {about} |")?;
    }
    writeln!(out, "\n## Exit codes\n\n| code | says |\n| --- | --- |")?;
    writeln!(out, "| 0 | done |")?;
    for kind in Kind::FAILURES {
        writeln!(out, "| {} | {} |", kind.code(), kind.meaning())?;
    }
    writeln!(out, "\n## Options of every command")?;
    write_arguments(parser, |_| true, out)?;
    for command in seen(parser) {
        write_command(command, parser, out)?;
    }
    Ok(())
}

fn write_command(command: &Command, root: &Command, out: &mut String) -> fmt::Result {
    let name = full_name(command);
    writeln!(out, "\n## {name}\n\n{}", about(command))?;
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    writeln!(out, "\n```text\n{usage}\n```")?;
    write_arguments(command, |arg| !is_of_every_command(arg, root), out)?;
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n");
        writeln!(out, "\n```text\n{examples}\n```")?;
    }
    for below in seen(command) {
        write_command(below, root, out)?;
    }
    Ok(())
}

/// Whether an argument is one of the root's, which stand in a place of their own. A
/// command may hand down others to those below it: each of these says so itself.
fn is_of_every_command(arg: &Arg, root: &Command) -> bool {
    arg.is_global_set()
        && root
            .get_arguments()
            .any(|of_root| of_root.get_id() == arg.get_id())
}

/// A command's arguments that are wanted, under the headings they have in its help.
fn write_arguments(
    command: &Command,
    is_wanted: impl Fn(&Arg) -> bool,
    out: &mut String,
) -> fmt::Result {
    let wanted = command.get_arguments().filter(|arg| {
        // Each command has them, and says so itself.
        let is_of_clap = matches!(arg.get_id().as_str(), "help" | "version");
        !arg.is_hide_set() && !is_of_clap && is_wanted(arg)
    });
    let mut sections: Vec<(Option<&str>, Vec<&Arg>)> = vec![(None, Vec::new())];
    for arg in wanted {
        let heading = arg.get_help_heading();
        match sections.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, args)) => args.push(arg),
            None => sections.push((heading, vec![arg])),
        }
    }
    for (heading, args) in sections.iter().filter(|(_, args)| !args.is_empty()) {
        match heading {
            Some(heading) => writeln!(out, "\n{heading}:\n")?,
            None => writeln!(out)?,
        }
        for arg in args {
            write_argument(arg, out)?;
        }
    }
    Ok(())
}

fn write_argument(arg: &Arg, out: &mut String) -> fmt::Result {
    write!(out, "- `")?;
    if let Some(short) = arg.get_short() {
        write!(out, "-{short}, ")?;
    }
    write!(out, "{arg}`")?;
    if let Some(name) = arg.get_env() {
        write!(out, " (environment: `{}`)", name.display())?;
    }
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    // Its further paragraphs belong to the item.
    writeln!(out, ": {}", prose(&help).replace('\n', "\n  "))?;
    let defaults = arg.get_default_values();
    // A flag that is not given is off; that needs no words.
    let has_value = arg.get_action().takes_values();
    if has_value && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let defaults: Vec<_> = defaults.iter().map(|v| v.to_string_lossy()).collect();
        writeln!(out, "  Default: `{}`.", defaults.join(","))?;
    }
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|v| !v.is_hide_set()).collect();
    if !values.is_empty() && !arg.is_hide_possible_values_set() {
        let names: Vec<_> = values
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        writeln!(out, "  One of {}.", names.join(", "))?;
    }
    Ok(())
}

/// The commands below one that users are to see.
fn seen(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set())
}

/// `gwa store carry`.
fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    prose(&about.map(ToString::to_string).unwrap_or_default())
}

/// Text of a help as Markdown that looks the same: what is not between backquotes
/// opens no tag and no emphasis.
fn prose(help: &str) -> String {
    let mut out = String::with_capacity(help.len());
    let mut in_code = false;
    for c in help.chars() {
        match c {
            '`' => in_code = !in_code,
            '<' | '*' if !in_code => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");

    #[test]
    fn the_page_in_the_documentation_is_what_the_parser_says() {
        let page = format!("{}\n", page(&parser()).trim_end());
        let written = fs::read_to_string(PAGE).unwrap_or_default();
        let differing = page.lines().zip(written.lines()).find(|(a, b)| a != b);
        assert!(
            page == written,
            "docs/commands.md is not what the parser says, from {differing:?} on; write it \
             again with `cargo run -- commands > docs/commands.md`"
        );
    }

    #[test]
    fn the_page_names_the_options_of_each_commands_help_and_no_others() {
        /// The long options that lines begin with, where each stands behind `before`.
        fn options<'a>(text: &'a str, before: &'a str) -> BTreeSet<&'a str> {
            let lines = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix(before));
            lines
                .filter_map(|line| match line.split_once(", --") {
                    Some((short, _)) if short.len() == 2 => line.get(4..),
                    _ => line.starts_with("--").then_some(line),
                })
                .filter_map(|line| line.split([' ', '`', '.', '[', '=']).next())
                .filter(|option| !matches!(*option, "--help" | "--version"))
                .collect()
        }
        fn section<'a>(page: &'a str, title: &str) -> &'a str {
            let (_, from) = page.split_once(&format!("\n## {title}\n")).unwrap();
            from.split("\n## ").next().unwrap()
        }
        fn look(command: &Command, page: &str, of_every: &BTreeSet<&str>) {
            let name = full_name(command);
            let help = command.clone().render_help().to_string();
            let own = options(section(page, name), "- `");
            let told: BTreeSet<&str> = own.union(of_every).copied().collect();
            assert_eq!(told, options(&help, ""), "{name}");
            assert!(own.is_disjoint(of_every), "{name}");
            seen(command).for_each(|below| look(below, page, of_every));
        }
        let parser = parser();
        let page = page(&parser);
        let of_every = options(section(&page, "Options of every command"), "- `");
        assert!(of_every.contains("--data") && of_every.contains("--verbose"));
        seen(&parser).for_each(|command| look(command, &page, &of_every));
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is_for() {
        fn look(command: &Command) {
            let name = full_name(command).to_owned();
            assert!(!about(command).is_empty(), "{name}");
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{name} {arg}");
            }
            seen(command).for_each(look);
        }
        look(&parser());
    }

    #[test]
    fn the_parser_holds_together() {
        crate::cli::Cli::command().debug_assert();
    }

    #[test]
    fn what_markdown_would_take_for_its_own_is_escaped_outside_of_code() {
        assert_eq!(prose("GWA_* and <N>, `<N>*`"), "GWA_\\* and \\<N>, `<N>*`");
    }
}
