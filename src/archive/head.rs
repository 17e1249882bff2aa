//! The signed record that names a state: its CID is "the head CID".
//!
//! Always true of a head that decoded:
//! - Its signature recovers to its key.
//! - It is under 1 KiB of canonical DAG-CBOR.
//! - `state`, `open` and `added` are links; `prev`, `skip` and `merged` are
//!   plain bytes, so that a walk of a head's links fetches the live history and
//!   nothing older.

use std::fmt;

use ipld_core::ipld::Ipld;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::cbor::{self, CborError};
use super::sums::Sums;
use super::watermark::Watermark;
use crate::blocks::{Block, Cid, Codec};
use crate::keccak::keccak256;
use crate::time::UnixSeconds;

/// Version of the archive format that this program reads and writes.
pub const FORMAT_VERSION: u16 = 1;

/// Largest head in bytes.
pub const MAX_HEAD_LEN: usize = 1_024;

/// Most deltas a head may list as open: one for each watermark of an hour, so
/// that five-minute seals need not fold what they wrote. A seal that would pass
/// it folds them into one; the bound keeps a head under 1 KiB.
pub const MAX_OPEN: usize = 11;

/// Most other heads one head may name as merged.
pub const MAX_MERGED: usize = 2;

/// Longest name and network in bytes.
pub const MAX_NAME_LEN: usize = 32;

/// Number of a head in its lineage, rising from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything in a head but its key and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadBody {
    /// The network whose envelopes these are, `shh/6` for Whisper.
    pub network: String,
    /// Name its owner gives the archive, empty for none.
    pub name: String,
    /// Its number.
    pub sequence: Sequence,
    /// Envelopes sent before this instant are in it, as far as they were heard.
    pub watermark: Watermark,
    /// When it was signed.
    pub signed_at: UnixSeconds,
    /// Root of the calendar; `None` while no bucket has closed.
    pub state: Option<Cid>,
    /// Deltas that hold envelopes of the hour still open.
    pub open: Vec<Cid>,
    /// The delta of what is new in this head; `None` where nothing is.
    pub added: Option<Cid>,
    /// What state and open deltas hold together.
    pub totals: Sums,
    /// The head before it.
    pub prev: Option<Cid>,
    /// An earlier head, about `2^trailing_zeros(sequence)` back, so that a
    /// lineage is walked in logarithmic steps.
    pub skip: Option<Cid>,
    /// Heads of others united into it.
    pub merged: Vec<Cid>,
}

/// A head whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    body: HeadBody,
    key: PublicKey,
    block: Block,
}

/// Why bytes are no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Longer than a head may be.
    #[error("{0} bytes, above the limit of {MAX_HEAD_LEN}")]
    TooLong(usize),
    /// Not the canonical encoding of a head.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another version of the format.
    #[error("format version {0}; this program knows version {FORMAT_VERSION}")]
    Version(u16),
    /// A field that cannot be.
    #[error("{0}")]
    Field(&'static str),
    /// The signature is not its key's.
    #[error("signature does not match the key")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadCbor {
    v: u16,
    network: String,
    name: String,
    seq: u64,
    watermark: u32,
    time: u32,
    state: Option<Cid>,
    open: Vec<Cid>,
    added: Option<Cid>,
    totals: Sums,
    prev: Option<ByteBuf>,
    skip: Option<ByteBuf>,
    merged: Vec<ByteBuf>,
    key: ByteArray<33>,
    /// Absent while the head is being signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sig: Option<ByteArray<65>>,
}

impl Head {
    /// Signs a head. The signature is over the Keccak-256 of the DAG-CBOR
    /// without the field `sig`: 65 bytes, `r || s || v`.
    pub fn sign(body: HeadBody, secret: &SecretKey) -> Result<Self, HeadError> {
        check(&body)?;
        let key = secret.public_key();
        let mut cbor = to_cbor(&body, &key);
        let digest = Message::from_digest(keccak256(cbor::encode(&cbor).bytes()));
        let (v, rs) =
            RecoverableSignature::sign_ecdsa_recoverable(digest, secret).serialize_compact();
        let mut sig = [0; 65];
        sig[..64].copy_from_slice(&rs);
        sig[64] = v.to_u8();
        cbor.sig = Some(ByteArray::new(sig));
        let block = cbor::encode(&cbor);
        if block.bytes().len() > MAX_HEAD_LEN {
            return Err(HeadError::TooLong(block.bytes().len()));
        }
        Ok(Self { body, key, block })
    }

