//! What a node answers, piece by piece and within limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::{KuboError, innermost};
use crate::blocks::Cid;

/// In the trailers of an answer that broke off says why.
const STREAM_ERROR: &str = "x-stream-error";

/// How the proxy of IPFS Cluster begins its name.
const CLUSTER: &str = "ipfs-cluster";

/// Longest line of an answer, in bytes: ours hold a CID, a name and a number.
pub(super) const LONGEST_LINE: usize = 64 << 10;

/// An answer under way.
#[derive(Debug)]
pub struct Answer {
    body: reqwest::Body,
    is_cluster: bool,
    idle: Duration,
    /// When it is to be whole.
    until: Option<Instant>,
}

impl Answer {
    pub(super) fn new(
        response: reqwest::Response,
        idle: Duration,
        whole: Option<Duration>,
    ) -> Self {
        let server = response.headers().get(reqwest::header::SERVER);
        let is_cluster = server.is_some_and(|name| name.as_bytes().starts_with(CLUSTER.as_bytes()));
        let response: hyper::Response<reqwest::Body> = response.into();
        Self {
            body: response.into_body(),
            is_cluster,
            idle,
            until: whole.map(|whole| Instant::now() + whole),
        }
    }

    /// Whether IPFS Cluster answered, in the place of a node.
    pub fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The next piece; `None` at the end of an answer that is whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, KuboError> {
        loop {
            let left = self.until.map(|until| until - Instant::now());
            let frame = timeout(
                left.map_or(self.idle, |left| left.min(self.idle)),
                self.body.frame(),
            );
            let frame = frame.await.map_err(|_| match left {
                Some(left) if left <= self.idle => {
                    KuboError::Away("did not end its answer in time".to_owned())
                }
                _ => KuboError::Away(format!("sent nothing for {} s", self.idle.as_secs_f64())),
            })?;
            let frame = match frame {
                None => return Ok(None),
                Some(frame) => frame.map_err(|error| KuboError::Away(innermost(&error)))?,
            };
            match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                Err(frame) => {
                    let said = frame.trailers_ref().and_then(|told| told.get(STREAM_ERROR));
                    if let Some(text) = said.filter(|text| !text.is_empty()) {
                        return Err(KuboError::of_text(&String::from_utf8_lossy(
                            text.as_bytes(),
                        )));
                    }
                }
            }
        }
    }

    /// All of it, at most `most` bytes.
    pub(super) async fn whole(&mut self, most: u64) -> Result<Bytes, KuboError> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if (all.len() + piece.len()) as u64 > most {
                return Err(KuboError::NotUnderstood(format!("more than {most} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// All of it, as one value of at most [`LONGEST_LINE`] bytes.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, KuboError> {
        parse(&self.whole(LONGEST_LINE as u64).await?)
    }

    /// Gives `take` each value, one a line, of at most [`LONGEST_LINE`] bytes.
    pub(super) async fn lines<T: DeserializeOwned>(
        &mut self,
        mut take: impl FnMut(T) -> Result<(), KuboError>,
    ) -> Result<(), KuboError> {
        let mut lines = Lines::default();
        while let Some(piece) = self.chunk().await? {
            lines.feed(&piece, |line| take(parse(line)?))?;
        }
        lines.end(|line| take(parse(line)?))
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, KuboError> {
    serde_json::from_slice(line).map_err(|error| KuboError::NotUnderstood(error.to_string()))
}

/// A CID that is written as a text.
pub(super) fn cid<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Cid, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// Cuts what comes into lines. Empty ones are left out.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a piece; gives `take` each line that ends in it.
    pub fn feed(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), KuboError>,
    ) -> Result<(), KuboError> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.add(&rest[..end])?;
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.begun);
            if !line.trim_ascii().is_empty() {
                take(&line)?;
            }
        }
        self.add(rest)
    }

    /// Gives `take` what stands after the last line's end.
    pub fn end(
        self,
        mut take: impl FnMut(&[u8]) -> Result<(), KuboError>,
    ) -> Result<(), KuboError> {
        match self.begun.trim_ascii() {
            [] => Ok(()),
            line => take(line),
        }
    }

    fn add(&mut self, part: &[u8]) -> Result<(), KuboError> {
        if self.begun.len() + part.len() > LONGEST_LINE {
            return Err(KuboError::NotUnderstood(format!(
                "a line above {LONGEST_LINE} bytes"
            )));
        }
        self.begun.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_memory() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1 << 10];
        let fed = (0..1_000).try_for_each(|_| lines.feed(&piece, |_| Ok(())));
        assert!(matches!(fed, Err(KuboError::NotUnderstood(_))));
        assert!(lines.begun.len() <= LONGEST_LINE);
    }

    proptest! {
        #[test]
        fn lines_come_out_whole_however_they_were_cut(
            lines in prop::collection::vec("[a-z]{1,20}", 0..20),
            cuts in prop::collection::vec(1usize..30, 1..20),
            ends in any::<bool>(),
        ) {
            let mut text = lines.join("\n");
            if ends {
                text.push('\n');
            }
            let mut got = Vec::new();
            let mut cutter = Lines::default();
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                cutter.feed(piece, |line| { got.push(line.to_vec()); Ok(()) }).unwrap();
                rest = left;
            }
            cutter.end(|line| { got.push(line.to_vec()); Ok(()) }).unwrap();
            let expected: Vec<_> = lines.iter().map(|line| line.clone().into_bytes()).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
