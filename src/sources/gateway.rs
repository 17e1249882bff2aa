//! A trustless gateway: another `gwa`, Kubo, or any host that speaks
//! <https://specs.ipfs.tech/http-gateways/trustless-gateway/>.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;

use super::Account;
use super::net::{Answer, Net, NetError};
use super::remote::{Stopped, Streamed, Wanted};
use crate::blocks::car::{CarError, CarReader};
use crate::blocks::{BlockError, Cid, Fault, MAX_BLOCK_READ};

/// Pieces of a CAR that may wait to be read: half a megabyte.
pub(super) const PIECES_WAITING: usize = 16;

/// Bytes of a CAR at most. Its blocks are bounded by the DAG they belong to: this
/// only keeps the sum from overflowing.
const ENDLESS: u64 = u64::MAX >> 1;

/// Blocks that a CAR may hold again although none were asked for, for each block
/// that is new: some servers send a block for every link to it.
const REPEATS: u64 = 4;

const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car";

/// What is wrong with an answer about one block.
pub(super) fn fault_of(error: &NetError) -> Fault {
    match error {
        error if error.is_absent() => Fault::Absent,
        NetError::TooLong(most) => Fault::Lied(format!("sent more than {most} bytes")),
        other => Fault::Failed(other.to_string()),
    }
}

/// What is wrong with bytes that came as one block.
pub(super) fn fault_of_bytes(error: &BlockError) -> Fault {
    match error {
        BlockError::WrongBytes { actual, .. } => {
            Fault::Lied(format!("sent bytes that are block {actual}"))
        }
        other => Fault::Lied(other.to_string()),
    }
}

/// Asks the gateway at `base` for one block; gives its bytes, not yet verified.
pub(super) async fn block(
    net: &Net,
    base: &Url,
    account: &Account,
    cid: &Cid,
) -> Result<Bytes, NetError> {
    let url = below(base, &format!("ipfs/{cid}?format=raw"))?;
    let mut tried = 0;
    loop {
        match block_once(net, base, account, &url).await {
            Err(error) if net.again(account, &mut tried, &error).await => {}
            other => return other,
        }
    }
}

async fn block_once(
    net: &Net,
    base: &Url,
    account: &Account,
    url: &Url,
) -> Result<Bytes, NetError> {
    let most = MAX_BLOCK_READ as u64;
    let answer = net.get(base, url, &accept(RAW), account, most).await?;
    match answer.media_type() {
        RAW | "application/octet-stream" | "" => answer.body.whole().await,
        other => Err(NetError::Unexpected(format!(
            "answered with {other}: it is no trustless gateway"
        ))),
    }
}

/// Asks for a DAG in one piece and feeds it to the walk. A block that no verified
/// block before it links to is a lie.
pub(super) fn dag(
    net: &Net,
    base: &Url,
    account: &Account,
    wanted: &mut Wanted<'_, '_>,
) -> Result<Streamed, Stopped> {
    let query = "format=car&dag-scope=all&car-version=1&car-order=dfs&car-dups=n";
    let url = below(base, &format!("ipfs/{}?{query}", wanted.root)).map_err(Stopped::Net)?;
    let headers = accept("application/vnd.ipld.car; version=1; order=dfs; dups=n");
    let patience = wanted.patience;
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    std::thread::scope(|threads| {
        // The request lives on the threads of `net`; this one reads what comes.
        let fetch = threads.spawn(|| {
            net.handle().block_on(async {
                let begin = async {
                    let mut tried = 0;
                    let answer = loop {
                        match net.get(base, &url, &headers, account, ENDLESS).await {
                            Err(error) if net.again(account, &mut tried, &error).await => {}
                            other => break other?,
                        }
                    };
                    let mut answer = in_order(answer)?;
                    let first = answer.body.chunk().await?;
                    Ok((answer, first))
                };
                let (answer, first) = match patience {
                    None => begin.await,
                    Some(patience) => match timeout(patience, begin).await {
                        Err(_) => return Err(Stopped::Silent(patience)),
                        Ok(begun) => begun,
                    },
                }
                .map_err(Stopped::Net)?;
                pump(answer, first, pieces).await.map_err(Stopped::Net)
            })
        });
        let read = read_pieces(waiting, account, wanted);
        match (read, fetch.join()) {
            (Ok(Streamed::Short), Ok(Err(stopped))) => Err(stopped),
            (_, Err(panic)) => std::panic::resume_unwind(panic),
            (read, _) => read,
        }
    })
}

