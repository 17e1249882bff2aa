//! Mail requests that are none, or ask for what is not given.

use bytes::Bytes;
use gwa::mailserver::request::OpenRequest;
use gwa::rlpx::DisconnectReason;
use gwa::time::{Expiry, Ttl, UnixSeconds};
use gwa::whisper::keys::SymKey;
use gwa::whisper::message::{MessageRandom, Reader, seal};
use gwa::whisper::mining::{Target, Template, mine_within};
use gwa::whisper::packet::code;
use gwa::whisper::{Envelope, Topic};

use crate::packets::one_packet;
use crate::wire::Packets;
use crate::world::{NOW, mail_pow, open_request, password, payload_of, signer};
use crate::{Reaction, Row, row};

/// What the owner of too many requests without encryption is told.
const TOO_MANY_OPEN: &str = "exceeded the number of requests limit";

pub fn rows() -> Vec<Row> {
    let mut rows = no_requests();
    rows.extend(open());
    rows.extend(sealed());
    rows.extend(repeated());
    rows
}

fn no_requests() -> Vec<Row> {
    let told = Reaction::Told(DisconnectReason::Subprotocol);
    [
        ("request: a list of one", vec![0xc1, 1]),
        ("request: noise", vec![0xff; 60]),
        ("request: nothing", Vec::new()),
        ("request: an empty list", vec![0xc0]),
        (
            "request: an envelope of four",
            vec![0xc9, 1, 2, 0x84, 1, 2, 3, 4, 0x81, 0x80],
        ),
    ]
    .into_iter()
    .map(|(name, payload)| one_packet(name, told.clone(), code::REQUEST, payload))
    .collect()
}

fn open() -> Vec<Row> {
    type Change = fn(&mut OpenRequest);
    let id = Reaction::failed("invalid request: invalid 'ID', expected a 32-byte slice");
    let bloom = Reaction::failed("invalid request: invalid 'Bloom' provided");
    let limit =
        Reaction::failed("invalid request: invalid 'Limit' value, expected value lower than 1000");
    let range = Reaction::failed("invalid request: invalid 'From' value which is greater than To");
    let cases: [(&str, Reaction, Change); 11] = [
        ("open request: an id of 31 bytes", id.clone(), |r| {
            r.id = vec![7; 31].into();
        }),
        ("open request: an id of a megabyte", id, |r| {
            r.id = vec![7; 1_000_000].into();
        }),
        ("open request: a bloom of one byte", bloom.clone(), |r| {
            r.bloom = vec![1].into();
        }),
        ("open request: a bloom of 65 bytes", bloom.clone(), |r| {
            r.bloom = vec![1; 65].into();
        }),
        ("open request: no bloom", bloom, |r| r.bloom = Bytes::new()),
        ("open request: a limit of 1,001", limit.clone(), |r| {
            r.limit = 1_001;
        }),
        ("open request: a limit of 2^32 - 1", limit, |r| {
            r.limit = u32::MAX;
        }),
        ("open request: backwards", range, |r| {
            r.from = UnixSeconds::MAX;
        }),
        ("open request: a limit of none", Reaction::Served, |r| {
            r.limit = 0;
        }),
        (
            "open request: a cursor of 35 bytes",
            Reaction::Served,
            |r| r.cursor = vec![9; 35].into(),
        ),
        (
            "open request: a cursor that never was",
            Reaction::Served,
            |r| {
                r.cursor = vec![0xff; 36].into();
            },
        ),
    ];
    cases
        .into_iter()
        .map(|(name, expected, change)| {
            let mut request = open_request(1);
            change(&mut request);
            row(name, expected, |world| async move {
                let mut peer = Packets::ready(&world).await;
                let id = request.id().0;
                peer.send(code::REQUEST, payload_of(request)).await;
                peer.answer(id).await
            })
        })
        .collect()
}

/// An envelope with enough work that holds `payload` for those with the password.
fn sealed_request(payload: &[u8], signed: bool, key: &SymKey) -> Envelope {
    let signer = signed.then(signer);
    let random = MessageRandom::draw();
    let data = seal(payload, signer.as_ref(), Reader::Holders(key), &random).unwrap();
    mined(&data)
}

fn mined(data: &[u8]) -> Envelope {
    let ttl = Ttl(50);
    let template = Template {
        expiry: Expiry::of(NOW, ttl),
        ttl,
        topic: Topic([0; 4]),
        data: data.to_vec(),
    };
    mine_within(&template, Target::Both(mail_pow()), 1 << 24).unwrap()
}

