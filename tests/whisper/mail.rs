//! `mailserver_requests.json` and `mailserver_responses.json`: our mailserver
//! answers what status-go's answered, except where that is a defect.

use std::sync::{Arc, Mutex};

use gwa::mailserver::request::{MailQuery, NotARequest, RequestError};
use gwa::mailserver::response::Completion;
use gwa::mailserver::{
    BoxFuture, Cursor, Delivered, MailPeer, MailRequest, MailServer, Mailserver, MailserverConfig,
    MemoryVault, PeerGone, Vault,
};
use gwa::rlpx::{NodeId, NodeKey};
use gwa::time::{Clock, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::packet::Packet;
use gwa::whisper::pow::Work;
use gwa::whisper::{Bloom, Envelope, EnvelopeHash, Pow};
use serde_json::Value;

use crate::fixture::{
    bytes, decimal, file, hash, hex_bytes, list, name, number, number32, text, topic,
};

/// Any instant after everything archived.
const NOW: UnixSeconds = UnixSeconds(1_538_395_200);

struct Stopped(UnixSeconds);

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        self.0
    }
}

/// A client that writes down what it is sent.
struct Client {
    id: NodeId,
    received: Mutex<Vec<Packet>>,
}

impl MailPeer for Client {
    fn id(&self) -> NodeId {
        self.id
    }

    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>> {
        Box::pin(async move {
            self.received.lock().unwrap().push(packet);
            Ok(())
        })
    }
}

/// What a request was answered with.
#[derive(Debug)]
struct Answer {
    packets: Vec<Vec<EnvelopeHash>>,
    completion: Completion,
}

impl Answer {
    fn hashes(&self) -> Vec<EnvelopeHash> {
        self.packets.concat()
    }

    fn error(&self) -> Option<&str> {
        match &self.completion {
            Completion::Done { .. } => None,
            Completion::Failed { message, .. } => Some(message),
        }
    }
}

struct Server {
    server: Mailserver<MemoryVault>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    /// The server of the fixture, holding its archive.
    fn of(config: &Value, archive: &[Value]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let vault = Arc::new(MemoryVault::default());
        let envelopes = archive
            .iter()
            .map(|vector| {
                let envelope = Envelope::decode(&bytes(vector, "rlp")).unwrap();
                assert_eq!(envelope.hash(), hash(vector, "hash"));
                assert_eq!(envelope.sent().0, number32(vector, "sent"));
                assert_eq!(envelope.topic(), topic(vector, "topic"));
                let cursor = Cursor::of(&envelope).to_bytes();
                assert_eq!(bytes(vector, "db_key")[..36], cursor);
                envelope
            })
            .collect();
        runtime.block_on(vault.append(envelopes)).unwrap();
        let password = SymKey::from_password(text(config, "password"));
        assert_eq!(password.secret_bytes()[..], bytes(config, "sym_key"));
        let node_key = config["asym_private_key"]
            .as_str()
            .map(|key| Arc::new(key.parse::<NodeKey>().unwrap()));
        let config = MailserverConfig {
            password: Some(password),
            node_key,
            min_pow: Pow::new(decimal(config, "minimum_pow")).unwrap(),
            answer_open_requests: true,
        };
        Self {
            server: Mailserver::new(vault, config, Arc::new(Stopped(NOW))),
            runtime,
        }
    }

    fn answer(&self, payload: &bytes::Bytes) -> Result<Answer, NotARequest> {
        let request = MailRequest::decode(payload)?;
        let client = Arc::new(Client {
            id: NodeId([7; 64]),
            received: Mutex::default(),
        });
        let delivered = self
            .runtime
            .block_on(self.server.deliver_mail(client.clone(), request.clone()));
        let mut received = std::mem::take(&mut *client.received.lock().unwrap());
        let Some(Packet::RequestComplete(completion)) = received.pop() else {
            panic!("an answer ends with a completion");
        };
        let completion = Completion::decode(&completion).unwrap();
        assert_eq!(completion.request(), request.id());
        let packets: Vec<Vec<EnvelopeHash>> = received
            .into_iter()
            .map(|packet| match packet {
                Packet::P2pMessage(envelopes) => envelopes.iter().map(Envelope::hash).collect(),
                other => panic!("{other:?} in an answer"),
            })
            .collect();
        let answer = Answer {
            packets,
            completion,
        };
        match delivered {
            Delivered::Served(cost) => {
                assert_eq!(cost.envelopes, answer.hashes().len() as u64);
                assert_eq!(answer.error(), None);
            }
            Delivered::Refused => assert!(answer.error().is_some()),
            Delivered::PeerGone => panic!("the client is there"),
        }
        Ok(answer)
    }
}