    /// Reads and checks a head.
    pub fn decode(block: Block) -> Result<Self, HeadError> {
        if block.bytes().len() > MAX_HEAD_LEN {
            return Err(HeadError::TooLong(block.bytes().len()));
        }
        // The other codec would give the same record a second CID.
        if Codec::of(block.cid()) != Some(Codec::DagCbor) {
            return Err(HeadError::Field("a head's codec is dag-cbor"));
        }
        let mut cbor: HeadCbor = match cbor::decode(block.bytes()) {
            Ok(cbor) => cbor,
            // Another version may have other fields; say that rather.
            Err(error) => return Err(foreign_version(block.bytes()).unwrap_or(error.into())),
        };
        if cbor.v != FORMAT_VERSION {
            return Err(HeadError::Version(cbor.v));
        }
        let sig = cbor.sig.take().ok_or(HeadError::Signature)?;
        let digest = Message::from_digest(keccak256(cbor::encode(&cbor).bytes()));
        let key = recover(digest, &sig).ok_or(HeadError::Signature)?;
        if key.serialize() != *cbor.key {
            return Err(HeadError::Signature);
        }
        let body = from_cbor(cbor)?;
        check(&body)?;
        Ok(Self { body, key, block })
    }

    /// The head CID.
    pub fn cid(&self) -> &Cid {
        self.block.cid()
    }

    /// The head as a block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// What it says.
    pub fn body(&self) -> &HeadBody {
        &self.body
    }

    /// What it says of heads before it: their CIDs and numbers.
    pub fn earlier(&self) -> impl Iterator<Item = (Cid, Sequence)> {
        let number = self.body.sequence.0;
        let back = 1u64 << number.trailing_zeros().min(63);
        [(self.body.prev, 1), (self.body.skip, back)]
            .into_iter()
            .filter_map(move |(cid, steps)| Some((cid?, Sequence(number.checked_sub(steps)?))))
    }

    /// Who signed it.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// The version of a head of another version, whatever its other fields.
fn foreign_version(bytes: &[u8]) -> Option<HeadError> {
    let Ok(Ipld::Map(fields)) = cbor::decode(bytes) else {
        return None;
    };
    let Some(Ipld::Integer(v)) = fields.get("v") else {
        return None;
    };
    let v = u16::try_from(*v).ok()?;
    (v != FORMAT_VERSION).then_some(HeadError::Version(v))
}

fn recover(digest: Message, sig: &[u8; 65]) -> Option<PublicKey> {
    let (rs, v) = (&sig[..64], sig[64]);
    let id = RecoveryId::try_from(i32::from(v)).ok()?;
    let signature = RecoverableSignature::from_compact(rs, id).ok()?;
    // One signature, one head: the other of the two valid values of `s` would
    // give the same record a second CID.
    let normal = signature.to_standard();
    let mut low = normal;
    low.normalize_s();
    if low != normal {
        return None;
    }
    signature.recover_ecdsa(digest).ok()
}

fn check(body: &HeadBody) -> Result<(), HeadError> {
    let field = |ok: bool, what: &'static str| {
        if ok {
            Ok(())
        } else {
            Err(HeadError::Field(what))
        }
    };
    field(body.sequence.0 > 0, "sequence numbers start at 1")?;
    field(body.open.len() <= MAX_OPEN, "too many open deltas")?;
    field(body.merged.len() <= MAX_MERGED, "too many merged heads")?;
    field(
        body.network.len() <= MAX_NAME_LEN,
        "network name is too long",
    )?;
    field(body.name.len() <= MAX_NAME_LEN, "archive name is too long")?;
    field(
        (body.sequence.0 == 1) == body.prev.is_none(),
        "the first head alone has none before it",
    )?;
    let links = body.state.iter().chain(&body.open).chain(&body.added);
    let lineage = body.prev.iter().chain(&body.skip).chain(&body.merged);
    for cid in links.chain(lineage) {
        field(
            crate::blocks::check_cid(cid).is_ok(),
            "a link is not CIDv1 with sha2-256",
        )?;
    }
    Ok(())
}

fn to_cbor(body: &HeadBody, key: &PublicKey) -> HeadCbor {
    let plain = |cid: &Cid| ByteBuf::from(cid.to_bytes());
    HeadCbor {
        v: FORMAT_VERSION,
        network: body.network.clone(),
        name: body.name.clone(),
        seq: body.sequence.0,
        watermark: body.watermark.at().0,
        time: body.signed_at.0,
        state: body.state,
        open: body.open.clone(),
        added: body.added,
        totals: body.totals,
        prev: body.prev.as_ref().map(plain),
        skip: body.skip.as_ref().map(plain),
        merged: body.merged.iter().map(plain).collect(),
        key: ByteArray::new(key.serialize()),
        sig: None,
    }
}

