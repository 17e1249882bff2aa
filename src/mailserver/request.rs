//! What a peer asks of a mailserver.
//!
//! Always true:
//! - A [`MailQuery`] has a range that is not reversed, a whole filter and a
//!   limit from 1 to [`MAX_LIMIT`].
//! - Reading never panics, whatever was sent; each refusal has the text that
//!   status-go's server gives where it has one.
//!
//! Three forms are in the field:
//! - *sealed, RLP*: an envelope holding `[lower, upper, bloom, limit, cursor,
//!   batch]` (status-go to 0.34; the specification leaves `batch` out), or
//!   `[lower, upper, bloom, [topic, ..], limit, cursor, batch]` (status-go 0.40
//!   and later, [`ListForm`]);
//! - *sealed, binary*: an envelope holding `lower ++ upper [++ bloom [++ limit
//!   [++ cursor]]]` (geth's clients);
//! - *open*: the list `[id, from, to, limit, cursor, bloom]` without any
//!   envelope (status-go).

mod list_form;

use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

pub use self::list_form::ListForm;
use crate::mailserver::cursor::Cursor;
use crate::time::{DAY, ReversedRange, TimeRange, UnixSeconds};
use crate::whisper::bloom::{BLOOM_SIZE, Bloom};
use crate::whisper::rlp;
use crate::whisper::{Envelope, EnvelopeHash, Topic};

/// Envelopes delivered where the request names no limit (status-go).
pub const DEFAULT_LIMIT: u32 = 2_000;

/// Envelopes delivered for one request, whatever it asks; the cursor leads on.
/// status clients ask for 10,000 at most.
pub const MAX_LIMIT: u32 = 10_000;

/// The largest limit of an open request (status-go).
pub const MAX_OPEN_LIMIT: u32 = 1_000;

/// The longest range of the binary form, in seconds (status-go): its clients
/// cannot page.
pub const MAX_BINARY_RANGE: u32 = DAY;

/// How far beyond now an answer reaches where the request has no end, in
/// seconds (status-go): senders' clocks may be ahead.
pub const OPEN_END_SLACK: u32 = 60;

/// By what a completion names its request: the hash of the request's envelope,
/// or the id an open request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 32]);

impl From<EnvelopeHash> for RequestId {
    fn from(hash: EnvelopeHash) -> Self {
        Self(hash.0)
    }
}

/// The payload of packet 126.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailRequest {
    /// An envelope that only the mailserver can open.
    Sealed(Envelope),
    /// A request anybody can read.
    Open(OpenRequest),
}

/// A payload that is neither of the two; the connection ends, as with
/// status-go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a mail request that is neither an envelope nor a list of six: {0}")]
pub struct NotARequest(pub alloy_rlp::Error);

impl MailRequest {
    /// Reads the payload of packet 126.
    pub fn decode(payload: &Bytes) -> Result<Self, NotARequest> {
        if let Ok(envelope) = Envelope::decode_first(&mut payload.clone()) {
            return Ok(Self::Sealed(envelope));
        }
        OpenRequest::decode(payload)
            .map(Self::Open)
            .map_err(NotARequest)
    }

    /// The payload of packet 126.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Sealed(envelope) => envelope.rlp().clone(),
            Self::Open(open) => open.encode(),
        }
    }

    /// By what the completion names it.
    pub fn id(&self) -> RequestId {
        match self {
            Self::Sealed(envelope) => envelope.hash().into(),
            Self::Open(open) => open.id(),
        }
    }
}

/// A request without encryption, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Its id, which should be 32 bytes.
    pub id: Bytes,
    /// First instant wanted.
    pub from: UnixSeconds,
    /// Last instant wanted.
    pub to: UnixSeconds,
    /// Most envelopes wanted.
    pub limit: u32,
    /// Where to go on.
    pub cursor: Bytes,
    /// The filter, which should be 64 bytes.
    pub bloom: Bytes,
}

