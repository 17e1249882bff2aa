//! The HTTP API of a Bee node, as far as a depot needs it.
//!
//! Always true:
//! - Every request has an end in time, and every answer one in length.
//! - What was uploaded is believed to be there only where the node calls it by the
//!   reference that its bytes have.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use crate::depot::DepotError;
use crate::swarm::{CHUNK, Hasher, Owner, Reference, Update, reference_of, topic};
use crate::tls;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a small request may take: a node that looks for an update of a feed in
/// the network waits for several answers that never come.
const WHOLE: Duration = Duration::from_secs(60);

/// What bytes have to go at least, bytes a second, either way: a node writes some
/// megabytes a second, a slow line to one a tenth of that.
const SLOWEST: u64 = 64 << 10;

/// What a file is read in.
const PIECE: usize = 256 << 10;

/// Pieces read ahead of the network.
const PIECES_AHEAD: usize = 4;

/// Longest answer that says what was done, or why not.
const MAX_ANSWER: usize = 64 << 10;

/// Longest list of pins: a million of them.
const MAX_PINS: usize = 70 << 20;

/// A node.
#[derive(Debug)]
pub(super) struct Bee {
    http: reqwest::Client,
    base: Url,
    name: String,
    /// The batch of stamps that uploads are paid with, where its user named one.
    named: Option<String>,
}

#[derive(Deserialize)]
struct Uploaded {
    reference: String,
}