fn from_cbor(cbor: HeadCbor) -> Result<HeadBody, HeadError> {
    let plain = |bytes: ByteBuf| {
        let cid = Cid::try_from(bytes.as_slice()).ok();
        // `Cid` reads a prefix; the bytes must be the whole CID.
        cid.filter(|cid| cid.to_bytes() == *bytes)
            .ok_or(HeadError::Field("the lineage holds bytes that are no CID"))
    };
    Ok(HeadBody {
        network: cbor.network,
        name: cbor.name,
        sequence: Sequence(cbor.seq),
        watermark: Watermark::new(UnixSeconds(cbor.watermark))
            .ok_or(HeadError::Field("watermark is not a multiple of 300 s"))?,
        signed_at: UnixSeconds(cbor.time),
        state: cbor.state,
        open: cbor.open,
        added: cbor.added,
        totals: cbor.totals,
        prev: cbor.prev.map(plain).transpose()?,
        skip: cbor.skip.map(plain).transpose()?,
        merged: cbor
            .merged
            .into_iter()
            .map(plain)
            .collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> HeadBody {
        let link = |n: u8| *Block::new(Codec::DagCbor, vec![n]).cid();
        HeadBody {
            network: "shh/6".into(),
            name: "test".into(),
            sequence: Sequence(7),
            watermark: Watermark::at_or_before(UnixSeconds(1_538_395_200)),
            signed_at: UnixSeconds(1_538_395_321),
            state: Some(link(1)),
            open: vec![link(2), link(3)],
            added: Some(link(3)),
            totals: Sums {
                count: 9,
                bytes: 900,
                ..Sums::default()
            },
            prev: Some(link(4)),
            skip: Some(link(5)),
            merged: vec![link(6)],
        }
    }

    fn secret() -> SecretKey {
        SecretKey::from_secret_bytes([0x33; 32]).unwrap()
    }

    #[test]
    fn decode_is_the_inverse_of_sign() {
        let head = Head::sign(body(), &secret()).unwrap();
        assert_eq!(Head::decode(head.block().clone()), Ok(head.clone()));
        assert_eq!(head.key(), &secret().public_key());
    }

    #[test]
    fn signing_is_deterministic() {
        assert_eq!(Head::sign(body(), &secret()), Head::sign(body(), &secret()));
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let head = Head::sign(body(), &secret()).unwrap();
        for at in 0..head.block().bytes().len() {
            for bit in 0..8 {
                let mut bytes = head.block().bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let decoded = Head::decode(Block::new(Codec::DagCbor, bytes));
                assert!(decoded.is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_head_of_another_version_says_so_whatever_its_fields() {
        let fields = [("v", 2), ("what", 0)].map(|(name, value)| (name.to_owned(), value.into()));
        let block = cbor::encode(&Ipld::Map(fields.into()));
        assert_eq!(Head::decode(block), Err(HeadError::Version(2)));
    }

    #[test]
    fn a_head_has_one_cid() {
        let head = Head::sign(body(), &secret()).unwrap();
        let raw = Block::new(Codec::Raw, head.block().bytes().clone());
        assert!(matches!(Head::decode(raw), Err(HeadError::Field(_))));
    }

    #[test]
    fn the_fullest_head_fits_its_limit() {
        let link = *Block::new(Codec::DagCbor, vec![1]).cid();
        let full = HeadBody {
            network: "n".repeat(16),
            name: "x".repeat(MAX_NAME_LEN),
            sequence: Sequence(u64::MAX),
            watermark: Watermark::at_or_before(UnixSeconds::MAX),
            signed_at: UnixSeconds::MAX,
            open: vec![link; MAX_OPEN],
            totals: Sums {
                count: u64::MAX,
                bytes: u64::MAX,
                ..Sums::default()
            },
            merged: vec![link; MAX_MERGED],
            ..body()
        };
        assert!(Head::sign(full, &secret()).is_ok());
    }

    #[test]
    fn fields_that_cannot_be_are_refused() {
        let link = *Block::new(Codec::DagCbor, vec![1]).cid();
        for wrong in [
            HeadBody {
                sequence: Sequence(0),
                prev: None,
                ..body()
            },
            HeadBody {
                prev: None,
                ..body()
            },
            HeadBody {
                sequence: Sequence(1),
                ..body()
            },
            HeadBody {
                open: vec![link; MAX_OPEN + 1],
                ..body()
            },
            HeadBody {
                merged: vec![link; MAX_MERGED + 1],
                ..body()
            },
            HeadBody {
                name: "x".repeat(MAX_NAME_LEN + 1),
                ..body()
            },
        ] {
            assert!(matches!(
                Head::sign(wrong, &secret()),
                Err(HeadError::Field(_))
            ));
        }
    }
}
