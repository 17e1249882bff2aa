//! The first message on a link: who is there, and what it speaks.
//!
//! ```text
//! RLP[version u, name, [[capability name, capability version u]..], listen port u, id 64, ignored..]
//! ```
//!
//! Always true:
//! - A Hello is at most [`MAX_HELLO`] bytes long and never compressed.
//! - The id of a decoded Hello has 64 bytes and is not zero. Whether it is the
//!   id of the handshake is the session's to judge.

use alloy_rlp::{Decodable, Encodable, Header};

use crate::rlpx::NodeId;
use crate::rlpx::capability::Capability;
use crate::rlpx::handshake::count_items;

/// Largest Hello payload in bytes, as in geth.
pub const MAX_HELLO: usize = 2_048;

/// The base protocol this node speaks: 5, with compression (EIP-706).
pub const BASE_VERSION: u64 = 5;

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Version of the base protocol.
    pub version: u64,
    /// Name of the program; no one promises UTF-8.
    pub name: Vec<u8>,
    /// Protocols it speaks.
    pub capabilities: Vec<Capability>,
    /// Where it listens, 0 where it does not say. geth does not check that it
    /// is a port.
    pub listen_port: u64,
    /// Its static public key.
    pub id: NodeId,
    /// How many further list elements there were, ignored (EIP-8).
    pub extra_fields: usize,
}

/// Why a payload is no Hello. Each is the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// More than [`MAX_HELLO`] bytes.
    #[error("Hello of {size} bytes; at most {MAX_HELLO} are accepted")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// The list is malformed or has too few elements.
    #[error("Hello: {0}")]
    Rlp(#[from] alloy_rlp::Error),
    /// The id has another length than 64, or is zero.
    #[error("Hello without a node id")]
    NullIdentity,
}

impl Hello {
    /// This node's Hello. `name` is for people: program and version.
    pub fn new(name: &str, capabilities: Vec<Capability>, listen_port: u16, id: NodeId) -> Self {
        Self {
            version: BASE_VERSION,
            name: name.as_bytes().to_vec(),
            capabilities,
            listen_port: u64::from(listen_port),
            id,
            extra_fields: 0,
        }
    }

    /// Whether payloads are compressed once both Hellos are exchanged.
    pub fn compresses(&self) -> bool {
        self.version >= 5
    }

    /// The name, fit for a log: ASCII, with all else escaped.
    pub fn client(&self) -> String {
        self.name.escape_ascii().to_string()
    }

    /// The payload of the Hello message.
    pub fn encode(&self) -> Vec<u8> {
        let payload_length = self.version.length()
            + self.name.as_slice().length()
            + self.capabilities.length()
            + self.listen_port.length()
            + self.id.0.length();
        let header = Header {
            list: true,
            payload_length,
        };
        let mut out = Vec::with_capacity(header.length_with_payload());
        header.encode(&mut out);
        self.version.encode(&mut out);
        self.name.as_slice().encode(&mut out);
        self.capabilities.encode(&mut out);
        self.listen_port.encode(&mut out);
        self.id.0.encode(&mut out);
        out
    }

