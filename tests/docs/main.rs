//! The documentation is true: its commands are run, its links lead somewhere.
//!
//! What is looked at is `README.md` and every page below `docs/`. A fenced block is
//! told by its info string:
//!
//! | block | what happens to it |
//! | --- | --- |
//! | `console` | run: each line after `$ ` is a command, what follows is its output |
//! | `console,kubo` | run by the interop suite, beside Kubo; here as the next |
//! | `console,elsewhere` | not run, because it needs another machine, a host's name, the public network or a program that is not there; as the next |
//! | `console,WORD` | not run, because it needs WORD (`systemd`, `docker`, ..); its `gwa` lines must be accepted by the parser, and the block is counted and listed |
//! | `toml` | must be a `gwa.toml` |
//! | `text` | its lines that begin with two spaces and `gwa`, as examples in `--help` do, must be accepted by the parser |
//! | `sh`, none | its `gwa` lines must be accepted by the parser |
//!
//! How `console` blocks are run:
//!
//! - Each page has a fresh folder as its home and one shell, in which its commands
//!   run in order. `fixtures` leads to the fixtures. `/mnt`, `/srv`, `/etc` and `/var` are
//!   folders of the page's own.
//! - `<!-- run` at the start of a line opens a comment whose lines, up to `-->`, are
//!   commands too: what a page needs and a reader does not. `<!-- run,WORD` is run where
//!   `console,WORD` is.
//! - A line that ends with `\` goes on in the next, `<<WORD` up to `WORD`.
//! - A command succeeds, unless its output shows `Error:` or the next command is
//!   `echo $?`.
//! - What ends at an interrupt alone (`gwa serve`, `--follow`, `curl -N`) runs in the background
//!   until a line `^C`, which interrupts what was started last, or the page's end. A
//!   port that the page names stands for a free one; `archive.example` at that port is
//!   the same daemon.
//! - Output that is shown is compared. Where none is shown, none is.
//!
//! What varies, and so is compared otherwise:
//!
//! | shown | stands for |
//! | --- | --- |
//! | `…` within a line | anything |
//! | `…` as a line | any number of lines |
//! | a CID, a name of IPNS, the id of an enode or of a peer | one of its kind, the same wherever the page shows it again, also in a command |
//! | the tag of an archive's pins, as `gwa/0123456789abcdef` | the same |
//! | a time of 2025 or later, in seconds too | any time |
//! | `/home/me` | the home of the page |

mod book;
mod lines;
mod markdown;
mod pattern;
mod samples;
mod shell;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use markdown::{Page, Piece, pages};
use shell::Surroundings;

/// The checkout.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Fails with all that is wrong, not with the first of it.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n\n{}\n", wrong.join("\n\n"));
}

#[test]
fn what_the_pages_show_is_what_happens() {
    let pages: Vec<Page> = pages()
        .into_iter()
        .filter(|page| page.pieces.iter().any(|piece| piece.is_run(&[])))
        .collect();
    // The pages do not know of each other; two at a time keep a small machine busy.
    let (queue, wrong, ran) = (
        Mutex::new(pages.iter()),
        Mutex::new(Vec::new()),
        Mutex::new(0),
    );
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(page) = queue.lock().expect("no panic").next() else {
                        return;
                    };
                    let told = shell::run(page, &Surroundings::default());
                    *ran.lock().expect("no panic") += told.commands;
                    wrong.lock().expect("no panic").extend(told.wrong);
                }
            });
        }
    });
    let ran = ran.into_inner().expect("no panic");
    println!("{ran} commands run on {} pages", pages.len());
    report(&wrong.into_inner().expect("no panic"));
    assert!(ran > 0, "the pages show commands");
}

#[test]
fn every_gwa_line_is_one_that_gwa_accepts() {
    let (mut wrong, mut parsed) = (Vec::new(), 0);
    let mut marked = BTreeMap::<String, Vec<String>>::new();
    for page in pages() {
        for piece in &page.pieces {
            if let Piece::Fence(fence) = piece {
                for marker in fence.markers() {
                    let at = format!("{}:{}", page.path.display(), fence.line);
                    marked.entry(marker.to_owned()).or_default().push(at);
                }
            }
            let Some((at, text)) = piece.shell_text() else {
                continue;
            };
            for args in lines::gwa_lines(&text) {
                parsed += 1;
                let args: Vec<String> = args.iter().map(|word| samples::filled_in(word)).collect();
                if let Err(error) = gwa::cli::accepts(&args) {
                    let path = page.path.display();
                    wrong.push(format!("{path}:{at}: gwa {}\n{error}", args.join(" ")));
                }
            }
        }
    }
    println!("{parsed} lines parsed; blocks not run, by what they need:");
    for (marker, blocks) in marked {
        println!("{marker}: {}: {}", blocks.len(), blocks.join(" "));
    }
    report(&wrong);
    assert!(parsed > 0, "the pages show commands");
}

#[test]
fn commands_and_flags_named_in_the_text_are_there() {
    let command = gwa::cli::parser();
    let wrong: Vec<String> = pages()
        .iter()
        .flat_map(|page| {
            let path = page.path.display().to_string();
            page.code_spans()
                .into_iter()
                .filter_map(|(at, span)| {
                    let what = lines::unknown_in(&command, &span)?;
                    Some(format!("{path}:{at}: `{span}`: {what}"))
                })
                .collect::<Vec<_>>()
        })
        .collect();
    report(&wrong);
}

#[test]
fn settings_shown_are_settings_that_are_read() {
    let mut wrong = Vec::new();
    for page in pages() {
        for piece in &page.pieces {
            let Piece::Fence(fence) = piece else { continue };
            if fence.language() != "toml" {
                continue;
            }
            let folder = tempfile::tempdir().expect("a folder");
            let text = samples::filled_in(&fence.text());
            std::fs::write(folder.path().join(gwa::config::FILE), text).expect("a file");
            if let Err(error) = gwa::config::read(folder.path()) {
                wrong.push(format!("{}:{}: {error}", page.path.display(), fence.line));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_command_stands_in_the_readme() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("a page");
    let wrong: Vec<String> = gwa::cli::parser()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| format!("gwa {}", command.get_name()))
        .filter(|name| !readme.contains(name))
        .map(|name| format!("README.md says nothing of `{name}`"))
        .collect();
    report(&wrong);
}

#[test]
fn links_lead_somewhere() {
    report(&book::broken_links(&pages()));
}

#[test]
fn the_book_has_every_page_once() {
    report(&book::missing_or_doubled(&pages()));
}
