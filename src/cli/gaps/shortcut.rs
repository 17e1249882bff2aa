//! Comparing with another `gwa`: its archive tells over `gwa/1` which hours
//! differ, for some hundred bytes a day where nothing does. Only what is missing
//! here then has to be asked for as mail.
//!
//! Always true: a server that does not answer so is compared as any other is.

use std::sync::Arc;

use crate::archive::key::Key;
use crate::archive::watermark::Hour;
use crate::cli::mail::short;
use crate::reconcile::client::local_node;
use crate::reconcile::{ArchiveClient, ArchiveClientError, Difference, Refusal, Snapshot};
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, NodeKey};
use crate::time::TimeRange;

/// An hour, or part of one, that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differing {
    /// When.
    pub range: TimeRange,
    /// How many envelopes the server lacks; none where that is to be found out
    /// by asking for all it has of the hour.
    pub there: Option<u64>,
}

/// A link to one archiver, where it is one.
pub struct Shortcut {
    server: Enode,
    local: Arc<LocalNode>,
    link: Link,
}

enum Link {
    Untried,
    Open(Box<ArchiveClient>),
    None,
}

impl Shortcut {
    /// To `server`, not tried yet.
    pub fn new(server: Enode) -> Self {
        Self {
            server,
            local: Arc::new(local_node(NodeKey::generate())),
            link: Link::Untried,
        }
    }

    /// What of `range`, of which `keys` are held here, the server holds
    /// otherwise; `None` where it does not tell.
    pub async fn differing(&mut self, range: TimeRange, keys: &[Key]) -> Option<Vec<Differing>> {
        match self.try_differing(range, keys).await {
            Ok(differing) => Some(differing),
            Err(error) => {
                tracing::debug!(server = %short(&self.server), %error, "not compared over gwa/1");
                self.link = Link::None;
                None
            }
        }
    }

    async fn try_differing(
        &mut self,
        range: TimeRange,
        keys: &[Key],
    ) -> Result<Vec<Differing>, ArchiveClientError> {
        if let Link::Untried = self.link {
            let client = ArchiveClient::connect(&self.server, &self.local, None).await?;
            self.link = Link::Open(Box::new(client));
        }
        let Link::Open(client) = &mut self.link else {
            return Err(ArchiveClientError::NoArchiver);
        };
        if let Some(difference) = compare(client, range, keys).await?
            && is_none(&difference)
        {
            return Ok(Vec::new());
        }
        let mut differing = Vec::new();
        for hour in hours(range) {
            let difference = compare(client, hour, keys).await?;
            let there = difference
                .as_ref()
                .filter(|found| found.need.is_empty() && !found.cut_short)
                .map(|found| u64::try_from(found.have.len()).unwrap_or(u64::MAX));
            if !difference.as_ref().is_some_and(is_none) {
                differing.push(Differing { range: hour, there });
            }
        }
        Ok(differing)
    }
}

fn is_none(difference: &Difference) -> bool {
    difference.have.is_empty() && difference.need.is_empty() && !difference.cut_short
}

/// `None` where either side holds too much of the range to compare it at once.
async fn compare(
    client: &mut ArchiveClient,
    range: TimeRange,
    keys: &[Key],
) -> Result<Option<Difference>, ArchiveClientError> {
    let Some(snapshot) = Snapshot::new(range, keys.iter().copied()) else {
        return Ok(None);
    };
    match client.difference(Arc::new(snapshot)).await {
        Ok(difference) => Ok(Some(difference)),
        Err(ArchiveClientError::Refused(Refusal::TooMany)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The hours of a range, the first and the last cut to it.
fn hours(range: TimeRange) -> impl Iterator<Item = TimeRange> {
    let first = Hour::of(range.from()).0;
    let last = Hour::of(range.to()).0;
    (first..=last).filter_map(move |hour| range.intersect(Hour(hour).range()))
}
