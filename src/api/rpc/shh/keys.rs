//! Keys: made, taken in, shown, forgotten.
//!
//! Always true: keys live in memory alone and go with the daemon, as geth's do.

use std::sync::Arc;

use secp256k1::PublicKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::access::Grant;
use crate::api::rpc::args::Args;
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::api::rpc::methods::{Answer, Methods};
use crate::whisper::service::{Id, KeyError};

pub(super) fn register(methods: &mut Methods) {
    let all = Grant::All;
    methods.add("shh_newKeyPair", all, 0, |context, _| async move {
        named(context.keys().new_pair())
    });
    methods.add("shh_addPrivateKey", all, 1, |context, args| async move {
        let bytes = Zeroizing::new(args.data(0)?);
        named(context.keys().add_private_key(&bytes))
    });
    methods.add("shh_deleteKeyPair", all, 1, |context, args| async move {
        let id = args.text(0)?;
        context.keys().delete_pair(&id).map_err(Fault::because)?;
        Ok(json!(true))
    });
    methods.add("shh_hasKeyPair", all, 1, |context, args| async move {
        Ok(json!(context.keys().has_pair(&args.text(0)?)))
    });
    methods.add("shh_getPublicKey", all, 1, |context, args| async move {
        let key = context.keys().public_key(&args.text(0)?);
        Ok(public(&key.map_err(Fault::because)?))
    });
    methods.add("shh_getPrivateKey", all, 1, |context, args| async move {
        let key = context.keys().private_key(&args.text(0)?);
        let key = key.map_err(Fault::because)?;
        Ok(hex_data::write(key.as_secret_bytes()))
    });
    methods.add("shh_newSymKey", all, 0, |context, _| async move {
        named(context.keys().new_sym_key())
    });
    methods.add("shh_addSymKey", all, 1, |context, args| async move {
        let bytes = Zeroizing::new(args.data(0)?);
        named(context.keys().add_sym_key(&bytes))
    });
    methods.add("shh_generateSymKeyFromPassword", all, 1, from_password);
    methods.add("shh_hasSymKey", all, 1, |context, args| async move {
        Ok(json!(context.keys().has_sym_key(&args.text(0)?)))
    });
    methods.add("shh_getSymKey", all, 1, |context, args| async move {
        let keys = context.keys();
        let key = keys.sym_key(&args.text(0)?).map_err(Fault::because)?;
        Ok(hex_data::write(key.secret_bytes()))
    });
    methods.add("shh_deleteSymKey", all, 1, |context, args| async move {
        Ok(json!(context.keys().delete_sym_key(&args.text(0)?)))
    });
}

fn named(id: Result<Id, KeyError>) -> Answer {
    let id = id.map_err(Fault::because)?;
    Ok(json!(id.to_string()))
}

/// A public key as clients read it: 04 and both coordinates.
pub(super) fn public(key: &PublicKey) -> Value {
    hex_data::write(&key.serialize_uncompressed())
}

async fn from_password(context: Arc<Context>, args: Args) -> Answer {
    let password = Zeroizing::new(args.text(0)?);
    let derived = context.workshop.derive(password).await;
    let key = derived.ok_or_else(|| Fault::because("the node ends"))?;
    named(context.keys().insert_sym_key(key))
}
