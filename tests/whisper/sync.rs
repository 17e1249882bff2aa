//! `sync_request` and `sync_response` of `mailserver_responses.json`: what our
//! mailserver answers to another one is what status-go's answered, except where
//! that is a defect.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gwa::mailserver::sync::TOO_MANY_SYNCS;
use gwa::mailserver::sync::client::{SyncClient, SyncError};
use gwa::mailserver::{
    BoxFuture, Cursor, Delivered, MailPeer, MailServer, Mailserver, MailserverConfig, MemoryVault,
    PeerGone, SyncRequest, SyncResponse, Vault,
};
use gwa::rlpx::session::LocalNode;
use gwa::rlpx::{NodeId, NodeKey};
use gwa::time::{SystemClock, TimeRange, UnixSeconds};
use gwa::whisper::node::{Node, NodeConfig, protocol};
use gwa::whisper::packet::Packet;
use gwa::whisper::{Bloom, Envelope, EnvelopeHash, Pow};
use serde_json::Value;

use crate::fixture::{bytes, file, list, name, number32, text};

/// A mailserver that writes down what it is answered.
#[derive(Default)]
struct Asker(Mutex<Vec<Bytes>>);

impl MailPeer for Asker {
    fn id(&self) -> NodeId {
        NodeId([7; 64])
    }

    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>> {
        Box::pin(async move {
            assert_eq!(packet.code(), 124);
            self.0.lock().unwrap().push(packet.encode());
            Ok(())
        })
    }
}

/// The server of the fixtures, with what it holds.
async fn server(answer_open_requests: bool) -> Mailserver<MemoryVault> {
    let requests = file("wire/mailserver_requests.json");
    let archive = list(&requests, "archive").iter();
    let archive = archive.map(|vector| Envelope::decode(&bytes(vector, "rlp")).unwrap());
    let vault = Arc::new(MemoryVault::default());
    vault.append(archive.collect()).await.unwrap();
    let config = MailserverConfig {
        password: None,
        node_key: None,
        min_pow: Pow::ZERO,
        answer_open_requests,
    };
    Mailserver::new(vault, config, Arc::new(SystemClock))
}

async fn answers(server: &Mailserver<MemoryVault>, request: SyncRequest) -> Vec<Bytes> {
    let asker = Arc::new(Asker::default());
    server.sync(Arc::clone(&asker) as _, request).await;
    std::mem::take(&mut *asker.0.lock().unwrap())
}

/// A list that may be empty.
fn some<'a>(vector: &'a Value, field: &str) -> &'a [Value] {
    vector[field].as_array().unwrap()
}

fn response(vector: &Value) -> SyncResponse {
    let cursor = bytes(vector, "cursor");
    let hashes = some(vector, "envelope_hashes").len();
    let read = SyncResponse::decode(&bytes(vector, "payload")).unwrap();
    assert_eq!(read.envelopes.len(), hashes);
    assert_eq!(read.cursor, Cursor::from_wire(&cursor));
    assert_eq!(read.is_final, vector["final"].as_bool().unwrap());
    assert_eq!(read.error, text(vector, "error"));
    read
}

