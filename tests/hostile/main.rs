//! Peers that misbehave, at every stage of a connection: what the server does
//! with each is defined here, row by row, and after every one of them it answers
//! an honest peer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod daemon;
mod floods;
mod frames;
mod mail;
mod packets;
mod rates;
mod tcp;
mod wire;
mod world;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gwa::limits::Reason;
use gwa::rlpx::DisconnectReason;
use world::World;

/// What a misbehaving peer sees of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The connection ends without a word.
    Closed,
    /// The connection ends with this reason.
    Told(DisconnectReason),
    /// Nothing: the connection goes on, and a request on it is answered.
    Ignored,
    /// The batch is acknowledged, with so many envelopes blamed.
    Acked(usize),
    /// The request is answered by an error; the connection goes on.
    Failed(String),
    /// The request is answered.
    Served,
    /// The peer sees nothing, because it does not look; the ledger says why it was
    /// dropped.
    Ledger(Reason),
    /// The peer itself left.
    Gone,
}

impl Reaction {
    fn failed(text: &str) -> Self {
        Self::Failed(text.to_owned())
    }
}

type Act = Box<dyn FnOnce(Arc<World>) -> Pin<Box<dyn Future<Output = Reaction> + Send>> + Send>;

/// One way to misbehave.
pub struct Row {
    name: String,
    expected: Reaction,
    act: Act,
    /// Whether the reaction is a deadline's: such rows run beside each other.
    slow: bool,
}

/// A row whose reaction comes at once.
pub fn row<F>(
    name: impl Into<String>,
    expected: Reaction,
    act: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Row
where
    F: Future<Output = Reaction> + Send + 'static,
{
    Row {
        name: name.into(),
        expected,
        act: Box::new(|world| Box::pin(act(world))),
        slow: false,
    }
}

/// A row whose reaction comes after a deadline of the server.
pub fn slow_row<F>(
    name: impl Into<String>,
    expected: Reaction,
    act: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Row
where
    F: Future<Output = Reaction> + Send + 'static,
{
    Row {
        slow: true,
        ..row(name, expected, act)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_every_hostile_peer_the_next_honest_one_is_answered_within_two_seconds() {
    let world = World::start().await;
    let (slow, quick): (Vec<Row>, Vec<Row>) = [
        tcp::rows(),
        frames::rows(),
        packets::rows(),
        mail::rows(),
        floods::rows(),
    ]
    .into_iter()
    .flatten()
    .partition(|row| row.slow);
    let names: BTreeSet<&str> = slow.iter().chain(&quick).map(|row| &*row.name).collect();
    assert_eq!(
        names.len(),
        slow.len() + quick.len(),
        "two rows of one name"
    );
    assert!(names.len() >= 60, "{} rows", names.len());
    println!("{} ways to misbehave", names.len());
    world.honest("before all").await;

    let mut wrong = Vec::new();
    let mut under_way = Vec::new();
    for row in slow {
        let seen = tokio::spawn((row.act)(Arc::clone(&world)));
        world.honest(&row.name).await;
        under_way.push((row.name, row.expected, seen));
    }
    for row in quick {
        let seen = world::soon((row.act)(Arc::clone(&world))).await;
        if seen != row.expected {
            wrong.push(format!("{}: {seen:?}, not {:?}", row.name, row.expected));
        }
        world.honest(&row.name).await;
    }
    for (name, expected, seen) in under_way {
        let seen = world::soon(seen).await.unwrap();
        if seen != expected {
            wrong.push(format!("{name}: {seen:?}, not {expected:?}"));
        }
        world.honest(&name).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