fn sealed() -> Vec<Row> {
    let undersized = "Undersized p2p request";
    let short_bloom = "Undersized bloom filter in p2p request";
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_be_bytes()).collect() };
    // [lower, upper, bloom, limit, cursor, batch], its parts as given.
    let list = |parts: &[&[u8]]| {
        let body = parts.concat();
        let len = u8::try_from(body.len()).unwrap();
        match len {
            0..=55 => [&[0xc0 + len][..], &body].concat(),
            _ => [&[0xf8, len][..], &body].concat(),
        }
    };
    let bloom = |len: usize| -> Vec<u8> {
        let bytes = vec![0xff; len];
        match u8::try_from(len).unwrap() {
            short @ 0..=55 => [&[0x80 + short][..], &bytes].concat(),
            long => [&[0xb8, long][..], &bytes].concat(),
        }
    };
    let full = bloom(64);
    let good = list(&[&[1], &[2], &full, &[5], &[0x80], &[1]]);
    let trailing = [&good[..], &[0]].concat();
    let failed: Vec<(&str, Vec<u8>, &str)> = vec![
        ("sealed request: nothing inside", Vec::new(), undersized),
        ("sealed request: 7 bytes", vec![0; 7], undersized),
        ("sealed request: 9 bytes", vec![0; 9], short_bloom),
        ("sealed request: 71 bytes", vec![0; 71], short_bloom),
        (
            "sealed request: backwards",
            words(&[9, 8]),
            "query range is invalid: from > to (9 > 8)",
        ),
        (
            "sealed request: a day and a second at once",
            words(&[0, 86_401]),
            "query range too big for a request without paging: 86401 s, at most 86400",
        ),
        (
            "sealed request: a list backwards",
            list(&[&[9], &[8], &full, &[5], &[0x80], &[1]]),
            "query range is invalid: from > to (9 > 8)",
        ),
        (
            "sealed request: a bloom of 10 bytes",
            list(&[&[1], &[2], &bloom(10), &[5], &[0x80], &[1]]),
            short_bloom,
        ),
        (
            "sealed request: a bloom of 65 bytes",
            list(&[&[1], &[2], &bloom(65), &[5], &[0x80], &[1]]),
            "Oversized bloom filter in p2p request: 65 bytes",
        ),
    ];
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        ("sealed request: a list of two", list(&[&[1], &[2]])),
        ("sealed request: a byte behind the list", trailing),
        (
            "sealed request: batch is 2",
            list(&[&[1], &[2], &full, &[5], &[0x80], &[2]]),
        ),
        (
            "sealed request: an instant of 5 bytes",
            list(&[&[1], &[0x85, 1, 2, 3, 4, 5], &full, &[5], &[0x80], &[1]]),
        ),
        (
            "sealed request: seven fields",
            list(&[&[1], &[2], &full, &[5], &[0x80], &[1], &[1]]),
        ),
        ("sealed request: noise inside", vec![0xff; 90]),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (name, payload, text) in failed {
        let envelope = sealed_request(&payload, true, &password());
        rows.push(asked(name, Reaction::failed(text), envelope));
    }
    for (name, payload) in malformed {
        let envelope = sealed_request(&payload, true, &password());
        rows.push(row(
            name,
            Reaction::failed("malformed"),
            |world| async move {
                match ask(&mut Packets::ready(&world).await, &envelope).await {
                    Reaction::Failed(text) if text.starts_with("malformed p2p request: ") => {
                        Reaction::failed("malformed")
                    }
                    other => other,
                }
            },
        ));
    }
    let other_key = SymKey::new([1; 32]).unwrap();
    rows.extend([
        asked(
            "sealed request: with another password",
            Reaction::failed("failed to decrypt p2p request"),
            sealed_request(&good, true, &other_key),
        ),
        asked(
            "sealed request: noise for a cipher",
            Reaction::failed("failed to decrypt p2p request"),
            mined(&[7; 200]),
        ),
        asked(
            "sealed request: an empty envelope",
            Reaction::failed("failed to decrypt p2p request"),
            mined(&[]),
        ),
        asked(
            "sealed request: signed by nobody",
            Reaction::failed("Wrong signature of p2p request"),
            sealed_request(&good, false, &password()),
        ),
        asked(
            "sealed request: without work",
            Reaction::failed("PoW() is too low"),
            Envelope::new(
                Expiry::of(NOW, Ttl(50_000_000)),
                Ttl(50_000_000),
                Topic([0; 4]),
                &[7; 300],
                0,
            ),
        ),
        asked(
            "sealed request: well made",
            Reaction::Served,
            sealed_request(&good, true, &password()),
        ),
    ]);
    rows
}

fn asked(name: &str, expected: Reaction, envelope: Envelope) -> Row {
    row(name, expected, |world| async move {
        ask(&mut Packets::ready(&world).await, &envelope).await
    })
}

async fn ask(peer: &mut Packets, envelope: &Envelope) -> Reaction {
    peer.send(code::REQUEST, envelope.rlp().clone()).await;
    peer.answer(envelope.hash().0).await
}

fn repeated() -> Vec<Row> {
    vec![
        row(
            "requests: the same ten times",
            Reaction::Served,
            |world| async move {
                let mut peer = Packets::ready(&world).await;
                let envelope = sealed_request(&[0; 8], true, &password());
                for _ in 0..10 {
                    let seen = ask(&mut peer, &envelope).await;
                    if seen != Reaction::Served {
                        return seen;
                    }
                }
                Reaction::Served
            },
        ),
        row(
            "requests: three hundred at once",
            Reaction::failed(TOO_MANY_OPEN),
            |world| async move {
                let mut peer = Packets::ready(&world).await;
                let mut first = open_request(0);
                // More than the sockets between us hold, after a few.
                first.limit = 200;
                let payload = payload_of(first);
                for _ in 0..300 {
                    peer.send(code::REQUEST, payload.clone()).await;
                }
                let (mut served, mut refused) = (0, 0);
                while served + refused < 300 {
                    match peer.answer([0; 32]).await {
                        Reaction::Served => served += 1,
                        Reaction::Failed(text) if text == TOO_MANY_OPEN => refused += 1,
                        other => return other,
                    }
                }
                assert!(served > 0, "the first ones are answered");
                match refused {
                    0 => Reaction::Served,
                    _ => Reaction::failed(TOO_MANY_OPEN),
                }
            },
        ),
    ]
}
