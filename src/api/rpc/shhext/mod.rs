//! `shhext_*`: asking mailservers for history, as status-go's clients do.
//!
//! What a mailserver delivers reaches filters that allow it (`allowP2P`), and no
//! others.

pub(super) mod asked;
mod request;
mod sync;

use std::sync::Arc;
use std::time::{Duration, Instant};

use secp256k1::SecretKey;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api::access::Grant;
use crate::api::rpc::args::{Args, enode};
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::api::rpc::methods::{Answer, Methods};
use crate::api::rpc::shh;
use crate::mailserver::MailRequest;
use crate::mailserver::request::{ListForm, RequestId};
use crate::mailserver::response::Completion;
use crate::rlpx::NodeId;
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::message::{MessageRandom, Reader, seal};
use crate::whisper::mining::Template;
use crate::whisper::service::Composed;
use crate::whisper::{Envelope, Pow, Topic};

pub(super) use request::cursor;
use request::{Members, Retries, Wanted};

/// The lifetime of a request's envelope (status-go).
const REQUEST_TTL: Ttl = Ttl(50);

/// How long a request is mined (status-go).
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// Reads whatever object a method here takes out of `value`: for fuzzing.
pub(super) fn read_any(value: &Value, now: UnixSeconds) {
    let asked = Members::read(value).map(|members| members.wanted(now));
    if let Ok(Ok(wanted)) = asked {
        assert!(wanted.query.range.from() <= wanted.query.range.to());
    }
    let _ = Retries::read(value).map(Retries::timeouts);
    sync::read_any(value, now);
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    let all = Grant::All;
    methods.add("shhext_post", all, 1, shh::post);
    methods.add("shhext_requestMessages", all, 1, request_messages);
    methods.add("shhext_requestMessagesSync", all, 2, request_messages_sync);
    methods.add("shhext_syncMessages", all, 1, sync::sync_messages);
}

async fn request_messages(context: Arc<Context>, args: Args) -> Answer {
    let members = args.required(0)?.read(Members::read)?;
    let wanted = members.wanted(context.node.now())?;
    let (asked, timeout) = (ask(&context, &wanted).await?, wanted.timeout);
    let id = hex_data::write(&asked.id.0);
    tokio::spawn(async move {
        // Nobody waits here; it is waited for so that it counts as under way.
        let _ = asked.end(timeout).await;
    });
    Ok(id)
}

async fn request_messages_sync(context: Arc<Context>, args: Args) -> Answer {
    let timeouts = args.required(0)?.read(Retries::read)?.timeouts()?;
    let members = args.required(1)?.read(Members::read)?;
    let attempts = timeouts.len();
    for timeout in timeouts {
        let wanted = members.clone().wanted(context.node.now())?;
        let asked = ask(&context, &wanted).await?;
        match asked.end(timeout).await {
            None => {}
            Some(Completion::Done { next, .. }) => {
                let cursor = next.map_or_else(String::new, |cursor| cursor.to_string());
                return Ok(json!({"cursor": cursor, "error": Value::Null}));
            }
            // status-go loses this text, and answers an empty object.
            Some(Completion::Failed { message, .. }) => {
                return Ok(json!({"cursor": "", "error": message}));
            }
        }
    }
    Err(Fault::because(format!(
        "failed to request messages after {attempts} retries"
    )))
}

/// A request that was sent; dropping it gives it up.
struct Sent {
    id: RequestId,
    context: Arc<Context>,
    told: oneshot::Receiver<Completion>,
}

impl Sent {
    /// How the answer ended, if it did in time.
    async fn end(mut self, timeout: Duration) -> Option<Completion> {
        let told = tokio::time::timeout(timeout, &mut self.told);
        told.await.ok()?.ok()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.context.waiting.forget(&self.id);
        self.context.asked.end(&self.id);
    }
}

/// Sends a request to a mailserver.
async fn ask(context: &Arc<Context>, wanted: &Wanted) -> Result<Sent, Fault> {
    let server = server(context, &wanted.server)?;
    let envelope = request_envelope(context, &server, wanted).await?;
    let id = RequestId::from(envelope.hash());
    context
        .asked
        .begin(id, wanted.topics.clone(), wanted.force, Instant::now())
        .map_err(Fault::because)?;
    let sent = Sent {
        id,
        context: Arc::clone(context),
        told: context.waiting.expect(id),
    };
    let request = MailRequest::Sealed(envelope);
    let asked = context.node.request_mail(&server, &request).await;
    asked.map_err(Fault::because)?;
    Ok(sent)
}

/// The mailserver that `text` names; where it names none, one that was marked
/// as trusted and is connected.
fn server(context: &Context, text: &str) -> Result<NodeId, Fault> {
    let invalid = |why: &str| Fault::because(format!("invalid mailServerPeer value: {why}"));
    if !text.is_empty() {
        return match enode(text) {
            Ok(enode) => Ok(enode.id),
            Err(Fault::Handler(why)) => Err(invalid(&why)),
            Err(other) => Err(other),
        };
    }
    let connected = context.node.peers();
    context
        .asked
        .trusted()
        .into_iter()
        .find(|id| connected.iter().any(|peer| peer.id == *id))
        .ok_or_else(|| invalid("no connected mail servers"))
}

async fn request_envelope(
    context: &Context,
    server: &NodeId,
    wanted: &Wanted,
) -> Result<Envelope, Fault> {
    let peers = context.node.peers();
    let name = peers.into_iter().find(|peer| peer.id == *server);
    let form = ListForm::of_server(name.as_ref().map_or("", |peer| &peer.client));
    let payload = wanted.query.encode(form);
    let signer: &SecretKey = context.signer.secret();
    let random = MessageRandom::draw();
    let sealed = if wanted.sym_key_id.is_empty() {
        let key = server.public_key().map_err(Fault::because)?;
        seal(&payload, Some(signer), Reader::Owner(&key), &random)
    } else {
        let keys = context.keys();
        let key = keys
            .sym_key(&wanted.sym_key_id)
            .map_err(|error| Fault::because(format!("invalid symKeyID value: {error}")))?;
        seal(&payload, Some(signer), Reader::Holders(key), &random)
    };
    let now = context.node.now();
    let template = Template {
        expiry: Expiry::of(now, REQUEST_TTL),
        ttl: REQUEST_TTL,
        topic: Topic::default(),
        data: sealed.expect("a query is far shorter than the longest payload"),
    };
    let work = context.node.rules().min_pow().max(Pow::STATUS_DEFAULT);
    let request = Composed {
        template,
        pow_time: REQUEST_TIME,
        pow_target: work.get(),
        target_peer: None,
    };
    let mined = context.workshop.mine(|| Ok(request)).await;
    mined.map_err(Fault::because)
}
