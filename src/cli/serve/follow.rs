//! What `gwa serve` follows, and where it looks for blocks it lacks.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;

use crate::archive::disk::Archive;
use crate::archive::head::Head;
use crate::blocks::BlockSource;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::sources::{Lead, Sources};
use crate::config::{Settings, Span};
use crate::node::follow::{Following, Leader};
use crate::sources::Reference;

/// Arguments of what is followed.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Unite the archive at REF with this one, again and again; may be given more than
    /// once. A mirror follows its own source without it.
    #[arg(
        long,
        env = "GWA_FOLLOW",
        value_name = "REF",
        value_delimiter = ',',
        hide_env_values = true
    )]
    follow: Vec<Reference>,
    /// How often to ask for new heads [default: 1m].
    #[arg(long, env = "GWA_FOLLOW_EVERY", value_name = "SPAN")]
    pub follow_every: Option<Span>,
    /// Leave the history that a fork rests on where it is, and fetch of it what is asked
    /// for.
    #[arg(long, env = "GWA_LAZY", num_args = 0..=1, default_missing_value = "true", value_name = "true|false")]
    pub lazy: Option<bool>,
}

impl FollowArgs {
    /// The REFs; `None` where none is given.
    pub fn follow(&self) -> Option<Vec<Reference>> {
        (!self.follow.is_empty()).then(|| self.follow.clone())
    }
}

/// What to follow, the archive's own origin first.
pub fn following(
    settings: &Settings,
    archive: &Archive,
    context: &Context,
) -> Result<Following, CliError> {
    let data = &context.data;
    let sources = Arc::new(context.sources.apart());
    let leader = |name: String, lead: Lead| {
        Arc::new(Followed {
            name,
            lead: Mutex::new(lead),
            sources: Arc::clone(&sources),
        }) as Arc<dyn Leader>
    };
    let origin = match archive.origin() {
        Some(origin) if origin.sources.is_empty() || archive.is_replica() => None,
        Some(origin) if archive.is_mirror() => {
            Some((sources.lead_of_mirror(&origin, data)?, origin))
        }
        // A fork whose history is here needs its source no more.
        Some(origin) if !origin.complete && !settings.lazy => match archive.head() {
            Some(head) => Some((sources.lead_of_fork(head, data)?, origin)),
            None => None,
        },
        _ => None,
    };
    let mut others = Vec::new();
    for reference in &settings.follow {
        let lead = sources.lead(reference, data)?;
        others.push(leader(reference.to_string(), lead));
    }
    Ok(Following {
        origin: origin.map(|(lead, origin)| leader(origin.sources.join(", "), lead)),
        others,
        every: settings.follow_every,
        complete: !settings.lazy,
    })
}

/// Whoever is followed.
struct Followed {
    name: String,
    lead: Mutex<Lead>,
    sources: Arc<Sources>,
}

impl Leader for Followed {
    fn name(&self) -> &str {
        &self.name
    }

    fn latest(&self) -> Result<(Head, Arc<dyn BlockSource>), Box<dyn Error + Send + Sync>> {
        let mut lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        let (head, pool) = lead.latest().map_err(|error| error.brief())?;
        Ok((head, pool))
    }

    fn is_verified(&self, head: &Head) {
        let lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        lead.is_verified(head);
    }

    fn end(&self) {
        self.sources.close();
    }
}
