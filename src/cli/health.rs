//! `gwa health`: whether the running daemon does its work, for people and for monitors.
//!
//! Always true: the exit code is 0 where what arrives can be archived, and 1 where not
//! or where nobody answers. What may well be as it is, such as having no peers, or a
//! leader that is away, is noted and changes no exit code.

use std::fmt;

use clap::Args;
use reqwest::StatusCode;
use serde::Serialize;

use crate::api::health::Health;
use crate::cli::context::Context;
use crate::cli::daemon::DaemonAt;
use crate::cli::error::{CliError, Kind};
use crate::cli::human::{Counted, Passed};
use crate::time::{Clock, SystemClock, UnixSeconds};

/// Seconds without a new envelope that are worth a note: any busy network has some in
/// each minute, and a quiet one has an hour without.
const QUIET: u32 = 3_600;

const EXAMPLES: &str = "\
Examples:
  gwa health
      asks the daemon over the data folder
  gwa health --url http://127.0.0.1:8547
      asks the one there, whatever its data folder

Exit code 0: what arrives can be archived. 1: it can not, or nobody answers.";

/// Arguments of `gwa health`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HealthArgs {
    /// The HTTP interface to ask [default: that of the daemon over the data folder].
    #[arg(long, value_name = "URL")]
    url: Option<url::Url>,
}

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Well,
    /// Worth knowing, and no failure.
    Note,
    /// The daemon does not do its work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    of: &'static str,
    state: State,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

impl Check {
    fn new(of: &'static str, state: State, says: impl Into<String>) -> Self {
        let says = says.into();
        Self {
            of,
            state,
            says,
            hint: None,
        }
    }

    fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    /// When the daemon started, Unix seconds.
    since: u32,
    checks: Vec<Check>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, check) in self.checks.iter().enumerate() {
            let state = match check.state {
                State::Well => "ok",
                State::Note => "note",
                State::Bad => "BAD",
            };
            let before = if n == 0 { "" } else { "\n" };
            write!(f, "{before}{state:<4}  {:<9}  {}", check.of, check.says)?;
            if let Some(hint) = check.hint {
                write!(f, "\n      {:<9}  hint: {hint}", "")?;
            }
        }
        Ok(())
    }
}

/// Prints how the daemon is; fails where it does not do its work.
pub fn run(args: &HealthArgs, context: &mut Context) -> Result<(), CliError> {
    let daemon = match &args.url {
        Some(url) => DaemonAt::at(url.as_str()),
        None => DaemonAt::of_folder(context)?,
    };
    let health: Health = daemon.ask("/health", &[StatusCode::SERVICE_UNAVAILABLE])?;
    let checks = checks(&health, SystemClock.now());
    let report = Report {
        ok: checks.iter().all(|check| check.state != State::Bad),
        since: health.since,
        checks,
    };
    context.output.result(&report, &report)?;
    match report.ok {
        true => Ok(()),
        false => Err(CliError::new(
            Kind::Error,
            "the daemon does not do its work",
        )),
    }
}

/// How following others goes, where somebody is followed.
fn following(health: &Health, now: UnixSeconds) -> Option<Check> {
    let running = now.since(UnixSeconds(health.since));
    let last = health.last_followed_age;
    match (&health.follow_error, last, health.follows) {
        (Some(error), last, _) => {
            let says = match last {
                Some(age) => format!("not since {} ago: {error}", Passed(age)),
                None => format!("not since the start, {} ago: {error}", Passed(running)),
            };
            let hint = "all that is here stays; `gwa log REF` shows what the leader tells, \
                        the page Mirrors of the explorer who it is";
            Some(Check::new("following", State::Note, says).hint(hint))
        }
        (None, _, 0) => None,
        (None, Some(age), _) if age < QUIET => {
            let says = format!("the newest head was here {} ago", Passed(age));
            Some(Check::new("following", State::Well, says))
        }
        (None, Some(age), _) => {
            let says = format!("no round has ended for {}", Passed(age));
            Some(Check::new("following", State::Note, says))
        }
        (None, None, _) => Some(Check::new(
            "following",
            State::Note,
            format!("the first round goes on since {} ago", Passed(running)),
        )),
    }
}