/// A CAR whose blocks come in the order that was asked for, each once. A gateway
/// may give another one, if it says so, or says nothing: no lie, and no use here.
fn in_order(answer: Answer<'_>) -> Result<Answer<'_>, NetError> {
    let told = |name, expected| {
        let value = answer.parameter(name);
        value.is_some_and(|value| value.eq_ignore_ascii_case(expected))
    };
    if answer.media_type() == CAR && told("order", "dfs") && told("dups", "n") {
        return Ok(answer);
    }
    Err(NetError::Unexpected(format!(
        "answered with `{}` instead of a CAR in order",
        answer.content_type()
    )))
}

/// Passes on the `first` piece, and those behind it.
async fn pump(
    mut answer: Answer<'_>,
    first: Option<Bytes>,
    pieces: mpsc::Sender<Bytes>,
) -> Result<(), NetError> {
    let mut next = first;
    while let Some(piece) = next {
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
        // A reader that has enough waits for nothing more.
        next = tokio::select! {
            () = pieces.closed() => return Ok(()),
            piece = answer.body.chunk() => piece?,
        };
    }
    Ok(())
}

/// Feeds the pieces of a CAR to the walk, as they come. A block that no verified block
/// before it links to is a lie.
pub(super) fn read_pieces(
    waiting: mpsc::Receiver<Bytes>,
    account: &Account,
    wanted: &mut Wanted<'_, '_>,
) -> Result<Streamed, Stopped> {
    let piece = Bytes::new();
    read_car(Pieces { waiting, piece }, account, wanted)
}

fn read_car(
    input: Pieces,
    account: &Account,
    wanted: &mut Wanted<'_, '_>,
) -> Result<Streamed, Stopped> {
    let Wanted {
        root,
        walk,
        skipped,
        take,
        ..
    } = wanted;
    let lied = |what: String| Stopped::Lied(Fault::Lied(format!("in the CAR of {root}: {what}")));
    let reader = match CarReader::new(input) {
        Ok(reader) => reader,
        // Nothing came at all, or a part of a header.
        Err(CarError::Header { what }) if what.contains("ends within") => {
            return Ok(Streamed::Short);
        }
        Err(error) if error.is_io() => return Ok(Streamed::Short),
        Err(error) => return Err(lied(error.to_string())),
    };
    let (mut fresh, mut repeats) = (0u64, 0u64);
    for block in reader {
        let block = match block {
            Ok(block) => block,
            Err(CarError::Truncated { .. }) => return Ok(Streamed::Short),
            Err(error) if error.is_io() => return Ok(Streamed::Short),
            Err(error) => return Err(lied(error.to_string())),
        };
        let cid = *block.cid();
        let len = block.bytes().len() as u64;
        if walk.feed(&block).map_err(Stopped::Dag)? {
            fresh += 1;
            account.gave(len);
            if take(block).is_break() || walk.is_finished() {
                return Ok(Streamed::Enough);
            }
            if skipped() {
                return Ok(Streamed::Short);
            }
        } else if walk.has_passed(&cid) {
            repeats += 1;
            if repeats > REPEATS * (fresh + 1) {
                return Err(lied(format!("block {cid} came again and again")));
            }
        } else {
            return Err(lied(format!(
                "block {cid} is linked by nothing that came before it"
            )));
        }
    }
    Ok(Streamed::Short)
}

/// Reads the pieces as they come.
struct Pieces {
    waiting: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.waiting.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let len = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..len]);
        Ok(len)
    }
}

fn accept(what: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(what))])
}

/// `path` below the base of a source.
pub(super) fn below(base: &Url, path: &str) -> Result<Url, NetError> {
    base.join(path)
        .map_err(|error| NetError::Refused(format!("{path} below {base}: {error}")))
}
