use std::sync::Mutex;

use super::*;
use crate::mailserver::request::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::mailserver::{MemoryVault, Page};
use crate::rlpx::NodeId;
use crate::time::{Expiry, TimeRange, Ttl};
use crate::whisper::peer::PACKET_LIMIT;
use crate::whisper::{Bloom, Topic};

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixSeconds {
        NOW
    }
}

/// A client that takes a number of packets, each after a while, and then is
/// gone.
struct Client {
    pace: Duration,
    patience: Mutex<usize>,
    received: Mutex<Vec<Packet>>,
    charged: Mutex<Vec<u64>>,
}

impl Client {
    fn taking(packets: usize) -> Arc<Self> {
        Self::slow(packets, Duration::ZERO)
    }

    fn slow(packets: usize, pace: Duration) -> Arc<Self> {
        Arc::new(Self {
            pace,
            patience: Mutex::new(packets),
            received: Mutex::default(),
            charged: Mutex::default(),
        })
    }
}

impl MailPeer for Client {
    fn id(&self) -> NodeId {
        NodeId([7; 64])
    }

    fn send(&self, packet: Packet) -> BoxFuture<'_, Result<(), PeerGone>> {
        Box::pin(async move {
            tokio::time::sleep(self.pace).await;
            let mut patience = self.patience.lock().unwrap();
            *patience = patience.checked_sub(1).ok_or(PeerGone)?;
            self.received.lock().unwrap().push(packet);
            Ok(())
        })
    }

    fn looked(&self, cost: u64) {
        self.charged.lock().unwrap().push(cost);
    }
}

/// A vault that looks long and finds nothing, or never ends.
struct Vain {
    ends: bool,
}

impl Vault for Vain {
    fn append(&self, _: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        Box::pin(async { Ok(Archived::default()) })
    }

    fn page(&self, _: PageQuery) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(async {
            if !self.ends {
                std::future::pending::<()>().await;
            }
            Ok(Page {
                looked: 365,
                read: 80,
                ..Page::default()
            })
        })
    }
}

#[tokio::test]
async fn looking_is_paid_for_where_nothing_is_found_and_where_nobody_waits() {
    use crate::mailserver::sync::SyncRequest;
    let client = Client::taking(10);
    let request = SyncRequest {
        range: TimeRange::ALL,
        topics: Bloom::of_topic(Topic([1; 4])),
        limit: 10,
        cursor: None,
    };
    let looking = server(Vain { ends: true });
    let answered = looking
        .stream(&*client, RequestId([1; 32]), &everything(10))
        .await;
    assert!(answered.is_ok());
    looking.sync(Arc::clone(&client) as _, request).await;
    let paid = 365 * LOOK_COST + 80 / READ_SHARE;
    assert_eq!(*client.charged.lock().unwrap(), [paid, paid]);

    let leaving = Client::taking(10);
    let endless = server(Vain { ends: false });
    let answer = endless.sync(Arc::clone(&leaving) as _, request);
    let answered = tokio::time::timeout(Duration::ZERO, answer).await;
    assert!(answered.is_err());
    assert_eq!(*leaving.charged.lock().unwrap(), [LEFT_COST]);
}

/// A vault that cannot be read after some pages.
struct Failing {
    inner: MemoryVault,
    pages: Mutex<usize>,
}

impl Vault for Failing {
    fn append(&self, envelopes: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        self.inner.append(envelopes)
    }

    fn page(&self, query: PageQuery) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(async move {
            let left = {
                let mut pages = self.pages.lock().unwrap();
                let left = *pages;
                *pages = left.saturating_sub(1);
                left
            };
            if left == 0 {
                return Err(ArchiveError::new("read a page", "the disk is gone"));
            }
            self.inner.page(query).await
        })
    }
}

fn server<V: Vault>(vault: V) -> Mailserver<V> {
    let config = MailserverConfig {
        password: None,
        node_key: None,
        min_pow: Pow::ZERO,
        answer_open_requests: true,
    };
    Mailserver::new(Arc::new(vault), config, Arc::new(Stopped))
}

async fn holding(envelopes: Vec<Envelope>) -> MemoryVault {
    let vault = MemoryVault::default();
    vault.append(envelopes).await.unwrap();
    vault
}

