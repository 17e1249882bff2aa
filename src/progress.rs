//! How long work tells how far along it is.
//!
//! Library code reports through [`Progress`]; who listens decides whether a
//! terminal, a log or nobody sees it.

/// Receives reports of long work. Calls are cheap and may come from several
/// threads.
pub trait Progress: Send + Sync {
    /// A phase starts: what is done, and how many items and bytes it will take
    /// where that is known.
    fn phase(&self, name: &str, items: Option<u64>, bytes: Option<u64>);

    /// `items` more items, holding `bytes` bytes, are done.
    fn advance(&self, items: u64, bytes: u64);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn phase(&self, _: &str, _: Option<u64>, _: Option<u64>) {}
    fn advance(&self, _: u64, _: u64) {}
}
