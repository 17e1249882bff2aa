//! Which definition of work a peer goes by.
//!
//! Always true: an unknown peer is sent only what satisfies both definitions.
//! geth up to 1.8 drops whoever sends it less work than it counts, so guessing
//! is not worth it; but among nodes of one kind, insisting on both would hold
//! back nearly everything.
//!
//! Two things tell: the name in Hello, and what a peer passes on, since all of
//! it satisfied the peer's own requirement by its own definition.

use crate::whisper::pow::{Formula, Pow, Work};

/// What is known about a peer's definition of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Nothing: it may be either.
    #[default]
    Unknown,
    /// It counts by this one.
    One(Formula),
    /// It counts by the better of the two, as we do.
    Either,
}

impl Dialect {
    /// What the client's name in Hello tells.
    pub fn of_client(name: &str) -> Self {
        let mut parts = name.split('/');
        match parts.next().unwrap_or_default() {
            // murmur says what work it wants, and takes any.
            "gwa" | "murmur" => Self::Either,
            "Statusd" | "StatusIM" | "node-canary" => Self::One(Formula::Leading),
            // Between name and version may stand what its owner calls it.
            "Geth" => parts.find_map(geth_minor).map_or(Self::Unknown, |minor| {
                Self::One(if minor <= 8 {
                    Formula::Trailing
                } else {
                    Formula::Leading
                })
            }),
            _ => Self::Unknown,
        }
    }

    /// The work that such a peer sees in an envelope, at least.
    pub fn counts(self, work: &Work) -> Pow {
        match self {
            Self::Unknown => work.least(),
            Self::One(formula) => work.by(formula),
            Self::Either => work.most(),
        }
    }
}

/// The `8` of `v1.8.27-stable-4bcc0a37`.
fn geth_minor(part: &str) -> Option<u32> {
    let digits = part.strip_prefix("v1.")?;
    digits.split('.').next()?.parse().ok()
}

/// What a peer's own envelopes tell about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    leading_alone: bool,
    trailing_alone: bool,
}

impl Evidence {
    /// A peer that requires `required` passed on an envelope of this work.
    pub fn add(&mut self, work: &Work, required: Pow) {
        let leading = work.leading >= required;
        let trailing = work.trailing >= required;
        self.leading_alone |= leading && !trailing;
        self.trailing_alone |= trailing && !leading;
    }

    /// What follows, in place of `hint` where there is something to go by. Who
    /// takes either is not known by the few envelopes it has sent so far.
    pub fn or(self, hint: Dialect) -> Dialect {
        match (self.leading_alone, self.trailing_alone) {
            _ if hint == Dialect::Either => hint,
            (false, false) => hint,
            (true, false) => Dialect::One(Formula::Leading),
            (false, true) => Dialect::One(Formula::Trailing),
            (true, true) => Dialect::Either,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_generation_of_a_node() {
        let trailing = Dialect::One(Formula::Trailing);
        let leading = Dialect::One(Formula::Leading);
        for (name, dialect) in [
            (
                "Geth/v1.8.27-stable-4bcc0a37/linux-amd64/go1.10.4",
                trailing,
            ),
            ("Geth/my node/v1.7.3-stable/linux-amd64/go1.9", trailing),
            ("Geth/v1.9.6-stable/linux-amd64/go1.13", leading),
            ("Geth/v1.10.1/linux-amd64/go1.15", leading),
            ("Geth/unreadable", Dialect::Unknown),
            ("Statusd/v0.34.0-beta.9/linux-amd64/go1.13", leading),
            ("StatusIM/v1/android", leading),
            ("gwa/v0.1.0", Dialect::Either),
            ("murmur/v0.3.4/linux-x64/nodejs", Dialect::Either),
            ("wnode/v6.0/linux/go1.26.8", Dialect::Unknown),
            ("", Dialect::Unknown),
        ] {
            assert_eq!(Dialect::of_client(name), dialect, "{name}");
        }
    }

    #[test]
    fn what_a_peer_passes_on_tells_more_than_its_name() {
        let pow = |value| Pow::new(value).unwrap();
        let required = pow(0.2);
        let both = Work {
            trailing: pow(0.3),
            leading: pow(0.3),
        };
        let leading = Work {
            trailing: pow(0.1),
            ..both
        };
        let trailing = Work {
            leading: pow(0.1),
            ..both
        };
        let hint = Dialect::One(Formula::Trailing);
        let mut evidence = Evidence::default();
        evidence.add(&both, required);
        assert_eq!(evidence.or(hint), hint);
        evidence.add(&leading, required);
        assert_eq!(evidence.or(hint), Dialect::One(Formula::Leading));
        assert_eq!(evidence.or(hint).counts(&leading), pow(0.3));
        assert_eq!(evidence.or(Dialect::Either), Dialect::Either);
        evidence.add(&trailing, required);
        assert_eq!(evidence.or(hint), Dialect::Either);
    }

    #[test]
    fn an_unknown_peer_is_sent_what_both_definitions_see() {
        let work = Work {
            trailing: Pow::ZERO,
            leading: Pow::GETH_DEFAULT,
        };
        assert_eq!(Dialect::Unknown.counts(&work), Pow::ZERO);
        assert_eq!(Dialect::Either.counts(&work), Pow::GETH_DEFAULT);
    }
}