impl OpenRequest {
    fn decode(payload: &Bytes) -> Result<Self, alloy_rlp::Error> {
        let mut fields = Header::decode_bytes(&mut &payload[..], true)?;
        let text = |fields: &mut &[u8]| -> Result<Bytes, alloy_rlp::Error> {
            Ok(payload.slice_ref(Header::decode_bytes(fields, false)?))
        };
        let request = Self {
            id: text(&mut fields)?,
            from: UnixSeconds(u32::decode(&mut fields)?),
            to: UnixSeconds(u32::decode(&mut fields)?),
            limit: u32::decode(&mut fields)?,
            cursor: text(&mut fields)?,
            bloom: text(&mut fields)?,
        };
        if !fields.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(request)
    }

    fn encode(&self) -> Bytes {
        rlp::list(&[
            &&self.id[..],
            &self.from.0,
            &self.to.0,
            &self.limit,
            &&self.cursor[..],
            &&self.bloom[..],
        ])
    }

    /// By what the completion names it: the last 32 bytes of its id, filled
    /// with zeros in front, as status-go does.
    pub fn id(&self) -> RequestId {
        let mut id = [0; 32];
        let taken = self.id.len().min(id.len());
        id[32 - taken..].copy_from_slice(&self.id[self.id.len() - taken..]);
        RequestId(id)
    }

    /// What is asked for, if it is asked properly.
    pub fn query(&self) -> Result<MailQuery, RequestError> {
        if self.id.len() != 32 {
            return Err(RequestError::OpenId);
        }
        let range = TimeRange::new(self.from, self.to).map_err(|_| RequestError::OpenRange)?;
        if self.limit > MAX_OPEN_LIMIT {
            return Err(RequestError::OpenLimit);
        }
        // The reference takes any length and crashes on short ones.
        let bloom: [u8; BLOOM_SIZE] = self.bloom[..]
            .try_into()
            .map_err(|_| RequestError::OpenBloom)?;
        Ok(MailQuery {
            range,
            topics: Bloom(bloom),
            // The reference delivers one envelope for a limit of 0, or none.
            limit: if self.limit == 0 { 1 } else { self.limit },
            cursor: Cursor::from_wire(&self.cursor),
            batch: true,
        })
    }
}

/// Why a request is refused, in the words status-go's server uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not enough work in the envelope.
    #[error("PoW() is too low")]
    LowPow,
    /// Neither password nor key of this server opens it.
    #[error("failed to decrypt p2p request")]
    Undecryptable,
    /// Nobody signed it.
    #[error("Wrong signature of p2p request")]
    Unsigned,
    /// Too short for two instants.
    #[error("Undersized p2p request")]
    Undersized,
    /// A filter cut short.
    #[error("Undersized bloom filter in p2p request")]
    UndersizedBloom,
    /// A filter that goes on after 64 bytes.
    #[error("Oversized bloom filter in p2p request: {0} bytes")]
    OversizedBloom(usize),
    /// A list that is not the one expected.
    #[error("malformed p2p request: {0}")]
    Malformed(alloy_rlp::Error),
    /// Ends before it starts.
    #[error(transparent)]
    Reversed(#[from] ReversedRange),
    /// More than a day in the binary form.
    #[error(
        "query range too big for a request without paging: {seconds} s, at most {MAX_BINARY_RANGE}"
    )]
    RangeTooLong {
        /// Its length.
        seconds: u32,
    },
    /// An open request whose id is not 32 bytes.
    #[error("invalid request: invalid 'ID', expected a 32-byte slice")]
    OpenId,
    /// An open request that ends before it starts.
    #[error("invalid request: invalid 'From' value which is greater than To")]
    OpenRange,
    /// An open request for too many.
    #[error("invalid request: invalid 'Limit' value, expected value lower than {MAX_OPEN_LIMIT}")]
    OpenLimit,
    /// An open request without a whole filter.
    #[error("invalid request: invalid 'Bloom' provided")]
    OpenBloom,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailQuery {
    /// When the envelopes were sent.
    pub range: TimeRange,
    /// Their topics.
    pub topics: Bloom,
    /// The most to deliver.
    pub limit: u32,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Whether several may share a packet.
    pub batch: bool,
}