#[tokio::test]
async fn every_sync_request_has_its_defined_answer() {
    let server = server(true).await;
    let responses = file("wire/mailserver_responses.json");
    for vector in list(&responses, "sync_request") {
        let name = name(vector);
        let payload = bytes(vector, "packet");
        let outcome = &vector["outcome"];
        let request = match SyncRequest::decode(&payload) {
            Ok(request) => request,
            Err(error) => {
                // The reference ends the connection, and so does the node; where
                // it has read the request, it says why first.
                assert!(outcome["disconnect_error"].is_string(), "{name}");
                match vector["validate_error"].as_str() {
                    Some(why) => assert_eq!(error.to_string(), why, "{name}"),
                    None => assert!(vector["decode_error"].is_string(), "{name}"),
                }
                assert_eq!(error.is_told(), vector["validate_error"].is_string());
                continue;
            }
        };
        assert_eq!(request.range.from().0, number32(vector, "lower"), "{name}");
        assert_eq!(request.range.to().0, number32(vector, "upper"), "{name}");
        assert_eq!(request.limit, number32(vector, "limit"), "{name}");
        let answered = answers(&server, request).await;
        let expected: Vec<_> = some(outcome, "messages").iter().collect();
        if outcome["panic"].is_string() {
            // An empty bloom crashes the reference; here it means everything.
            let everything = SyncRequest {
                topics: Bloom::FULL,
                ..request
            };
            assert_eq!(answered, answers(&server, everything).await, "{name}");
            assert!(answered.len() > 1, "{name}");
        } else if name == "rate_limit" {
            // Decided by the node, which keeps the connection: see below.
            let [refused] = &expected[..] else {
                panic!("one answer")
            };
            let ours = SyncResponse::failed(TOO_MANY_SYNCS);
            assert_eq!(ours.encode(), bytes(refused, "payload"));
        } else {
            assert!(outcome["disconnect_error"].is_null(), "{name}");
            assert_eq!(answered.len(), expected.len(), "{name}");
            for (ours, theirs) in answered.iter().zip(expected) {
                response(theirs);
                assert_eq!(*ours, bytes(theirs, "payload"), "{name}");
            }
            // What is all there ever was and no invention reads as it is written.
            assert_eq!(request.encode(), payload, "{name}");
        }
    }
}

#[test]
fn every_sync_response_reads_as_it_is_written() {
    let responses = file("wire/mailserver_responses.json");
    for vector in list(&responses, "sync_response") {
        let name = name(vector);
        let packet = bytes(vector, "packet");
        let read = SyncResponse::decode(&packet).unwrap();
        let hashes: Vec<EnvelopeHash> = read.envelopes.iter().map(Envelope::hash).collect();
        let expected: Vec<_> = some(vector, "envelope_hashes")
            .iter()
            .map(|text| text.as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(hashes, expected, "{name}");
        assert_eq!(read.cursor, Cursor::from_wire(&bytes(vector, "cursor")));
        assert_eq!(read.is_final, vector["final"].as_bool().unwrap());
        assert_eq!(read.error, text(vector, "error"));
        assert_eq!(read.encode(), packet, "{name}");
    }
}

fn everything(limit: u32, cursor: Option<Cursor>) -> SyncRequest {
    SyncRequest {
        range: TimeRange::new(UnixSeconds(0), UnixSeconds::MAX).unwrap(),
        topics: Bloom::FULL,
        limit,
        cursor,
    }
}

#[tokio::test]
async fn one_server_syncs_from_another_page_by_page_and_breaches_end_the_link() {
    let mailserver = server(true).await;
    let held = mailserver.vault().envelopes();
    let key = NodeKey::generate();
    let node = Node::start(
        NodeConfig::new(key),
        Arc::new(mailserver),
        Arc::new(SystemClock),
    );
    let node = node.await.unwrap();
    let enode = node.enode().unwrap();
    let local = LocalNode::new(NodeKey::generate(), "archiver", vec![protocol()], 0);
    let local = Arc::new(local);
    let mut client = SyncClient::connect(&enode, &local).await.unwrap();
    for limit in [1, 5, 12, 1_000] {
        let mut fetched = Vec::new();
        let mut cursor = None;
        loop {
            let page = client.page(everything(limit, cursor)).await.unwrap();
            fetched.extend(page.envelopes);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(fetched, held, "{limit}");
    }
    // The one who asks for nothing is told, and the link ends.
    let refused = client.page(everything(0, None)).await;
    assert!(
        matches!(&refused, Err(SyncError::Refused(why)) if why.contains("greater than 0")),
        "{refused:?}"
    );
    assert!(client.page(everything(1, None)).await.is_err());
    node.shutdown().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_anyone_says_so() {
    let server = server(false).await;
    let asker = Arc::new(Asker::default());
    let request = everything(10, None);
    let delivered = server.sync(Arc::clone(&asker) as _, request).await;
    assert_eq!(delivered, Delivered::Refused);
    let told = asker.0.lock().unwrap();
    assert!(!SyncResponse::decode(&told[0]).unwrap().error.is_empty());
}
