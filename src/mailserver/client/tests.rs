//! The client against servers that lie, stall and vanish. Each is a script: what
//! it sends after the request.

use std::future::Future;

use secp256k1::SecretKey;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::history::Event;
use super::*;
use crate::mailserver::request::MailRequest;
use crate::rlpx::NodeKey;
use crate::rlpx::socket::accept;
use crate::time::{Clock, Expiry, TimeRange, Ttl};
use crate::whisper::Topic;
use crate::whisper::keys::SymKey;
use crate::whisper::node::protocol;
use crate::whisper::packet::code;

/// How long a test waits before it fails.
const AT_MOST: Duration = Duration::from_secs(60);

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        NOW
    }
}

fn node(name: &str) -> Arc<LocalNode> {
    Arc::new(LocalNode::new(
        NodeKey::generate(),
        name,
        vec![protocol()],
        0,
    ))
}

fn key() -> SymKey {
    SymKey::new([0x42; 32]).unwrap()
}

fn requester() -> Requester {
    let signer = SecretKey::from_secret_bytes([7; 32]).unwrap();
    Requester::with_password(key(), signer)
}

fn query(limit: u32) -> MailQuery {
    MailQuery {
        range: TimeRange::new(UnixSeconds(1_000), NOW).unwrap(),
        topics: Bloom::of_topic(Topic([1, 2, 3, 0])),
        limit,
        cursor: None,
        batch: true,
    }
}

fn sent(at: u32) -> Envelope {
    let expiry = Expiry::of(UnixSeconds(at), Ttl(50));
    Envelope::new(expiry, Ttl(50), Topic([1, 2, 3, 0]), &[7; 40], 0)
}

/// The server's end of one link, past the status.
struct Peer(PeerLink);

impl Peer {
    async fn send(&self, packet: &Packet) {
        self.send_bytes(packet.code(), packet.encode()).await;
    }

    async fn send_bytes(&self, code: u8, payload: Bytes) {
        // The client may have seen enough and left.
        let _ = self.0.send(16 + u64::from(code), payload).await;
    }

    /// The next request of the client; none once it has left.
    async fn request(&mut self) -> Option<MailRequest> {
        loop {
            let message = self.0.recv().await.ok()?;
            if message.code == 16 + u64::from(code::REQUEST) {
                return Some(MailRequest::decode(&message.payload).unwrap());
            }
        }
    }

    async fn mail(&self, envelopes: Vec<Envelope>) {
        self.send(&Packet::P2pMessage(envelopes)).await;
    }

    async fn done(&self, id: RequestId, last: Option<&Envelope>, next: Option<Cursor>) {
        let completion = Completion::Done {
            request: id,
            last: last.map(Envelope::hash),
            next,
        };
        self.send(&Packet::RequestComplete(completion.encode()))
            .await;
    }
}

/// A server called `name` that plays `script` on each link it accepts, given
/// the link's number.
async fn serve<F: Future<Output = ()> + Send>(
    name: &str,
    script: impl Fn(usize, Peer) -> F + Send + 'static,
) -> Enode {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = node(name);
    let enode = Enode::new(local.key().id(), listener.local_addr().unwrap());
    tokio::spawn(async move {
        for link in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let mut peer = Peer(accept(stream, &local).await.unwrap());
            peer.send(&Packet::Status(Status::default())).await;
            peer.0.recv().await.unwrap();
            script(link, peer).await;
        }
    });
    enode
}

async fn connect_to(enode: &Enode) -> MailClient {
    MailClient::connect(enode, &node("client")).await.unwrap()
}

/// All that `enode` has, without much waiting.
fn history_of(enode: Enode) -> History {
    let clock = Arc::new(Stopped);
    History::new(enode, node("client"), requester(), clock, query(10))
        .first_pause(Duration::from_millis(1))
}