impl MailQuery {
    /// Reads what a sealed request holds. A list is the RLP form; the binary
    /// form would have to ask for the year 2072 to look like one.
    pub fn decode(payload: &[u8], now: UnixSeconds) -> Result<Self, RequestError> {
        match payload.first() {
            Some(0xc0..) => Self::decode_rlp(payload, now),
            _ => Self::decode_binary(payload, now),
        }
    }

    /// The RLP form, as status clients send it.
    pub fn encode(&self, form: ListForm) -> Bytes {
        let cursor = self.cursor.map(Cursor::to_bytes);
        let cursor = cursor.as_ref().map_or(&[][..], |cursor| &cursor[..]);
        let (from, to) = (self.range.from().0, self.range.to().0);
        match form {
            ListForm::Six => rlp::list(&[
                &from,
                &to,
                &self.topics.0,
                &self.limit,
                &cursor,
                &self.batch,
            ]),
            ListForm::Seven => rlp::list(&[
                &from,
                &to,
                &self.topics.0,
                &rlp::Encoded(&[alloy_rlp::EMPTY_LIST_CODE]),
                &self.limit,
                &cursor,
                &self.batch,
            ]),
        }
    }

    /// The payload of geth's clients: range and filter, 72 bytes. Limit, cursor
    /// and batches have no place in it.
    pub fn encode_binary(&self) -> Bytes {
        let mut out = Vec::with_capacity(8 + BLOOM_SIZE);
        out.extend_from_slice(&self.range.from().0.to_be_bytes());
        // geth's server adds one to the end, and finds nothing where that
        // overflows.
        let to = self.range.to().min(UnixSeconds(u32::MAX - 1));
        out.extend_from_slice(&to.0.to_be_bytes());
        out.extend_from_slice(&self.topics.0);
        out.into()
    }

    fn decode_rlp(payload: &[u8], now: UnixSeconds) -> Result<Self, RequestError> {
        let fields = RlpFields::decode(payload).map_err(RequestError::Malformed)?;
        let upper = match fields.upper {
            0 => now.saturating_add(OPEN_END_SLACK),
            upper => UnixSeconds(upper),
        };
        Ok(Self {
            range: TimeRange::new(UnixSeconds(fields.lower), upper)?,
            topics: match (fields.bloom, fields.topics) {
                ([], Some(topics)) => topics,
                (bloom, _) => bloom_of(bloom)?,
            },
            limit: effective_limit(fields.limit),
            cursor: Cursor::from_wire(fields.cursor),
            batch: fields.batch,
        })
    }

    fn decode_binary(payload: &[u8], now: UnixSeconds) -> Result<Self, RequestError> {
        let (lower, rest) = instant(payload).ok_or(RequestError::Undersized)?;
        let (upper, rest) = instant(rest).ok_or(RequestError::Undersized)?;
        let range = TimeRange::new(lower, upper)?;
        // geth's client says "no end" by the last instant there is.
        let end = if upper == UnixSeconds::MAX {
            now.saturating_add(OPEN_END_SLACK)
        } else {
            upper
        };
        let seconds = end.since(lower);
        if seconds > MAX_BINARY_RANGE {
            return Err(RequestError::RangeTooLong { seconds });
        }
        let (topics, rest) = match rest {
            [] => (Bloom::FULL, rest),
            _ => {
                let (bloom, rest) = rest
                    .split_first_chunk::<BLOOM_SIZE>()
                    .ok_or(RequestError::UndersizedBloom)?;
                (Bloom(*bloom), rest)
            }
        };
        let (limit, rest) = instant(rest).map_or((0, rest), |(limit, rest)| (limit.0, rest));
        Ok(Self {
            range,
            topics,
            limit: effective_limit(limit),
            cursor: Cursor::from_wire(rest),
            batch: false,
        })
    }
}

fn effective_limit(limit: u32) -> u32 {
    match limit {
        0 => DEFAULT_LIMIT,
        limit => limit.min(MAX_LIMIT),
    }
}

