//! What a node says of itself, and names.

use bytes::Bytes;
use serde::Deserialize;

use super::import::{Part, upload};
use super::{Kubo, KuboError};

/// Longest record of a name that is taken from a node, in bytes: the specification
/// of IPNS allows 10 KiB.
const LONGEST_RECORD: usize = 10 << 10;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Id {
    /// Its peer ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Multiaddresses at which peers reach it.
    #[serde(rename = "Addresses", default)]
    pub addresses: Vec<String>,
    /// The program, `kubo/0.43.0` for one.
    #[serde(rename = "AgentVersion", default)]
    pub agent: String,
}

/// Which program answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Its version, `0.43.0` for one.
    #[serde(rename = "Version")]
    pub version: String,
}

/// How full a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RepoStat {
    /// Bytes that its repository has.
    #[serde(rename = "RepoSize")]
    pub bytes: u64,
    /// Bytes that its owner lets it have; 0 where nothing is said.
    #[serde(rename = "StorageMax", default)]
    pub most: u64,
    /// Whether a cluster of nodes answered for all of them.
    #[serde(skip)]
    pub of_cluster: bool,
}

#[derive(Deserialize)]
struct Resolved {
    #[serde(rename = "Path")]
    path: String,
}

#[derive(Deserialize)]
struct Event {
    /// Of what happens while a value is looked for, 5 is the value.
    #[serde(rename = "Type")]
    kind: u32,
    #[serde(rename = "Extra", default)]
    extra: String,
}

/// [`Event::kind`] of an event that brings the value.
const VALUE: u32 = 5;

impl Kubo {
    /// Who it is.
    pub async fn id(&self) -> Result<Id, KuboError> {
        self.call("id").send().await?.json().await
    }

    /// Which program answers.
    pub async fn version(&self) -> Result<Version, KuboError> {
        self.call("version").send().await?.json().await
    }

    /// How full it is.
    pub async fn repo_stat(&self) -> Result<RepoStat, KuboError> {
        let call = self.call("repo/stat").option("size-only", true);
        let mut answer = call.send().await?;
        let stat: RepoStat = answer.json().await?;
        Ok(RepoStat {
            of_cluster: answer.is_cluster(),
            ..stat
        })
    }

    /// Stores a value in the routing system: a record of IPNS under `/ipns/NAME`,
    /// which the node verifies. One that knows no peers keeps it for itself.
    ///
    /// It answers once the peers have it, and breaks off where nobody waits for that.
    pub async fn routing_put(&self, key: &str, value: Bytes) -> Result<(), KuboError> {
        let call = self
            .call("routing/put")
            .arg(key)
            .option("allow-offline", true);
        let settle = Some(self.limits().routing);
        let value = vec![Part::Bytes(value)];
        let mut answer = upload(self, call, "value", value, settle).await?;
        // Events without end may come; what matters is that they end well.
        while answer.chunk().await?.is_some() {}
        Ok(())
    }

    /// The best value that the routing system knows under a key: a record of IPNS
    /// under `/ipns/NAME`, which is to be verified again.
    pub async fn routing_get(&self, key: &str) -> Result<Bytes, KuboError> {
        let mut value = None;
        self.call("routing/get")
            .arg(key)
            .send()
            .await?
            .lines(|event: Event| {
                if event.kind == VALUE {
                    value = Some(event.extra);
                }
                Ok(())
            })
            .await?;
        let coded = value.ok_or_else(|| KuboError::Missing(format!("no value for {key}")))?;
        let not_understood = || KuboError::NotUnderstood(format!("the value for {key}"));
        let value = multibase::Base::Base64Pad
            .decode(&coded)
            .map_err(|_| not_understood())?;
        if value.len() > LONGEST_RECORD {
            return Err(not_understood());
        }
        Ok(value.into())
    }

    /// The path that a name leads to, `/ipfs/CID` for one: the node looks it up,
    /// its cache left aside.
    pub async fn name_resolve(&self, name: &str) -> Result<String, KuboError> {
        let call = self
            .call("name/resolve")
            .arg(name)
            .option("nocache", true)
            .option("recursive", true);
        let resolved: Resolved = call.send().await?.json().await?;
        Ok(resolved.path)
    }
}
