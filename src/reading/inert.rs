//! Foreign text on a terminal.

use std::fmt::{self, Write};

/// Foreign text, shown on one line with everything escaped that does something to a
/// terminal but stand there.
#[derive(Clone, Copy, Debug)]
pub struct Inert<'a>(pub &'a str);

impl fmt::Display for Inert<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if fools_a_terminal(c) {
                write!(f, "{}", c.escape_default())
            } else {
                f.write_char(c)
            }
        })
    }
}

/// Whether a character does something to a terminal but stand there: controls, ends of
/// lines and paragraphs, what turns the direction of text, so that it reads as something
/// else, and tags and fillers, which hide text in text.
pub fn fools_a_terminal(c: char) -> bool {
    let breaks_a_line = matches!(c, '\u{2028}' | '\u{2029}');
    let turns_around = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    // Joiners of letters (U+200C, U+200D) stay: words and emoji need them.
    let hides = matches!(
        c,
        '\u{ad}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || breaks_a_line || turns_around || hides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_fool_a_terminal_is_escaped_and_other_scripts_are_not() {
        let bad = "\x1b\n\u{9b}\u{7f}\u{2028}\u{2029}\u{202e}\u{2066}\u{2069}\u{200f}\u{200b}\
                   \u{e0041}\u{feff}";
        for c in bad.chars() {
            assert!(fools_a_terminal(c), "{c:?}");
            let shown = Inert(&c.to_string()).to_string();
            assert!(shown.is_ascii() && shown.starts_with('\\'), "{shown}");
        }
        let good = "aä漢שלام\u{200d}👋 किताब\u{fe0f}";
        assert_eq!(Inert(good).to_string(), good);
    }
}
