//! What travels in discovery's datagrams (devp2p's discv4; go-ethereum 1.8
//! `p2p/discover`).
//!
//! Always true:
//! - A packet read was signed by the key it is said to come from. That key may
//!   be anybody's: no more is proven than that the sender has it.
//! - Reading is as lenient as geth's: junk after the list, fields beyond the
//!   known and any version of a ping are fine, and whether a packet has expired
//!   is its reader's business.
//! - What is written fits a datagram of [`MAX_PACKET`] bytes.
//!
//! Layout: `Keccak-256 of the rest (32) ++ signature (65) ++ type (1) ++ RLP
//! list`; the signature is over the Keccak-256 of type and list.

use std::net::IpAddr;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::{BufMut, Bytes, BytesMut};
use secp256k1::SecretKey;

use crate::keccak::keccak256;
use crate::rlpx::NodeId;
use crate::rlpx::signature::{self, SIGNATURE};

/// The largest datagram, in bytes.
pub const MAX_PACKET: usize = 1_280;

/// Nodes that fit one neighbors packet, whatever their addresses.
pub const MAX_NEIGHBORS: usize = 12;

/// The version that pings name.
const VERSION: u64 = 4;

const HASH: usize = 32;

/// Where a node is, as it or another says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address; `None` where what was sent is none.
    pub ip: Option<IpAddr>,
    /// Its UDP port.
    pub udp: u16,
    /// Its TCP port; 0 where it is not told.
    pub tcp: u16,
}

/// A node that another one knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Who it is.
    pub id: NodeId,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Type 1: are you there?
    Ping {
        /// Where the sender believes to be.
        from: Endpoint,
        /// Where it believes the receiver to be.
        to: Endpoint,
        /// Unix seconds after which to drop the packet.
        expiration: u64,
    },
    /// Type 2: I am.
    Pong {
        /// Where the ping came from.
        to: Endpoint,
        /// The hash of the ping, if it is one: geth reads any bytes.
        ping: Bytes,
        /// Unix seconds after which to drop the packet.
        expiration: u64,
    },
    /// Type 3: whom do you know near this key?
    FindNode {
        /// The key, 64 bytes that need not be one.
        target: NodeId,
        /// Unix seconds after which to drop the packet.
        expiration: u64,
    },
    /// Type 4: these.
    Neighbors {
        /// At most [`MAX_NEIGHBORS`].
        nodes: Vec<Neighbor>,
        /// Unix seconds after which to drop the packet.
        expiration: u64,
    },
}

/// A packet, and what its datagram proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Whose key signed it.
    pub sender: NodeId,
    /// What an answer has to name.
    pub hash: [u8; 32],
    /// What it says.
    pub packet: Packet,
}

/// Why a datagram is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than hash, signature and type.
    #[error("too small")]
    TooSmall,
    /// Larger than any packet.
    #[error("a datagram of {0} bytes, above {MAX_PACKET}")]
    TooLarge(usize),
    /// Changed on the way.
    #[error("bad hash")]
    Hash,
    /// Not a signature that a key can have made.
    #[error("bad signature")]
    Signature,
    /// Of a type that nobody knows.
    #[error("unknown type: {0}")]
    Type(u8),
    /// Not the list that its type says.
    #[error("type {kind}: {error}")]
    Rlp {
        /// The type.
        kind: u8,
        /// What is wrong.
        error: alloy_rlp::Error,
    },
}

impl Packet {
    fn kind(&self) -> u8 {
        match self {
            Self::Ping { .. } => 1,
            Self::Pong { .. } => 2,
            Self::FindNode { .. } => 3,
            Self::Neighbors { .. } => 4,
        }
    }

    /// Unix seconds after which it is to be dropped.
    pub fn expiration(&self) -> u64 {
        match self {
            Self::Ping { expiration, .. }
            | Self::Pong { expiration, .. }
            | Self::FindNode { expiration, .. }
            | Self::Neighbors { expiration, .. } => *expiration,
        }
    }

