//! Figures as people read them.

use std::fmt;

/// A time that has passed, in seconds: told in the largest unit that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed(pub u32);

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ 0..60 => write!(f, "{seconds} s"),
            seconds @ 60..3_600 => write!(f, "{} min", seconds / 60),
            seconds @ 3_600..86_400 => write!(f, "{} h", seconds / 3_600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

/// A noun with its number: `1 peer`, `1,204 peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted(pub u64, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, noun) = self;
        let ending = if *number == 1 { "" } else { "s" };
        write!(f, "{} {noun}{ending}", indicatif::HumanCount(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_largest_unit_that_is_full() {
        for (seconds, told) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (7_200, "2 h"),
            (86_399, "23 h"),
            (u32::MAX, "49710 d"),
        ] {
            assert_eq!(Passed(seconds).to_string(), told);
        }
    }

    #[test]
    fn a_noun_has_the_form_of_its_number() {
        assert_eq!(Counted(0, "peer").to_string(), "0 peers");
        assert_eq!(Counted(1, "peer").to_string(), "1 peer");
        assert_eq!(Counted(1_204, "request").to_string(), "1,204 requests");
    }
}
