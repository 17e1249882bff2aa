//! Frames, the Hello, compression and the base protocol.

use gwa::rlpx::{Capability, DisconnectReason, Hello, NodeId, NodeKey};

use crate::wire::{Framed, OFFSET, Packets};
use crate::{Reaction, Row, row};

pub fn rows() -> Vec<Row> {
    let mut rows = before_hello();
    rows.extend(hellos());
    rows.extend(after_hello());
    rows.extend(compression());
    rows.extend(farewells());
    rows
}

/// A row of a peer past the handshake that sends one frame, bent.
fn bent(name: &str, bend: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Row {
    row(name, Reaction::Closed, |world| async move {
        let mut peer = Framed::dial(&world).await;
        let hello = peer.hello.encode();
        let mut frame = peer.frame(0, &hello);
        bend(&mut frame);
        peer.tcp.write(&frame).await;
        peer.tcp.half_close().await;
        peer.end().await
    })
}

/// A row of a peer that sends this frame instead of its Hello.
fn instead(name: &str, code: u64, payload: Vec<u8>) -> Row {
    row(name, Reaction::Closed, move |world| async move {
        let mut peer = Framed::dial(&world).await;
        peer.send(code, &payload).await;
        peer.end().await
    })
}

fn before_hello() -> Vec<Row> {
    vec![
        bent("frame: a header bent", |frame| frame[0] ^= 1),
        bent("frame: a header tag bent", |frame| frame[16] ^= 1),
        bent("frame: a body bent", |frame| frame[32] ^= 1),
        bent("frame: a body tag bent", |frame| {
            *frame.last_mut().unwrap() ^= 1;
        }),
        bent("frame: cut short", |frame| frame.truncate(frame.len() - 1)),
        bent("frame: a header and no body", |frame| frame.truncate(32)),
        instead("frame: 3 MiB before the Hello", 0, vec![0; 3 << 20]),
        instead("hello: a Ping instead", 2, vec![0xc0]),
        instead("hello: a packet of Whisper instead", 16, vec![0xc0]),
        instead("hello: a Disconnect instead", 1, vec![0xc1, 4]),
        instead(
            "hello: a Disconnect for reason 17 instead",
            1,
            vec![0xc1, 17],
        ),
        instead("hello: an empty Disconnect instead", 1, Vec::new()),
    ]
}

/// A row of a peer whose Hello is what `change` makes of a good one.
fn hello(
    name: &str,
    expected: Reaction,
    change: impl FnOnce(&mut Hello) -> Option<Vec<u8>> + Send + 'static,
) -> Row {
    row(name, expected, |world| async move {
        let mut peer = Framed::dial(&world).await;
        let mut hello = peer.hello.clone();
        let payload = change(&mut hello).unwrap_or_else(|| hello.encode());
        peer.send(0, &payload).await;
        peer.end().await
    })
}

fn hellos() -> Vec<Row> {
    use DisconnectReason::{NullIdentity, UnexpectedIdentity, UselessPeer};
    let told = Reaction::Told;
    // [5, "x", [["shh", 6]], 0, id] with one of its parts bent.
    let list = |version: &[u8], caps: &[u8], id: &[u8]| {
        let body = [version, b"x", caps, &[0x80], id].concat();
        let len = u8::try_from(body.len()).unwrap();
        match len {
            0..=55 => [&[0xc0 + len][..], &body].concat(),
            _ => [&[0xf8, len][..], &body].concat(),
        }
    };
    let shh: &[u8] = &[0xc6, 0xc5, 0x83, b's', b'h', b'h', 6];
    let with_id = |hello: &Hello| [&[0xb8, 0x40][..], &hello.id.0].concat();
    vec![
        hello(
            "hello: the id of another",
            told(UnexpectedIdentity),
            |hello| {
                hello.id = NodeKey::generate().id();
                None
            },
        ),
        hello("hello: the null id", told(NullIdentity), |hello| {
            hello.id = NodeId::NULL;
            None
        }),
        hello(
            "hello: an id of 63 bytes",
            told(NullIdentity),
            move |hello| {
                let id = [&[0xb8, 0x3f][..], &hello.id.0[..63]].concat();
                Some(list(&[5], shh, &id))
            },
        ),
        hello("hello: no capabilities", told(UselessPeer), |hello| {
            hello.capabilities.clear();
            None
        }),
        hello(
            "hello: another version of Whisper",
            told(UselessPeer),
            |hello| {
                hello.capabilities = vec![Capability::new("shh", 5)];
                None
            },
        ),
        hello(
            "hello: 100 other capabilities",
            told(UselessPeer),
            |hello| {
                hello.capabilities = (0..100).map(|n| Capability::new("eth", n)).collect();
                None
            },
        ),
        hello("hello: no id", Reaction::Closed, move |_| {
            Some(list(&[5], shh, &[]))
        }),
        hello(
            "hello: a capability of three",
            Reaction::Closed,
            move |hello| {
                let caps = [0xc7, 0xc6, 0x83, b's', b'h', b'h', 6, 1];
                Some(list(&[5], &caps, &with_id(hello)))
            },
        ),
        hello(
            "hello: a version with a zero in front",
            Reaction::Closed,
            move |hello| Some(list(&[0x82, 0, 5], shh, &with_id(hello))),
        ),
        hello(
            "hello: a length in a long form",
            Reaction::Closed,
            move |hello| Some(list(&[0x81, 5], shh, &with_id(hello))),
        ),
        hello(
            "hello: a list longer than its bytes",
            Reaction::Closed,
            move |hello| {
                let mut short = list(&[5], shh, &with_id(hello));
                short.truncate(40);
                Some(short)
            },
        ),
        hello("hello: an empty list", Reaction::Closed, |_| {
            Some(vec![0xc0])
        }),
        hello("hello: a string", Reaction::Closed, |_| {
            Some(vec![0x83, 1, 2, 3])
        }),
        hello("hello: nothing", Reaction::Closed, |_| Some(Vec::new())),
        hello("hello: 2,100 bytes", Reaction::Closed, |hello| {
            hello.name = vec![b'n'; 2_000];
            None
        }),
        hello("hello: 100,000 bytes", Reaction::Closed, |hello| {
            hello.name = vec![b'n'; 100_000];
            None
        }),
    ]
}

/// A row of a peer past its Hello that sends these frames, in order.
fn greeted(name: &str, expected: Reaction, frames: Vec<(u64, Vec<u8>)>) -> Row {
    row(name, expected, |world| async move {
        let mut peer = Framed::greeted(&world).await;
        for (code, payload) in frames {
            peer.send(code, &payload).await;
        }
        peer.end().await
    })
}

fn after_hello() -> Vec<Row> {
    vec![
        row(
            "frame: bent after the Hello",
            Reaction::Closed,
            |world| async move {
                let mut peer = Framed::greeted(&world).await;
                let mut frame = peer.frame(16, &[1, 0, 0xc0]);
                frame[20] ^= 1;
                peer.tcp.write(&frame).await;
                peer.end().await
            },
        ),
        row(
            "frame: 16 MiB claimed, none sent",
            Reaction::Closed,
            |world| async move {
                let mut peer = Framed::greeted(&world).await;
                let frame = peer.frame(16, &vec![0; (1 << 24) - 2]);
                peer.tcp.write(&frame[..64]).await;
                peer.tcp.half_close().await;
                peer.end().await
            },
        ),
        row(
            "frame: reset in the middle",
            Reaction::Gone,
            |world| async move {
                let mut peer = Framed::greeted(&world).await;
                let frame = peer.frame(16, &[7; 5_000]);
                peer.tcp.write(&frame[..2_000]).await;
                peer.tcp.reset()
            },
        ),
        row(
            "hello: half-closed after it",
            Reaction::Closed,
            |world| async move {
                let mut peer = Framed::greeted(&world).await;
                peer.tcp.half_close().await;
                peer.end().await
            },
        ),
        greeted(
            "base: a code beyond all protocols",
            Reaction::Closed,
            vec![(OFFSET + 128, vec![1, 0, 0xc0])],
        ),
        greeted(
            "base: the highest code there is",
            Reaction::Closed,
            vec![(u64::MAX, vec![1, 0, 0xc0])],
        ),
        row(
            "base: a second Hello",
            Reaction::Ignored,
            |world| async move {
                let peer = Packets::ready(&world).await;
                assert!(peer.0.send(0, vec![0xc0]).await.is_ok());
                peer.ignored().await
            },
        ),
        row(
            "base: reserved codes",
            Reaction::Ignored,
            |world| async move {
                let peer = Packets::ready(&world).await;
                for code in 4..16 {
                    assert!(peer.0.send(code, vec![0xff]).await.is_ok());
                }
                peer.ignored().await
            },
        ),
    ]
}

fn compression() -> Vec<Row> {
    let subprotocol = Reaction::Told(DisconnectReason::Subprotocol);
    // A length, then one literal and copies of it without end.
    let claims = |mut len: u64| {
        let mut out = Vec::new();
        while len >= 0x80 {
            out.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        out.push(u8::try_from(len).unwrap());
        out.extend([0, 0xc0]);
        out
    };
    let bomb = gwa::rlpx::snappy::Compressor::new()
        .compress(&vec![0; (1 << 24) - 1])
        .to_vec();
    vec![
        greeted(
            "snappy: noise",
            Reaction::Closed,
            vec![(16, vec![0xff; 300])],
        ),
        greeted("snappy: nothing", Reaction::Closed, vec![(16, Vec::new())]),
        greeted(
            "snappy: 16 MiB claimed",
            Reaction::Closed,
            vec![(16, claims(1 << 24))],
        ),
        greeted(
            "snappy: 4 GiB claimed",
            Reaction::Closed,
            vec![(16, claims(u64::from(u32::MAX)))],
        ),
        greeted(
            "snappy: more claimed than there is",
            Reaction::Closed,
            vec![(16, claims(1_000))],
        ),
        greeted(
            "snappy: a copy from before the start",
            Reaction::Closed,
            vec![(16, vec![10, 0x0d, 0xff])],
        ),
        greeted(
            "snappy: 16 MiB of zeros for a status",
            subprotocol.clone(),
            vec![(OFFSET, bomb.clone())],
        ),
        greeted(
            "snappy: 16 MiB of zeros for messages",
            subprotocol,
            vec![(OFFSET, vec![2, 4, 0xc1, 6]), (OFFSET + 1, bomb)],
        ),
        greeted(
            "snappy: not used where it was agreed on",
            Reaction::Closed,
            vec![(OFFSET, vec![0xc1, 6])],
        ),
    ]
}

/// A peer that says good-bye is not answered; whatever its reason, nothing else
/// happens.
fn farewells() -> Vec<Row> {
    let compressed = |plain: &[u8]| {
        let mut compressor = gwa::rlpx::snappy::Compressor::new();
        compressor.compress(plain).to_vec()
    };
    [
        ("disconnect: requested", compressed(&[0xc1, 0x80])),
        ("disconnect: reason 17", compressed(&[0xc1, 17])),
        ("disconnect: reason 255", compressed(&[0xc2, 0x81, 0xff])),
        (
            "disconnect: reason 2^64",
            compressed(&[0xca, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("disconnect: no reason", Vec::new()),
        ("disconnect: not compressed", vec![0xc1, 4]),
        ("disconnect: noise", vec![0xff; 64]),
    ]
    .into_iter()
    .map(|(name, payload)| greeted(name, Reaction::Closed, vec![(1, payload)]))
    .collect()
}
