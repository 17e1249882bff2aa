//! What `gwa serve` follows, and where it looks for blocks it lacks.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::archive::disk::{Archive, Origin};
use crate::archive::head::Head;
use crate::blocks::BlockSource;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::reference::Reference;
use crate::cli::sources::Sources;
use crate::config::Span;
use crate::node::follow::{DEFAULT_EVERY, Following, Leader};

/// Arguments of what is followed.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Unite the archive at REF with this one, again and again; may be given more than
    /// once. A mirror follows its own source without it.
    #[arg(long, env = "GWA_FOLLOW", value_name = "REF", value_delimiter = ',')]
    follow: Vec<Reference>,
    /// How often to ask for new heads [default: 1m].
    #[arg(long, env = "GWA_FOLLOW_EVERY", value_name = "SPAN")]
    follow_every: Option<Span>,
    /// Leave the history that a fork rests on where it is, and fetch of it what is asked
    /// for.
    #[arg(long, env = "GWA_LAZY")]
    lazy: bool,
}

impl FollowArgs {
    /// What to follow, the archive's own origin first.
    pub fn following(&self, archive: &Archive, context: &Context) -> Following {
        let origin = archive.origin().filter(|origin| {
            // A fork whose history is here needs its source no more.
            archive.is_mirror() || (!origin.complete && !self.lazy)
        });
        let sources = Arc::new(context.sources.clone());
        let leader = |reference: Reference| {
            Arc::new(Followed {
                name: reference.to_string(),
                reference,
                sources: Arc::clone(&sources),
                data: context.data.clone(),
            }) as Arc<dyn Leader>
        };
        Following {
            origin: origin.as_ref().and_then(place).map(leader),
            others: self.follow.iter().cloned().map(leader).collect(),
            every: self.follow_every.map_or(DEFAULT_EVERY, |span| span.0),
            complete: !self.lazy,
        }
    }
}

/// Where an origin is to be had, as far as that can be read. One place is enough
/// to learn the newest head.
fn place(origin: &Origin) -> Option<Reference> {
    origin.sources.iter().find_map(|place| place.parse().ok())
}

/// Whoever a REF names.
struct Followed {
    name: String,
    reference: Reference,
    sources: Arc<Sources>,
    data: PathBuf,
}

impl Leader for Followed {
    fn name(&self) -> &str {
        &self.name
    }

    fn latest(&self) -> Result<(Head, Arc<dyn BlockSource>), Box<dyn Error + Send + Sync>> {
        let told = |error: CliError| Box::<dyn Error + Send + Sync>::from(error.brief());
        let (head, pool) = self
            .sources
            .open_head(&self.reference, &self.data)
            .map_err(told)?;
        Ok((head, Arc::new(pool)))
    }
}
