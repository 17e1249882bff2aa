//! `gwa config`: what the daemon is set to, and whether a file is right.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::serve::{self, ServeArgs};
use crate::config::check::{self, Problem};
use crate::config::status_go::{self, MAX_FILE, Note, Translated};
use crate::config::{FILE, SetBy, Setting, Settings, catalog};

const EXAMPLES: &str = "\
Examples:
  gwa config show
      every setting, its value, and who set it
  gwa config check
      whether gwa.toml in the data folder is right, and all that is wrong with it
  gwa config check mailserver.json
      what becomes of a file of status-go
  gwa config from-status mailserver.json > gwa.toml
      the same settings as a gwa.toml
  gwa config default
      a gwa.toml with every key in a comment

`check` and `from-status` exit with 2 where something is wrong.";

/// Arguments of `gwa config`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting that `gwa serve` would run with, and who set it.
    Show(Box<ServeArgs>),
    /// Check a gwa.toml, or a JSON configuration of status-go.
    Check {
        /// The file; one that ends in .json is status-go's
        /// [default: gwa.toml in the data folder].
        file: Option<PathBuf>,
    },
    /// Print a gwa.toml with every key in a comment.
    Default,
    /// Print the gwa.toml that does what a JSON configuration of status-go does.
    FromStatus {
        /// The file.
        file: PathBuf,
    },
}

/// Does what was asked.
pub fn run(args: &ConfigArgs, context: &mut Context) -> Result<(), CliError> {
    match &args.command {
        ConfigCommand::Show(args) => show(args, context),
        ConfigCommand::Check { file } => {
            let own = || context.data.join(FILE);
            let file = file.clone().unwrap_or_else(own);
            match file.extension().is_some_and(|end| end == "json") {
                true => check_status(&file, context),
                false => check_own(&file, context),
            }
        }
        ConfigCommand::Default => print_text(&catalog::commented_file(), context),
        ConfigCommand::FromStatus { file } => {
            let translated = read_status(file, context)?;
            if translated.node_key.is_some() {
                context.output.story(format!(
                    "the `NodeKey` of {} is not printed: start once with `gwa serve --status-config`, \
                     or write it into `node.key`, to keep the enode",
                    file.display()
                ));
            }
            let text = toml::to_string(&translated.table)
                .map_err(|error| CliError::new(Kind::Error, "cannot write TOML").because(&error))?;
            print_text(&text, context)
        }
    }
}

#[derive(Serialize)]
struct Printed<'a> {
    text: &'a str,
}

fn print_text(text: &str, context: &mut Context) -> Result<(), CliError> {
    context.output.result(&Printed { text }, text.trim_end())
}

fn show(args: &ServeArgs, context: &mut Context) -> Result<(), CliError> {
    let settings = serve::settings(args, context)?.settings;
    let told = settings.told();
    for setting in &told {
        context.output.result(setting, Line(setting))?;
    }
    for limit in limits_told(&settings) {
        context.output.result(&limit, LimitLine(&limit))?;
    }
    Ok(())
}

/// A setting in a line.
struct Line<'a>(&'a Setting);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { key, value, from } = self.0;
        row(f, key, value, *from)
    }
}

struct LimitLine<'a>(&'a ShownLimit);

impl fmt::Display for LimitLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShownLimit { key, value, from } = self.0;
        row(f, key, value, *from)
    }
}

fn row(f: &mut fmt::Formatter<'_>, key: &str, value: &str, from: SetBy) -> fmt::Result {
    let value = if value.is_empty() { "-" } else { value };
    write!(f, "{key:<31}  {from:<8}  {value}")
}

/// One of the limits, as a setting.
#[derive(Serialize)]
struct ShownLimit {
    key: String,
    value: String,
    from: SetBy,
}

/// Every limit, with who set it.
fn limits_told(settings: &Settings) -> Vec<ShownLimit> {
    let shown = |name: &str, value: String| {
        let key = format!("limits.{name}");
        let from = settings.set_by(&key);
        ShownLimit { key, value, from }
    };
    let limits = &settings.limits;
    let mut all = vec![shown("exempt-local", limits.exempt_local.to_string())];
    let numbers = limits.told().into_iter();
    all.extend(numbers.map(|limit| shown(limit.name, limit.value.to_string())));
    all
}

