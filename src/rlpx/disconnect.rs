//! Why a connection ends.
//!
//! Always true:
//! - What is sent is a [`DisconnectReason`], one of those geth knows. 17 panics
//!   geth up to v1.8.27 and status-go: it is no value of the type.
//! - Whatever arrives is a [`PeerReason`]; a number nobody knows is kept, and a
//!   payload nobody can read counts as "requested", as in geth.

use std::fmt;

use alloy_rlp::{Decodable, Header};

use crate::rlpx::snappy;

/// A reason this node may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// 0: the operator, or nobody in particular, asked for it.
    Requested,
    /// 1: the connection failed. Received only: with a broken connection there
    /// is nobody to tell.
    NetworkError,
    /// 2: a base protocol message was malformed.
    ProtocolBreach,
    /// 3: no protocol is shared.
    UselessPeer,
    /// 4: all places are taken.
    TooManyPeers,
    /// 5: this node is connected already.
    AlreadyConnected,
    /// 6: the base protocol version does not fit.
    IncompatibleVersion,
    /// 7: the Hello's node id is missing or zero.
    NullIdentity,
    /// 8: the program ends.
    Quitting,
    /// 9: the Hello's node id is not the one of the handshake.
    UnexpectedIdentity,
    /// 10: the peer is this node itself.
    ToSelf,
    /// 11: nothing was heard for too long.
    ReadTimeout,
    /// 16: a protocol above was violated.
    Subprotocol,
}

impl DisconnectReason {
    /// All of them, by number.
    pub const ALL: [Self; 13] = [
        Self::Requested,
        Self::NetworkError,
        Self::ProtocolBreach,
        Self::UselessPeer,
        Self::TooManyPeers,
        Self::AlreadyConnected,
        Self::IncompatibleVersion,
        Self::NullIdentity,
        Self::Quitting,
        Self::UnexpectedIdentity,
        Self::ToSelf,
        Self::ReadTimeout,
        Self::Subprotocol,
    ];

    /// Its number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Requested => 0,
            Self::NetworkError => 1,
            Self::ProtocolBreach => 2,
            Self::UselessPeer => 3,
            Self::TooManyPeers => 4,
            Self::AlreadyConnected => 5,
            Self::IncompatibleVersion => 6,
            Self::NullIdentity => 7,
            Self::Quitting => 8,
            Self::UnexpectedIdentity => 9,
            Self::ToSelf => 10,
            Self::ReadTimeout => 11,
            Self::Subprotocol => 16,
        }
    }

    /// The payload of the Disconnect message: `[reason]`.
    pub fn payload(self) -> Vec<u8> {
        alloy_rlp::encode(vec![u64::from(self.code())])
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "disconnect requested",
            Self::NetworkError => "network error",
            Self::ProtocolBreach => "breach of protocol",
            Self::UselessPeer => "useless peer",
            Self::TooManyPeers => "too many peers",
            Self::AlreadyConnected => "already connected",
            Self::IncompatibleVersion => "incompatible p2p protocol version",
            Self::NullIdentity => "invalid node identity",
            Self::Quitting => "client quitting",
            Self::UnexpectedIdentity => "unexpected identity",
            Self::ToSelf => "connected to self",
            Self::ReadTimeout => "read timeout",
            Self::Subprotocol => "subprotocol error",
        })
    }
}

/// The reason a peer gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerReason {
    /// One of those geth knows.
    Known(DisconnectReason),
    /// Another number.
    Other(u64),
}

impl PeerReason {
    /// Reads a Disconnect payload. Around the Hello a peer may or may not
    /// compress it, so both are read; what cannot be read is "requested".
    pub fn from_payload(payload: &[u8]) -> Self {
        // A plain payload is a list and starts at C0 or above; a compressed one
        // starts with its length, a small number.
        let number = match payload.first() {
            Some(0xc0..) => read_list(payload),
            Some(_) => snappy::decompress(payload)
                .ok()
                .and_then(|plain| read_list(&plain)),
            None => None,
        };
        Self::from(number.unwrap_or_default())
    }
}

impl From<u64> for PeerReason {
    fn from(number: u64) -> Self {
        DisconnectReason::ALL
            .into_iter()
            .find(|reason| u64::from(reason.code()) == number)
            .map_or(Self::Other(number), Self::Known)
    }
}

impl fmt::Display for PeerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(reason) => reason.fmt(f),
            Self::Other(number) => write!(f, "unknown reason {number}"),
        }
    }
}

fn read_list(mut payload: &[u8]) -> Option<u64> {
    let mut fields = Header::decode_bytes(&mut payload, true).ok()?;
    u64::decode(&mut fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rlpx::snappy::Compressor;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        disconnect: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        reason: u64,
        text: String,
        payload: String,
    }

    #[test]
    fn reasons_of_geth_are_written_and_read_as_geth_does() {
        let file: Vectors =
            serde_json::from_str(include_str!("../../fixtures/wire/rlpx.json")).unwrap();
        assert_eq!(file.disconnect.len(), DisconnectReason::ALL.len());
        for v in file.disconnect {
            let payload = hex::decode(&v.payload[2..]).unwrap();
            let PeerReason::Known(reason) = PeerReason::from(v.reason) else {
                panic!("reason {} is unknown", v.reason)
            };
            assert_eq!(reason.payload(), payload);
            assert_eq!(reason.to_string(), v.text);
            assert_eq!(
                PeerReason::from_payload(&payload),
                PeerReason::Known(reason)
            );
            let compressed = Compressor::new().compress(&payload).to_vec();
            assert_eq!(
                PeerReason::from_payload(&compressed),
                PeerReason::Known(reason)
            );
        }
    }

    #[test]
    fn seventeen_is_never_written() {
        for reason in DisconnectReason::ALL {
            assert_ne!(reason.code(), 17);
            assert_ne!(reason.payload(), [0xc1, 17]);
        }
        assert_eq!(PeerReason::from(17), PeerReason::Other(17));
    }

    #[test]
    fn odd_payloads_are_taken_as_geth_takes_them() {
        let requested = PeerReason::Known(DisconnectReason::Requested);
        for (payload, expected) in [
            ("", requested),
            ("c0", requested),
            ("c180", requested),
            ("04", requested),
            ("80", requested),
            ("c4820100c0", PeerReason::Other(256)),
            ("c28111", requested),
            ("c111", PeerReason::Other(17)),
            ("c281ff", PeerReason::Other(255)),
            ("c6850100000000", PeerReason::Other(1 << 32)),
            ("ca89010000000000000000", requested),
            ("c20408", PeerReason::Known(DisconnectReason::TooManyPeers)),
            ("c1", requested),
            ("ffffffffffffffffff", requested),
        ] {
            let bytes = hex::decode(payload).unwrap();
            assert_eq!(PeerReason::from_payload(&bytes), expected, "{payload}");
        }
    }
}
