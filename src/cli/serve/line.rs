//! What a daemon does, in one line: on a terminal, and for a service manager.

use std::fmt;

use crate::cli::human::{Counted, Passed};
use crate::node::vitals::{Trend, Vitals};

/// How much of a head's CID is shown: its end, since all begin alike.
const SHORT_CID: usize = 8;

/// The line of one moment.
#[derive(Clone, Copy)]
pub struct StatusLine<'a> {
    /// What is true now.
    pub vitals: &'a Vitals,
    /// What was seen before.
    pub trend: &'a Trend,
}

impl fmt::Display for StatusLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vitals, trend } = self;
        f.write_str(match (vitals.takes_in, trend.is_failing) {
            (_, true) => "FAILS TO STORE",
            (false, _) => "mirroring",
            (true, _) if vitals.peers == 0 => "waiting for peers",
            (true, _) => "archiving",
        })?;
        if vitals.takes_in {
            match trend.last_stored {
                Some(last) => write!(f, " | last new {} ago", Passed(vitals.at.since(last)))?,
                None => f.write_str(" | nothing new yet")?,
            }
            if let Some(tenths) = trend.tenths_a_second() {
                write!(f, " | {}.{}/s", tenths / 10, tenths % 10)?;
            }
        }
        write!(f, " | {}", Counted(vitals.peers as u64, "peer"))?;
        if vitals.takes_in {
            write!(f, " | {} to seal", indicatif::HumanCount(vitals.waiting))?;
        }
        match &vitals.head {
            Some((cid, sequence)) => {
                let cid = cid.to_string();
                let end = &cid[cid.len().saturating_sub(SHORT_CID)..];
                write!(f, " | head {sequence} ..{end}")?;
            }
            None => f.write_str(" | no head yet")?,
        }
        write!(f, " | {}", Counted(vitals.requests, "request"))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::blocks::Cid;
    use crate::time::UnixSeconds;

    /// A daemon at work.
    pub fn at_work() -> Vitals {
        let cid: Cid = "bafyreicm4xhoxtfuo46qkdaqprlcmjzpzdgwbdimkwjzt4qs54pbgqfqpm"
            .parse()
            .unwrap();
        Vitals {
            at: UnixSeconds(1_000),
            takes_in: true,
            enode: None,
            peers: 5,
            is_reached: false,
            stored: 50,
            failed: 0,
            waiting: 1_234,
            head: Some((cid, 17)),
            requests: 1,
        }
    }

    fn line(looks: &[Vitals]) -> String {
        let mut trend = Trend::default();
        for look in looks {
            trend.add(look);
        }
        let vitals = looks.last().unwrap();
        let trend = &trend;
        StatusLine { vitals, trend }.to_string()
    }

    #[test]
    fn a_daemon_at_work_is_told_in_one_line() {
        let begin = Vitals {
            at: UnixSeconds(992),
            stored: 0,
            ..at_work()
        };
        let then = Vitals {
            at: UnixSeconds(996),
            ..at_work()
        };
        assert_eq!(
            line(&[begin, then, at_work()]),
            "archiving | last new 4 s ago | 6.2/s | 5 peers | 1,234 to seal | \
             head 17 ..pbgqfqpm | 1 request"
        );
    }

    #[test]
    fn what_a_daemon_lacks_is_said() {
        let alone = Vitals {
            peers: 0,
            stored: 0,
            head: None,
            ..at_work()
        };
        let told = line(std::slice::from_ref(&alone));
        assert_eq!(
            told,
            "waiting for peers | nothing new yet | 0 peers | 1,234 to seal | no head yet | 1 request"
        );
        let failing = Vitals { failed: 1, ..alone };
        assert!(line(&[failing]).starts_with("FAILS TO STORE"));
    }

    #[test]
    fn a_mirror_is_not_said_to_wait_for_envelopes() {
        let mirror = Vitals {
            takes_in: false,
            peers: 0,
            waiting: 0,
            ..at_work()
        };
        assert_eq!(
            line(&[mirror]),
            "mirroring | 0 peers | head 17 ..pbgqfqpm | 1 request"
        );
    }
}