    /// The datagram, and the hash by which an answer names it.
    pub fn encode(&self, key: &SecretKey) -> (Bytes, [u8; 32]) {
        let mut list = BytesMut::new();
        match self {
            Self::Ping {
                from,
                to,
                expiration,
            } => {
                VERSION.encode(&mut list);
                from.encode(&mut list);
                to.encode(&mut list);
                expiration.encode(&mut list);
            }
            Self::Pong {
                to,
                ping,
                expiration,
            } => {
                to.encode(&mut list);
                ping.as_ref().encode(&mut list);
                expiration.encode(&mut list);
            }
            Self::FindNode { target, expiration } => {
                target.0.as_slice().encode(&mut list);
                expiration.encode(&mut list);
            }
            Self::Neighbors { nodes, expiration } => {
                let mut inner = BytesMut::new();
                for node in nodes {
                    let mut fields = BytesMut::new();
                    node.endpoint.fields(&mut fields);
                    node.id.0.as_slice().encode(&mut fields);
                    put_list(&mut inner, &fields);
                }
                put_list(&mut list, &inner);
                expiration.encode(&mut list);
            }
        }
        let mut signed = BytesMut::new();
        signed.put_u8(self.kind());
        put_list(&mut signed, &list);
        let signature = signature::sign(key, keccak256(&signed));
        let hash = keccak256([&signature[..], &signed].concat());
        let datagram = [&hash[..], &signature, &signed].concat();
        (Bytes::from(datagram), hash)
    }

    /// Reads a datagram.
    pub fn decode(datagram: &[u8]) -> Result<Received, PacketError> {
        if datagram.len() > MAX_PACKET {
            return Err(PacketError::TooLarge(datagram.len()));
        }
        let (hash, rest) = datagram
            .split_first_chunk::<HASH>()
            .ok_or(PacketError::TooSmall)?;
        let (signature, signed) = rest
            .split_first_chunk::<SIGNATURE>()
            .ok_or(PacketError::TooSmall)?;
        let (&kind, list) = signed.split_first().ok_or(PacketError::TooSmall)?;
        if keccak256(rest) != *hash {
            return Err(PacketError::Hash);
        }
        let key =
            signature::recover(keccak256(signed), signature).map_err(|_| PacketError::Signature)?;
        let packet = Self::decode_list(kind, list)?;
        Ok(Received {
            sender: NodeId::of(&key),
            hash: *hash,
            packet,
        })
    }

    fn decode_list(kind: u8, list: &[u8]) -> Result<Self, PacketError> {
        let read = |mut list: &[u8]| -> Result<Self, alloy_rlp::Error> {
            let fields = &mut Header::decode_bytes(&mut list, true)?;
            Ok(match kind {
                1 => {
                    u64::decode(fields)?;
                    Self::Ping {
                        from: Endpoint::decode(fields)?,
                        to: Endpoint::decode(fields)?,
                        expiration: u64::decode(fields)?,
                    }
                }
                2 => Self::Pong {
                    to: Endpoint::decode(fields)?,
                    ping: Bytes::copy_from_slice(Header::decode_bytes(fields, false)?),
                    expiration: u64::decode(fields)?,
                },
                3 => Self::FindNode {
                    target: NodeId(<[u8; 64]>::decode(fields)?),
                    expiration: u64::decode(fields)?,
                },
                _ => {
                    let mut inner = Header::decode_bytes(fields, true)?;
                    let mut nodes = Vec::new();
                    while !inner.is_empty() {
                        let mut node = Header::decode_bytes(&mut inner, true)?;
                        let endpoint = Endpoint::decode_fields(&mut node)?;
                        let id = NodeId(<[u8; 64]>::decode(&mut node)?);
                        nodes.push(Neighbor { id, endpoint });
                    }
                    Self::Neighbors {
                        nodes,
                        expiration: u64::decode(fields)?,
                    }
                }
            })
        };
        if !(1..=4).contains(&kind) {
            return Err(PacketError::Type(kind));
        }
        read(list).map_err(|error| PacketError::Rlp { kind, error })
    }
}

