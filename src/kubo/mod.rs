//! A client of Kubo's RPC, as far as this program needs it.
//!
//! Always true:
//! - Every wait is bounded by a [`KuboLimits`], every answer by a named length; a
//!   file that goes there is streamed, and never whole in memory.
//! - What is asked for `offline` is answered by what the node has: it looks for
//!   nothing in the network.
//! - A password is in no message and no log.
//!
//! The same calls work at the proxy of IPFS Cluster, which answers some of them
//! itself. Source: <https://docs.ipfs.tech/reference/kubo/rpc/>.
//!
//! Elsewhere: an archive's files in a node (`depot::kubo`), a node as a source
//! (`sources::kubo`), names (`publish`).

mod answer;
mod auth;
mod blocks;
#[cfg(test)]
mod bounds;
mod error;
mod import;
mod limits;
mod names;
mod pins;
mod request;

pub use self::answer::Answer;
pub use self::auth::{AUTH_VARIABLE, Auth, AuthError};
pub use self::blocks::BlockStat;
pub use self::error::KuboError;
pub use self::import::{Imported, Part};
pub use self::limits::KuboLimits;
pub use self::names::{Id, RepoStat, Version};
pub use self::pins::{Depth, Pin, Pins, Update};

use url::Url;

/// Where a user names a node: stands before its URL.
pub const SCHEME: &str = "kubo:";

/// A node's RPC. Cheap to clone: clones share their connections.
///
/// Calls are asynchronous and want a runtime of tokio.
#[derive(Clone, Debug)]
pub struct Kubo {
    client: reqwest::Client,
    /// With a slash at its end.
    base: Url,
    auth: Option<Auth>,
    limits: KuboLimits,
}

impl Kubo {
    /// The node whose RPC is at `base`, `http://127.0.0.1:5001/` for one: without
    /// the path `api/v0/`. Nothing is asked yet.
    pub fn new(base: Url, auth: Option<Auth>, limits: KuboLimits) -> Result<Self, KuboError> {
        let mut base = base;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let client = crate::tls::http_client()
            .connect_timeout(limits.connect)
            .pool_idle_timeout(limits.keep_idle)
            .redirect(reqwest::redirect::Policy::none())
            // The node is where its user says, and a password goes nowhere else.
            .no_proxy()
            .user_agent(concat!("gwa/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| KuboError::Refused(innermost(&error)))?;
        Ok(Self {
            client,
            base,
            auth,
            limits,
        })
    }

    /// Where it is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// How it is named in messages: `kubo:http://127.0.0.1:5001`.
    pub fn name(&self) -> String {
        format!("{SCHEME}{}", self.base.as_str().trim_end_matches('/'))
    }

    /// Its limits.
    pub fn limits(&self) -> &KuboLimits {
        &self.limits
    }
}

/// What failed, without the layers that only say that something did.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
