//! A second opinion on RLP: what our strict reader says of envelopes, beside
//! what the `rlp` crate says.

use bytes::Bytes;
use gwa::time::{Expiry, Ttl};
use gwa::whisper::{Envelope, EnvelopeError, Topic};

/// The first envelopes of the corpus; all 20,000 would only repeat them.
const FROM_CORPUS: usize = 2_000;

fn hex_field(vector: &serde_json::Value, field: &str) -> Vec<u8> {
    let text = vector[field].as_str().expect("a hex string");
    hex::decode(text.trim_start_matches("0x")).expect("hex")
}

/// Envelopes that real nodes made: every valid vector, and part of the corpus.
fn recorded() -> Vec<Vec<u8>> {
    let file = std::fs::read_to_string("fixtures/wire/envelopes.json").expect("fixture");
    let file: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    let mut all: Vec<Vec<u8>> = file["vectors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|vector| hex_field(vector, "rlp"))
        .collect();
    assert!(all.len() >= 60, "only {} vectors", all.len());

    let corpus = std::fs::read("fixtures/corpus/envelopes.rlps").expect("fixture");
    let mut rest = corpus.as_slice();
    for _ in 0..FROM_CORPUS {
        let item = rlp::PayloadInfo::from(rest).expect("an RLP item");
        let (envelope, after) = rest.split_at(item.total());
        all.push(envelope.to_vec());
        rest = after;
    }
    all
}

#[test]
fn both_readers_see_the_same_fields_and_write_the_same_bytes() {
    for bytes in recorded() {
        let ours = Envelope::decode(&Bytes::from(bytes.clone())).expect("a real envelope");
        let theirs = rlp::Rlp::new(&bytes);
        assert_eq!(theirs.item_count(), Ok(5));
        assert_eq!(theirs.val_at(0), Ok(ours.expiry().0));
        assert_eq!(theirs.val_at(1), Ok(ours.ttl().0));
        assert_eq!(theirs.val_at::<Vec<u8>>(2), Ok(ours.topic().0.to_vec()));
        assert_eq!(theirs.val_at::<Vec<u8>>(3), Ok(ours.data().to_vec()));
        assert_eq!(theirs.val_at(4), Ok(ours.nonce()));

        let mut written = rlp::RlpStream::new_list(5);
        written
            .append(&ours.expiry().0)
            .append(&ours.ttl().0)
            .append(&ours.topic().0.to_vec())
            .append(&ours.data().to_vec())
            .append(&ours.nonce());
        assert_eq!(written.as_raw(), ours.rlp().as_ref());
        let rebuilt = Envelope::new(
            ours.expiry(),
            ours.ttl(),
            ours.topic(),
            ours.data(),
            ours.nonce(),
        );
        assert_eq!(rebuilt, ours);
    }
}

/// The one byte `05` as a string with a length of its own: three bytes that mean
/// what the single byte `05` means.
const LONG_FORM: [u8; 3] = [0xb8, 0x01, 0x05];

#[test]
fn a_long_form_length_for_a_short_string_is_refused_here_and_taken_there() {
    assert_eq!(rlp::decode::<Vec<u8>>(&LONG_FORM), Ok(vec![0x05]));
    assert_eq!(
        alloy_rlp::decode_exact::<Bytes>(LONG_FORM),
        Err(alloy_rlp::Error::NonCanonicalSize)
    );
    // Several packets of the protocol are such bare items.
    assert_eq!(
        alloy_rlp::decode_exact::<u64>(LONG_FORM),
        Err(alloy_rlp::Error::NonCanonicalSize)
    );
}

#[test]
fn an_envelope_with_a_long_form_length_is_refused() {
    let canonical = Envelope::new(
        Expiry(1_600_000_000),
        Ttl(50),
        Topic([1, 2, 3, 4]),
        &[0x05],
        6_156,
    );
    let mut bytes = canonical.rlp().to_vec();
    let data_at = bytes
        .iter()
        .position(|byte| *byte == 0x05)
        .expect("the data byte");
    bytes.splice(data_at..=data_at, LONG_FORM);
    bytes[0] += 2;
    assert!(matches!(
        Envelope::decode(&Bytes::from(bytes)),
        Err(EnvelopeError::Rlp(alloy_rlp::Error::NonCanonicalSize))
    ));
}
