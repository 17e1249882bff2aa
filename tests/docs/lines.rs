//! Lines of a shell, as far as pages use it: words, quotes, pipes, comments.
//!
//! Nothing is expanded: `$(..)` and `$NAME` stay in their word as they are.

use std::iter::Peekable;
use std::str::Chars;

/// Flags of other programs that the text names by themselves.
const FOREIGN_FLAGS: [&str; 2] = ["nocache", "read-only"];

/// What stands behind `gwa` at the start of files, which are no commands.
const FILES: [&str; 3] = ["catalogue", "catalogues", "conditions"];

/// The commands of a text, each as its words. What `$(..)` holds is among them.
pub fn words(text: &str) -> Vec<Vec<String>> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        done: Vec::new(),
        command: Vec::new(),
        word: None,
        skip: false,
    };
    reader.read();
    reader.done
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    done: Vec<Vec<String>>,
    command: Vec<String>,
    word: Option<String>,
    /// The next word is where something is redirected to.
    skip: bool,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => {
                    if let Some(next) = self.chars.next().filter(|next| *next != '\n') {
                        self.push(next);
                    }
                }
                '\'' => {
                    self.word.get_or_insert_default();
                    while let Some(c) = self.chars.next().filter(|c| *c != '\'') {
                        self.push(c);
                    }
                }
                '"' => {
                    self.word.get_or_insert_default();
                    while let Some(c) = self.chars.next().filter(|c| *c != '"') {
                        match c {
                            '$' => self.dollar(),
                            _ => self.push(c),
                        }
                    }
                }
                '$' => self.dollar(),
                '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
                ' ' | '\t' => self.end_word(),
                '\n' | '|' | ';' | '&' | '(' | ')' => self.end_command(),
                '>' | '<' => {
                    // The figure before it names a stream.
                    self.word.take_if(|w| w.bytes().all(|b| b.is_ascii_digit()));
                    self.end_word();
                    while self.chars.next_if(|c| "><&".contains(*c)).is_some() {}
                    self.skip = true;
                }
                _ => self.push(c),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn dollar(&mut self) {
        self.push('$');
        if self.chars.next_if_eq(&'(').is_none() {
            return;
        }
        let (mut depth, mut inner) = (1, String::new());
        for c in self.chars.by_ref() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            inner.push(c);
        }
        self.done.extend(words(&inner));
        for c in ['(', ')'] {
            self.push(c);
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.skip)
        {
            self.command.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.skip = false;
        if !self.command.is_empty() {
            self.done.push(std::mem::take(&mut self.command));
        }
    }
}

/// What stands behind `gwa` in each such command of a block. Where the block has
/// prompts, lines without one are output.
pub fn gwa_lines(block: &str) -> Vec<Vec<String>> {
    let has_prompts = block.lines().any(|line| line.starts_with("$ "));
    let mut text = String::new();
    let mut goes_on = false;
    for line in block.lines() {
        let command = match line.strip_prefix("$ ") {
            Some(command) => command,
            None if !has_prompts || goes_on => line,
            None => continue,
        };
        text.push_str(command);
        text.push('\n');
        goes_on = command.ends_with('\\');
    }
    words(&text)
        .into_iter()
        .filter_map(|command| gwa_args(&command).map(<[String]>::to_vec))
        .collect()
}

/// What stands behind `gwa`, if it is what the command runs.
fn gwa_args(command: &[String]) -> Option<&[String]> {
    let is_assignment = |word: &&String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    let set = command.iter().take_while(is_assignment).count();
    match &command[set..] {
        [sudo, user, _, rest @ ..] if sudo == "sudo" && user == "-u" => gwa_args(rest),
        [sudo, rest @ ..] if sudo == "sudo" => gwa_args(rest),
        [gwa, rest @ ..] if gwa == "gwa" => Some(rest),
        [cargo, run, release, dashes, rest @ ..]
            if [cargo, run, release, dashes] == ["cargo", "run", "--release", "--"] =>
        {
            Some(rest)
        }
        _ => None,
    }
}

/// What a piece of code in the text names that `gwa` does not have.
pub fn unknown_in(gwa: &clap::Command, span: &str) -> Option<String> {
    if let Some(flag) = span.strip_prefix("--") {
        let flag = flag.split([' ', '=']).next().unwrap_or_default();
        return (!has_flag_anywhere(gwa, flag) && !FOREIGN_FLAGS.contains(&flag))
            .then(|| format!("no command has --{flag}"));
    }
    let command = words(span).into_iter().next()?;
    let mut rest = gwa_args(&command)?.iter().peekable();
    let mut at = gwa;
    while let Some(word) = rest.next() {
        if let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty()) {
            let name = flag.split('=').next().unwrap_or_default();
            let Some(takes_value) = flag_of(gwa, at, name) else {
                return Some(format!("`gwa {}` has no --{name}", at.get_name()));
            };
            if takes_value && !flag.contains('=') {
                rest.next_if(|next| !next.starts_with('-'));
            }
        } else if let Some(below) = at.find_subcommand(word) {
            at = below;
        } else if at.get_name() == gwa.get_name()
            && word.bytes().all(|b| b.is_ascii_lowercase())
            && !FILES.contains(&word.as_str())
        {
            return Some(format!("there is no command `{word}`"));
        }
    }
    None
}

/// Whether the command, or every command, has a flag; and whether it takes a value.
fn flag_of(gwa: &clap::Command, at: &clap::Command, name: &str) -> Option<bool> {
    if ["help", "version"].contains(&name) {
        return Some(false);
    }
    let of_all = gwa.get_arguments().filter(|arg| arg.is_global_set());
    at.get_arguments()
        .chain(of_all)
        .find(|arg| arg.get_long() == Some(name))
        .map(|arg| arg.get_action().takes_values())
}

fn has_flag_anywhere(at: &clap::Command, name: &str) -> bool {
    flag_of(at, at, name).is_some()
        || at
            .get_subcommands()
            .any(|below| has_flag_anywhere(below, name))
}

#[test]
fn a_line_is_taken_apart_as_a_shell_does() {
    let line = "A=1 gwa x --y 'a b' \"c $(gwa head | cut -c2)\" $z 2>&1 >f # gwa no\ngwa q";
    let expected: [&[&str]; 4] = [
        &["gwa", "head"],
        &["cut", "-c2"],
        &["A=1", "gwa", "x", "--y", "a b", "c $()", "$z"],
        &["gwa", "q"],
    ];
    assert_eq!(words(line), expected);
    assert_eq!(
        gwa_lines("$ B=2 gwa a \\\n  b\ngwa out").concat(),
        ["a", "b"]
    );
    assert_eq!(gwa_lines("sudo -u gwa gwa a").concat(), ["a"]);
}

#[test]
fn what_gwa_does_not_have_is_noticed() {
    let gwa = gwa::cli::parser();
    let unknown = |span| unknown_in(&gwa, span);
    for known in [
        "gwa query --topic T",
        "gwa --data A serve --http off",
        "gwa store carry --store URL",
        "gwa COMMAND --json",
        "--seal-every 5m",
        "gwa.toml",
    ] {
        assert_eq!(unknown(known), None, "{known}");
    }
    for gone in ["gwa quary", "gwa query --tropic T", "--tropic"] {
        assert!(unknown(gone).is_some(), "{gone}");
    }
}
