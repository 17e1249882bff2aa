//! A lineage drawn with characters: a column for each line of heads, the newest on
//! top.
//!
//! ```text
//! *  merges two
//! |\
//! | *  one of them
//! * |  the other
//! |/
//! *  where both came from
//! ~  bafy.. is not held here
//! ```

use crate::blocks::Cid;

/// What is known of a head that another rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// It comes further below.
    Below,
    /// It is not held here.
    NotHeld,
    /// It was drawn above: somebody's clock was wrong.
    Above,
}

/// The drawing, line by line.
#[derive(Debug, Default)]
pub struct Graph {
    /// The head each column leads down to.
    columns: Vec<Cid>,
}

impl Graph {
    /// The lines for one head, `text` beside it. It must be drawn after all that
    /// rests on it, and `parents` are what it rests on, the first its own line.
    pub fn draw(&mut self, cid: &Cid, text: &str, parents: &[(Cid, Parent)]) -> Vec<String> {
        let mut lines = Vec::new();
        let column = match self.columns.iter().position(|awaited| awaited == cid) {
            Some(column) => column,
            None => {
                self.columns.push(*cid);
                self.columns.len() - 1
            }
        };
        while let Some(other) = self.columns.iter().rposition(|awaited| awaited == cid)
            && other > column
        {
            lines.push(self.joining(column, other));
            self.columns.remove(other);
        }
        lines.push(format!("{}  {text}", self.row(column, '*')));
        let below: Vec<Cid> = parents
            .iter()
            .filter(|(_, is)| *is == Parent::Below)
            .map(|(cid, _)| *cid)
            .collect();
        for (cid, is) in parents {
            let said = match is {
                Parent::Below => continue,
                Parent::NotHeld => "is not held here",
                Parent::Above => "stands above",
            };
            lines.push(format!("{}  {cid} {said}", self.row(column, '~')));
        }
        match below.split_first() {
            None => {
                self.columns.remove(column);
                if column < self.columns.len() {
                    lines.push(self.closing(column));
                }
            }
            Some((first, rest)) => {
                self.columns[column] = *first;
                for (at, parent) in rest.iter().enumerate() {
                    lines.push(self.opening(column + at));
                    self.columns.insert(column + at + 1, *parent);
                }
            }
        }
        lines
    }

    /// Every column, `mark` in one of them.
    fn row(&self, column: usize, mark: char) -> String {
        let marks = (0..self.columns.len()).map(|at| if at == column { mark } else { '|' });
        spaced(marks)
    }

    /// A column is to open to the right of `column`; those behind move on.
    fn opening(&self, column: usize) -> String {
        let mut line = spaced((0..=column).map(|_| '|'));
        line.push('\\');
        for _ in column + 1..self.columns.len() {
            line.push_str(" \\");
        }
        line
    }

    /// The column has ended, and those behind it move up.
    fn closing(&self, column: usize) -> String {
        let mut line: String = "| ".repeat(column);
        for _ in column..self.columns.len() {
            line.push_str(" /");
        }
        line
    }

    /// Column `from` runs into `into`, which is to its left; those behind move up.
    fn joining(&self, into: usize, from: usize) -> String {
        let mut line = String::new();
        for at in 0..from {
            line.push('|');
            if at + 1 < from {
                line.push(if at >= into { '_' } else { ' ' });
            }
        }
        line.push('/');
        for _ in from + 1..self.columns.len() {
            line.push_str(" /");
        }
        line
    }
}

fn spaced(marks: impl Iterator<Item = char>) -> String {
    let mut line = String::new();
    for (at, mark) in marks.enumerate() {
        if at > 0 {
            line.push(' ');
        }
        line.push(mark);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{Block, Codec};

    fn cid(name: &str) -> Cid {
        *Block::new(Codec::Raw, name.as_bytes().to_vec()).cid()
    }

    /// Draws heads by name, each with the names of those it rests on; `!` marks one
    /// that is not held.
    fn drawn(heads: &[(&str, &[&str])]) -> String {
        let mut graph = Graph::default();
        let lines = heads.iter().flat_map(|(name, parents)| {
            let parents: Vec<_> = parents
                .iter()
                .map(|parent| match parent.strip_prefix('!') {
                    Some(absent) => (cid(absent), Parent::NotHeld),
                    None => (cid(parent), Parent::Below),
                })
                .collect();
            graph.draw(&cid(name), name, &parents)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_line_is_a_column() {
        let drawing = drawn(&[("c", &["b"]), ("b", &["a"]), ("a", &[])]);
        assert_eq!(drawing, "*  c\n*  b\n*  a");
    }

    #[test]
    fn a_merge_opens_a_column_and_a_fork_joins_it() {
        let drawing = drawn(&[
            ("merge", &["ours", "theirs"]),
            ("theirs", &["base"]),
            ("ours", &["base"]),
            ("base", &[]),
        ]);
        let expected = [
            "*  merge",
            "|\\",
            "| *  theirs",
            "* |  ours",
            "|/",
            "*  base",
        ];
        assert_eq!(drawing, expected.join("\n"));
    }

    #[test]
    fn a_merge_of_three_and_a_line_that_ends_keep_their_columns() {
        let drawing = drawn(&[
            ("merge", &["a", "b", "c"]),
            ("b", &[]),
            ("a", &["base"]),
            ("c", &["base"]),
            ("base", &[]),
        ]);
        let expected = [
            "*  merge", "|\\", "| |\\", "| * |  b", "|  /", "* |  a", "| *  c", "|/", "*  base",
        ];
        assert_eq!(drawing, expected.join("\n"));
    }

    #[test]
    fn columns_between_are_crossed() {
        let drawing = drawn(&[
            ("m", &["x", "y", "z"]),
            ("x", &["base"]),
            ("z", &["base"]),
            ("base", &[]),
            ("y", &[]),
        ]);
        let expected = [
            "*  m",
            "|\\",
            "| |\\",
            "* | |  x",
            "| | *  z",
            "|_|/",
            "* |  base",
            " /",
            "*  y",
        ];
        assert_eq!(drawing, expected.join("\n"));
    }

    #[test]
    fn what_is_not_held_is_said_where_it_would_stand() {
        let drawing = drawn(&[("b", &["a"]), ("a", &["!first"])]);
        let expected = format!("*  b\n*  a\n~  {} is not held here", cid("first"));
        assert_eq!(drawing, expected);
    }
}
