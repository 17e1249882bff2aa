//! The decoder of what peers of libp2p send.

use crate::p2p::bitswap::Dialect;
use crate::p2p::bitswap::ledger::Ledger;
use crate::p2p::bitswap::message::Message;
use crate::p2p::bitswap::{MAX_ITEMS, MAX_MESSAGE};

/// A message of bitswap: what reads is written to what reads the same, and a ledger
/// takes it in.
pub fn bitswap_message(data: &[u8]) {
    let Ok(message) = Message::decode(data.to_vec().into()) else {
        return;
    };
    let items = message.wants.len() + message.blocks.len() + message.presences.len();
    assert!(items <= MAX_ITEMS);
    let again = message.encode(Dialect::V1_2);
    if again.len() <= MAX_MESSAGE {
        assert_eq!(Message::decode(again.into()), Ok(message.clone()));
    }
    let mut ledger = Ledger::default();
    ledger.take_in(&message.wants, message.full);
    let mut answers = 0;
    while ledger.pop().is_some() {
        answers += 1;
    }
    assert!(answers <= message.wants.len());
}
