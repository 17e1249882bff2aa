//! The `shh_*` lists of `rlpx.json`, and the packets of
//! `mailserver_responses.json` that are not about mail.

use gwa::time::UnixSeconds;
use gwa::whisper::admission::{AdmissionPolicy, Verdict};
use gwa::whisper::confirm::{BatchHash, EnvelopeFault, MessageResponse};
use gwa::whisper::packet::{Packet, batch_hash, code};
use gwa::whisper::status::Status;
use gwa::whisper::{Bloom, Pow};
use serde_json::Value;

use crate::fixture::{bytes, decimal, double_bits, file, hash, list, name, number, number32, text};

#[test]
fn statuses_are_the_bytes_both_implementations_send() {
    let file = file("wire/rlpx.json");
    for vector in list(&file, "shh_status") {
        let name = name(vector);
        let bloom = bytes(vector, "bloom");
        let status = Status {
            pow: Pow::requirement_from_bits(double_bits(vector, "pow_bits")).unwrap(),
            bloom: (!bloom.is_empty()).then(|| Bloom::from_wire(&bloom).unwrap()),
            light: vector["light"].as_bool().unwrap(),
            confirmations: vector["confirmations"].as_bool(),
        };
        assert_eq!(number(vector, "version"), 6, "{name}");
        assert_eq!(status.pow.get(), decimal(vector, "pow"), "{name}");
        assert_eq!(
            status.confirmations.is_some(),
            text(vector, "implementation") == "status",
            "{name}"
        );
        assert_eq!(status.encode(), bytes(vector, "payload"), "{name}");
        assert_eq!(
            Status::decode(&bytes(vector, "payload")),
            Ok(status),
            "{name}"
        );
    }
}

#[test]
fn statuses_received_mean_what_both_implementations_conclude() {
    let file = file("wire/rlpx.json");
    for vector in list(&file, "shh_status_received") {
        let name = name(vector);
        if number(vector, "code") != 0 {
            // Not a status: the session refuses it, see `peers`.
            assert!(vector["error"].is_string(), "{name}");
            continue;
        }
        let status = Status::decode(&bytes(vector, "payload"));
        assert_eq!(
            status.is_ok(),
            vector["error"].is_null(),
            "{name}: {status:?}"
        );
        let Ok(status) = status else { continue };
        assert_eq!(
            status.pow.get(),
            decimal(vector, "pow_requirement"),
            "{name}"
        );
        let expected = Bloom::from_wire(&bytes(vector, "bloom")).unwrap();
        assert_eq!(status.filter(), expected, "{name}");
        assert_eq!(
            status.filter().is_full(),
            vector["full_node"].as_bool().unwrap(),
            "{name}"
        );
        if let Some(confirmations) = vector["confirmations"].as_bool() {
            assert_eq!(
                status.confirmations.unwrap_or(false),
                confirmations,
                "{name}"
            );
        }
    }
}

#[test]
fn updates_are_read_or_refused_as_in_both_implementations() {
    let file = file("wire/rlpx.json");
    for vector in list(&file, "shh_updates") {
        let name = name(vector);
        let code = u8::try_from(number(vector, "code")).unwrap();
        if matches!(code, code::STATUS | code::P2P_MESSAGE | code::REQUEST) {
            // Ignored unread: a matter of the session.
            assert!(vector["disconnect_error"].is_null(), "{name}");
            continue;
        }
        let packet = Packet::decode(code, &bytes(vector, "payload"));
        assert_eq!(
            packet.is_ok(),
            vector["disconnect_error"].is_null(),
            "{name}: {packet:?}"
        );
        match packet {
            Ok(Packet::PowRequirement(pow)) => {
                assert_eq!(pow.get(), decimal(vector, "pow_requirement"), "{name}");
            }
            Ok(Packet::BloomFilter(bloom)) => {
                assert_eq!(bloom.to_string(), text(vector, "bloom"), "{name}");
                assert_eq!(
                    bloom.is_full(),
                    vector["full_node"].as_bool().unwrap(),
                    "{name}"
                );
            }
            Ok(Packet::Ignored(_)) | Err(_) => {}
            Ok(other) => panic!("{name}: {other:?}"),
        }
    }
}

/// Reads a packet of messages and judges what is in it. Returns how many were
/// taken, and the response that tells so.
fn take_in(payload: &bytes::Bytes, policy: &AdmissionPolicy, now: UnixSeconds) -> Option<Taken> {
    let Ok(Packet::Messages(envelopes)) = Packet::decode(code::MESSAGES, payload) else {
        return None;
    };
    let mut pool = std::collections::BTreeSet::new();
    let mut faults = Vec::new();
    for envelope in envelopes {
        let hash = envelope.hash();
        match policy.judge(envelope, now) {
            Verdict::Admitted(admitted) => {
                pool.insert(admitted.hash());
            }
            Verdict::Stale => {}
            Verdict::Refused(refusal) => {
                faults.push(EnvelopeFault::of_refusal(hash, &refusal));
            }
        }
    }
    Some(Taken {
        pooled: pool.len(),
        batch: batch_hash(payload),
        faults,
    })
}

struct Taken {
    pooled: usize,
    batch: BatchHash,
    faults: Vec<EnvelopeFault>,
}

