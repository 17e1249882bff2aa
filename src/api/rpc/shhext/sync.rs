//! `shhext_syncMessages`: takes into the archive what another mailserver holds.
//!
//! Always true: what is taken is durable before its cursor is told, and a call
//! ends within [`CALL_TIME`]; the cursor leads on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::rpc::args::{Args, Object, enode};
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::api::rpc::methods::Answer;
use crate::api::rpc::shhext::request::cursor;
use crate::mailserver::Cursor;
use crate::mailserver::sync::client::{SyncClient, SyncError};
use crate::mailserver::sync::{MAX_SYNC_LIMIT, SyncRequest};
use crate::reconcile::check::Standard;
use crate::reconcile::client::local_node;
use crate::rlpx::{Enode, NodeKey};
use crate::time::{TimeRange, UnixSeconds};
use crate::whisper::{Bloom, Envelope, Pow, Topic};

/// After this no further page is asked for. With the longest wait for a page it
/// is within the time of a call.
const CALL_TIME: Duration = Duration::from_secs(40);

/// Whoever has the token has named the mailserver: what it has is taken, whatever
/// work it shows.
const TRUSTED: Standard = Standard { min_pow: Pow::ZERO };

/// What is asked for.
struct Wanted {
    server: Enode,
    page: SyncRequest,
    follow: bool,
}

/// The members as they came.
struct Members {
    server: String,
    from: u32,
    to: u32,
    limit: u32,
    cursor: String,
    follow: bool,
    topics: Vec<Topic>,
}

impl Members {
    fn read(value: &Value) -> Result<Self, String> {
        let object = Object::read(value, "shhext", "SyncMessagesRequest")?;
        Ok(Self {
            server: object.text("mailServerPeer")?,
            from: object.u32("from")?,
            to: object.u32("to")?,
            limit: object.u32("limit")?,
            cursor: object.text("cursor")?,
            follow: object.bool("followCursor")?,
            topics: object.list("topics", "[]types.TopicType", hex_data::read_topic)?,
        })
    }

    /// What they mean at `now`. No end means now, no limit the most there is, no
    /// topics all of them.
    fn wanted(self, now: UnixSeconds) -> Result<Wanted, Fault> {
        let server = enode(&self.server).map_err(|fault| match fault {
            Fault::Handler(why) => Fault::because(format!("invalid mailServerPeer value: {why}")),
            other => other,
        })?;
        let to = if self.to == 0 {
            now
        } else {
            UnixSeconds(self.to)
        };
        let range = TimeRange::new(UnixSeconds(self.from), to).map_err(|error| {
            let (from, to) = (error.from.0, error.to.0);
            Fault::because(format!("Query range is invalid: from > to ({from} > {to})"))
        })?;
        let limit = match self.limit {
            0 => MAX_SYNC_LIMIT,
            limit if limit <= MAX_SYNC_LIMIT => limit,
            _ => {
                let text = format!("invalid 'Limit' value, expected at most {MAX_SYNC_LIMIT}");
                return Err(Fault::because(text));
            }
        };
        let topics = if self.topics.is_empty() {
            Bloom::FULL
        } else {
            Bloom::of_topics(self.topics)
        };
        let page = SyncRequest {
            range,
            topics,
            limit,
            cursor: cursor(&self.cursor)?,
        };
        Ok(Wanted {
            server,
            page,
            follow: self.follow,
        })
    }
}

/// Reads a request out of `value`: for fuzzing.
pub(super) fn read_any(value: &Value, now: UnixSeconds) {
    let _ = Members::read(value).map(|members| members.wanted(now));
}

/// Takes one page, or all of them.
pub(super) async fn sync_messages(context: Arc<Context>, args: Args) -> Answer {
    let members = args.required(0)?.read(Members::read)?;
    let wanted = members.wanted(context.node.now())?;
    let started = Instant::now();
    // A link of its own, under a key of its own: the node's link goes on with
    // what it does.
    let local = Arc::new(local_node(NodeKey::generate()));
    let mut client = SyncClient::connect(&wanted.server, &local)
        .await
        .map_err(Fault::because)?;
    let mut page = wanted.page;
    let error = loop {
        let (next, error) = match client.page(page).await {
            Err(error) => (page.cursor, Some(error.to_string())),
            Ok(taken) => match store(&context, taken.envelopes).await {
                Ok(()) => (taken.next, None),
                Err(error) => (page.cursor, Some(error)),
            },
        };
        // A cursor that goes back would be followed for ever.
        let leads_on = next > page.cursor;
        page.cursor = next;
        if error.is_some() || !wanted.follow || next.is_none() || started.elapsed() > CALL_TIME {
            break error;
        }
        if !leads_on {
            break Some(SyncError::Cursor.to_string());
        }
    };
    client.close().await;
    let cursor = page.cursor.as_ref().map(Cursor::to_string);
    Ok(json!({
        "cursor": cursor.unwrap_or_default(),
        "error": error.unwrap_or_default(),
    }))
}

async fn store(context: &Context, mut envelopes: Vec<Envelope>) -> Result<(), String> {
    let now = context.node.now();
    envelopes.retain(|envelope| TRUSTED.judge(envelope, now).is_ok());
    let archive = Arc::clone(&context.archive);
    match tokio::task::spawn_blocking(move || archive.append(&envelopes)).await {
        Ok(stored) => stored.map(drop).map_err(|error| error.to_string()),
        Err(panicked) => Err(panicked.to_string()),
    }
}
