//! A trustless gateway: another `gwa`, Kubo, or any host that speaks
//! <https://specs.ipfs.tech/http-gateways/trustless-gateway/>.

use std::io::{self, Read};
use std::ops::ControlFlow;

use bytes::{Buf, Bytes};
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use url::Url;

use super::Account;
use super::net::{Answer, Net, NetError};
use crate::blocks::car::{CarError, CarReader};
use crate::blocks::dag::DagWalk;
use crate::blocks::{Block, BlockError, Cid, Fault, MAX_BLOCK_READ};

/// Pieces of a CAR that may wait to be read: half a megabyte.
const PIECES_WAITING: usize = 16;

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

/// How the blocks of one CAR ended.
pub(super) enum Streamed {
    /// The walk has all that is below the root, or its taker has enough.
    Enough,
    /// It ended before; what is wanted is to be fetched otherwise.
    Short,
}

/// Asks for the DAG under `root` in one piece and feeds it to `walk`. A block that
/// no verified block before it links to is a lie. What was skipped leads to
/// blocks the walk cannot know, so a CAR is left where `skip` says yes to
/// anything: `skipped` tells.
pub(super) fn dag(
    net: &Net,
    base: &Url,
    account: &Account,
    root: &Cid,
    walk: &mut DagWalk<'_>,
    skipped: &dyn Fn() -> bool,
    take: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<Streamed, Stopped> {
    let net_failed = |error: NetError| Stopped::Fault(fault_of(&error));
    let query = "format=car&dag-scope=all&car-version=1&car-order=dfs&car-dups=n";
    let url = below(base, &format!("ipfs/{root}?{query}")).map_err(net_failed)?;
    let headers = accept("application/vnd.ipld.car; version=1; order=dfs; dups=n");
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    std::thread::scope(|threads| {
        // The request lives on the threads of `net`; this one reads what comes.
        let fetch = threads.spawn(|| {
            net.handle().block_on(async {
                let mut tried = 0;
                let answer = loop {
                    match net.get(base, &url, &headers, account, ENDLESS).await {
                        Err(error) if net.again(account, &mut tried, &error).await => {}
                        other => break other?,
                    }
                };
                if answer.media_type() != CAR {
                    return Err(NetError::Unexpected(format!(
                        "answered with {} instead of a CAR",
                        answer.media_type()
                    )));
                }
                pump(answer, pieces).await
            })
        });
        let input = Pieces {
            waiting,
            piece: Bytes::new(),
        };
        let read = read_car(input, account, root, walk, skipped, take);
        match (read, fetch.join()) {
            (Ok(Streamed::Short), Ok(Err(error))) => Err(net_failed(error)),
            (_, Err(panic)) => std::panic::resume_unwind(panic),
            (read, _) => read,
        }
    })
}

/// Why a DAG did not come, or not as it should.
pub(super) enum Stopped {
    /// The source is to blame.
    Fault(Fault),
    /// The DAG itself is none that anybody should walk.
    Dag(BlockError),
}

async fn pump(mut answer: Answer<'_>, pieces: mpsc::Sender<Bytes>) -> Result<(), NetError> {
    loop {
        // A reader that has enough waits for nothing more.
        let piece = tokio::select! {
            () = pieces.closed() => return Ok(()),
            piece = answer.body.chunk() => piece?,
        };
        let Some(piece) = piece else {
            return Ok(());
        };
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

fn read_car(
    input: Pieces,
    account: &Account,
    root: &Cid,
    walk: &mut DagWalk<'_>,
    skipped: &dyn Fn() -> bool,
    take: &mut dyn FnMut(Block) -> ControlFlow<()>,
) -> Result<Streamed, Stopped> {
    let lied = |what: String| Stopped::Fault(Fault::Lied(format!("in the CAR of {root}: {what}")));
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