/// Compares our answers to a batch with the reference's. The reference says
/// code 36 whatever went wrong; ours is 36 for clocks only. Amounts of work are
/// left out, since ours is the better of two.
fn check_answers(name: &str, taken: &Taken, answers: &[Value]) {
    let [response, acknowledged] = answers else {
        panic!("{name}: not two answers");
    };
    assert_eq!(number(response, "code"), 12, "{name}");
    assert_eq!(number(acknowledged, "code"), 11, "{name}");
    let ack = Packet::BatchAcknowledged(taken.batch);
    assert_eq!(ack.encode(), bytes(acknowledged, "payload"), "{name}");

    let theirs = MessageResponse::decode(&bytes(response, "payload")).unwrap();
    let MessageResponse::Batch { batch, faults } = theirs else {
        panic!("{name}: not understood");
    };
    assert_eq!(batch, taken.batch, "{name}");
    assert_eq!(faults.len(), taken.faults.len(), "{name}");
    for (theirs, ours) in faults.iter().zip(&taken.faults) {
        assert_eq!(theirs.hash, ours.hash, "{name}");
        if ours.description.contains("low PoW") {
            assert_eq!(ours.code.0, 37, "{name}");
            let hash_part = |text: &str| text[text.find("hash=").unwrap()..].to_owned();
            assert_eq!(
                hash_part(&theirs.description),
                hash_part(&ours.description),
                "{name}"
            );
        } else {
            assert_eq!(theirs, ours, "{name}");
        }
    }
    if faults.is_empty() {
        let ours = MessageResponse::accepted(taken.batch);
        assert_eq!(ours.encode(), bytes(response, "payload"), "{name}");
    }
}

#[test]
fn batches_are_taken_in_as_by_both_implementations() {
    let file = file("wire/rlpx.json");
    let policy = AdmissionPolicy {
        min_pow: Pow::GETH_DEFAULT,
        ..AdmissionPolicy::default()
    };
    for vector in list(&file, "shh_messages") {
        let name = name(vector);
        let now = UnixSeconds(number32(vector, "clock"));
        let taken = take_in(&bytes(vector, "payload"), &policy, now);
        let answers = vector["answers"].as_array().unwrap();
        let status = text(vector, "implementation") == "status";
        match taken {
            None => assert!(vector["disconnect_error"].is_string(), "{name}"),
            // Accepted by geth and by us, refused by status-go alone.
            Some(taken) if name.starts_with("trailing byte") => assert_eq!(taken.pooled, 1),
            Some(taken) => {
                assert_eq!(
                    u64::try_from(taken.pooled).unwrap(),
                    number(vector, "accepted"),
                    "{name}"
                );
                // geth drops the peer for a bad envelope, status-go reports it.
                assert_eq!(
                    !taken.faults.is_empty() && !status,
                    vector["disconnect_error"].is_string(),
                    "{name}"
                );
                if status {
                    check_answers(name, &taken, answers);
                }
            }
        }
    }
}

#[test]
fn batches_are_answered_as_by_status_go() {
    let file = file("wire/mailserver_responses.json");
    let now = UnixSeconds(number32(&file, "clock"));
    let policy = AdmissionPolicy::default();
    for vector in list(&file, "messages_handling") {
        let name = name(vector);
        let outcome = &vector["outcome"];
        assert!(outcome["panic"].is_null(), "{name}");
        let taken = take_in(&bytes(vector, "packet"), &policy, now);
        assert_eq!(
            taken.is_none(),
            outcome["disconnect_error"].is_string(),
            "{name}"
        );
        let answers = outcome["messages"].as_array().unwrap();
        match taken {
            None => assert!(answers.is_empty(), "{name}"),
            Some(taken) => check_answers(name, &taken, answers),
        }
    }
}

#[test]
fn acknowledgements_read_as_in_status_go() {
    let file = file("wire/mailserver_responses.json");
    for vector in list(&file, "batch_acknowledged") {
        let name = name(vector);
        let packet = bytes(vector, "packet");
        let hash = BatchHash(bytes(vector, "batch_hash")[..].try_into().unwrap());
        assert_eq!(
            Packet::decode(code::BATCH_ACKNOWLEDGED, &packet),
            Ok(Packet::BatchAcknowledged(hash)),
            "{name}"
        );
        assert_eq!(Packet::BatchAcknowledged(hash).encode(), packet, "{name}");
        if let Some(payload) = vector["messages_payload"].as_str() {
            let payload = crate::fixture::hex_bytes(payload);
            assert_eq!(batch_hash(&payload), hash, "{name}");
        }
    }
}

#[test]
fn responses_read_as_in_status_go() {
    let file = file("wire/mailserver_responses.json");
    for vector in list(&file, "message_response") {
        let name = name(vector);
        let packet = bytes(vector, "packet");
        let response = MessageResponse::decode(&packet).unwrap();
        let MessageResponse::Batch { batch, faults } = &response else {
            assert!(vector["response1_error"].is_string(), "{name}");
            let version = number(vector, "version");
            assert_eq!(response, MessageResponse::NotUnderstood { version });
            continue;
        };
        assert_eq!(number(vector, "version"), 1, "{name}");
        assert_eq!(batch.to_string(), text(vector, "batch_hash"), "{name}");
        let errors = vector["errors"].as_array().unwrap();
        assert_eq!(errors.len(), faults.len(), "{name}");
        for (error, fault) in errors.iter().zip(faults) {
            assert_eq!(hash(error, "hash"), fault.hash, "{name}");
            assert_eq!(number(error, "code"), fault.code.0, "{name}");
            assert_eq!(text(error, "description"), fault.description, "{name}");
        }
        assert_eq!(response.encode(), packet, "{name}");
    }
}
