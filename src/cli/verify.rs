//! `gwa verify`: recomputes everything a head names.

use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use crate::archive::disk::sealed_by;
use crate::archive::held::Runs;
use crate::archive::verify::{Sample, Verified};
use crate::archive::watermark::Day;
use crate::cli::context::Context;
use crate::cli::elsewhere;
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::FromArgs;
use crate::sources::Reference;

/// Faults told one by one; the rest is counted.
const TOLD: usize = 20;

/// Arguments of `gwa verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The head to verify [default: the own head].
    #[arg(value_name = "REF")]
    reference: Option<Reference>,
    #[command(flatten)]
    from: FromArgs,
    /// Verify only this share of the days, chosen anew each time, as in 5%.
    #[arg(long, value_name = "SHARE")]
    sample: Option<Share>,
}

/// A share of the whole: above 0 %, at most 100 %.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share(f64);

/// A text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no share: expected a number above 0 and up to 100, and %, as in 5%")]
struct ParseShareError {
    text: String,
}

impl FromStr for Share {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix('%')
            .and_then(|number| number.parse::<f64>().ok())
            .filter(|percent| *percent > 0.0 && *percent <= 100.0)
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| ParseShareError {
                text: text.to_owned(),
            })
    }
}

/// What a verification found, as it is printed.
#[derive(Debug, Serialize)]
struct Row {
    head: String,
    days: u64,
    days_left_out: u64,
    envelopes: u64,
    bytes: u64,
    faults: usize,
    /// First and last day of each run of days that are no longer kept here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_held: Vec<[String; 2]>,
}

/// Prints what was recomputed; fails where anything does not hold.
pub fn run(args: &VerifyArgs, context: &mut Context) -> Result<(), CliError> {
    let reference = args.reference.clone().unwrap_or_default();
    context.sources.add_from(&args.from);
    let opened = context.head(&reference)?;
    let sample = match args.sample {
        None => Sample::EVERYTHING,
        Some(Share(share)) => {
            let seed = u64::from_le_bytes(crate::rlpx::random::random_bytes());
            Sample::new(share, seed).unwrap_or(Sample::EVERYTHING)
        }
    };
    let sample = sample.held_from(context.floor(&reference));
    let cid = *opened.head.cid();
    let sealed = sealed_by(&opened.head);
    let progress = context.progress();
    let verified =
        crate::archive::verify::verify(&*opened.source, &sealed, cid, sample, &*progress);
    drop(progress);

    let Verified {
        days,
        days_left_out,
        envelopes,
        bytes,
        faults,
        not_held,
        ..
    } = verified;
    let not_held: Vec<Day> = not_held.into_iter().collect();
    let runs: Runs = not_held.iter().copied().collect();
    let row = Row {
        head: cid.to_string(),
        days,
        days_left_out,
        envelopes,
        bytes,
        faults: faults.len(),
        not_held: runs
            .each()
            .map(|(first, last)| [first.to_string(), last.to_string()])
            .collect(),
    };
    let line = format!(
        "{cid} days {days} left out {days_left_out} envelopes {envelopes} bytes {bytes} faults {}",
        faults.len()
    );
    context.output.result(&row, line)?;
    for fault in faults.iter().take(TOLD) {
        context.output.story(format_args!("fault: {fault}"));
    }
    match faults.first() {
        None if not_held.is_empty() => Ok(()),
        None => Err(context
            .not_held(
                &opened,
                &not_held,
                "what is held verifies, the rest is not here",
            )
            .hint(format!(
                "their roots stand in the calendar, so whoever holds them can be checked; {}",
                elsewhere::hint(&context.data, &cid)
            ))),
        // A block that is missing leaves open what it would have been.
        Some(first) if faults.iter().all(crate::archive::ArchiveError::is_missing) => {
            Err(context.unreadable(&reference, format!("head {cid} is not all there"), first))
        }
        Some(first) => Err(CliError::new(
            Kind::Verification,
            format!("head {cid} does not verify: {} faults", faults.len()),
        )
        .because(first)
        .hint("`gwa fsck` names every damaged file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!("5%".parse(), Ok(Share(0.05)));
        assert_eq!("100%".parse(), Ok(Share(1.0)));
        for text in ["", "5", "0%", "101%", "-5%", "NaN%", "%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
