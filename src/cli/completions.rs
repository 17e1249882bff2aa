//! `gwa completions`: what a shell needs to complete commands and options.

use clap::Args;
use clap_complete::Shell;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::parser;

/// The command that is completed.
const NAME: &str = "gwa";

const EXAMPLES: &str = "\
Examples:
  gwa completions bash > ~/.local/share/bash-completion/completions/gwa
      for Bash, with the package bash-completion
  gwa completions zsh > ~/.zfunc/_gwa
      for Zsh, where ~/.zfunc is in $fpath
  gwa completions fish > ~/.config/fish/completions/gwa.fish
      for fish";

/// Arguments of `gwa completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell that is to complete.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// A script, as it is printed.
#[derive(Serialize)]
struct Row<'a> {
    shell: String,
    script: &'a str,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs, context: &mut Context) -> Result<(), CliError> {
    let script = script(args.shell);
    let row = Row {
        shell: args.shell.to_string(),
        script: &script,
    };
    context.output.result(&row, script.trim_end())
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut parser(), NAME, &mut script);
    String::from_utf8(script).expect("a script is made of UTF-8 alone")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn each_shell_is_told_of_every_command_a_user_sees() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in parser().get_subcommands().filter(|c| !c.is_hide_set()) {
                let name = command.get_name();
                assert!(script.contains(name), "{shell} knows no {name}");
            }
        }
    }
}
