//! Mail requests over a link.

use super::*;

#[tokio::test]
async fn a_mail_request_brings_exactly_what_was_asked_for() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let wanted = [1, 2, 3, 0];
    // Mail is old: it lies in the vault, and never was in this pool.
    let old: Vec<Envelope> = (0..30u32)
        .map(|n| {
            let topic = if n % 3 == 0 { wanted } else { [200, 9, 9, 0] };
            sent_at(UnixSeconds(1_500_000_000 + n), topic, u64::from(n))
        })
        .collect();
    rig.mail.archive(old.clone()).await.unwrap();
    let now = NOW;

    let all = client
        .request(everything(1_000), &requester(), now)
        .await
        .unwrap();
    assert_eq!(all.envelopes, old);
    assert_eq!((all.last, all.next), (old.last().map(Envelope::hash), None));

    for batch in [true, false] {
        let query = MailQuery {
            topics: Bloom::of_topic(Topic(wanted)),
            limit: 4,
            batch,
            ..everything(4)
        };
        let page = client.request(query, &requester(), now).await.unwrap();
        assert_eq!(page.envelopes.len(), 4);
        assert!(page.next.is_some());
        let paged = client.request_all(query, &requester(), now).await.unwrap();
        let expected: Vec<_> = old
            .iter()
            .filter(|envelope| envelope.topic() == Topic(wanted))
            .cloned()
            .collect();
        assert_eq!(paged, expected);
    }

    let empty = MailQuery {
        range: TimeRange::new(UnixSeconds(5), UnixSeconds(6)).unwrap(),
        ..everything(10)
    };
    let nothing = client.request(empty, &requester(), now).await.unwrap();
    assert_eq!((nothing.envelopes, nothing.last), (vec![], None));

    let mut stranger = requester();
    stranger.key = crate::mailserver::RequestKey::Password(SymKey::new([1; 32]).unwrap());
    let refused = client.request(everything(1), &stranger, now).await;
    assert!(
        matches!(&refused, Err(ClientError::Refused(text)) if text == "failed to decrypt p2p request"),
        "{refused:?}"
    );
    assert_eq!(rig.node.counters().requests_refused, 1);
    client.close().await;
}

#[tokio::test]
async fn what_a_client_posts_is_there_when_it_is_acknowledged() {
    let rig = Rig::start().await;
    let mut client = rig.client().await;
    let posted: Vec<Envelope> = (0..50).map(|seed| envelope([1, 2, 3, 4], seed)).collect();
    let batch = client.post(posted.clone()).await.unwrap();
    let faults = soon(client.acknowledged(batch)).await.unwrap();
    assert_eq!(faults, []);
    let mail = client
        .request_all(everything(7), &requester(), NOW)
        .await
        .unwrap();
    assert_eq!(hashes(&mail), hashes(&posted));
}