/// What one request comes to at a server that plays `script`.
async fn ask<F: Future<Output = ()> + Send>(
    query: MailQuery,
    script: impl Fn(RequestId, Peer) -> F + Send + Sync + 'static,
) -> Result<MailAnswer, ClientError> {
    let script = Arc::new(script);
    let enode = serve("server", move |_, mut peer| {
        let script = Arc::clone(&script);
        async move {
            if let Some(request) = peer.request().await {
                script(request.id(), peer).await;
            }
        }
    })
    .await;
    let mut client = connect_to(&enode).await;
    timeout(AT_MOST, client.request(query, &requester(), NOW))
        .await
        .expect("an end")
}

#[tokio::test]
async fn envelopes_nobody_asked_for_are_named() {
    let early = sent(999);
    let outcome = ask(query(10), {
        let early = early.clone();
        move |_, peer| {
            let early = early.clone();
            async move { peer.mail(vec![sent(1_000), early]).await }
        }
    })
    .await;
    match outcome {
        Err(ClientError::Unasked(Unasked::Time { hash })) => assert_eq!(hash, early.hash()),
        other => panic!("{other:?}"),
    }

    let outcome = ask(query(10), |_, peer| async move {
        let expiry = Expiry::of(NOW, Ttl(0));
        let foreign = Envelope::new(expiry, Ttl(0), Topic([200, 201, 202, 0]), &[7; 40], 0);
        peer.mail(vec![foreign]).await;
    })
    .await;
    assert!(
        matches!(outcome, Err(ClientError::Unasked(Unasked::Topic { .. }))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_endless_stream_ends_at_the_limit() {
    let outcome = ask(query(10), |_, peer| async move {
        for at in 0..100 {
            peer.mail(vec![sent(2_000 + at)]).await;
        }
    })
    .await;
    assert!(
        matches!(
            outcome,
            Err(ClientError::Unasked(Unasked::Count { limit: 10 }))
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn malformed_completions_are_errors_and_foreign_ones_are_not_ours() {
    for completion in [vec![1; 31], vec![1; 101]] {
        let outcome = ask(query(10), move |_, peer| {
            let completion = completion.clone();
            async move {
                peer.send(&Packet::RequestComplete(completion.into())).await;
            }
        })
        .await;
        assert!(
            matches!(outcome, Err(ClientError::Completion(_))),
            "{outcome:?}"
        );
    }
    // A list where a string is due.
    let outcome = ask(query(10), |_, peer| async move {
        peer.send_bytes(code::REQUEST_COMPLETE, Bytes::from_static(&[0xc1, 0x80]))
            .await;
    })
    .await;
    assert!(
        matches!(outcome, Err(ClientError::Violation(_))),
        "{outcome:?}"
    );

    let outcome = ask(query(10), |id, peer| async move {
        let foreign = Completion::Failed {
            request: RequestId([9; 32]),
            message: "not yours".into(),
        };
        peer.send(&Packet::RequestComplete(foreign.encode())).await;
        peer.mail(vec![sent(1_500)]).await;
        peer.mail(vec![]).await;
        peer.done(id, Some(&sent(1_500)), None).await;
    })
    .await;
    assert_eq!(outcome.unwrap().envelopes, [sent(1_500)]);
}

#[tokio::test]
async fn a_refusal_comes_with_its_text() {
    let outcome = ask(query(10), |id, peer| async move {
        let failed = Completion::Failed {
            request: id,
            message: "failed to decrypt p2p request".into(),
        };
        peer.send(&Packet::RequestComplete(failed.encode())).await;
    })
    .await;
    let error = outcome.unwrap_err();
    assert!(error.is_wrong_password(), "{error}");
    assert!(!error.is_servers_fault() && !error.is_link_lost());
}

#[tokio::test]
async fn cursors_that_lead_in_circles_are_not_followed() {
    let enode = serve("server", |_, mut peer| async move {
        let mut at = 2_000;
        while let Some(request) = peer.request().await {
            let envelope = sent(at);
            peer.mail(vec![envelope.clone()]).await;
            let next = Cursor::of(&envelope);
            peer.done(request.id(), Some(&envelope), Some(next)).await;
            // Up, up, and back again.
            at = if at == 2_002 { 2_000 } else { at + 1 };
        }
    })
    .await;
    let mut client = connect_to(&enode).await;
    let outcome = timeout(AT_MOST, client.request_all(query(1), &requester(), NOW))
        .await
        .expect("an end");
    assert!(
        matches!(outcome, Err(ClientError::Unasked(Unasked::Circle))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_useful_is_given_up_in_time() {
    let enode = serve("server", |_, mut peer| async move {
        peer.request().await;
        // Chatter is no answer, however much of it comes.
        loop {
            peer.send(&Packet::PowRequirement(Pow::ZERO)).await;
            peer.mail(vec![]).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    })
    .await;
    let mut client = connect_to(&enode).await;
    let id = client.ask(query(10), &requester(), NOW).await;
    assert!(id.is_ok(), "{id:?}");
    tokio::time::pause();
    let outcome = client.delivered().await;
    assert!(matches!(outcome, Err(ClientError::Silent)), "{outcome:?}");
    let after = client.delivered().await;
    assert!(matches!(after, Err(ClientError::NothingAsked)), "{after:?}");
}

#[tokio::test]
async fn an_answer_that_trickles_is_given_up_in_time() {
    let enode = serve("server", |_, mut peer| async move {
        peer.request().await;
        for at in 1_000.. {
            peer.mail(vec![sent(at)]).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    })
    .await;
    let mut client = connect_to(&enode).await;
    client
        .ask(query(10_000), &requester(), NOW)
        .await
        .expect("sent");
    tokio::time::pause();
    let outcome = loop {
        match client.delivered().await {
            Ok(Delivery::Envelopes(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(outcome, Err(ClientError::Endless)), "{outcome:?}");
}

#[tokio::test]
async fn a_server_of_geth_gets_the_binary_form_and_ends_by_silence() {
    let enode = serve("wnode/v6.0/test", |_, mut peer| async move {
        let Some(MailRequest::Sealed(envelope)) = peer.request().await else {
            panic!("a sealed request");
        };
        let work = crate::whisper::Work::of(&envelope);
        assert!(work.least() >= Pow::GETH_DEFAULT, "{work:?}");
        let opened =
            crate::whisper::message::Opened::open_symmetric(&key(), envelope.data()).unwrap();
        assert_eq!(opened.payload, query(10).encode_binary());
        for at in 0..20 {
            peer.mail(vec![sent(3_000 + at)]).await;
        }
        // No completion, and the link stays.
        peer.request().await;
    })
    .await;
    let mut client = connect_to(&enode).await;
    let mut requester = requester();
    requester.quiet = Duration::from_millis(500);
    client.ask(query(10), &requester, NOW).await.expect("sent");
    let mut count = 0;
    let end = loop {
        match timeout(AT_MOST, client.delivered()).await.unwrap().unwrap() {
            Delivery::Envelopes(some) => count += some.len(),
            Delivery::End(end) => break end,
        }
    };
    assert_eq!(count, 20, "the binary form has no limit");
    assert!(!end.completed && end.next.is_none());
}

#[tokio::test]
async fn a_lost_link_is_opened_again_where_the_last_page_ended() {
    let enode = serve("server", |link, mut peer| async move {
        while let Some(request) = peer.request().await {
            let (first, second, third) = (sent(2_000), sent(2_001), sent(2_002));
            if link == 0 {
                // One whole page, then the link goes within the second.
                peer.mail(vec![first.clone()]).await;
                peer.done(request.id(), Some(&first), Some(Cursor::of(&first)))
                    .await;
                peer.request().await;
                peer.mail(vec![second]).await;
                peer.0.close(DisconnectReason::Quitting).await;
                return;
            }
            let MailRequest::Sealed(envelope) = request else {
                panic!("a sealed request");
            };
            let opened =
                crate::whisper::message::Opened::open_symmetric(&key(), envelope.data()).unwrap();
            let asked = MailQuery::decode(&opened.payload, NOW).unwrap();
            assert_eq!(asked.cursor, Some(Cursor::of(&first)));
            peer.mail(vec![second, third.clone()]).await;
            peer.done(envelope.hash().into(), Some(&third), None).await;
        }
    })
    .await;
    let mut history = history_of(enode);
    let (mut found, mut lost) = (Vec::new(), 0);
    loop {
        match timeout(AT_MOST, history.next()).await.unwrap().unwrap() {
            Event::Envelopes(some) => found.extend(some.iter().map(|e| e.sent().0)),
            Event::Lost { .. } => lost += 1,
            Event::End => break,
            _ => {}
        }
    }
    assert_eq!((found, lost), (vec![2_000, 2_001, 2_001, 2_002], 1));
}

#[tokio::test]
async fn a_server_that_never_comes_back_is_given_up() {
    let enode = serve("server", |_, mut peer| async move {
        peer.request().await;
        peer.0.close(DisconnectReason::Quitting).await;
    })
    .await;
    let mut history = history_of(enode);
    let mut lost = 0;
    let error = loop {
        match timeout(AT_MOST, history.next()).await.unwrap() {
            Ok(Event::Lost { .. }) => lost += 1,
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(lost, history::RECONNECTS);
    assert!(error.is_link_lost(), "{error}");
    assert!(matches!(history.next().await, Ok(Event::End)));
}

/// The list of a request, opened.
fn list_of(request: &MailRequest) -> Bytes {
    let MailRequest::Sealed(envelope) = request else {
        panic!("not sealed");
    };
    let opened = crate::whisper::message::Opened::open_symmetric(&key(), envelope.data());
    opened.unwrap().payload.into()
}

#[tokio::test]
async fn a_server_that_reads_another_list_is_asked_once_more_and_then_in_that() {
    use crate::mailserver::request::ListForm;

    for (name, first) in [
        ("StatusIM/v0.34.0/linux-amd64/go1.13", ListForm::Six),
        ("Statusd/linux-amd64/go1.26.8", ListForm::Seven),
    ] {
        let enode = serve(name, move |_, mut peer: Peer| async move {
            let reads = query(10).encode(first.other());
            while let Some(request) = peer.request().await {
                if list_of(&request) == reads {
                    peer.mail(vec![sent(2_000)]).await;
                    peer.done(request.id(), None, None).await;
                    continue;
                }
                let refused = Completion::Failed {
                    request: request.id(),
                    message: format!("{} (4165960811 > 7450500)", MISREAD[0]),
                };
                peer.send(&Packet::RequestComplete(refused.encode())).await;
            }
        })
        .await;
        let mut client = connect_to(&enode).await;
        for asked in 1..=2 {
            let answer = client.request(query(10), &requester(), NOW).await.unwrap();
            assert_eq!(answer.envelopes.len(), 1, "{name}, request {asked}");
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_both_lists_is_asked_no_third_time() {
    let enode = serve("Statusd", |_, mut peer: Peer| async move {
        let mut asked = 0;
        while let Some(request) = peer.request().await {
            asked += 1;
            let message = format!("{} (request {asked})", MISREAD[1]);
            let refused = Completion::Failed {
                request: request.id(),
                message,
            };
            peer.send(&Packet::RequestComplete(refused.encode())).await;
        }
    })
    .await;
    let mut client = connect_to(&enode).await;
    let answer = client.request(query(10), &requester(), NOW).await;
    let Err(ClientError::Refused(text)) = answer else {
        panic!("{answer:?}");
    };
    assert!(text.ends_with("(request 2)"), "{text}");
}
