//! Decoders of Whisper and of the mailserver.

use bytes::Bytes;

use crate::mailserver::request::{ListForm, MAX_LIMIT, MailQuery};
use crate::mailserver::response::Completion;
use crate::mailserver::{MailRequest, SyncRequest, SyncResponse};
use crate::time::UnixSeconds;
use crate::whisper::Envelope;
use crate::whisper::envelope::EnvelopeFields;
use crate::whisper::message::{Opened, compose};
use crate::whisper::packet::{MAX_BATCH_ENVELOPES, Packet, code};
use crate::whisper::peer::{Session, SessionConfig};
use crate::whisper::pow::Work;
use crate::whisper::status::Status;

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

/// One envelope, alone and at the start of other bytes.
pub fn whisper_envelope(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let mut rest = bytes.clone();
    let fields = EnvelopeFields::decode_first(data);
    match Envelope::decode_first(&mut rest) {
        Err(_) => {
            assert!(fields.is_err());
            assert_eq!(rest, bytes, "a failed read moved on");
        }
        Ok(envelope) => {
            let rebuilt = Envelope::new(
                envelope.expiry(),
                envelope.ttl(),
                envelope.topic(),
                envelope.data(),
                envelope.nonce(),
            );
            assert_eq!(rebuilt, envelope);
            let fields = fields.expect("what is an envelope has its fields");
            assert_eq!(fields.rlp_len + rest.len(), data.len());
            assert_eq!(fields.sent(), envelope.sent());
            let work = Work::of(&envelope);
            assert!(work.least() <= work.most());
        }
    }
}

/// A request of another mailserver, and a response to one.
pub fn mail_sync(data: &[u8]) {
    if let Ok(request) = SyncRequest::decode(data) {
        assert_eq!(SyncRequest::decode(&request.encode()), Ok(request));
    }
    if let Ok(response) = SyncResponse::decode(&Bytes::copy_from_slice(data)) {
        let again = SyncResponse::decode(&response.encode());
        assert_eq!(again.as_ref(), Ok(&response));
    }
}

/// A packet: its code, then its payload. Read alone and within a session.
pub fn whisper_packet(data: &[u8]) {
    let Some((code, payload)) = data.split_first() else {
        return;
    };
    let payload = Bytes::copy_from_slice(payload);
    let packet = Packet::decode(*code, &payload);
    if let Ok(packet) = &packet {
        let again = Packet::decode(packet.code(), &packet.encode());
        assert_eq!(again.as_ref(), Ok(packet));
        match packet {
            Packet::Messages(envelopes) => {
                assert!(envelopes.len() <= MAX_BATCH_ENVELOPES);
                assert!(payload.starts_with(&packet.encode()));
            }
            Packet::BloomFilter(_) | Packet::BatchAcknowledged(_) => {
                assert!(payload.starts_with(&packet.encode()));
            }
            _ => {}
        }
    }
    let mut session = Session::new(SessionConfig {
        status: Status::default(),
        is_mailserver: true,
    });
    session.trust();
    session
        .receive(code::STATUS, &Status::default().encode())
        .expect("an honest status");
    if let Err(violation) = session.receive(*code, &payload) {
        assert!(packet.is_err(), "{violation}");
    }
}

/// The first packet each way.
pub fn whisper_status(data: &[u8]) {
    if let Ok(status) = Status::decode(data) {
        assert!(status.pow.get().is_finite());
        assert_eq!(Status::decode(&status.encode()), Ok(status));
    }
}

/// What an envelope holds once decrypted.
pub fn whisper_message(data: &[u8]) {
    let Ok(opened) = Opened::validate(data) else {
        return;
    };
    assert_eq!(opened.signature.is_some(), opened.signer.is_some());
    let end = data.len() - opened.signature.map_or(0, |signature| signature.len());
    assert!(data[..end].ends_with(&opened.padding));
    let composed = compose(&opened.payload, &opened.padding, None).expect("it was short enough");
    let again = Opened::validate(&composed).expect("what is composed is valid");
    assert_eq!(
        (again.payload, again.padding),
        (opened.payload, opened.padding)
    );
}

/// The payload of a mail request, and what a sealed one holds.
pub fn mail_request(data: &[u8]) {
    if let Ok(request) = MailRequest::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(
            MailRequest::decode(&request.encode()).as_ref(),
            Ok(&request)
        );
        if let MailRequest::Open(open) = &request {
            // Refused or not, it is answered to somebody.
            let _ = (open.id(), open.query());
        }
    }
    if let Ok(query) = MailQuery::decode(data, NOW) {
        assert!(query.range.from() <= query.range.to());
        assert!((1..=MAX_LIMIT).contains(&query.limit));
        if query.range.to() > UnixSeconds::MIN {
            assert_eq!(
                MailQuery::decode(&query.encode(ListForm::Seven), NOW),
                Ok(query)
            );
        }
    }
}

/// The byte string that ends an answer.
pub fn mail_completion(data: &[u8]) {
    if let Ok(completion) = Completion::decode(data) {
        // The format cannot tell an error from a request whose id starts like
        // one; no hash in the lifetime of the universe will.
        if completion.request().0.starts_with(b"ERROR=") {
            return;
        }
        assert_eq!(Completion::decode(&completion.encode()), Ok(completion));
    }
}
