//! Waiting for messages: filters to be asked, and subscriptions that tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use jsonrpsee::core::to_json_raw_value;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use serde_json::{Value, json};

use crate::api::access::Grant;
use crate::api::rpc::args::{Args, Object};
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::api::rpc::methods::{Answer, Methods};
use crate::api::rpc::shh::message;
use crate::api::rpc::{NOTIFICATION, SUBSCRIBE, UNSUBSCRIBE};
use crate::whisper::service::post::public_key;
use crate::whisper::service::{Criteria, Id, ReadingKey};
use crate::whisper::{Pow, Topic};

/// What there is to subscribe to.
const MESSAGES: &str = "messages";

pub(super) fn register(methods: &mut Methods) {
    let all = Grant::All;
    methods.add("shh_newMessageFilter", all, 1, new_message_filter);
    methods.add("shh_getFilterMessages", all, 1, get_filter_messages);
    methods.add("shh_deleteMessageFilter", all, 1, delete_message_filter);
    // status-go's second name for it.
    methods.add("shh_uninstallFilter", all, 1, delete_message_filter);
    methods.needs.insert(SUBSCRIBE, all);
    methods.needs.insert(UNSUBSCRIBE, all);
    methods
        .module
        .register_subscription(
            SUBSCRIBE,
            NOTIFICATION,
            UNSUBSCRIBE,
            |params, pending, context, _| subscribe(params, pending, context),
        )
        .expect("each name is registered once");
}

/// What a client waits for, as it writes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    sym_key_id: String,
    private_key_id: String,
    signer: Vec<u8>,
    min_pow: f64,
    topics: Vec<Topic>,
    allow_p2p: bool,
}

impl Wanted {
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let object = Object::read(value, "whisperv6", "Criteria")?;
        Ok(Self {
            sym_key_id: object.text("symKeyID")?,
            private_key_id: object.text("privateKeyID")?,
            signer: object.data("sig")?,
            min_pow: object.float("minPow")?,
            topics: object.list("topics", "[]whisperv6.TopicType", hex_data::read_topic)?,
            allow_p2p: object.bool("allowP2P")?,
        })
    }

    /// Checked in geth's order. A subscription wants topics with a symmetric key
    /// and says differently that a private key is not there.
    fn criteria(self, context: &Context, is_subscription: bool) -> Result<Criteria, Fault> {
        if self.sym_key_id.is_empty() == self.private_key_id.is_empty() {
            let text = "specify either a symmetric or an asymmetric key";
            return Err(Fault::because(text));
        }
        let signer = match self.signer.as_slice() {
            [] => None,
            bytes => Some(
                public_key(bytes).ok_or_else(|| Fault::because("invalid signing public key"))?,
            ),
        };
        let keys = context.keys();
        let key = if self.private_key_id.is_empty() {
            if is_subscription && self.topics.is_empty() {
                return Err(Fault::because("missing topic(s)"));
            }
            let key = keys.sym_key(&self.sym_key_id).map_err(Fault::because)?;
            ReadingKey::Holder(key.clone())
        } else {
            let key = keys.private_key(&self.private_key_id).map_err(|error| {
                if is_subscription {
                    Fault::because("invalid public key")
                } else {
                    Fault::because(error)
                }
            })?;
            ReadingKey::Owner(Box::new(key))
        };
        Ok(Criteria {
            key,
            topics: self.topics.into_iter().collect::<BTreeSet<Topic>>(),
            signer,
            min_pow: Pow::new(self.min_pow).unwrap_or(Pow::ZERO),
            allow_p2p: self.allow_p2p,
        })
    }
}

/// Waits for what the argument at `at` describes.
fn add(context: &Context, args: &Args, at: usize, is_subscription: bool) -> Result<Id, Fault> {
    let wanted = args.required(at)?.read(Wanted::read)?;
    let criteria = wanted.criteria(context, is_subscription)?;
    context.waiting.add(criteria).map_err(Fault::because)
}

async fn new_message_filter(context: Arc<Context>, args: Args) -> Answer {
    let id = add(&context, &args, 0, false)?;
    Ok(json!(id.to_string()))
}

async fn get_filter_messages(context: Arc<Context>, args: Args) -> Answer {
    let id = args.text(0)?.parse().ok();
    let found = id.and_then(|id: Id| context.waiting.take(&id));
    let found = found.ok_or_else(|| Fault::because("filter not found"))?;
    Ok(found.iter().map(|found| message::object(found)).collect())
}

async fn delete_message_filter(context: Arc<Context>, args: Args) -> Answer {
    let id = args.text(0)?.parse().ok();
    if id.is_some_and(|id: Id| context.waiting.remove(&id)) {
        Ok(json!(true))
    } else {
        Err(Fault::because("Unsubscribe: Invalid ID"))
    }
}

async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
) {
    match wanted(&params, &context) {
        Err(fault) => pending.reject(ErrorObjectOwned::from(fault)).await,
        Ok(id) => {
            if let Ok(sink) = pending.accept().await {
                tell(&context, &id, &sink).await;
            }
            context.waiting.remove(&id);
        }
    }
}

fn wanted(params: &Params<'_>, context: &Context) -> Result<Id, Fault> {
    let args = Args::read(params, 2)?;
    let name = args.text(0)?;
    if name != MESSAGES {
        return Err(Fault::NoSubscription(name));
    }
    add(context, &args, 1, true)
}

/// Tells a subscriber what its filter finds, until it or the daemon leaves.
async fn tell(context: &Context, id: &Id, sink: &SubscriptionSink) {
    let mut found = context.waiting.found();
    loop {
        for message in context.waiting.take(id).unwrap_or_default() {
            let Ok(json) = to_json_raw_value(&message::object(&message)) else {
                continue;
            };
            if sink.send(json).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sink.closed() => return,
            () = context.waiting.ended() => return,
            changed = found.changed() => if changed.is_err() { return },
        }
    }
}