/// No filter is one for everything; otherwise it must be whole.
fn bloom_of(bytes: &[u8]) -> Result<Bloom, RequestError> {
    Bloom::from_wire(bytes).ok_or(if bytes.len() < BLOOM_SIZE {
        RequestError::UndersizedBloom
    } else {
        RequestError::OversizedBloom(bytes.len())
    })
}

/// What passes every topic of a list; `None` for an empty one.
fn topics_of(fields: &mut &[u8]) -> Result<Option<Bloom>, alloy_rlp::Error> {
    let mut list = Header::decode_bytes(fields, true)?;
    let mut topics = None;
    while !list.is_empty() {
        let topic = Topic(<[u8; 4]>::decode(&mut list)?);
        let all: &mut Bloom = topics.get_or_insert(Bloom::EMPTY);
        *all = all.union(&Bloom::of_topic(topic));
    }
    Ok(topics)
}

fn instant(bytes: &[u8]) -> Option<(UnixSeconds, &[u8])> {
    let (instant, rest) = bytes.split_first_chunk()?;
    Some((UnixSeconds(u32::from_be_bytes(*instant)), rest))
}

struct RlpFields<'a> {
    lower: u32,
    upper: u32,
    bloom: &'a [u8],
    /// What passes all topics of the list; `None` where there are none.
    topics: Option<Bloom>,
    limit: u32,
    cursor: &'a [u8],
    batch: bool,
}