/// The reference's answer.
struct Expected {
    hashes: Vec<EnvelopeHash>,
    singles: bool,
    completion: Option<Completion>,
}

impl Expected {
    fn of(outcome: &Value) -> Self {
        let messages = outcome["messages"].as_array().unwrap();
        let mails: Vec<&Value> = messages.iter().filter(|m| m["code"] == 127).collect();
        let completion = messages.iter().find(|m| m["code"] == 125).map(|message| {
            let payload = bytes(message, "payload");
            let Ok(Packet::RequestComplete(completion)) = Packet::decode(125, &payload) else {
                panic!("a completion");
            };
            Completion::decode(&completion).unwrap()
        });
        Self {
            hashes: mails
                .iter()
                .flat_map(|mail| mail["envelope_hashes"].as_array().unwrap())
                .map(|hash| hash.as_str().unwrap().parse().unwrap())
                .collect(),
            singles: mails.iter().all(|mail| mail["form"] == "single"),
            completion,
        }
    }

    fn error(&self) -> Option<&str> {
        match &self.completion {
            Some(Completion::Failed { message, .. }) => Some(message),
            _ => None,
        }
    }
}

/// Where ours answers something else, and why.
fn better(name: &str) -> Option<&'static str> {
    Some(match name {
        // upper + 1 wraps in the reference, which then finds nothing.
        "rlp_upper_max" => "all of the archive",
        // No filter means everything; the reference crashes.
        "rlp_bloom_empty" => "all of the archive",
        // The reference skips whatever follows a cursor that is not archived.
        "rlp_cursor_missing" | "rlp_cursor_before_start" => "one more, the first",
        // The specification leaves the sixth field out.
        "rlp_five_fields" => "the first three, one by one",
        // The reference reads no cursor here, so its clients never get on.
        "binary_112" => "the five after the cursor",
        // Crashes the reference, or would with something in the range.
        "rlp_bloom_10" | "rlp_bloom_10_empty_range" => "refused: Undersized bloom filter",
        "rlp_bloom_65" => "refused: Oversized bloom filter",
        // The reference reports numbers of a second, meaningless reading.
        "rlp_lower_gt_upper" => {
            "refused: query range is invalid: from > to (1538392000 > 1538389900)"
        }
        "rlp_seven_fields" | "rlp_batch_2" | "rlp_upper_5_bytes" | "rlp_trailing"
        | "rlp_short_list" | "rlp_empty_list" => "refused: malformed p2p request",
        // The reference ends its text with raw bytes.
        "binary_24h_1" | "random_100" => "refused: query range too big",
        _ => return None,
    })
}

#[test]
fn requests_are_answered_as_by_status_go_or_better() {
    let file = file("wire/mailserver_requests.json");
    let archive = list(&file, "archive");
    let all: Vec<EnvelopeHash> = archive.iter().map(|vector| hash(vector, "hash")).collect();
    let server = Server::of(&file["server"], archive);
    for vector in list(&file, "vectors") {
        let name = name(vector);
        let expected = Expected::of(&vector["outcome"]);
        let answer = server.answer(&bytes(vector, "envelope_rlp")).unwrap();
        assert_eq!(
            answer.completion.request().0[..],
            bytes(vector, "request_id"),
            "{name}"
        );
        match better(name) {
            Some("all of the archive") => assert_eq!(answer.hashes(), all, "{name}"),
            Some("one more, the first") => {
                assert_eq!(answer.hashes()[1..], expected.hashes, "{name}");
            }
            Some("the first three, one by one") => {
                assert_eq!(answer.hashes()[..], all[..3], "{name}");
                assert_eq!(answer.packets.len(), 3, "{name}");
            }
            Some("the five after the cursor") => {
                assert_eq!(answer.hashes()[..], all[5..10], "{name}");
            }
            Some(refused) => {
                let text = refused.strip_prefix("refused: ").unwrap();
                let error = answer
                    .error()
                    .unwrap_or_else(|| panic!("{name} is refused"));
                assert!(error.starts_with(text), "{name}: {error}");
                assert!(answer.packets.is_empty(), "{name}");
            }
            None => check_same(name, &answer, &expected, &all),
        }
    }
}

