//! The record itself: protobuf around signed DAG-CBOR.
//!
//! A record is kept as the bytes that came, so that whoever passes it on passes on
//! what was signed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ipld_core::ipld::Ipld;
use libp2p::identity::PublicKey;
use prost::Message;

use super::key::{self, IpnsKey, KeyError};
use super::{ContentPath, Name, PathError};
use crate::archive::cbor::{self, CborError};
use crate::blocks::Cid;
use crate::time::UnixSeconds;

/// Largest record, in bytes: what every program must be able to take.
pub const MAX_RECORD: usize = 10 << 10;

/// Stands before what a V2 signature signs.
const SIGNED: &[u8] = b"ipns-signature:";

/// The only kind of validity there is: until an instant.
const EOL: i32 = 0;

const VALUE: &str = "Value";
const VALIDITY: &str = "Validity";
const VALIDITY_TYPE: &str = "ValidityType";
const SEQUENCE: &str = "Sequence";
const TTL: &str = "TTL";

/// Longest text of a validity: nanoseconds and an offset.
const MAX_VALIDITY: usize = 40;

/// The protobuf form.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(bytes = "vec", optional, tag = "1")]
    value: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    signature_v1: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "3")]
    validity_type: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    validity: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "5")]
    sequence: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    ttl: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "7")]
    public_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    signature_v2: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    data: Option<Vec<u8>>,
}

/// An instant up to which a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValidUntil(jiff::Timestamp);

impl ValidUntil {
    /// Reads an RFC 3339 time, as records have it.
    fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let has_form = text.len() <= MAX_VALIDITY && text.as_bytes().get(10) == Some(&b'T');
        has_form.then(|| text.parse().ok().map(Self))?
    }

    /// Whether it lies behind `now`.
    pub fn is_past(&self, now: UnixSeconds) -> bool {
        self.0.as_second() < i64::from(now.0)
            || (self.0.as_second() == i64::from(now.0) && self.0.subsec_nanosecond() == 0)
    }

    /// Whole seconds from `now` on.
    pub fn left(&self, now: UnixSeconds) -> Duration {
        let left = self.0.as_second().saturating_sub(i64::from(now.0));
        Duration::from_secs(u64::try_from(left).unwrap_or(0))
    }
}

impl fmt::Display for ValidUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a new record is to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What the name stands for.
    pub value: ContentPath,
    /// Its number; of two records the higher one counts.
    pub sequence: u64,
    /// Up to when it counts.
    pub until: UnixSeconds,
    /// For how long it may be used before somebody asks again.
    pub ttl: Duration,
    /// Fields beside those of the specification; their names begin with `_`.
    pub extra: BTreeMap<String, Ipld>,
}

/// A record whose signature was checked. Whether it still counts says
/// [`Record::is_expired`].
#[derive(Clone, PartialEq)]
pub struct Record {
    name: Name,
    bytes: Bytes,
    value: Vec<u8>,
    sequence: u64,
    until: ValidUntil,
    ttl: Duration,
    extra: BTreeMap<String, Ipld>,
}

