//! Which protocols two nodes share, and at which message codes.
//!
//! Always true: codes below [`BASE_LENGTH`] belong to the base protocol; each
//! shared protocol follows at the next free code, in the order of its name, so
//! that both sides count alike.

use std::fmt;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::BufMut;

/// Message codes reserved for the base protocol (Hello, Disconnect, Ping, Pong).
pub const BASE_LENGTH: u64 = 16;

/// A protocol by name and version, as a Hello lists it: `[name, version]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// Its name; no one promises UTF-8.
    pub name: Vec<u8>,
    /// Its version.
    pub version: u64,
}

impl Capability {
    /// The protocol `name/version`.
    pub fn new(name: &str, version: u64) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            version,
        }
    }

    fn payload_length(&self) -> usize {
        self.name.as_slice().length() + self.version.length()
    }
}

impl Encodable for Capability {
    fn encode(&self, out: &mut dyn BufMut) {
        Header {
            list: true,
            payload_length: self.payload_length(),
        }
        .encode(out);
        self.name.as_slice().encode(out);
        self.version.encode(out);
    }

    fn length(&self) -> usize {
        Header {
            list: true,
            payload_length: self.payload_length(),
        }
        .length_with_payload()
    }
}

impl Decodable for Capability {
    /// Exactly two elements; geth refuses a Hello over a third.
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let mut fields = Header::decode_bytes(buf, true)?;
        let capability = Self {
            name: Header::decode_bytes(&mut fields, false)?.to_vec(),
            version: u64::decode(&mut fields)?,
        };
        if !fields.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(capability)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name.escape_ascii(), self.version)
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A protocol this node speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Name and version.
    pub capability: Capability,
    /// How many message codes it reserves; both sides must agree. 128 for
    /// `shh/6`, in geth as in status-go.
    pub length: u64,
}

/// A protocol both sides speak, with its place among the message codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedProtocol {
    /// Name and version.
    pub capability: Capability,
    /// Code on the wire of its message 0.
    pub offset: u64,
    /// How many message codes it reserves.
    pub length: u64,
}

impl SharedProtocol {
    /// The protocol's own number of the wire code `code`, if it is one of its.
    pub fn message(&self, code: u64) -> Option<u64> {
        code.checked_sub(self.offset)
            .filter(|&message| message < self.length)
    }

    /// The code on the wire of the protocol's own `message`, if it has one of
    /// that number.
    pub fn code(&self, message: u64) -> Option<u64> {
        (message < self.length).then(|| self.offset.saturating_add(message))
    }
}

/// The protocols shared with a peer that offers `theirs`, by rising offset. Of
/// several shared versions of a name the highest counts, in the place of the
/// first.
pub fn shared_protocols(ours: &[Protocol], theirs: &[Capability]) -> Vec<SharedProtocol> {
    let mut theirs = theirs.to_vec();
    theirs.sort();
    let mut shared: Vec<SharedProtocol> = Vec::new();
    let mut offset = BASE_LENGTH;
    for capability in theirs {
        let Some(protocol) = ours.iter().find(|own| own.capability == capability) else {
            continue;
        };
        // Sorted, so that an earlier version of the same name is the last one
        // taken, and its codes are free again.
        if let Some(earlier) = shared.pop_if(|last| last.capability.name == capability.name) {
            offset = earlier.offset;
        }
        let length = protocol.length;
        shared.push(SharedProtocol {
            capability,
            offset,
            length,
        });
        offset = offset.saturating_add(length);
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(name: &str, version: u64, length: u64) -> Protocol {
        Protocol {
            capability: Capability::new(name, version),
            length,
        }
    }

    fn offsets(ours: &[Protocol], theirs: &[(&str, u64)]) -> Vec<(String, u64)> {
        let theirs: Vec<_> = theirs
            .iter()
            .map(|(name, version)| Capability::new(name, *version))
            .collect();
        shared_protocols(ours, &theirs)
            .iter()
            .map(|shared| (shared.capability.to_string(), shared.offset))
            .collect()
    }

    #[test]
    fn a_protocol_alone_starts_at_16_whatever_else_the_peer_offers() {
        let ours = [protocol("shh", 6, 128)];
        let expected = vec![("shh/6".to_owned(), 16)];
        assert_eq!(offsets(&ours, &[("shh", 6)]), expected);
        let all = [("shh", 6), ("les", 2), ("eth", 63), ("eth", 62), ("shh", 5)];
        assert_eq!(offsets(&ours, &all), expected);
        assert_eq!(offsets(&ours, &[("shh", 5), ("eth", 63)]), vec![]);
        assert_eq!(offsets(&ours, &[]), vec![]);
    }

    #[test]
    fn the_highest_version_counts_and_later_names_follow() {
        let ours = [
            protocol("shh", 6, 128),
            protocol("eth", 62, 8),
            protocol("eth", 63, 17),
        ];
        assert_eq!(
            offsets(&ours, &[("shh", 6), ("eth", 63), ("eth", 62)]),
            vec![("eth/63".to_owned(), 16), ("shh/6".to_owned(), 33)]
        );
        assert_eq!(
            offsets(&ours, &[("shh", 6), ("eth", 62)]),
            vec![("eth/62".to_owned(), 16), ("shh/6".to_owned(), 24)]
        );
    }

    #[test]
    fn a_capability_offered_twice_counts_once() {
        let ours = [protocol("shh", 6, 128)];
        assert_eq!(
            offsets(&ours, &[("shh", 6), ("shh", 6)]),
            vec![("shh/6".to_owned(), 16)]
        );
    }

    #[test]
    fn codes_outside_the_reserved_ones_are_not_the_protocols() {
        let shh = &shared_protocols(&[protocol("shh", 6, 128)], &[Capability::new("shh", 6)])[0];
        assert_eq!(shh.message(15), None);
        assert_eq!(shh.message(16), Some(0));
        assert_eq!(shh.message(0x8f), Some(127));
        assert_eq!(shh.message(0x90), None);
        assert_eq!((shh.code(0), shh.code(127)), (Some(16), Some(0x8f)));
        assert_eq!(shh.code(128), None);
    }
}