/// The same envelopes in the same order, singly where the reference sends them
/// so, and the same completion, but for a cursor with nothing behind it.
fn check_same(name: &str, answer: &Answer, expected: &Expected, all: &[EnvelopeHash]) {
    assert_eq!(answer.error(), expected.error(), "{name}");
    assert_eq!(answer.hashes(), expected.hashes, "{name}");
    let small = name.starts_with("rlp_small_packets");
    if expected.singles && expected.hashes.len() > 2 {
        assert_eq!(answer.packets.len(), expected.hashes.len(), "{name}");
    } else if !expected.hashes.is_empty() && !expected.singles && !small {
        // The reference sends the one that reaches the limit by itself.
        assert_eq!(answer.packets.len(), 1, "{name}");
    }
    let (
        Completion::Done { last, next, .. },
        Some(Completion::Done {
            last: their_last,
            next: their_next,
            ..
        }),
    ) = (&answer.completion, &expected.completion)
    else {
        return;
    };
    assert_eq!(last, their_last, "{name}");
    let nothing_follows = *last == all.last().copied();
    if nothing_follows {
        assert_eq!(*next, None, "{name}");
    } else {
        assert_eq!(next, their_next, "{name}");
    }
}

#[test]
fn pages_that_follow_the_cursor_are_the_whole_answer() {
    let file = file("wire/mailserver_requests.json");
    let archive = list(&file, "archive");
    let all: Vec<EnvelopeHash> = archive.iter().map(|vector| hash(vector, "hash")).collect();
    let server = Server::of(&file["server"], archive);
    for limit in 1..=13u32 {
        let mut cursor = None;
        let mut pages = Vec::new();
        loop {
            let request = gwa::mailserver::request::OpenRequest {
                id: vec![9; 32].into(),
                from: UnixSeconds(0),
                to: UnixSeconds::MAX,
                limit,
                cursor: cursor
                    .map_or(Vec::new(), |c: Cursor| c.to_bytes().to_vec())
                    .into(),
                bloom: Bloom::FULL.0.to_vec().into(),
            };
            let answer = server.answer(&MailRequest::Open(request).encode()).unwrap();
            pages.push(answer.hashes());
            match answer.completion {
                Completion::Done {
                    next: Some(next), ..
                } => cursor = Some(next),
                Completion::Done { next: None, .. } => break,
                failed @ Completion::Failed { .. } => panic!("{failed:?}"),
            }
        }
        assert_eq!(pages.concat(), all);
        assert!(
            pages.iter().all(|page| !page.is_empty()),
            "no page is empty"
        );
    }
}

