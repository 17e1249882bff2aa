//! The recorded sessions played again: what the two clients sent goes to a node
//! of ours over links, and what it answers is held against the recording.
//!
//! Two things need not be the same: how envelopes are spread over packets, and
//! that geth's server never says how a request ended. Ours always does.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gwa::mailserver::response::Completion;
use gwa::mailserver::sync::SyncResponse;
use gwa::mailserver::{Mailserver, MailserverConfig, MemoryVault, Vault};
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::socket::{PeerLink, connect};
use gwa::rlpx::{Enode, NodeKey};
use gwa::time::{Clock, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::node::{Node, NodeConfig, NodeHandle, protocol};
use gwa::whisper::packet::{Packet, batch_hash, code};
use gwa::whisper::status::Status;
use gwa::whisper::{Envelope, EnvelopeHash, Pow};
use serde_json::Value;

use crate::fixture::{bytes, decimal, file, hex_bytes, list, name, number, number32, text};

/// Long enough for anything on a busy machine; no test waits for it to pass.
const AT_MOST: Duration = Duration::from_secs(30);

struct Stopped(UnixSeconds);

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        self.0
    }
}

/// A node in place of the recorded server, at the time of the recording.
async fn node(
    server: &Value,
    now: UnixSeconds,
    archive: Vec<Envelope>,
    adjust: impl FnOnce(&mut NodeConfig),
) -> NodeHandle {
    let min_pow = Pow::new(decimal(server, "minimum_pow")).unwrap();
    let vault = Arc::new(MemoryVault::default());
    vault.append(archive).await.unwrap();
    let config = MailserverConfig {
        password: Some(SymKey::from_password(text(server, "password"))),
        node_key: None,
        min_pow,
        answer_open_requests: true,
    };
    let clock = Arc::new(Stopped(now));
    let mail = Arc::new(Mailserver::new(vault, config, clock.clone()));
    let mut config = NodeConfig::new(NodeKey::generate());
    config.policy.min_pow = min_pow;
    adjust(&mut config);
    Node::start(config, mail, clock).await.unwrap()
}

/// A recorded client at the level of packets.
struct Client {
    link: PeerLink,
    offset: u64,
    /// What came and was not looked at.
    aside: Vec<(u8, Bytes)>,
}

impl Client {
    async fn connect(enode: &Enode, key: NodeKey, client: &str) -> Self {
        let local = LocalNode::new(key, client, vec![protocol()], 0);
        let link = connect(enode, &Arc::new(local)).await.unwrap();
        let offset = link.remote().protocol("shh").unwrap().offset;
        Self {
            link,
            offset,
            aside: Vec::new(),
        }
    }

    async fn send(&mut self, code: u8, payload: Bytes) {
        let code = self.offset + u64::from(code);
        self.link.send(code, payload).await.unwrap();
    }

    async fn receive(&mut self) -> (u8, Bytes) {
        let came = tokio::time::timeout(AT_MOST, self.link.recv());
        let message = came.await.expect("it comes").expect("the link holds");
        let code = u8::try_from(message.code - self.offset).unwrap();
        (code, message.payload)
    }

    /// The next packet of one of these codes; others are put aside.
    async fn next_of(&mut self, codes: &[u8]) -> (u8, Bytes) {
        if let Some(at) = self.aside.iter().position(|(code, _)| codes.contains(code)) {
            return self.aside.remove(at);
        }
        loop {
            let (code, payload) = self.receive().await;
            if codes.contains(&code) {
                return (code, payload);
            }
            self.aside.push((code, payload));
        }
    }

    /// Returns when the node has read all that was sent before.
    async fn settle(&mut self) {
        let nothing = Packet::Messages(Vec::new()).encode();
        self.send(code::MESSAGES, nothing.clone()).await;
        loop {
            let (_, payload) = self.next_of(&[code::BATCH_ACKNOWLEDGED]).await;
            let acknowledged = Packet::decode(code::BATCH_ACKNOWLEDGED, &payload);
            if acknowledged == Ok(Packet::BatchAcknowledged(batch_hash(&nothing))) {
                self.next_of(&[code::MESSAGE_RESPONSE]).await;
                return;
            }
        }
    }
}

/// A session while it is played.
struct Stage<'a> {
    client: Client,
    script: &'a [Value],
    at: usize,
    /// Whether the server acknowledges and completes, as status-go's does.
    status: bool,
    /// What was relayed to the client and the recording has not told of yet.
    relayed: BTreeSet<EnvelopeHash>,
    delivered: Vec<EnvelopeHash>,
}

/// The envelopes of a recorded packet, as far as it is of a kind that has any.
fn hashes(vector: &Value) -> Vec<EnvelopeHash> {
    let hashes = vector["envelope_hashes"].as_array().into_iter().flatten();
    hashes
        .map(|hash| hash.as_str().unwrap().parse().unwrap())
        .collect()
}

impl<'a> Stage<'a> {
    /// The code, payload and name of what comes next.
    fn next(&mut self) -> Option<(u8, Bytes, &'a Value)> {
        let vector = self.script.get(self.at)?;
        self.at += 1;
        let code = u8::try_from(number(vector, "code")).unwrap();
        Some((code, bytes(vector, "payload"), vector))
    }

