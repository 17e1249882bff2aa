//! Telling the network of the archive's heads.
//!
//! Always true: what is announced is the current head, signed with the archive's
//! own key; a mirror, which has no heads of its own, announces nothing. A new head
//! is announced once, and the current one again every [`AGAIN`]; never more often
//! than every [`LOOK`]. Where the node is reached is told as it is known then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::disk::Archive;
use crate::blocks::Cid;
use crate::publish::{Announcement, Hints};
use crate::whisper::Envelope;
use crate::whisper::message::MessageRandom;
use crate::whisper::mining::{Mined, Target, Template, mine};
use crate::whisper::node::NodeControl;
use crate::whisper::pow::Pow;

/// How often the head is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// After how long the same head is announced again: who asks a mailserver for the
/// last hour finds every archive of the network.
const AGAIN: Duration = Duration::from_secs(900);

/// Nonces tried between two looks at whether to go on.
const CHUNK: u32 = 1 << 14;

/// Chunks after which mining is given up: a hundred times what it takes.
const MOST_CHUNKS: u32 = 4_096;

/// Announces in the background.
pub(super) struct Announcer {
    stopping: CancellationToken,
    cancelled: Arc<AtomicBool>,
    task: Option<JoinHandle<()>>,
}

impl Announcer {
    /// Begins, unless `hints` is `None`.
    pub(super) fn start(archive: Arc<Archive>, node: NodeControl, hints: Option<Hints>) -> Self {
        let stopping = CancellationToken::new();
        let cancelled = Arc::new(AtomicBool::new(false));
        let task = hints.filter(|_| !archive.is_mirror()).map(|hints| {
            let work = run(archive, node, hints, Arc::clone(&cancelled));
            let stopping = stopping.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = work => {}
                }
            })
        });
        Self {
            stopping,
            cancelled,
            task,
        }
    }

    /// Stops, and waits for it.
    pub(super) async fn end(mut self) {
        self.stop();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "BUG: announcing panicked");
        }
    }

    fn stop(&self) {
        self.stopping.cancel();
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(archive: Arc<Archive>, node: NodeControl, hints: Hints, cancelled: Arc<AtomicBool>) {
    let mut last: Option<(Cid, Instant)> = None;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let Some(head) = archive.head() else {
            continue;
        };
        let known = last.is_some_and(|(cid, at)| cid == *head.cid() && at.elapsed() < AGAIN);
        if known {
            continue;
        }
        let announcement = Announcement {
            head,
            hints: hints_now(&hints, &node),
        };
        let cid = *announcement.head.cid();
        match announce(&archive, &node, announcement, &cancelled).await {
            Ok(()) => {
                tracing::info!(head = %cid, "announced");
                last = Some((cid, Instant::now()));
            }
            Err(error) => tracing::warn!(error, "not announced"),
        }
    }
}

/// `hints` with the node where others reach it now: a router may tell its address
/// long after the start.
fn hints_now(hints: &Hints, node: &NodeControl) -> Hints {
    match node.enode() {
        Some(enode) => hints.clone().with_enode(enode),
        None => hints.clone(),
    }
}

async fn announce(
    archive: &Arc<Archive>,
    node: &NodeControl,
    announcement: Announcement,
    cancelled: &Arc<AtomicBool>,
) -> Result<(), String> {
    let (archive, now) = (Arc::clone(archive), node.now());
    // What this node asks of others it asks of its own, too.
    let work = node.rules().min_pow().max(Pow::STATUS_SPECIFIED);
    let cancelled = Arc::clone(cancelled);
    // Deriving the key of the chat takes a moment, the first time.
    let mined = tokio::task::spawn_blocking(move || {
        let key = archive.signing_key();
        let template = announcement.seal(key, now, &MessageRandom::draw());
        work_for(&template, Target::Both(work), &cancelled)
    });
    let envelope = match mined.await {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Err("no nonce shows the work".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let posted = node.post(envelope).await;
    posted.map(drop).map_err(|error| error.to_string())
}

/// The envelope with the work that `target` says.
fn work_for(template: &Template, target: Target, cancelled: &AtomicBool) -> Option<Envelope> {
    let mut from = 0;
    for _ in 0..MOST_CHUNKS {
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        match mine(template, target, from, CHUNK) {
            Mined::Found(envelope) => return Some(envelope),
            Mined::Continue(next) => from = next,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::envelope;
    use crate::archive::watermark::Watermark;
    use crate::mailserver::{Mailserver, MailserverConfig, MemoryVault};
    use crate::progress::Quiet;
    use crate::rlpx::NodeKey;
    use crate::time::{SystemClock, UnixSeconds};
    use crate::whisper::node::{Node, NodeConfig, NodeHandle};
    use crate::whisper::pow::Work;

    /// A node that asks for this much work, and what it stores.
    async fn node(min_pow: f64) -> (NodeHandle, Arc<MemoryVault>) {
        let vault = Arc::new(MemoryVault::default());
        let asked = MailserverConfig {
            password: None,
            node_key: None,
            min_pow: Pow::ZERO,
            answer_open_requests: true,
        };
        let clock = Arc::new(SystemClock);
        let server = Mailserver::new(Arc::clone(&vault), asked, clock.clone());
        let mut config = NodeConfig::new(NodeKey::generate());
        config.policy.min_pow = Pow::new(min_pow).unwrap();
        let node = Node::start(config, Arc::new(server), clock).await;
        (node.unwrap(), vault)
    }

    fn sealed() -> (tempfile::TempDir, Arc<Archive>) {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::init(dir.path(), "told").unwrap();
        archive.append(&[envelope(1, 100, 40)]).unwrap();
        let until = Watermark::new(UnixSeconds(86_400)).unwrap();
        archive.seal(until, UnixSeconds(90_000), &Quiet).unwrap();
        (dir, Arc::new(archive))
    }

    #[tokio::test]
    async fn an_announcement_shows_the_work_that_is_specified_and_what_its_own_node_asks() {
        let (_dir, archive) = sealed();
        for (asked, least) in [
            (0.0, Pow::STATUS_SPECIFIED),
            (0.01, Pow::new(0.01).unwrap()),
        ] {
            let (node, vault) = node(asked).await;
            let announcement = Announcement {
                head: archive.head().unwrap(),
                hints: Hints::default(),
            };
            let told = announce(&archive, &node.control(), announcement, &Arc::default()).await;
            assert_eq!(told, Ok(()));
            let stored = vault.envelopes();
            let Work { trailing, leading } = Work::of(&stored[0]);
            assert!(trailing.min(leading) >= least, "{trailing} {leading}");
            node.shutdown().await;
        }
    }

    #[tokio::test]
    async fn an_address_that_the_router_tells_later_stands_in_the_next_announcement() {
        let (node, _) = node(0.0).await;
        let hints = Hints::new(vec!["http://a.example".into()], None).unwrap();
        // Of this machine alone, nobody is told.
        assert_eq!(hints_now(&hints, &node.control()), hints);
        node.set_external_ip([203, 0, 113, 7].into());
        let told = hints_now(&hints, &node.control());
        assert_eq!(told.enode().copied(), node.enode());
        assert_eq!(told.enode().unwrap().ip.to_string(), "203.0.113.7");
        assert_eq!(told.http(), hints.http());
        node.shutdown().await;
    }
}