/// What there is to say of a file.
#[derive(Serialize)]
struct Told<'a> {
    file: &'a Path,
    level: &'static str,
    #[serde(flatten)]
    problem: &'a Problem,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            level,
            problem,
        } = self;
        let file = file.display();
        match problem.at {
            Some(_) => write!(f, "{file}:{problem}"),
            None => write!(f, "{file}: {problem}"),
        }?;
        match *level {
            "error" => Ok(()),
            level => write!(f, " [{level}]"),
        }
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> CliError {
    let what = format!("cannot read {}", file.display());
    let told = CliError::new(Kind::Usage, what).because(error);
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            told.hint("`gwa config default` prints one to begin with; without any, all is default")
        }
        _ => told,
    }
}

fn check_own(file: &Path, context: &mut Context) -> Result<(), CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let problems = check::check(file, &text);
    tell(file, "error", &problems, context)?;
    verdict(file, problems.len(), context)
}

fn check_status(file: &Path, context: &mut Context) -> Result<(), CliError> {
    let translated = translate(file, context)?;
    let said = |notes: &[Note]| -> Vec<Problem> {
        let problem = |note: &Note| Problem {
            at: None,
            key: Some(note.field.clone()),
            says: note.says.clone(),
            hint: None,
        };
        notes.iter().map(problem).collect()
    };
    let mut taken: Vec<Problem> = Vec::new();
    for (field, key) in &translated.taken {
        taken.push(Problem {
            at: None,
            key: Some((*field).to_owned()),
            says: format!("becomes `{key}`"),
            hint: None,
        });
    }
    tell(file, "taken", &taken, context)?;
    tell(file, "note", &said(&translated.notes), context)?;
    tell(file, "warning", &said(&translated.unknown), context)?;
    tell(file, "error", &translated.problems, context)?;
    verdict(file, translated.problems.len(), context)
}

fn tell(
    file: &Path,
    level: &'static str,
    problems: &[Problem],
    context: &mut Context,
) -> Result<(), CliError> {
    for problem in problems {
        let told = Told {
            file,
            level,
            problem,
        };
        context.output.result(&told, &told)?;
    }
    Ok(())
}

fn verdict(file: &Path, problems: usize, context: &Context) -> Result<(), CliError> {
    let file = file.display();
    match problems {
        0 => {
            context.output.story(format!("{file} is right"));
            Ok(())
        }
        1 => Err(CliError::new(Kind::Usage, format!("{file} has a problem"))),
        n => Err(CliError::new(
            Kind::Usage,
            format!("{file} has {n} problems"),
        )),
    }
}

/// What a file of status-go says, whatever is wrong with it.
fn translate(file: &Path, context: &mut Context) -> Result<Translated, CliError> {
    let text = read_bounded(file).map_err(|error| unreadable(file, &error))?;
    status_go::translate(&text).map_err(|problem| {
        let told = Told {
            file,
            level: "error",
            problem: &problem,
        };
        // A failure to print it is told by the flush at the end.
        let _ = context.output.result(&told, &told);
        CliError::new(
            Kind::Usage,
            format!("{} is no JSON of status-go", file.display()),
        )
    })
}

/// Reads a file of status-go that is right; what there is to know of it is told.
pub fn read_status(file: &Path, context: &mut Context) -> Result<Translated, CliError> {
    let translated = translate(file, context)?;
    let shown = file.display();
    for note in &translated.unknown {
        let Note { field, says } = note;
        context.output.story(format!("{shown}: `{field}`: {says}"));
    }
    for Note { field, says } in &translated.notes {
        tracing::info!(field, "{says}");
    }
    match translated.problems.first() {
        None => Ok(translated),
        Some(problem) => Err(
            CliError::new(Kind::Usage, format!("{shown}: {problem}")).hint(format!(
                "`gwa config check {shown}` lists all that is wrong"
            )),
        ),
    }
}

fn read_bounded(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(file)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        let what = format!("more than {MAX_FILE} bytes");
        return Err(std::io::Error::other(what));
    }
    Ok(text)
}