    fn is_ours(vector: &Value) -> bool {
        vector["direction"] == "server_to_client"
    }

    /// Plays one line of the script; gives the hashes of a batch it posted.
    async fn play(&mut self) -> Option<Vec<EnvelopeHash>> {
        let (code, payload, vector) = self.next()?;
        if Self::is_ours(vector) {
            self.expect(code, &payload, vector).await;
            return Some(Vec::new());
        }
        self.client.send(code, payload.clone()).await;
        match code {
            code::MESSAGES => {
                let acknowledged = self.client.next_of(&[code::BATCH_ACKNOWLEDGED]).await.1;
                let expected = Packet::BatchAcknowledged(batch_hash(&payload)).encode();
                assert_eq!(acknowledged, expected, "{}", vector["step"]);
                // The recording has it too, where the server was status-go's.
                if self.status {
                    self.client
                        .aside
                        .push((code::BATCH_ACKNOWLEDGED, acknowledged));
                }
                return Some(hashes(vector));
            }
            code::POW_REQUIREMENT | code::BLOOM_FILTER => self.client.settle().await,
            code::REQUEST if !self.status => self.expect_geths_answer(vector).await,
            _ => {}
        }
        Some(Vec::new())
    }

    async fn expect(&mut self, code: u8, payload: &Bytes, vector: &Value) {
        let step = &vector["step"];
        match code {
            code::STATUS => {
                let (_, ours) = self.client.next_of(&[code]).await;
                if self.status {
                    assert_eq!(ours, payload);
                } else {
                    let [ours, theirs] = [&ours, payload].map(|p| Status::decode(p).unwrap());
                    assert_eq!((ours.pow, ours.bloom), (theirs.pow, theirs.bloom));
                }
            }
            code::MESSAGES => {
                let told = hashes(vector);
                while !told.iter().all(|hash| self.relayed.contains(hash)) {
                    let (_, batch) = self.client.next_of(&[code]).await;
                    let Ok(Packet::Messages(envelopes)) = Packet::decode(code, &batch) else {
                        panic!("{step}: a batch");
                    };
                    self.relayed.extend(envelopes.iter().map(Envelope::hash));
                }
                for hash in told {
                    self.relayed.remove(&hash);
                }
                // Neither does the recorded server send what nobody wants.
                assert!(self.relayed.is_empty(), "{step}: {:?}", self.relayed);
            }
            code::P2P_MESSAGE | code::SYNC_RESPONSE if !hashes(vector).is_empty() => {
                let told = hashes(vector);
                while self.delivered.len() < told.len() {
                    self.take_mail(code).await;
                }
                let came: Vec<_> = self.delivered.drain(..told.len()).collect();
                assert_eq!(came, told, "{step}");
            }
            code::SYNC_RESPONSE => {
                assert!(self.delivered.is_empty(), "{step}: more than was recorded");
                let (_, ours) = self.client.next_of(&[code]).await;
                assert_eq!(ours, payload, "{step}");
            }
            code::REQUEST_COMPLETE => {
                assert!(self.delivered.is_empty(), "{step}: more than was recorded");
                let codes = [code::P2P_MESSAGE, code::REQUEST_COMPLETE];
                let (came, ours) = self.client.next_of(&codes).await;
                assert_eq!((came, &ours), (code, payload), "{step}");
            }
            _ => {
                let (_, ours) = self.client.next_of(&[code]).await;
                assert_eq!(ours, payload, "{step}");
            }
        }
    }

    /// Takes the next packet of an answer: mail, or what is synced.
    async fn take_mail(&mut self, code: u8) {
        let (code, mail) = self.client.next_of(&[code, code::REQUEST_COMPLETE]).await;
        let envelopes = match Packet::decode(code, &mail) {
            Ok(Packet::P2pMessage(envelopes)) => envelopes,
            Ok(Packet::SyncResponse(payload)) => SyncResponse::decode(&payload).unwrap().envelopes,
            other => panic!("the answer ended early: {other:?}"),
        };
        assert!(!envelopes.is_empty(), "the answer ended early");
        self.delivered.extend(envelopes.iter().map(Envelope::hash));
    }

    /// Takes the mail that was recorded after a request, and the completion that
    /// was not.
    async fn expect_geths_answer(&mut self, request: &Value) {
        self.delivered.clear();
        let mut theirs = Vec::new();
        while let Some(mail) = self.script.get(self.at).filter(|next| Self::is_ours(next)) {
            theirs.extend(hashes(mail));
            self.at += 1;
        }
        let completion = loop {
            let codes = [code::P2P_MESSAGE, code::REQUEST_COMPLETE];
            let (code, payload) = self.client.next_of(&codes).await;
            match Packet::decode(code, &payload) {
                Ok(Packet::P2pMessage(envelopes)) => {
                    // geth's clients take one at a time.
                    assert_eq!(envelopes.len(), 1);
                    self.delivered.push(envelopes[0].hash());
                }
                Ok(Packet::RequestComplete(payload)) => break Completion::decode(&payload),
                other => panic!("{other:?}"),
            }
        };
        let step = text(request, "step");
        let error = match completion.unwrap() {
            Completion::Failed { message, .. } => Some(message),
            Completion::Done { next, .. } => {
                assert_eq!(next, None, "{step}");
                None
            }
        };
        let (expected, why) = if step.contains("2^32-1") {
            // There the bound wraps, and nothing is found.
            (6, None)
        } else if step.contains("wrong key") {
            (0, Some("failed to decrypt p2p request"))
        } else if step.contains("not signed") {
            (0, Some("Wrong signature of p2p request"))
        } else {
            assert_eq!(self.delivered, theirs, "{step}");
            (theirs.len(), None)
        };
        assert_eq!(
            (self.delivered.len(), error.as_deref()),
            (expected, why),
            "{step}"
        );
    }

