//! A text as a QR code, in half blocks: two rows of the code are one of the terminal.

use fast_qr::{ECL, QRBuilder};

/// Modules of light around the code: what readers ask for.
const QUIET: usize = 4;

/// White on black, whatever the colours of the terminal: many readers take no code
/// that is light on dark.
const COLOURS: &str = "\x1b[97;40m";
/// The terminal's own colours again.
const RESET: &str = "\x1b[0m";

/// A code that is to be shown.
pub struct Qr {
    /// Whether each module is dark, row by row, the quiet zone included.
    dark: Vec<Vec<bool>>,
}

impl Qr {
    /// The code of `text`; none where it is too long for any.
    pub fn of(text: &str) -> Option<Self> {
        // A screen is not torn or soiled: the least redundancy gives the smallest code.
        let code = QRBuilder::new(text).ecl(ECL::L).build().ok()?;
        let side = code.size + 2 * QUIET;
        let within = |at: usize| at.checked_sub(QUIET).filter(|at| *at < code.size);
        let is_dark = |row: usize, column: usize| match (within(row), within(column)) {
            (Some(row), Some(column)) => code[row][column].value(),
            _ => false,
        };
        let row = |row| (0..side).map(|column| is_dark(row, column)).collect();
        Some(Self {
            dark: (0..side).map(row).collect(),
        })
    }

    /// How many columns it takes.
    pub fn columns(&self) -> usize {
        self.dark.len()
    }

    /// Its lines.
    pub fn lines(&self, in_colours: bool) -> String {
        let mut text = String::new();
        let below_all = vec![false; self.columns()];
        for pair in self.dark.chunks(2) {
            let (upper, lower) = (&pair[0], pair.get(1).unwrap_or(&below_all));
            let line: String = upper
                .iter()
                .zip(lower)
                .map(|(upper, lower)| match (upper, lower) {
                    (false, false) => '█',
                    (false, true) => '▀',
                    (true, false) => '▄',
                    (true, true) => ' ',
                })
                .collect();
            match in_colours {
                true => text.push_str(&format!("{COLOURS}{line}{RESET}\n")),
                false => text.push_str(&format!("{line}\n")),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_the_code_with_light_around_it() {
        let text = "enode://00:status-offline-inbox@127.0.0.1:30303";
        let qr = Qr::of(text).unwrap();
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in qr.lines(false).lines() {
            let halves = |upper: bool| -> Vec<bool> {
                let is_dark = |block| match block {
                    '█' => false,
                    ' ' => true,
                    '▀' => !upper,
                    '▄' => upper,
                    other => panic!("{other}"),
                };
                line.chars().map(is_dark).collect()
            };
            rows.extend([halves(true), halves(false)]);
        }
        rows.truncate(qr.columns());
        assert_eq!(rows, qr.dark);
        let code = QRBuilder::new(text).ecl(ECL::L).build().unwrap();
        assert_eq!(qr.columns(), code.size + 2 * QUIET);
        for (n, row) in rows.iter().enumerate() {
            for (m, dark) in row.iter().enumerate() {
                let inside = |at: usize| (QUIET..QUIET + code.size).contains(&at);
                let expected = inside(n) && inside(m) && code[n - QUIET][m - QUIET].value();
                assert_eq!(*dark, expected, "{n} {m}");
            }
        }
        // The corner by which readers find it.
        assert!(rows[QUIET][QUIET] && !rows[QUIET + 1][QUIET + 1] && rows[QUIET + 3][QUIET + 3]);
    }

    #[test]
    fn an_enode_with_a_password_fits_a_terminal_of_the_usual_width() {
        let text = format!(
            "enode://{}:status-offline-inbox@255.255.255.255:65535",
            "0".repeat(128)
        );
        assert!(Qr::of(&text).unwrap().columns() <= 80);
        assert!(Qr::of(&"x".repeat(10_000)).is_none());
    }
}