impl Endpoint {
    fn fields(&self, out: &mut BytesMut) {
        match self.ip {
            Some(IpAddr::V4(ip)) => ip.octets().as_slice().encode(out),
            Some(IpAddr::V6(ip)) => ip.octets().as_slice().encode(out),
            None => [].as_slice().encode(out),
        }
        self.udp.encode(out);
        self.tcp.encode(out);
    }

    fn encode(&self, out: &mut BytesMut) {
        let mut fields = BytesMut::new();
        self.fields(&mut fields);
        put_list(out, &fields);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, alloy_rlp::Error> {
        let mut fields = Header::decode_bytes(input, true)?;
        let endpoint = Self::decode_fields(&mut fields)?;
        if fields.is_empty() {
            Ok(endpoint)
        } else {
            Err(alloy_rlp::Error::UnexpectedLength)
        }
    }

    fn decode_fields(fields: &mut &[u8]) -> Result<Self, alloy_rlp::Error> {
        let ip = Header::decode_bytes(fields, false)?;
        let ip = match ip.len() {
            4 => <[u8; 4]>::try_from(ip).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(ip).ok().map(IpAddr::from),
            _ => None,
        };
        Ok(Self {
            // An IPv4 address in 16 bytes is that address.
            ip: ip.map(|ip| ip.to_canonical()),
            udp: u16::decode(fields)?,
            tcp: u16::decode(fields)?,
        })
    }
}

fn put_list(out: &mut BytesMut, payload: &[u8]) {
    let header = Header {
        list: true,
        payload_length: payload.len(),
    };
    header.encode(out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn key() -> SecretKey {
        SecretKey::from_secret_bytes([0x33; 32]).unwrap()
    }

    fn endpoint(ip: &str, udp: u16, tcp: u16) -> Endpoint {
        let ip = Some(ip.parse().unwrap());
        Endpoint { ip, udp, tcp }
    }

    #[test]
    fn a_ping_is_the_bytes_geth_sends() {
        let ping = Packet::Ping {
            from: endpoint("127.0.0.1", 30_303, 30_303),
            to: endpoint("10.0.0.1", 30_304, 0),
            expiration: 1_600_000_020,
        };
        let (datagram, hash) = ping.encode(&key());
        assert_eq!(
            hex::encode(&datagram),
            "7894b5bd913cbb77908c09bfb54ed7cdb27b6dfebdc686f066c8bed3182ba7b5b58b3006227028503a5d8b86ded0faa6860f974c7b9d23a49a799d70f14b2b716cde7a47fc3bc88c333f809f3ddc44d212dc2a4bd5b7b1e1a9c8c97c24bceef20101dc04cb847f00000182765f82765fc9840a00000182766080845f5e1014"
        );
        let received = Packet::decode(&datagram).unwrap();
        assert_eq!((received.hash, received.packet), (hash, ping));
        assert_eq!(received.sender, NodeId::of(&key().public_key()));
    }

    #[test]
    fn a_full_neighbors_packet_fits_a_datagram() {
        let ip = IpAddr::V6(Ipv6Addr::from([0xff; 16]));
        let node = Neighbor {
            id: NodeId([0xff; 64]),
            endpoint: Endpoint {
                ip: Some(ip),
                udp: u16::MAX,
                tcp: u16::MAX,
            },
        };
        let packet = Packet::Neighbors {
            nodes: vec![node; MAX_NEIGHBORS],
            expiration: u64::MAX,
        };
        let (datagram, _) = packet.encode(&key());
        assert!(datagram.len() <= MAX_PACKET, "{}", datagram.len());
        assert_eq!(Packet::decode(&datagram).unwrap().packet, packet);
    }
}