    /// Plays until the script has told that these were posted.
    async fn post_all(&mut self, wanted: &[EnvelopeHash]) {
        let mut missing: BTreeSet<EnvelopeHash> = wanted.iter().copied().collect();
        while !missing.is_empty() {
            let Some(posted) = self.play().await else {
                return;
            };
            for hash in posted {
                missing.remove(&hash);
            }
        }
    }
}

async fn replay(capture: &str, client: &str, status: bool) {
    let file = file(capture);
    let now = list(&file, "posted")
        .iter()
        .map(|posted| number32(posted, "sent"))
        .max()
        .unwrap();
    let node = node(&file["server"], UnixSeconds(now), Vec::new(), |_| {}).await;
    let enode = node.control().enode().unwrap();
    let mut stages = Vec::new();
    for (who, script) in [("requester", "vectors"), ("feeder", "feeder")] {
        let key = text(&file["clients"][who], "private_key");
        let key = key.trim_start_matches("0x").parse().unwrap();
        stages.push(Stage {
            client: Client::connect(&enode, key, client).await,
            script: list(&file, script),
            at: 0,
            status,
            relayed: BTreeSet::new(),
            delivered: Vec::new(),
        });
    }
    let [requester, feeder] = &mut stages[..] else {
        panic!("two clients");
    };
    // Both recordings begin with a status each way.
    for _ in 0..2 {
        feeder.play().await;
    }
    loop {
        let next = requester.script.get(requester.at);
        if let Some(next) = next
            && Stage::is_ours(next)
            && next["code"] == code::MESSAGES
        {
            feeder.post_all(&hashes(next)).await;
        } else if next.is_some_and(|next| next["code"] == code::REQUEST) {
            // All was posted before the first request.
            while feeder.play().await.is_some() {}
        }
        if requester.play().await.is_none() {
            break;
        }
    }
    assert_eq!(feeder.at, feeder.script.len());
    node.shutdown().await;
}

#[tokio::test]
async fn the_session_recorded_with_status_go_plays_the_same_with_us() {
    let capture = "captures/session_status_mailserver.json";
    replay(capture, "StatusIM/v0.34.0", true).await;
}

#[tokio::test]
async fn the_session_recorded_with_geth_plays_the_same_with_us() {
    let capture = "captures/session_geth_mailserver.json";
    replay(capture, "Geth/v1.8.27-stable", false).await;
}

/// The scenario: with a server that limits the rate, one request is answered
/// and those after it are refused. Ours allows a few at once.
#[tokio::test]
async fn requests_beyond_the_rate_are_refused_in_status_gos_words() {
    let file = file("wire/mailserver_requests.json");
    let archive = list(&file, "archive")
        .iter()
        .map(|vector| Envelope::decode(&bytes(vector, "rlp")).unwrap())
        .collect();
    let node = node(
        &file["server"],
        UnixSeconds(1_538_395_200),
        archive,
        |config| {
            config.limits.exempt_local = false;
            config.limits.requests_per_second = NonZeroU32::MIN;
        },
    )
    .await;
    let enode = node.control().enode().unwrap();
    let mut client = Client::connect(&enode, NodeKey::generate(), "StatusIM/v0.34.0").await;
    client.send(code::STATUS, Status::default().encode()).await;
    for scenario in list(&file, "rate_limit") {
        let recorded = list(&scenario["outcome"], "messages");
        let mut ends = recorded
            .iter()
            .filter(|message| number(message, "code") == u64::from(code::REQUEST_COMPLETE))
            .map(|message| bytes(message, "payload"));
        let mut packets = list(scenario, "packets")
            .iter()
            .map(|packet| hex_bytes(packet.as_str().unwrap()));

        client.send(code::REQUEST, packets.next().unwrap()).await;
        let (_, end) = client.next_of(&[code::REQUEST_COMPLETE]).await;
        assert_eq!(Some(end), ends.next(), "{}", name(scenario));
        for (packet, refusal) in packets.zip(ends) {
            let refused = async {
                loop {
                    client.send(code::REQUEST, packet.clone()).await;
                    if client.next_of(&[code::REQUEST_COMPLETE]).await.1 == refusal {
                        return;
                    }
                }
            };
            tokio::time::timeout(AT_MOST, refused).await.unwrap();
        }
    }
    node.shutdown().await;
}
