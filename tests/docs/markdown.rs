//! A page of Markdown: its blocks of code, headings, links and code in the text.
//!
//! As much of Markdown as these pages use: fences of backticks, headings after `#`,
//! links in line.

use std::path::{Path, PathBuf};

use super::ROOT;

/// One page.
pub struct Page {
    /// From the root of the checkout.
    pub path: PathBuf,
    /// Blocks of code and comments to run, in order.
    pub pieces: Vec<Piece>,
    /// The text outside of them: a line for each line of the page.
    prose: Vec<String>,
}

/// A part of a page that is no prose.
pub enum Piece {
    /// A fenced block.
    Fence(Fence),
    /// The commands of a `<!-- run` comment.
    Hidden(Fence),
}

/// A fenced block of code, or a comment with commands.
pub struct Fence {
    /// The line of its first line of code, from 1.
    pub line: usize,
    /// What stands behind the backticks, or behind `<!--`.
    info: String,
    /// What is in it.
    pub lines: Vec<String>,
}

impl Fence {
    /// What it is written in: the info string up to a comma.
    pub fn language(&self) -> &str {
        self.info.split(',').next().unwrap_or_default().trim()
    }

    /// What it needs that a test does not have.
    pub fn markers(&self) -> impl Iterator<Item = &str> {
        self.info.split(',').skip(1).map(str::trim)
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

impl Piece {
    /// Whether its commands are run where there is what these markers stand for.
    pub fn is_run(&self, there: &[&str]) -> bool {
        let (fence, is_shell) = match self {
            Self::Fence(fence) => (fence, fence.language() == "console"),
            Self::Hidden(fence) => (fence, true),
        };
        is_shell && fence.markers().all(|marker| there.contains(&marker))
    }

    /// Where it is, and what of it a shell would be given.
    pub fn shell_text(&self) -> Option<(usize, String)> {
        match self {
            Self::Hidden(fence) => Some((fence.line, fence.text())),
            Self::Fence(fence) => match fence.language() {
                "console" | "sh" | "" => Some((fence.line, fence.text())),
                "text" => {
                    let is_example = |line: &&String| line.starts_with("  gwa ");
                    let examples = fence.lines.iter().filter(is_example);
                    Some((fence.line, examples.cloned().collect::<Vec<_>>().join("\n")))
                }
                _ => None,
            },
        }
    }
}

impl Page {
    /// Takes `text` apart.
    pub fn new(path: PathBuf, text: &str) -> Self {
        let (mut pieces, mut prose) = (Vec::new(), Vec::new());
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let start = line.trim_start();
            let ends: &dyn Fn(&str) -> bool = if start.starts_with("```") {
                &|line| line.trim() == "```"
            } else if line.starts_with("<!-- run") {
                &|line| line.trim() == "-->"
            } else {
                prose.push(line.to_owned());
                continue;
            };
            let indent = line.len() - start.len();
            prose.push(String::new());
            let mut within = Vec::new();
            for (_, inner) in lines.by_ref() {
                prose.push(String::new());
                if ends(inner) {
                    break;
                }
                // What is indented with its fence, as in a list, is less so.
                within.push(inner.get(indent..).unwrap_or_default().to_owned());
            }
            let fenced = start.strip_prefix("```");
            let info = fenced.or_else(|| start.strip_prefix("<!--"));
            let block = Fence {
                line: at + 2,
                info: info.unwrap_or_default().trim().to_owned(),
                lines: within,
            };
            pieces.push(match fenced {
                Some(_) => Piece::Fence(block),
                None => Piece::Hidden(block),
            });
        }
        Self {
            path,
            pieces,
            prose,
        }
    }

    /// The names by which headings are linked to, as the forges and mdBook make them.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for line in &self.prose {
            let text = line.trim_start_matches('#');
            if text.len() == line.len() || !text.starts_with(' ') {
                continue;
            }
            let name: String = text
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            let again = anchors.iter().filter(|have| **have == name).count();
            anchors.push(match again {
                0 => name,
                _ => format!("{name}-{again}"),
            });
        }
        anchors
    }

    /// Where links and pictures lead, each with its line.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (at, line) in self.prose.iter().enumerate() {
            let text = without_code(line);
            for (found, _) in text.match_indices("](") {
                let rest = &text[found + 2..];
                if let Some(end) = rest.find(')') {
                    links.push((at + 1, rest[..end].to_owned()));
                }
            }
            for (found, _) in text.match_indices("<http") {
                let rest = &text[found + 1..];
                if let Some(end) = rest.find('>') {
                    links.push((at + 1, rest[..end].to_owned()));
                }
            }
        }
        links
    }

    /// Code in the text, each piece with its line. One that is wrapped is whole.
    pub fn code_spans(&self) -> Vec<(usize, String)> {
        let (mut spans, mut open) = (Vec::new(), None::<(usize, String)>);
        for (at, line) in self.prose.iter().enumerate() {
            // A paragraph's end closes what was left open, as Markdown has it.
            if line.trim().is_empty() {
                open = None;
            }
            for (nth, part) in line.split('`').enumerate() {
                if nth > 0 {
                    open = match open.take() {
                        Some(span) => {
                            spans.push(span);
                            None
                        }
                        None => Some((at + 1, String::new())),
                    };
                }
                if let Some((_, text)) = &mut open {
                    text.push_str(part);
                }
            }
            if let Some((_, text)) = &mut open {
                text.push(' ');
            }
        }
        spans
    }
}

/// A line with nothing but spaces where code is.
fn without_code(line: &str) -> String {
    line.split('`')
        .enumerate()
        .map(|(nth, part)| match nth % 2 {
            0 => part.to_owned(),
            _ => " ".repeat(part.len()),
        })
        .collect()
}

/// README and all pages, by path from the root.
pub fn pages() -> Vec<Page> {
    let mut found = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(Path::new(ROOT).join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(Path::new(ROOT).join(&path)).expect("a page");
            Page::new(path, &text)
        })
        .collect()
}
