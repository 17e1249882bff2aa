//! The own history against what mailservers deliver, day by day.
//!
//! Always true: memory holds the hashes of one day, and one packet.

use std::collections::{BTreeMap, HashSet};

use crate::archive::watermark::{Day, Hour};
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::CliError;
use crate::cli::gaps::hours::Lack;
use crate::cli::gaps::own::Own;
use crate::cli::gaps::shortcut::{Differing, Shortcut};
use crate::cli::mail::{PAGE, short};
use crate::mailserver::client::history::{Event, History};
use crate::mailserver::client::{ClientError, Unasked};
use crate::mailserver::request::MailQuery;
use crate::progress::Progress;
use crate::time::{Clock, SystemClock, TimeRange};
use crate::whisper::{Bloom, Envelope, EnvelopeHash};

/// Envelopes that one server may bring to one day: some 200 MB of memory. Who
/// demands no work can be sent any number of invented ones.
const MAX_NEW: u32 = 2_000_000;

/// A server under comparison.
pub struct Server {
    /// What compares with it faster, where it is another `gwa`.
    pub shortcut: Shortcut,
    /// What asks it.
    pub history: History,
    /// Envelopes it delivered.
    pub envelopes: u64,
    /// Whether it ends answers without saying that they are complete.
    pub is_vague: bool,
    /// Why it is not asked any more.
    pub error: Option<ClientError>,
}

/// The comparison as it grows.
pub struct Comparison<'c> {
    pub own: &'c Own,
    pub servers: Vec<Server>,
    pub lacks: BTreeMap<Hour, Lack>,
    /// Whether what is missing here is archived.
    pub fill: bool,
    /// How many were.
    pub filled: u64,
    /// How many were too large, or older than what is kept.
    pub refused: u64,
}

/// What is asked for, a page at a time.
pub fn query(range: TimeRange) -> MailQuery {
    MailQuery {
        range,
        topics: Bloom::FULL,
        limit: PAGE,
        cursor: None,
        batch: true,
    }
}

impl Comparison<'_> {
    /// Compares a range, day by day.
    pub async fn compare(
        &mut self,
        range: TimeRange,
        context: &Context,
        progress: &dyn Progress,
    ) -> Result<(), CliError> {
        for day in days(range) {
            self.compare_day(day, context, progress).await?;
        }
        Ok(())
    }

    async fn compare_day(
        &mut self,
        range: TimeRange,
        context: &Context,
        progress: &dyn Progress,
    ) -> Result<(), CliError> {
        let mut own = Vec::new();
        self.own.each(range, |key| own.push(key))?;
        let hashes: HashSet<EnvelopeHash> = own.iter().map(|key| key.hash).collect();
        let mut missing_here = HashSet::new();
        for at in 0..self.servers.len() {
            if self.servers[at].error.is_some() {
                continue;
            }
            let whole = Differing { range, there: None };
            let differing = self.servers[at].shortcut.differing(range, &own).await;
            for part in differing.unwrap_or_else(|| vec![whole]) {
                if let Some(there) = part.there {
                    self.miss_there(at, Hour::of(part.range.from()), there);
                    continue;
                }
                self.servers[at].history.restart(query(part.range));
                let mut delivered = HashSet::new();
                let is_whole = self
                    .ask(at, context, progress, |found| {
                        let hash = found.hash();
                        if hashes.contains(&hash) {
                            delivered.insert(hash);
                            return false;
                        }
                        missing_here.insert((found.sent(), hash))
                    })
                    .await?;
                if !is_whole {
                    break;
                }
                let held = own.iter().filter(|key| part.range.contains(key.sent));
                for key in held.filter(|key| !delivered.contains(&key.hash)) {
                    self.miss_there(at, Hour::of(key.sent), 1);
                }
            }
        }
        for (sent, _) in missing_here {
            self.lacks.entry(Hour::of(sent)).or_default().here += 1;
        }
        Ok(())
    }

    fn miss_there(&mut self, at: usize, hour: Hour, count: u64) {
        let lack = self.lacks.entry(hour).or_default();
        lack.there.resize(self.servers.len(), 0);
        lack.there[at] += count;
    }

    /// Hands every envelope of a server to `is_new`, and archives those that are
    /// new, if that was asked for. Tells whether the answer was whole.
    async fn ask(
        &mut self,
        at: usize,
        context: &Context,
        progress: &dyn Progress,
        mut is_new: impl FnMut(&Envelope) -> bool,
    ) -> Result<bool, CliError> {
        let mut count = 0usize;
        loop {
            let server = &mut self.servers[at];
            match server.history.next().await {
                Ok(Event::Envelopes(envelopes)) => {
                    let bytes: usize = envelopes.iter().map(|e| e.rlp().len()).sum();
                    progress.advance(envelopes.len() as u64, bytes as u64);
                    server.envelopes += envelopes.len() as u64;
                    let new: Vec<_> = envelopes.into_iter().filter(|e| is_new(e)).collect();
                    count += new.len();
                    if u32::try_from(count).is_ok_and(|count| count <= MAX_NEW) {
                        self.store(&new)?;
                    } else {
                        let too_many = Unasked::Count { limit: MAX_NEW };
                        self.servers[at].error = Some(too_many.into());
                        return Ok(false);
                    }
                }
                Ok(Event::Page(end)) => server.is_vague |= !end.completed,
                Ok(Event::Lost { reason, pause }) => context.output.story(format_args!(
                    "{}: {reason}; trying again in {} s",
                    short(server.history.server()),
                    pause.as_secs()
                )),
                Ok(Event::Connected { .. } | Event::Asked(_)) => {}
                Ok(Event::End) => return Ok(true),
                Err(error) => {
                    server.error = Some(error);
                    return Ok(false);
                }
            }
        }
    }

    /// Takes envelopes in as an import does: neither age nor work is asked for.
    fn store(&mut self, envelopes: &[Envelope]) -> Result<(), CliError> {
        let Some(archive) = self.own.writable().filter(|_| self.fill) else {
            return Ok(());
        };
        let failed = |error| archive_failed("cannot store envelopes", &error);
        let appended = archive.append(envelopes).map_err(failed)?;
        self.filled += appended.stored;
        self.refused += appended.refused;
        let now = SystemClock.now();
        if archive.seal_is_due(now) {
            crate::archive::disk::seal_due(archive, now).map_err(failed)?;
        }
        Ok(())
    }
}

/// The days of a range, the first and the last cut to it.
pub fn days(range: TimeRange) -> impl Iterator<Item = TimeRange> {
    let first = Day::of(range.from()).0;
    let last = Day::of(range.to()).0;
    (first..=last).filter_map(move |day| range.intersect(Day(day).range()))
}

/// How many days a range touches.
pub fn day_count(range: TimeRange) -> u64 {
    let first = Day::of(range.from()).0;
    u64::from(Day::of(range.to()).0 - first) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{DAY, UnixSeconds};

    #[test]
    fn days_cover_a_range_and_no_more() {
        let range = TimeRange::new(UnixSeconds(DAY - 5), UnixSeconds(2 * DAY)).unwrap();
        let covered: Vec<_> = days(range).map(|day| (day.from().0, day.to().0)).collect();
        let expected = [(DAY - 5, DAY - 1), (DAY, 2 * DAY - 1), (2 * DAY, 2 * DAY)];
        assert_eq!(covered, expected);
        assert_eq!(day_count(range), 3);
    }
}
