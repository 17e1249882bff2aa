//! Who gives records of names. None is trusted: a record is checked whoever gave it.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};

use crate::publish::ipns::{MAX_RECORD, Name};
use crate::sources::HttpSource;
use crate::sources::gateway::below;
use crate::sources::net::NetError;

/// Media type of a record.
const RECORD: &str = "application/vnd.ipfs.ipns-record";

/// A record as it came, `None` where there is none; or why nobody knows.
pub type Giving<'a> = Pin<Box<dyn Future<Output = Result<Option<Bytes>, String>> + Send + 'a>>;

/// Somebody who may have records of names: a gateway, a node of IPFS, the DHT.
pub trait RecordGiver: Send + Sync {
    /// What it is, as its user named it.
    fn name(&self) -> &str;

    /// The newest record of `name` that it has. It bounds by itself how long it waits.
    fn record<'a>(&'a self, name: &'a Name) -> Giving<'a>;
}

/// Any trustless gateway, another `gwa` for one; or a web server that has records as
/// files.
impl RecordGiver for HttpSource {
    fn name(&self) -> &str {
        self.account().name()
    }

    fn record<'a>(&'a self, name: &'a Name) -> Giving<'a> {
        Box::pin(async move {
            match self.fetch_record(name).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl HttpSource {
    async fn fetch_record(&self, name: &Name) -> Result<Option<Bytes>, NetError> {
        let url = below(self.base(), &format!("ipns/{name}?format=ipns-record"))?;
        let accept = HeaderValue::from_static(RECORD);
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
        let most = MAX_RECORD as u64;
        let mut tried = 0;
        loop {
            let asked = async {
                let (base, account) = (self.base(), self.account());
                let answer = self.net().get(base, &url, &headers, account, most).await?;
                match answer.media_type() {
                    RECORD | "application/octet-stream" | "" => answer.body.whole().await.map(Some),
                    // A web server that has something else there has no record there.
                    _ => Ok(None),
                }
            };
            match asked.await {
                Err(error) if self.net().again(self.account(), &mut tried, &error).await => {}
                // A gateway that finds none says so in its own way; Kubo by 500.
                Err(NetError::Status { .. }) => return Ok(None),
                other => return other,
            }
        }
    }
}