#[derive(Deserialize)]
struct Pins {
    references: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tag {
    uid: u64,
}

#[derive(Deserialize)]
struct Stamps {
    stamps: Option<Vec<Stamp>>,
}

#[derive(Deserialize)]
struct Stamp {
    #[serde(rename = "batchID")]
    id: String,
    usable: bool,
}

#[derive(Deserialize)]
struct Told {
    message: String,
}

/// What a range of bytes came to.
pub(super) enum Part {
    /// The bytes.
    Bytes(Bytes),
    /// The node does not find them.
    Absent,
}

/// A text that names no batch. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch of stamps is named by 64 hex digits")]
pub struct NoBatch;

/// The digits by which a node knows a batch of stamps.
pub fn batch_digits(batch: &str) -> Result<String, NoBatch> {
    let digits = batch.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let digits = digits.to_ascii_lowercase();
    digits.parse::<Reference>().map_err(|_| NoBatch)?;
    Ok(digits)
}

impl Bee {
    /// The node at `base`; nothing is asked yet.
    pub(super) fn new(name: String, base: Url, batch: Option<&str>) -> Result<Self, DepotError> {
        let http = tls::http_client().connect_timeout(CONNECT).build();
        let refused = |what: String| DepotError::Refused {
            depot: name.clone(),
            what,
        };
        let http = http.map_err(|error| refused(error.to_string()))?;
        let digits = batch.map(batch_digits).transpose();
        let digits = digits.map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            http,
            base,
            name,
            named: digits,
        })
    }

    /// Uploads a file and pins it.
    pub(super) async fn upload_file(
        &self,
        path: &Path,
        bytes: u64,
    ) -> Result<Reference, DepotError> {
        let (pieces, waiting) = mpsc::channel(PIECES_AHEAD);
        let file = path.to_owned();
        let reader = tokio::task::spawn_blocking(move || read_pieces(&file, &pieces));
        let body = stream::unfold(waiting, |mut waiting| async {
            let piece = waiting.recv().await?;
            Some((piece, waiting))
        });
        let sent = self.upload(reqwest::Body::wrap_stream(body), bytes).await;
        let read = match reader.await {
            Ok(read) => read,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        match (sent, read) {
            // A file that ended too early was uploaded as it is, and is not this one.
            (Ok(told), Ok(ours)) => self.agreed(told, ours),
            (_, Err(source)) if source.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(DepotError::Io {
                    path: path.to_owned(),
                    source,
                })
            }
            (Err(error), _) => Err(error),
            (Ok(_), Err(_)) => Err(self.away("did not read all that was sent")),
        }
    }

    /// Uploads bytes and pins them.
    pub(super) async fn upload_bytes(&self, bytes: Vec<u8>) -> Result<Reference, DepotError> {
        let ours = reference_of(&bytes);
        let len = bytes.len() as u64;
        let told = self.upload(bytes.into(), len).await?;
        self.agreed(told, ours)
    }

    async fn upload(&self, body: reqwest::Body, bytes: u64) -> Result<Reference, DepotError> {
        let request = self
            .stamped(self.request(Method::POST, "bytes")?)
            .await?
            .header("swarm-pin", "true")
            // The node has it and goes on by itself: nothing waits for its network.
            .header("swarm-deferred-upload", "true")
            // Parity would make another reference of the same bytes.
            .header("swarm-redundancy-level", "0")
            .header("content-type", "application/octet-stream")
            .timeout(time_for(bytes))
            .body(body);
        let answer = self.send(request).await?;
        self.reference(answer).await
    }

    fn agreed(&self, told: Reference, ours: Reference) -> Result<Reference, DepotError> {
        if told == ours {
            return Ok(ours);
        }
        Err(self.refused(format!(
            "calls {told} what has the reference {ours}: it encrypts, adds parity, or is no node \
             of Swarm"
        )))
    }

    /// Shows an update of a feed.
    pub(super) async fn show(&self, owner: &Owner, update: &Update) -> Result<(), DepotError> {
        // Without a tag the node would wait for its network, and have none alone.
        let answer = self.send(self.request(Method::POST, "tags")?).await?;
        let tag: Tag = self.json(answer, MAX_ANSWER).await?;
        let request = self
            .stamped(self.request(Method::POST, "chunks")?)
            .await?
            .header("swarm-tag", tag.uid)
            .header("content-type", "application/octet-stream")
            .body(update.to_chunk());
        let answer = self.send(request).await?;
        let told = self.reference(answer).await?;
        self.agreed(told, update.address(owner)).map(|_| ())
    }

    /// The newest update of a feed that the node finds; `None` where it finds none. It
    /// takes peers that are silent for a second for peers without an update: what
    /// it answers may be old, and `None` is no proof that nothing was ever shown.
    pub(super) async fn newest(&self, owner: &Owner) -> Result<Option<Update>, DepotError> {
        let path = format!("feeds/{owner}/{}", hex::encode(topic()));
        let request = self.request(Method::GET, &path)?;
        let Some(answer) = self.send_for(request).await? else {
            return Ok(None);
        };
        let number = self.header(&answer, "swarm-feed-index")?;
        let signature = self.header(&answer, "swarm-soc-signature")?;
        let payload = self.body(answer, CHUNK).await?;
        let number = u64::from_be_bytes(number);
        let update = Update::verify(owner, number, payload.to_vec(), signature);
        update
            .map(Some)
            .map_err(|error| self.refused(error.to_string()))
    }

    /// Everything that is pinned.
    pub(super) async fn pins(&self) -> Result<HashSet<Reference>, DepotError> {
        let request = self
            .request(Method::GET, "pins")?
            .timeout(time_for(MAX_PINS as u64));
        let answer = self.successful(self.begun(request).await?).await?;
        let pins: Pins = self.json(answer, MAX_PINS).await?;
        // References of another length are of encrypted bytes, and none of ours.
        let pins = pins.references.unwrap_or_default().into_iter();
        Ok(pins.filter_map(|text| text.parse().ok()).collect())
    }

    /// Whether a reference is pinned.
    pub(super) async fn is_pinned(&self, reference: &Reference) -> Result<bool, DepotError> {
        let request = self.request(Method::GET, &format!("pins/{reference}"))?;
        Ok(self.send_for(request).await?.is_some())
    }

    /// Pins a reference of so many bytes, which the node fetches from its network
    /// where it has them no more; false where it does not find them.
    pub(super) async fn pin(&self, reference: &Reference, bytes: u64) -> Result<bool, DepotError> {
        let request = self.request(Method::POST, &format!("pins/{reference}"))?;
        let request = request.timeout(time_for(bytes));
        Ok(self.send_for(request).await?.is_some())
    }

    /// Lets a reference go. Nothing happens where it is not pinned.
    pub(super) async fn unpin(&self, reference: &Reference) -> Result<(), DepotError> {
        let request = self.request(Method::DELETE, &format!("pins/{reference}"))?;
        self.send_for(request).await.map(|_| ())
    }

    /// All bytes of a reference, `most` at most, not verified.
    pub(super) async fn read_all(
        &self,
        reference: &Reference,
        most: usize,
    ) -> Result<Part, DepotError> {
        let request = self.request(Method::GET, &format!("bytes/{reference}"))?;
        let request = request.timeout(time_for(most as u64));
        match self.found(self.begun(request).await?)? {
            None => Ok(Part::Absent),
            Some(answer) => self.body(answer, most).await.map(Part::Bytes),
        }
    }

    /// `len` bytes of a reference from `offset`, not verified.
    pub(super) async fn read(
        &self,
        reference: &Reference,
        offset: u64,
        len: u32,
    ) -> Result<Part, DepotError> {
        if len == 0 {
            return Ok(Part::Bytes(Bytes::new()));
        }
        let range = format!("bytes={offset}-{}", offset + u64::from(len) - 1);
        let request = self
            .request(Method::GET, &format!("bytes/{reference}"))?
            .header("range", range);
        match self.send_for(request).await? {
            None => Ok(Part::Absent),
            Some(answer) if answer.status() != StatusCode::PARTIAL_CONTENT => {
                Err(self.refused("gives no parts of bytes"))
            }
            Some(answer) => {
                let bytes = self.body(answer, len as usize).await?;
                Ok(Part::Bytes(bytes))
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, DepotError> {
        let url = self.base.join(path);
        let url = url.map_err(|error| self.refused(error.to_string()))?;
        Ok(self.http.request(method, url).timeout(WHOLE))
    }

    /// Pays for an upload.
    async fn stamped(&self, request: RequestBuilder) -> Result<RequestBuilder, DepotError> {
        Ok(request.header("swarm-postage-batch-id", self.batch().await?))
    }

    /// The batch that pays: the one that was named, or the only one there is. That is
    /// asked for each time: batches end, and others are bought.
    async fn batch(&self) -> Result<String, DepotError> {
        if let Some(batch) = &self.named {
            return Ok(batch.clone());
        }
        let answer = self.send(self.request(Method::GET, "stamps")?).await?;
        let stamps: Stamps = self.json(answer, MAX_ANSWER).await?;
        let usable = stamps.stamps.unwrap_or_default().into_iter();
        let mut usable = usable.filter(|stamp| stamp.usable);
        match (usable.next(), usable.next()) {
            (Some(only), None) => Ok(only.id),
            (None, _) => Err(self.refused("has no usable batch of postage stamps: buy one")),
            (Some(_), Some(_)) => {
                Err(self
                    .refused("has several batches of postage stamps: name the one that is to pay"))
            }
        }
    }

    /// The answer to a request.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, DepotError> {
        let answer = request.send().await;
        answer.map_err(|error| self.away(innermost(&error)))
    }

    /// The same of a request that may take long: it is begun as soon as any.
    async fn begun(&self, request: RequestBuilder) -> Result<Response, DepotError> {
        match timeout(WHOLE, self.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.silent()),
        }
    }

    /// The answer to a request, where it is one of success.
    async fn send(&self, request: RequestBuilder) -> Result<Response, DepotError> {
        let answer = self.answer(request).await?;
        self.successful(answer).await
    }

    async fn successful(&self, answer: Response) -> Result<Response, DepotError> {
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.body(answer, MAX_ANSWER).await.unwrap_or_default();
        let told: Option<Told> = serde_json::from_slice(&body).ok();
        let told = told.map_or_else(String::new, |told| format!(": {}", told.message));
        let what = format!("HTTP status {}{told}", status.as_u16());
        Err(match status.as_u16() {
            402 | 507 => DepotError::Full {
                depot: self.name.clone(),
                what,
            },
            408 | 425 | 429 | 500.. => self.away(what),
            _ => self.refused(what),
        })
    }

    /// The same where a node that has not what is asked for answers so.
    async fn send_for(&self, request: RequestBuilder) -> Result<Option<Response>, DepotError> {
        let answer = self.answer(request).await?;
        self.found(answer)
    }

    fn found(&self, answer: Response) -> Result<Option<Response>, DepotError> {
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(self.away(format!("HTTP status {}", status.as_u16())))
            }
            status => Err(self.refused(format!("HTTP status {}", status.as_u16()))),
        }
    }

    async fn reference(&self, answer: Response) -> Result<Reference, DepotError> {
        let uploaded: Uploaded = self.json(answer, MAX_ANSWER).await?;
        let reference = uploaded.reference.parse();
        reference.map_err(|_| self.refused("names what was uploaded in another way than Swarm"))
    }

    async fn json<T: for<'de> Deserialize<'de>>(
        &self,
        answer: Response,
        most: usize,
    ) -> Result<T, DepotError> {
        let body = self.body(answer, most).await?;
        let read = serde_json::from_slice(&body);
        read.map_err(|error| self.refused(format!("answers as no Bee node does: {error}")))
    }

    /// A body of at most `most` bytes.
    async fn body(&self, mut answer: Response, most: usize) -> Result<Bytes, DepotError> {
        let mut body = BytesMut::new();
        loop {
            let piece = timeout(WHOLE, answer.chunk()).await;
            let piece = piece.map_err(|_| self.silent())?;
            let Some(piece) = piece.map_err(|error| self.away(innermost(&error)))? else {
                return Ok(body.freeze());
            };
            if body.len() + piece.len() > most {
                return Err(self.refused(format!("answers with more than {most} bytes")));
            }
            body.extend_from_slice(&piece);
        }
    }

    /// The bytes whose hex digits are in a header.
    fn header<const N: usize>(&self, answer: &Response, name: &str) -> Result<[u8; N], DepotError> {
        let value = answer.headers().get(name);
        let value = value.and_then(|value| value.to_str().ok());
        let mut bytes = [0; N];
        match value.map(|value| hex::decode_to_slice(value, &mut bytes)) {
            Some(Ok(())) => Ok(bytes),
            _ => Err(self.refused(format!("answers without {name}: it is no Bee node"))),
        }
    }

    pub(super) fn away(&self, what: impl Into<String>) -> DepotError {
        DepotError::Away {
            depot: self.name.clone(),
            what: what.into(),
        }
    }

    fn silent(&self) -> DepotError {
        self.away(format!("says nothing for {} s", WHOLE.as_secs()))
    }

    pub(super) fn refused(&self, what: impl Into<String>) -> DepotError {
        DepotError::Refused {
            depot: self.name.clone(),
            what: what.into(),
        }
    }
}

/// How long so many bytes may take, either way.
fn time_for(bytes: u64) -> Duration {
    WHOLE + Duration::from_secs(bytes / SLOWEST)
}

/// Reads a file piece by piece and finds its reference on the way.
fn read_pieces(
    path: &Path,
    pieces: &mpsc::Sender<std::io::Result<Bytes>>,
) -> std::io::Result<Reference> {
    let read = || {
        let mut file = File::open(path)?;
        let mut hasher = Hasher::default();
        loop {
            let mut piece = vec![0; PIECE];
            let len = file.read(&mut piece)?;
            if len == 0 {
                return Ok(hasher.finish());
            }
            piece.truncate(len);
            hasher.update(&piece);
            if pieces.blocking_send(Ok(piece.into())).is_err() {
                // Whoever was sending has given up, and says why.
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
        }
    };
    read().inspect_err(|error: &std::io::Error| {
        // What was sent so far must not pass for the whole.
        let _ = pieces.blocking_send(Err(error.kind().into()));
    })
}

/// What failed, without the layers that only say that something did.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