fn envelopes(count: u32, len: usize) -> Vec<Envelope> {
    (0..count)
        .map(|n| {
            Envelope::new(
                Expiry::of(UnixSeconds(1_500_000_000 + n / 7), Ttl(50)),
                Ttl(50),
                Topic([1, 2, 3, 4]),
                &vec![7; len],
                u64::from(n),
            )
        })
        .collect()
}

fn everything(limit: u32) -> MailQuery {
    MailQuery {
        range: TimeRange::ALL,
        topics: Bloom::FULL,
        limit,
        cursor: None,
        batch: true,
    }
}

fn delivered(client: &Client) -> Vec<Envelope> {
    let received = client.received.lock().unwrap();
    received
        .iter()
        .flat_map(|packet| match packet {
            Packet::P2pMessage(envelopes) => envelopes.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn stream<V: Vault>(
    server: &Mailserver<V>,
    client: &Client,
    query: &MailQuery,
) -> (Option<Cursor>, u64) {
    match server.stream(client, RequestId([1; 32]), query).await {
        Ok((Completion::Done { next, last, .. }, cost)) => {
            assert_eq!(last, delivered(client).last().map(Envelope::hash));
            let delivered = delivered(client);
            let bytes = delivered.iter().map(|e| e.rlp().len() as u64);
            assert_eq!(cost.bytes, bytes.sum::<u64>());
            (next, cost.envelopes)
        }
        _ => panic!("a well-ended answer"),
    }
}

#[tokio::test]
async fn a_limit_beyond_a_page_is_honoured_and_the_cursor_leads_on() {
    let server = server(holding(envelopes(MAX_LIMIT + 1_500, 30)).await);
    let all = server.vault().envelopes();
    let mut collected = Vec::new();
    let mut query = everything(MAX_LIMIT);
    for expected in [10_000, 1_500] {
        let client = Client::taking(usize::MAX);
        let (next, sent) = stream(&server, &client, &query).await;
        assert_eq!(sent, expected);
        collected.extend(delivered(&client));
        assert_eq!(next.is_some(), expected == 10_000);
        query.cursor = next;
    }
    assert_eq!(collected, all);
}

#[tokio::test]
async fn packets_stay_below_a_mebibyte_and_answers_below_sixteen() {
    let server = server(holding(envelopes(300, 100_000)).await);
    let client = Client::taking(usize::MAX);
    let (next, sent) = stream(&server, &client, &everything(DEFAULT_LIMIT)).await;
    assert!(next.is_some());
    let mut bytes = 0;
    for packet in &*client.received.lock().unwrap() {
        let len = packet.encode().len();
        assert!(len < PACKET_LIMIT, "{len}");
        bytes += len;
    }
    assert!(bytes <= MAX_ANSWER_BYTES + PACKET_LIMIT && sent < 300);

    // Following the cursor brings the rest, each once.
    let mut hashes: Vec<_> = delivered(&client).iter().map(Envelope::hash).collect();
    let query = MailQuery {
        cursor: next,
        ..everything(DEFAULT_LIMIT)
    };
    let client = Client::taking(usize::MAX);
    assert_eq!(stream(&server, &client, &query).await.0, None);
    hashes.extend(delivered(&client).iter().map(Envelope::hash));
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 300);
}

#[tokio::test]
async fn without_batches_each_envelope_travels_alone() {
    let server = server(holding(envelopes(20, 30)).await);
    let client = Client::taking(usize::MAX);
    let query = MailQuery {
        batch: false,
        ..everything(100)
    };
    stream(&server, &client, &query).await;
    let received = client.received.lock().unwrap();
    assert_eq!(received.len(), 20);
    assert!(
        received
            .iter()
            .all(|packet| matches!(packet, Packet::P2pMessage(one) if one.len() == 1))
    );
}

fn open_request(limit: u32) -> MailRequest {
    MailRequest::Open(crate::mailserver::request::OpenRequest {
        id: vec![3; 32].into(),
        from: UnixSeconds::MIN,
        to: UnixSeconds::MAX,
        limit,
        cursor: bytes::Bytes::new(),
        bloom: vec![0xff; 64].into(),
    })
}

#[tokio::test]
async fn an_archive_that_fails_is_said_and_not_passed_over_in_silence() {
    for pages in [0, 1] {
        let vault = Failing {
            inner: holding(envelopes(1_500, 30)).await,
            pages: Mutex::new(pages),
        };
        let server = server(vault);
        let client = Client::taking(usize::MAX);
        // Two pages: the node may be cut off within its answer.
        let MailRequest::Open(open) = open_request(1_000) else {
            panic!("open");
        };
        let query = MailQuery {
            limit: 1_200,
            ..open.query().unwrap()
        };
        let outcome = server.stream(&*client, RequestId([3; 32]), &query).await;
        assert!(matches!(outcome, Err(Broken::Archive)));
        assert_eq!(delivered(&client).len(), pages * PAGE_ENVELOPES);
    }
    let server = server(Failing {
        inner: MemoryVault::default(),
        pages: Mutex::new(0),
    });
    let client = Client::taking(usize::MAX);
    let ended = server.deliver_mail(client.clone(), open_request(10)).await;
    assert_eq!(ended, Delivered::Refused);
    let completion = Completion::Failed {
        request: RequestId([3; 32]),
        message: ARCHIVE_FAILED.to_owned(),
    };
    assert_eq!(
        *client.received.lock().unwrap(),
        [Packet::RequestComplete(completion.encode())]
    );
}

#[tokio::test]
async fn an_answer_ends_when_its_peer_is_gone() {
    let server = server(holding(envelopes(300, 100_000)).await);
    let client = Client::taking(3);
    let ended = server
        .deliver_mail(client.clone(), open_request(1_000))
        .await;
    assert_eq!(ended, Delivered::PeerGone);
    assert_eq!(client.received.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_server_may_keep_to_sealed_requests() {
    let mut server = server(holding(envelopes(3, 30)).await);
    server.config.answer_open_requests = false;
    let client = Client::taking(usize::MAX);
    let ended = server.deliver_mail(client, open_request(10)).await;
    assert_eq!(ended, Delivered::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_what_a_minute_allows_and_a_cursor() {
    let server = server(holding(envelopes(100, 30)).await);
    let all = server.vault().envelopes();
    let mut query = MailQuery {
        batch: false,
        ..everything(1_000)
    };
    // At 7 s for an envelope nine are begun within a minute.
    let client = Client::slow(usize::MAX, Duration::from_secs(7));
    let (next, sent) = stream(&server, &client, &query).await;
    assert_eq!(sent, 9);
    let mut collected = delivered(&client);

    // However slow, it gets on.
    query.cursor = next;
    let client = Client::slow(usize::MAX, 2 * MAX_ANSWER_TIME);
    let (next, sent) = stream(&server, &client, &query).await;
    assert_eq!(sent, 1);
    collected.extend(delivered(&client));

    query.cursor = next;
    let client = Client::taking(usize::MAX);
    assert_eq!(stream(&server, &client, &query).await, (None, 90));
    collected.extend(delivered(&client));
    assert_eq!(collected, all);
}

/// A vault that counts who reads it at a time.
#[derive(Default)]
struct Crowded {
    readers: Mutex<usize>,
    most: Mutex<usize>,
}

impl Vault for Crowded {
    fn append(&self, _: Vec<Envelope>) -> BoxFuture<'_, Result<Archived, ArchiveError>> {
        Box::pin(async { Ok(Archived::default()) })
    }

    fn page(&self, _: PageQuery) -> BoxFuture<'_, Result<Page, ArchiveError>> {
        Box::pin(async {
            let now = {
                let mut readers = self.readers.lock().unwrap();
                *readers += 1;
                *readers
            };
            let most = (*self.most.lock().unwrap()).max(now);
            *self.most.lock().unwrap() = most;
            tokio::time::sleep(Duration::from_secs(1)).await;
            *self.readers.lock().unwrap() -= 1;
            Ok(Page::default())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn few_answers_read_the_archive_at_a_time_and_all_are_given() {
    let server = Arc::new(server(Crowded::default()));
    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let server = Arc::clone(&server);
        answers.spawn(async move {
            let client = Client::taking(usize::MAX);
            server.deliver_mail(client, open_request(10)).await
        });
    }
    for ended in answers.join_all().await {
        assert_eq!(ended, Delivered::Served(AnswerCost::default()));
    }
    assert_eq!(*server.vault().most.lock().unwrap(), PAGES_AT_A_TIME);
}