/// Why bytes are no record of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than a record may be.
    #[error("a record of {0} bytes, above the limit of {MAX_RECORD}")]
    TooLong(usize),
    /// Not the protobuf form.
    #[error("no record: {0}")]
    Protobuf(String),
    /// Without what a V2 record must have.
    #[error("a record without {0}: only those signed by the V2 scheme count")]
    Lacks(&'static str),
    /// Its data is no DAG-CBOR.
    #[error("data of a record: {0}")]
    Cbor(#[from] CborError),
    /// A field is absent, or not what it should be.
    #[error("a record whose `{0}` is absent, or not what it should be")]
    Field(&'static str),
    /// What old programs read differs from what is signed.
    #[error("a record whose `{0}` for old programs differs from the signed one")]
    Differs(&'static str),
    /// The name has no key that could have signed.
    #[error("the key of the name: {0}")]
    Key(#[from] KeyError),
    /// The name has the hash of a key alone, and the record brings none.
    #[error("a record without the key of its name")]
    NoKey,
    /// Signed for another name.
    #[error("a record of another name")]
    AnotherName,
    /// The signature is not that of the name's key.
    #[error("a record whose signature is not that of its name's key")]
    Signature,
    /// It no longer counts.
    #[error("a record that counted until {0}")]
    Expired(ValidUntil),
}

impl Record {
    /// Makes a record for the name of `key`, signed by both schemes; `None` where it
    /// would be longer than [`MAX_RECORD`].
    pub fn make(key: &IpnsKey, draft: &Draft) -> Option<Self> {
        let value = draft.value.to_string().into_bytes();
        let validity = draft.until.to_string().into_bytes();
        let ttl = u64::try_from(draft.ttl.as_nanos()).unwrap_or(u64::MAX);
        let mut fields = draft.extra.clone();
        fields.extend([
            (VALUE.to_owned(), Ipld::Bytes(value.clone())),
            (VALIDITY.to_owned(), Ipld::Bytes(validity.clone())),
            (VALIDITY_TYPE.to_owned(), Ipld::Integer(EOL.into())),
            (SEQUENCE.to_owned(), Ipld::Integer(draft.sequence.into())),
            (TTL.to_owned(), Ipld::Integer(ttl.into())),
        ]);
        let data = cbor::encode(&Ipld::Map(fields)).bytes().to_vec();
        let signed_v1 = [&value[..], &validity[..], b"EOL"].concat();
        let entry = Entry {
            signature_v1: Some(key.sign(&signed_v1)),
            signature_v2: Some(key.sign(&[SIGNED, &data].concat())),
            value: Some(value),
            validity_type: Some(EOL),
            validity: Some(validity),
            sequence: Some(draft.sequence),
            ttl: Some(ttl),
            // Keys of both kinds stand in their names.
            public_key: None,
            data: Some(data),
        };
        Self::read(&key.name(), entry.encode_to_vec().into()).ok()
    }

    /// Reads a record of `name`, and checks all but its time.
    pub fn read(name: &Name, bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let entry =
            Entry::decode(&*bytes).map_err(|error| RecordError::Protobuf(error.to_string()))?;
        let given = |field: &Option<Vec<u8>>, what| match field {
            Some(bytes) if !bytes.is_empty() => Ok(bytes.clone()),
            _ => Err(RecordError::Lacks(what)),
        };
        let signature = given(&entry.signature_v2, "a V2 signature")?;
        let data = given(&entry.data, "signed data")?;
        let key = key_of(name, entry.public_key.as_deref())?;
        if !key.verify(&[SIGNED, &data].concat(), &signature) {
            return Err(RecordError::Signature);
        }
        let fields = Fields::read(&data)?;
        fields.compare(&entry)?;
        let until = ValidUntil::read(&fields.validity).ok_or(RecordError::Field(VALIDITY))?;
        Ok(Self {
            name: *name,
            bytes,
            value: fields.value,
            sequence: fields.sequence,
            until,
            ttl: Duration::from_nanos(fields.ttl),
            extra: fields.extra,
        })
    }

    /// As [`Self::read`], of a record that must still count `now`.
    pub fn check(name: &Name, bytes: Bytes, now: UnixSeconds) -> Result<Self, RecordError> {
        let record = Self::read(name, bytes)?;
        if record.is_expired(now) {
            return Err(RecordError::Expired(record.until));
        }
        Ok(record)
    }

    /// Whose record it is.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The record as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the name stands for, as it is signed.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// What the name stands for. Old records hold the bytes of a CID instead of a
    /// path.
    pub fn path(&self) -> Result<ContentPath, PathError> {
        if self.value.first() == Some(&b'/') {
            let text = std::str::from_utf8(&self.value).map_err(|_| PathError::Form)?;
            return text.parse();
        }
        let cid = Cid::try_from(&self.value[..]).map_err(|_| PathError::Form)?;
        format!("/ipfs/{cid}").parse()
    }

    /// Its number.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Up to when it counts.
    pub fn until(&self) -> ValidUntil {
        self.until
    }

    /// For how long it may be used before somebody asks again.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether it no longer counts.
    pub fn is_expired(&self, now: UnixSeconds) -> bool {
        self.until.is_past(now)
    }

    /// A field beside those of the specification.
    pub fn extra(&self, field: &str) -> Option<&Ipld> {
        self.extra.get(field)
    }

    /// All fields beside those of the specification.
    pub fn extra_fields(&self) -> &BTreeMap<String, Ipld> {
        &self.extra
    }

    /// Whether it says the same as `other`, maybe for another time.
    pub fn says_as(&self, other: &Self) -> bool {
        self.value == other.value && self.extra == other.extra
    }

    /// Which of two records of a name counts: the one with the higher number, else
    /// the one that counts longer, else by its bytes, so that all agree.
    pub fn precedence(&self) -> impl Ord + use<> {
        (self.sequence, self.until, self.bytes.clone())
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("name", &self.name)
            .field("value", &String::from_utf8_lossy(&self.value))
            .field("sequence", &self.sequence)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// The key that must have signed.
fn key_of(name: &Name, given: Option<&[u8]>) -> Result<PublicKey, RecordError> {
    let key = match (given, name.inlined()) {
        (Some(bytes), _) if !bytes.is_empty() => key::public_key(bytes)?,
        (_, Some(inlined)) => inlined?,
        (_, None) => return Err(RecordError::NoKey),
    };
    if Name::of(&key) != *name {
        return Err(RecordError::AnotherName);
    }
    Ok(key)
}

/// What is signed.
struct Fields {
    value: Vec<u8>,
    validity: Vec<u8>,
    sequence: u64,
    ttl: u64,
    extra: BTreeMap<String, Ipld>,
}

impl Fields {
    fn read(data: &[u8]) -> Result<Self, RecordError> {
        let Ipld::Map(mut fields) = cbor::decode(data)? else {
            return Err(RecordError::Field("data"));
        };
        let mut bytes = |name| match fields.remove(name) {
            Some(Ipld::Bytes(bytes)) => Ok(bytes),
            _ => Err(RecordError::Field(name)),
        };
        let (value, validity) = (bytes(VALUE)?, bytes(VALIDITY)?);
        let mut number = |name| match fields.remove(name) {
            Some(Ipld::Integer(number)) => {
                u64::try_from(number).map_err(|_| RecordError::Field(name))
            }
            _ => Err(RecordError::Field(name)),
        };
        let (sequence, ttl) = (number(SEQUENCE)?, number(TTL)?);
        if number(VALIDITY_TYPE)? != 0 {
            return Err(RecordError::Field(VALIDITY_TYPE));
        }
        Ok(Self {
            value,
            validity,
            sequence,
            ttl,
            extra: fields,
        })
    }

    /// Compares the fields for old programs, where there are such.
    fn compare(&self, entry: &Entry) -> Result<(), RecordError> {
        let is_given = |field: &Option<Vec<u8>>| field.as_ref().is_some_and(|b| !b.is_empty());
        if !is_given(&entry.signature_v1) && !is_given(&entry.value) {
            return Ok(());
        }
        let same = [
            (VALUE, entry.value.as_ref() == Some(&self.value)),
            (VALIDITY, entry.validity.as_ref() == Some(&self.validity)),
            (VALIDITY_TYPE, entry.validity_type.unwrap_or(EOL) == EOL),
            (SEQUENCE, entry.sequence.unwrap_or(0) == self.sequence),
            (TTL, entry.ttl.unwrap_or(0) == self.ttl),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(RecordError::Differs(field)),
        }
    }
}

/// Signs any bytes as the data of a record, for tests and fuzzing.
#[doc(hidden)]
pub fn sign_data(key: &IpnsKey, data: &[u8]) -> Vec<u8> {
    let entry = Entry {
        signature_v2: Some(key.sign(&[SIGNED, data].concat())),
        data: Some(data.to_vec()),
        ..Entry::default()
    };
    entry.encode_to_vec()
}