#[test]
fn open_requests_are_answered_as_by_status_go_or_better() {
    let file = file("wire/mailserver_requests.json");
    let archive = list(&file, "archive");
    let all: Vec<EnvelopeHash> = archive.iter().map(|vector| hash(vector, "hash")).collect();
    let server = Server::of(&file["server"], archive);
    for vector in list(&file, "messages_request") {
        let name = name(vector);
        let packet = bytes(vector, "packet");
        let outcome = &vector["outcome"];
        if vector["decode_error"].is_string() {
            assert!(server.answer(&packet).is_err(), "{name}");
            assert!(outcome["disconnect_error"].is_string(), "{name}");
            continue;
        }
        let MailRequest::Open(open) = MailRequest::decode(&packet).unwrap() else {
            panic!("{name}: not open");
        };
        assert_eq!(open.id, bytes(vector, "id"), "{name}");
        assert_eq!(open.from.0, number32(vector, "from"), "{name}");
        assert_eq!(open.to.0, number32(vector, "to"), "{name}");
        assert_eq!(open.limit, number32(vector, "limit"), "{name}");
        assert_eq!(open.cursor, bytes(vector, "cursor"), "{name}");
        assert_eq!(open.bloom, bytes(vector, "bloom"), "{name}");
        let answer = server.answer(&packet).unwrap();
        if name == "bloom_10" {
            // The reference accepts it and crashes.
            assert_eq!(
                answer.error(),
                Some("invalid request: invalid 'Bloom' provided")
            );
            continue;
        }
        match vector["validate_error"].as_str() {
            Some(error) => assert_eq!(
                answer.error(),
                Some(format!("invalid request: {error}").as_str()),
                "{name}"
            ),
            None => assert_eq!(answer.error(), None, "{name}"),
        }
        let expected = Expected::of(outcome);
        assert_eq!(
            Some(answer.completion.request()),
            expected.completion.as_ref().map(Completion::request),
            "{name}"
        );
        check_same(name, &answer, &expected, &all);
    }
}

#[test]
fn sealed_requests_hold_the_fields_status_go_reads() {
    let file = file("wire/mailserver_requests.json");
    let server = Server::of(&file["server"], list(&file, "archive"));
    for vector in list(&file, "vectors") {
        let name = name(vector);
        let envelope = Envelope::decode(&bytes(vector, "envelope_rlp")).unwrap();
        assert_eq!(
            Work::of(&envelope).leading.get(),
            decimal(vector, "pow"),
            "{name}"
        );
        let form = match text(vector, "used") {
            "rlp" => "rlp_decode",
            "binary" => "binary_decode",
            _ => continue,
        };
        let fields = &vector[form];
        let payload = bytes(vector, "payload");
        if better(name).is_some_and(|ours| ours.starts_with("refused")) {
            assert!(MailQuery::decode(&payload, NOW).is_err(), "{name}");
            continue;
        }
        let query = server
            .server
            .open(&MailRequest::Sealed(envelope), NOW)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(MailQuery::decode(&payload, NOW), Ok(query), "{name}");
        assert_eq!(query.range.from().0, number32(fields, "lower"), "{name}");
        let upper = if fields["upper_is_now_plus_60"] == true {
            NOW.0 + 60
        } else {
            number32(fields, "upper")
        };
        assert_eq!(query.range.to().0, upper, "{name}");
        let bloom = Bloom::from_wire(&bytes(fields, "bloom")).unwrap();
        assert_eq!(query.topics, bloom, "{name}");
        let limit = match number32(fields, "limit") {
            0 => 2_000,
            limit => limit.min(10_000),
        };
        assert_eq!(query.limit, limit, "{name}");
        if name != "binary_112" {
            let cursor = Cursor::from_wire(&bytes(fields, "cursor"));
            assert_eq!(query.cursor, cursor, "{name}");
        }
        assert_eq!(query.batch, fields["batch"] == true, "{name}");
    }
}

