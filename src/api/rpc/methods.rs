//! The methods there are, and what each needs.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::Value;

use crate::api::access::Grant;
use crate::api::rpc::args::Args;
use crate::api::rpc::context::Context;
use crate::api::rpc::fault::Fault;

/// What calling each method needs.
pub(super) type Needs = HashMap<&'static str, Grant>;

/// What a method answers.
pub(super) type Answer = Result<Value, Fault>;

/// Methods on their way into a server.
pub(super) struct Methods {
    pub(super) module: RpcModule<Context>,
    pub(super) needs: Needs,
}

impl Methods {
    /// None yet.
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self {
            module: RpcModule::from_arc(context),
            needs: Needs::new(),
        }
    }

    /// Adds the method `name`, which takes at most `most` arguments.
    pub(super) fn add<Fut>(
        &mut self,
        name: &'static str,
        needs: Grant,
        most: usize,
        method: impl Fn(Arc<Context>, Args) -> Fut + Clone + Send + Sync + 'static,
    ) where
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.needs.insert(name, needs);
        self.module
            .register_async_method(name, move |params, context, _| {
                let args = Args::read(&params, most);
                let answer = args.map(|args| method(Arc::clone(&context), args));
                async move { answer?.await.map_err(ErrorObjectOwned::from) }
            })
            .expect("each name is registered once");
    }
}
