//! `envelopes.json`.

use bytes::{Bytes, BytesMut};
use gwa::time::UnixSeconds;
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::pow::{Formula, Pow, Work};
use gwa::whisper::{Bloom, Envelope};

use crate::fixture::{
    bytes, decimal, double_bits, file, hash, list, name, number32, size, text, topic,
};

#[test]
fn envelopes_have_the_fields_geth_reads() {
    let file = file("wire/envelopes.json");
    for vector in list(&file, "vectors") {
        let name = name(vector);
        let rlp = bytes(vector, "rlp");
        let envelope = Envelope::decode(&rlp).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(envelope.rlp(), &rlp, "{name}");
        assert_eq!(rlp.len(), size(vector, "rlp_len"), "{name}");
        assert_eq!(envelope.hash(), hash(vector, "hash"), "{name}");
        assert_eq!(envelope.expiry().0, number32(vector, "expiry"), "{name}");
        assert_eq!(envelope.ttl().0, number32(vector, "ttl"), "{name}");
        assert_eq!(
            envelope.sent(),
            UnixSeconds(number32(vector, "sent")),
            "{name}"
        );
        assert_eq!(envelope.topic(), topic(vector, "topic"), "{name}");
        assert_eq!(
            envelope.nonce().to_string(),
            text(vector, "nonce"),
            "{name}"
        );
        assert_eq!(envelope.data().len(), size(vector, "data_len"), "{name}");
        assert_eq!(envelope.size(), size(vector, "size"), "{name}");
        assert_eq!(
            Bloom::of_topic_reference(envelope.topic()).to_string(),
            text(vector, "bloom"),
            "{name}"
        );
        let rebuilt = Envelope::new(
            envelope.expiry(),
            envelope.ttl(),
            envelope.topic(),
            envelope.data(),
            envelope.nonce(),
        );
        assert_eq!(rebuilt, envelope, "{name}");
        assert_eq!(envelope.detached(), envelope, "{name}");
    }
}

#[test]
fn work_is_bit_for_bit_what_both_generations_compute() {
    let file = file("wire/envelopes.json");
    for vector in list(&file, "vectors") {
        let name = name(vector);
        let work = Work::of(&Envelope::decode(&bytes(vector, "rlp")).unwrap());
        assert_eq!(
            work.trailing.to_bits(),
            double_bits(vector, "pow_bits"),
            "{name}"
        );
        assert_eq!(
            work.leading.to_bits(),
            double_bits(vector, "pow_status_bits"),
            "{name}"
        );
        assert_eq!(work.trailing.get(), decimal(vector, "pow"), "{name}");
        assert_eq!(work.leading.get(), decimal(vector, "pow_status"), "{name}");
    }
    for vector in list(&file, "pow_adjusted") {
        let envelope = Envelope::decode(&bytes(vector, "rlp")).unwrap();
        let work = Work::with_extra_lifetime(&envelope, number32(vector, "diff"));
        assert_eq!(work.trailing.to_bits(), double_bits(vector, "pow_bits"));
        assert_eq!(
            work.leading.to_bits(),
            double_bits(vector, "pow_status_bits")
        );
        assert_eq!(work.trailing.get(), decimal(vector, "pow"));
        assert_eq!(work.leading.get(), decimal(vector, "pow_status"));
    }
}

#[test]
fn sealing_looks_for_as_many_bits_as_the_reference() {
    let file = file("wire/envelopes.json");
    for vector in list(&file, "pow_target") {
        let target = Pow::new(decimal(vector, "pow_target")).unwrap();
        let size = size(vector, "size");
        assert_eq!(size, 20 + crate::fixture::size(vector, "data_len"));
        let bits = Formula::target_bits(target, size, number32(vector, "ttl"));
        assert_eq!(bits, number32(vector, "bits_needed"));
        assert_eq!(bits, number32(vector, "bits_needed_status"));
    }
}

#[test]
fn what_geth_does_not_read_is_no_envelope() {
    let file = file("wire/envelopes.json");
    for vector in list(&file, "invalid") {
        let name = name(vector);
        assert!(!text(vector, "error").is_empty(), "{name}");
        assert!(!text(vector, "error_status").is_empty(), "{name}");
        let rlp = bytes(vector, "rlp");
        assert!(Envelope::decode(&rlp).is_err(), "{name}");

        let in_list = Packet::decode(code::MESSAGES, &list_of(&rlp));
        assert_eq!(
            in_list.is_ok(),
            text(vector, "error_in_list").is_empty(),
            "{name}: {in_list:?}"
        );
    }
}

/// The bytes as the only element of a list.
fn list_of(item: &Bytes) -> Bytes {
    let mut out = BytesMut::new();
    alloy_rlp::Header {
        list: true,
        payload_length: item.len(),
    }
    .encode(&mut out);
    out.extend_from_slice(item);
    out.freeze()
}