impl<'a> RlpFields<'a> {
    /// Five fields as the specification has them, six or seven as clients send
    /// them. Nothing may follow the list.
    fn decode(mut payload: &'a [u8]) -> Result<Self, alloy_rlp::Error> {
        let mut fields = Header::decode_bytes(&mut payload, true)?;
        if !payload.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        let decoded = Self {
            lower: u32::decode(&mut fields)?,
            upper: u32::decode(&mut fields)?,
            bloom: Header::decode_bytes(&mut fields, false)?,
            topics: match fields.first() {
                Some(0xc0..) => topics_of(&mut fields)?,
                _ => None,
            },
            limit: u32::decode(&mut fields)?,
            cursor: Header::decode_bytes(&mut fields, false)?,
            batch: !fields.is_empty() && bool::decode(&mut fields)?,
        };
        if !fields.is_empty() {
            return Err(alloy_rlp::Error::UnexpectedLength);
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

    #[test]
    fn a_request_is_the_bytes_status_clients_send() {
        let query = MailQuery {
            range: TimeRange::new(NOW, UnixSeconds(1_600_086_400)).unwrap(),
            topics: Bloom::of_topic(crate::whisper::Topic([0xcd, 0x42, 0x37, 0x60])),
            limit: 1,
            cursor: None,
            batch: true,
        };
        // Lists of 0.34 and of 0.40; the latter's `Topics` is never set.
        for (form, start, topics) in [(ListForm::Six, "f84f", ""), (ListForm::Seven, "f850", "c0")]
        {
            let bytes = query.encode(form);
            assert_eq!(
                hex::encode(&bytes),
                format!(
                    "{start}845f5e1000845f5f6180b840{}{topics}018001",
                    hex::encode(query.topics.0)
                )
            );
            assert_eq!(MailQuery::decode(&bytes, NOW), Ok(query));
        }
    }

    #[test]
    fn a_list_of_topics_counts_where_there_is_no_filter() {
        let decode = |bloom: &[u8], topics: &[u8]| {
            let request = rlp::list(&[
                &1u32,
                &2u32,
                &bloom,
                &rlp::Encoded(topics),
                &0u32,
                &&[][..],
                &true,
            ]);
            MailQuery::decode(&request, NOW).map(|query| query.topics)
        };
        let (one, other) = (Topic([1; 4]), Topic([2; 4]));
        let two = [&[0xca, 0x84][..], &one.0, &[0x84], &other.0].concat();
        assert_eq!(decode(&[], &two), Ok(Bloom::of_topics([one, other])));
        assert_eq!(decode(&[], &[0xc0]), Ok(Bloom::FULL));
        // The reference goes by the filter.
        let filter = Bloom::of_topic(one);
        assert_eq!(decode(&filter.0, &two), Ok(filter));
        for malformed in [&[0xc4, 0x83, 1, 2, 3][..], &[0xc1, 0xc0], &[0xc2, 0x84, 1]] {
            assert!(decode(&filter.0, malformed).is_err());
        }
    }

    #[test]
    fn the_binary_form_is_the_72_bytes_of_geths_clients() {
        let query = MailQuery {
            range: TimeRange::new(UnixSeconds(1), NOW).unwrap(),
            topics: Bloom::of_topic(crate::whisper::Topic([0xcd, 0x42, 0x37, 0x60])),
            limit: 7,
            cursor: None,
            batch: true,
        };
        let bytes = query.encode_binary();
        assert_eq!(
            hex::encode(&bytes),
            format!("000000015f5e1000{}", hex::encode(query.topics.0))
        );
        let without_end = MailQuery {
            range: TimeRange::ALL,
            ..query
        };
        assert_eq!(hex::encode(&without_end.encode_binary()[4..8]), "fffffffe");
    }

    #[test]
    fn the_specification_leaves_batch_out() {
        let payload = rlp::list(&[&1u32, &2u32, &Bloom::FULL.0, &5u32, &&[][..]]);
        let query = MailQuery::decode(&payload, NOW).unwrap();
        assert!(!query.batch);
        assert_eq!(query.limit, 5);
    }

    #[test]
    fn a_request_without_end_reaches_a_minute_beyond_now() {
        let payload = rlp::list(&[&1u32, &0u32, &&[][..], &0u32, &&[][..], &true]);
        let query = MailQuery::decode(&payload, NOW).unwrap();
        assert_eq!(query.range.to(), NOW.saturating_add(60));
        assert_eq!(query.limit, DEFAULT_LIMIT);
        assert!(query.topics.is_full());
    }

    #[test]
    fn the_last_instant_is_an_end_like_any_other() {
        let payload = rlp::list(&[&1u32, &u32::MAX, &&[][..], &u32::MAX, &&[][..], &true]);
        let query = MailQuery::decode(&payload, NOW).unwrap();
        assert_eq!(query.range.to(), UnixSeconds::MAX);
        assert_eq!(query.limit, MAX_LIMIT);
    }

    #[test]
    fn filters_are_whole_or_absent() {
        let with_bloom = |len| {
            let bloom = vec![0xff; len];
            let payload = rlp::list(&[&1u32, &2u32, &&bloom[..], &0u32, &&[][..], &true]);
            MailQuery::decode(&payload, NOW)
        };
        assert!(with_bloom(0).is_ok() && with_bloom(64).is_ok());
        assert_eq!(with_bloom(10), Err(RequestError::UndersizedBloom));
        assert_eq!(with_bloom(65), Err(RequestError::OversizedBloom(65)));
    }

    #[test]
    fn the_binary_form_with_the_last_instant_means_until_now() {
        let mut payload = (NOW.0 - 3_600).to_be_bytes().to_vec();
        payload.extend_from_slice(&[0xff; 4]);
        assert!(MailQuery::decode(&payload, NOW).is_ok());
        let mut older = (NOW.0 - DAY).to_be_bytes().to_vec();
        older.extend_from_slice(&[0xff; 4]);
        assert_eq!(
            MailQuery::decode(&older, NOW),
            Err(RequestError::RangeTooLong {
                seconds: DAY + OPEN_END_SLACK
            })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..150)) {
            if let Ok(query) = MailQuery::decode(&payload, NOW) {
                prop_assert!(query.range.from() <= query.range.to());
                prop_assert!((1..=MAX_LIMIT).contains(&query.limit));
            }
            let payload = Bytes::from(payload);
            if let Ok(request) = MailRequest::decode(&payload) {
                prop_assert_eq!(MailRequest::decode(&request.encode()), Ok(request));
            }
        }
    }
}