#[test]
fn geths_clients_get_what_geths_server_gives() {
    let file = file("wire/mailserver_requests.json");
    let archive = list(&file, "geth_archive");
    let all: Vec<EnvelopeHash> = archive.iter().map(|vector| hash(vector, "hash")).collect();
    let server = Server::of(&file["geth_server"], archive);
    for vector in list(&file, "geth_vectors") {
        let name = name(vector);
        let envelope = Envelope::decode(&bytes(vector, "envelope_rlp")).unwrap();
        assert_eq!(Work::of(&envelope).trailing.get(), decimal(vector, "pow"));
        let answer = server.answer(envelope.rlp()).unwrap();
        assert_eq!(
            answer.completion.request().0[..],
            bytes(vector, "request_id"),
            "{name}"
        );
        let theirs = Expected::of(&vector["outcome"]);
        assert!(theirs.completion.is_none(), "{name}: geth sends none");
        match name {
            // geth finds nothing where the range is reversed; we say why.
            "lower_gt_upper" | "upper_0" => assert_eq!(
                answer.error().map(|error| &error[..23]),
                Some("query range is invalid:"),
                "{name}"
            ),
            // In geth the bound wraps and nothing is found. Here it reaches to
            // now, which is within a day of the archive.
            "upper_max" => assert_eq!(answer.hashes(), all, "{name}"),
            "long_range" => assert_eq!(
                server.server.open(&MailRequest::Sealed(envelope), NOW),
                Err(RequestError::RangeTooLong {
                    seconds: number32(vector, "upper") - number32(vector, "lower")
                }),
                "{name}"
            ),
            // geth misreads it; to us it is what it is.
            "rlp" => assert_eq!(answer.hashes()[..], all[..3], "{name}"),
            "76" => assert_eq!(theirs.hashes[..answer.hashes().len()], answer.hashes()),
            _ => {
                assert_eq!(
                    answer.error().is_none(),
                    vector["accepted"] == true,
                    "{name}"
                );
                assert_eq!(answer.hashes(), theirs.hashes, "{name}");
                assert_eq!(answer.packets.len(), theirs.hashes.len(), "{name}: singly");
            }
        }
    }
}

#[test]
fn completions_read_as_status_clients_read_them() {
    let file = file("wire/mailserver_responses.json");
    for vector in list(&file, "vectors") {
        let name = name(vector);
        let payload = bytes(vector, "payload");
        let packet = bytes(vector, "packet");
        assert_eq!(
            Packet::decode(125, &packet),
            Ok(Packet::RequestComplete(payload.clone())),
            "{name}"
        );
        assert_eq!(
            Packet::RequestComplete(payload.clone()).encode(),
            packet,
            "{name}"
        );
        let completion = match (Completion::decode(&payload), vector["parse_error"].as_str()) {
            (Err(error), Some(expected)) => {
                assert_eq!(error.to_string(), expected, "{name}");
                continue;
            }
            (Ok(completion), None) => completion,
            (other, _) => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            completion.request().0[..],
            bytes(vector, "request_id"),
            "{name}"
        );
        let (last, cursor) = match &completion {
            Completion::Done { last, next, .. } => {
                assert!(vector["error"].is_null(), "{name}");
                let cursor = next.map_or(Vec::new(), |cursor| cursor.to_bytes().to_vec());
                (last.unwrap_or_default(), cursor)
            }
            Completion::Failed { message, .. } => {
                assert_eq!(message, text(vector, "error"), "{name}");
                assert_eq!(bytes(vector, "error_bytes"), message.as_bytes(), "{name}");
                (EnvelopeHash::default(), Vec::new())
            }
        };
        assert_eq!(last, hash(vector, "last_envelope_hash"), "{name}");
        assert_eq!(bytes(vector, "cursor"), cursor, "{name}");
        if [64, 100].contains(&payload.len()) || completion_failed(&completion) {
            assert_eq!(completion.encode(), payload, "{name}");
        }
    }
}

fn completion_failed(completion: &Completion) -> bool {
    matches!(completion, Completion::Failed { .. })
}

#[test]
fn requests_between_mailservers_are_carried_unread() {
    let file = file("wire/mailserver_responses.json");
    for (list_name, code) in [("sync_request", 123), ("sync_response", 124)] {
        for vector in list(&file, list_name) {
            let packet = bytes(vector, "packet");
            let read = Packet::decode(code, &packet).unwrap();
            assert_eq!(read.encode(), packet, "{}", name(vector));
        }
    }
}

#[test]
fn every_packet_of_the_rate_limit_scenario_is_a_request() {
    let file = file("wire/mailserver_requests.json");
    for scenario in list(&file, "rate_limit") {
        for packet in list(scenario, "packets") {
            let packet = hex_bytes(packet.as_str().unwrap());
            assert!(MailRequest::decode(&packet).is_ok());
        }
        let messages = list(&scenario["outcome"], "messages");
        assert!(
            messages
                .iter()
                .any(|message| number(message, "code") == 125)
        );
    }
}
