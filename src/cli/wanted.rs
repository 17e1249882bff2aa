//! Which envelopes a command is about: topics, chats, times.

use std::collections::BTreeSet;

use clap::Args;

use crate::archive::filter::{Filter, TopicFilter};
use crate::cli::error::{CliError, Kind};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::Topic;

/// The flags.
#[derive(Debug, Args)]
pub struct WantedArgs {
    /// A topic, 8 hex digits; more than one is meant as any of them.
    #[arg(long = "topic", value_name = "T", value_delimiter = ',')]
    topics: Vec<Topic>,
    /// A public chat, whose topic is meant.
    #[arg(long = "chat", value_name = "NAME")]
    chats: Vec<String>,
    /// Sent at this time or later: Unix seconds, RFC 3339 or a day.
    #[arg(long, value_name = "T", default_value = "0", hide_default_value = true)]
    from: UnixSeconds,
    /// Sent at this time or earlier.
    #[arg(
        long,
        value_name = "T",
        default_value = "4294967295",
        hide_default_value = true
    )]
    to: UnixSeconds,
}

impl WantedArgs {
    /// The public chats.
    pub fn chats(&self) -> &[String] {
        &self.chats
    }

    /// What they ask for: no topic at all means every one.
    pub fn filter(&self) -> Result<Filter, CliError> {
        let range = TimeRange::new(self.from, self.to)
            .map_err(|error| CliError::new(Kind::Usage, "no envelope can match").because(&error))?;
        let chats = self.chats.iter().map(|name| Topic::of_public_chat(name));
        let topics: BTreeSet<Topic> = self.topics.iter().copied().chain(chats).collect();
        let topics = if topics.is_empty() {
            TopicFilter::All
        } else {
            TopicFilter::Any(topics)
        };
        Ok(Filter { topics, range })
    }
}
