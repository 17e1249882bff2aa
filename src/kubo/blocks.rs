//! Single blocks, and DAGs in one piece.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use super::import::{Part, upload};
use super::{Answer, Kubo, KuboError};
use crate::blocks::{Block, Cid, Codec, MAX_BLOCK_READ};

/// What a node says of a block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BlockStat {
    /// Its CID.
    #[serde(rename = "Key", deserialize_with = "super::answer::cid")]
    pub cid: Cid,
    /// Its bytes.
    #[serde(rename = "Size")]
    pub bytes: u64,
}

#[derive(Deserialize)]
struct Put {
    #[serde(rename = "Key", deserialize_with = "super::answer::cid")]
    cid: Cid,
}

impl Kubo {
    /// The bytes of one block, not verified. Where it may look in the network, the
    /// node is told to give up in time for its answer to be heard.
    pub async fn block_get(&self, cid: &Cid, offline: bool) -> Result<Bytes, KuboError> {
        let call = self.call("block/get").arg(cid).when("offline", offline);
        let mut answer = self.within_patience(call, offline).send().await?;
        answer.whole(MAX_BLOCK_READ as u64).await
    }

    /// The length of one block.
    pub async fn block_stat(&self, cid: &Cid, offline: bool) -> Result<BlockStat, KuboError> {
        let call = self.call("block/stat").arg(cid).when("offline", offline);
        self.within_patience(call, offline)
            .send()
            .await?
            .json()
            .await
    }

    /// Stores one block; it is not pinned.
    pub async fn block_put(&self, block: &Block) -> Result<(), KuboError> {
        let codec = match Codec::of(block.cid()) {
            Some(Codec::DagCbor) => "dag-cbor",
            _ => "raw",
        };
        let call = self
            .call("block/put")
            .option("cid-codec", codec)
            .option("mhtype", "sha2-256");
        let parts = vec![Part::Bytes(block.bytes().clone())];
        let put: Put = upload(self, call, "block", parts, None)
            .await?
            .json()
            .await?;
        if put.cid != *block.cid() {
            return Err(KuboError::NotUnderstood(format!(
                "stored {} under {}",
                block.cid(),
                put.cid
            )));
        }
        Ok(())
    }

    /// Goes through the DAG below `root`, which has about `bytes`; an error where a
    /// block of it is not there.
    pub async fn dag_stat(&self, root: &Cid, bytes: u64) -> Result<(), KuboError> {
        self.dag_stat_within(root, self.limits().to_settle(bytes))
            .await
    }

    /// The same, as long as `patience` lasts and it comes further.
    pub(super) async fn dag_stat_within(
        &self,
        root: &Cid,
        patience: Duration,
    ) -> Result<(), KuboError> {
        let stall = self.limits().stall;
        let call = self
            .call("dag/stat")
            .arg(root)
            // It tells of each block, so that silence means something.
            .option("progress", true)
            .option("offline", true)
            .of_any_length();
        let going = async {
            let mut answer = call.send_within(stall).await?;
            loop {
                match timeout(stall, answer.chunk()).await {
                    Ok(Ok(Some(_))) => {}
                    Ok(ended) => return ended.map(drop),
                    Err(_) => {
                        let seconds = stall.as_secs_f64();
                        let text = format!("went no further through a DAG for {seconds} s");
                        return Err(KuboError::Away(text));
                    }
                }
            }
        };
        let gone = timeout(patience, going).await;
        gone.map_err(|_| {
            KuboError::Away(format!("went through no DAG in {} s", patience.as_secs()))
        })?
    }

    /// The DAG below `root` as a CAR: depth first, each block once. It ends with an
    /// error where a block is missing.
    pub async fn dag_export(&self, root: &Cid, offline: bool) -> Result<Answer, KuboError> {
        let call = self
            .call("dag/export")
            .arg(root)
            .option("progress", false)
            .when("offline", offline)
            .of_any_length();
        call.send().await
    }

    fn within_patience<'k>(
        &self,
        call: super::request::Call<'k>,
        offline: bool,
    ) -> super::request::Call<'k> {
        if offline {
            return call;
        }
        let patience = self.limits.idle.min(self.limits.answer).mul_f64(0.9);
        call.option("timeout", format!("{}ms", patience.as_millis()))
    }
}
