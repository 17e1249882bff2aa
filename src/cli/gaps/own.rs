//! The own history, as far as this process may look at it.

use crate::archive::disk::{Archive, DiskError, PageRequest, Reader, kept_from, sealed_by};
use crate::archive::filter::{Filter, TopicFilter};
use crate::archive::head::Head;
use crate::archive::key::Key;
use crate::archive::query::Query;
use crate::cli::context::{Context, archive_failed, no_head, unreadable};
use crate::cli::error::CliError;
use crate::cli::store;
use crate::time::{TimeRange, UnixSeconds};

/// Records read at a time.
const PAGE: usize = 1_000;

/// The own history.
pub enum Own {
    /// All of it: nobody else writes.
    Whole(Box<Archive>),
    /// What its head seals: a daemon holds the rest.
    Sealed(Box<(Reader, Head)>),
}

impl Own {
    /// Opens the archive in the data folder; for writing if it `must_write`,
    /// else as well as it goes.
    pub fn open(context: &Context, must_write: bool) -> Result<Self, CliError> {
        let failed = |error: &DiskError| archive_failed("cannot open the archive", error);
        match context.sources.archive(&context.data) {
            Ok(archive) => Ok(Self::Whole(Box::new(archive))),
            Err(error @ DiskError::Locked { .. }) if must_write => {
                Err(archive_failed("cannot fill the gaps", &error)
                    .hint("stop the daemon first, or leave out `--fill`"))
            }
            Err(DiskError::Locked { .. }) => {
                let reader = Reader::open(&context.data).map_err(|error| failed(&error))?;
                let head = reader
                    .head()
                    .map_err(|error| failed(&error))?
                    .ok_or_else(|| no_head("the daemon has not sealed anything yet"))?;
                store::attach(reader.blocks(), &context.data, *head.key());
                context
                    .output
                    .story("a daemon holds the archive: only what is sealed is looked at");
                Ok(Self::Sealed(Box::new((reader, head))))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// The archive, where it may be written to.
    pub fn writable(&self) -> Option<&Archive> {
        match self {
            Self::Whole(archive) => Some(archive),
            Self::Sealed(_) => None,
        }
    }

    /// What of `range` it can speak of: it keeps nothing from before its
    /// retention, and is silent about what is not sealed where a daemon holds
    /// it.
    pub fn known(
        &self,
        range: TimeRange,
        context: &Context,
    ) -> Result<Option<TimeRange>, CliError> {
        let kept = kept_from(&context.data)
            .map_err(|error| archive_failed("cannot read the archive", &error))?;
        let to = match self {
            Self::Whole(_) => UnixSeconds::MAX,
            Self::Sealed(sealed) => sealed.1.body().watermark.at().saturating_sub(1),
        };
        let known = TimeRange::new(kept.range().from(), to).ok();
        Ok(known.and_then(|known| known.intersect(range)))
    }

    /// Calls `each` with every envelope sent in `range`.
    pub fn each(&self, range: TimeRange, mut each: impl FnMut(Key)) -> Result<(), CliError> {
        let filter = Filter {
            topics: TopicFilter::All,
            range,
        };
        match self {
            Self::Sealed(sealed) => {
                let (reader, head) = &**sealed;
                let failed = |error| unreadable("cannot read the archive", &error);
                let query =
                    Query::new(reader.blocks(), &sealed_by(head), filter).map_err(failed)?;
                for record in query {
                    each(record.map_err(failed)?.key);
                }
            }
            Self::Whole(archive) => {
                let mut after = None;
                loop {
                    let request = PageRequest {
                        filter: filter.clone(),
                        after,
                        limit: PAGE,
                    };
                    let page = archive
                        .page(&request)
                        .map_err(|error| archive_failed("cannot read the archive", &error))?;
                    for record in &page.records {
                        each(record.key);
                        after = Some((record.key.sent, record.key.hash));
                    }
                    if !page.more {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