    /// Reads a payload. Bytes after the list are ignored, as geth does.
    pub fn decode(mut payload: &[u8]) -> Result<Self, HelloError> {
        if payload.len() > MAX_HELLO {
            return Err(HelloError::TooLarge {
                size: payload.len(),
            });
        }
        let mut fields = Header::decode_bytes(&mut payload, true)?;
        let version = Decodable::decode(&mut fields)?;
        let name = Header::decode_bytes(&mut fields, false)?.to_vec();
        let capabilities = Decodable::decode(&mut fields)?;
        let listen_port = Decodable::decode(&mut fields)?;
        let id = Header::decode_bytes(&mut fields, false)?;
        let extra_fields = count_items(fields)?;
        let id = NodeId(id.try_into().map_err(|_| HelloError::NullIdentity)?);
        if id == NodeId::NULL {
            return Err(HelloError::NullIdentity);
        }
        Ok(Self {
            version,
            name,
            capabilities,
            listen_port,
            id,
            extra_fields,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rlpx::NodeKey;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vectors {
        hello: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        note: String,
        payload: String,
        error: Option<String>,
        version: Option<u64>,
        name: Option<String>,
        caps: Option<Vec<String>>,
        listen_port: Option<u64>,
        id: Option<String>,
        extra_fields: Option<usize>,
    }

    #[test]
    fn hellos_are_taken_and_refused_as_geth_does() {
        let file: Vectors =
            serde_json::from_str(include_str!("../../fixtures/wire/rlpx.json")).unwrap();
        assert!(!file.hello.is_empty());
        for v in file.hello {
            let payload = hex::decode(&v.payload[2..]).unwrap();
            let outcome = Hello::decode(&payload);
            let Some(error) = v.error else {
                let hello = outcome.unwrap();
                let caps: Vec<_> = hello.capabilities.iter().map(ToString::to_string).collect();
                assert_eq!(Some(hello.version), v.version, "{}", v.note);
                assert_eq!(Some(hello.client()), v.name, "{}", v.note);
                assert_eq!(Some(caps), v.caps, "{}", v.note);
                assert_eq!(Some(hello.listen_port), v.listen_port, "{}", v.note);
                assert_eq!(Some(format!("0x{}", hello.id)), v.id, "{}", v.note);
                assert_eq!(Some(hello.extra_fields), v.extra_fields, "{}", v.note);
                if hello.extra_fields == 0 {
                    assert_eq!(hello.encode(), payload, "{}", v.note);
                }
                continue;
            };
            match (outcome.unwrap_err(), error.as_str()) {
                (HelloError::NullIdentity, "invalid node identity")
                | (HelloError::TooLarge { .. }, "message too big") => {}
                (HelloError::Rlp(_), text) if text.contains("rlp:") => {}
                (ours, theirs) => panic!("{}: {ours} where geth says {theirs}", v.note),
            }
        }
    }

    #[test]
    fn the_worked_example_encodes_to_its_bytes() {
        let id = NodeKey::from_secret_bytes(&[0x33; 32]).unwrap().id();
        let hello = Hello::new("test/v1", vec![Capability::new("shh", 6)], 0, id);
        assert_eq!(
            hex::encode(hello.encode()),
            format!("f8530587746573742f7631c6c5837368680680b840{id}")
        );
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_log() {
        let mut hello = Hello::new("", vec![], 0, NodeId([1; 64]));
        hello.name = b"x\nERROR \xff".to_vec();
        assert_eq!(hello.client(), "x\\nERROR \\xff");
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }

    #[test]
    fn lists_within_lists_are_no_burden() {
        // 2,000 list headers, each holding all that follow.
        let mut nested = vec![0xc0];
        for _ in 0..600 {
            let mut next = Vec::new();
            Header {
                list: true,
                payload_length: nested.len(),
            }
            .encode(&mut next);
            next.extend_from_slice(&nested);
            nested = next;
        }
        assert!(nested.len() <= MAX_HELLO);
        assert!(matches!(Hello::decode(&nested), Err(HelloError::Rlp(_))));
        let hello = Hello::new("", vec![], 0, NodeId([1; 64]));
        let mut fields = hello.encode();
        fields.drain(..2);
        fields.extend_from_slice(&nested);
        let mut tail = Vec::new();
        Header {
            list: true,
            payload_length: fields.len(),
        }
        .encode(&mut tail);
        tail.extend_from_slice(&fields);
        let expected = Hello {
            extra_fields: 1,
            ..hello
        };
        assert_eq!(Hello::decode(&tail), Ok(expected));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn decode_undoes_encode(
            version: u64,
            name in proptest::collection::vec(any::<u8>(), 0..40),
            caps in proptest::collection::vec(("[a-z]{0,8}", any::<u64>()), 0..6),
            listen_port: u64,
            id in any::<[u8; 32]>(),
        ) {
            let mut long_id = [1; 64];
            long_id[..32].copy_from_slice(&id);
            let hello = Hello {
                version,
                name,
                capabilities: caps.iter().map(|(n, v)| Capability::new(n, *v)).collect(),
                listen_port,
                id: NodeId(long_id),
                extra_fields: 0,
            };
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
    }
}