/// What `health` amounts to at `now`.
fn checks(health: &Health, now: UnixSeconds) -> Vec<Check> {
    use State::{Bad, Note, Well};
    let mut checks = Vec::new();
    checks.push(match (&health.error, health.ok, health.takes_in) {
        (Some(error), ..) => Check::new("archive", Bad, error.as_ref())
            .hint("is the disk full, or read-only? The daemon's log names the file"),
        (None, false, _) => Check::new("archive", Bad, "the daemon says that it is not well"),
        (None, true, true) => Check::new("archive", Well, "stores what arrives"),
        (None, true, false) => Check::new("archive", Well, "is a mirror of another"),
    });
    checks.extend(following(health, now));
    let peers = Counted(health.peers as u64, "peer");
    if health.takes_in {
        let running = Passed(now.since(UnixSeconds(health.since)));
        checks.push(match health.last_envelope_age {
            Some(age) if age < QUIET => {
                Check::new("envelopes", Well, format!("a new one {} ago", Passed(age)))
            }
            Some(age) => Check::new("envelopes", Note, format!("no new one for {}", Passed(age)))
                .hint("`gwa peers` shows who sends, `gwa gaps` what is missing"),
            None => Check::new(
                "envelopes",
                Note,
                format!("none came since the start, {running} ago"),
            )
            .hint("`--peer ENODE` or `--bootnode ENODE` leads to nodes that have some"),
        });
        // Who is followed is a way in, too.
        let is_fed = health.follows > 0 && health.follow_error.is_none();
        checks.push(match health.peers {
            0 if is_fed => Check::new("peers", Well, "none; what is new comes by following"),
            0 => Check::new("peers", Note, "nobody is connected").hint(
                "`--peer ENODE`, `--bootnode ENODE`; `gwa peers --why` tells who was dropped",
            ),
            _ => Check::new("peers", Well, peers.to_string()),
        });
    } else {
        checks.push(Check::new("peers", Well, peers.to_string()));
    }
    checks.push(match &health.head {
        Some(head) => Check::new("head", Well, head),
        None => Check::new("head", Note, "none: nothing was sealed yet"),
    });
    if let Some(error) = &health.store_error {
        let since = health.store_failing_since;
        let since = since.map(|at| Passed(now.since(UnixSeconds(at))));
        let says = match since {
            Some(since) => format!("nothing can be carried there for {since}: {error}"),
            None => error.clone(),
        };
        checks.push(
            Check::new("store", Note, says)
                .hint("all is safe on this disk; `gwa store` shows what waits to be carried"),
        );
    }
    if let Some(error) = &health.name_error {
        checks.push(
            Check::new("name", Note, format!("leads to no newer head: {error}"))
                .hint("`gwa publish` tries again and says more"),
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn well() -> Health {
        Health {
            ok: true,
            error: None,
            since: NOW.0 - 7_200,
            takes_in: true,
            peers: 3,
            head: Some("bafy".to_owned()),
            store_error: None,
            store_failing_since: None,
            name_error: None,
            last_envelope_age: Some(12),
            follows: 0,
            follow_error: None,
            last_followed_age: None,
        }
    }

    fn states(health: &Health) -> Vec<(&'static str, State)> {
        let checks = checks(health, NOW);
        checks.iter().map(|check| (check.of, check.state)).collect()
    }

    #[test]
    fn a_daemon_at_work_is_well_in_every_respect() {
        let expected = ["archive", "envelopes", "peers", "head"].map(|of| (of, State::Well));
        assert_eq!(states(&well()), expected);
    }

    #[test]
    fn only_an_archive_that_takes_nothing_is_bad() {
        let alone = Health {
            peers: 0,
            head: None,
            last_envelope_age: None,
            store_error: Some("refused".to_owned()),
            store_failing_since: Some(NOW.0 - 60),
            name_error: Some("no node".to_owned()),
            ..well()
        };
        let noted = ["envelopes", "peers", "head", "store", "name"].map(|of| (of, State::Note));
        assert_eq!(states(&alone)[0], ("archive", State::Well));
        assert_eq!(states(&alone)[1..], noted);
        let full = Health {
            ok: false,
            error: Some("the archive fails to store envelopes".into()),
            ..well()
        };
        assert_eq!(states(&full)[0], ("archive", State::Bad));
    }

    #[test]
    fn a_mirror_misses_neither_envelopes_nor_peers() {
        let mirror = Health {
            takes_in: false,
            peers: 0,
            last_envelope_age: None,
            ..well()
        };
        let expected = ["archive", "peers", "head"].map(|of| (of, State::Well));
        assert_eq!(states(&mirror), expected);
    }

    #[test]
    fn a_mirror_whose_leader_is_away_or_refused_says_so() {
        let following = |error: Option<&str>, last| {
            let mirror = Health {
                takes_in: false,
                peers: 0,
                last_envelope_age: None,
                follows: 1,
                follow_error: error.map(str::to_owned),
                last_followed_age: last,
                ..well()
            };
            let told = checks(&mirror, NOW);
            assert_eq!(told[1].of, "following");
            (told[1].state, told[1].says.clone())
        };
        let refused = "head 7 goes back behind head 9";
        let (state, says) = following(Some(refused), Some(60));
        assert_eq!(state, State::Note);
        assert!(
            says.starts_with("not since ") && says.ends_with(refused),
            "{says}"
        );
        let (state, says) = following(Some("it is away"), None);
        assert_eq!(state, State::Note);
        assert!(says.starts_with("not since the start"), "{says}");
        assert_eq!(following(None, Some(60)).0, State::Well);
        assert_eq!(following(None, Some(2 * QUIET)).0, State::Note);
        assert_eq!(following(None, None).0, State::Note);
    }

    #[test]
    fn who_lives_by_following_misses_no_peers() {
        let fed = Health {
            peers: 0,
            follows: 1,
            last_followed_age: Some(20),
            ..well()
        };
        let expected = ["archive", "following", "envelopes", "peers", "head"];
        assert_eq!(states(&fed), expected.map(|of| (of, State::Well)));
        let deaf = Health {
            follow_error: Some("it is away".to_owned()),
            ..fed
        };
        let told = states(&deaf);
        assert!(told.contains(&("peers", State::Note)), "{told:?}");
    }

    #[test]
    fn an_hour_without_anything_new_is_noted() {
        let quiet = Health {
            last_envelope_age: Some(2 * QUIET),
            ..well()
        };
        let told = checks(&quiet, NOW);
        assert_eq!(told[1].state, State::Note);
        assert_eq!(told[1].says, "no new one for 2 h");
    }
}
