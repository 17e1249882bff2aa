//! Messages of `gwa/1`.

use super::*;
use crate::archive::testing::envelope;

fn position() -> Position {
    Position::from_bytes(&[&[1u8][..], &[7; 36]].concat()).unwrap()
}

#[test]
fn messages_read_as_they_are_written_and_not_with_anything_behind() {
    let id = RequestNumber(5);
    let range = TimeRange::new(UnixSeconds(1), UnixSeconds(0x0102_0304)).unwrap();
    let envelopes = vec![envelope(1, 100, 40), envelope(2, 200, 400)];
    let status = Status {
        archive: ArchiveTag([9; 8]),
        head: None,
        sequence: 0,
        watermark: UnixSeconds(300),
        position: position(),
    };
    let get_news = |start, topics| Message::GetNews {
        id,
        start,
        topics,
        limit: 7,
    };
    for message in [
        Message::Status(status.clone()),
        Message::Status(Status {
            head: Some(*crate::blocks::Block::new(crate::blocks::Codec::Raw, vec![1]).cid()),
            sequence: u64::MAX,
            ..status
        }),
        get_news(Start::Now, None),
        get_news(Start::Time(UnixSeconds(0)), Some(Bloom::FULL)),
        get_news(Start::Position(position()), Some(Bloom::EMPTY)),
        Message::News {
            id,
            answer: Ok(NewsAnswer {
                next: position(),
                more: true,
                envelopes: envelopes.clone(),
            }),
        },
        Message::Compare {
            id,
            range,
            frame: Bytes::from_static(b"\x61"),
        },
        Message::Compared {
            id,
            answer: Ok(Bytes::from_static(b"\x61\x00")),
        },
        Message::GetEnvelopes {
            id,
            range,
            hashes: vec![EnvelopeHash([1; 32]), EnvelopeHash([2; 32])],
        },
        Message::Envelopes {
            id,
            answer: Ok(EnvelopesAnswer {
                complete: false,
                envelopes,
            }),
        },
    ]
    .into_iter()
    .chain(Refusal::ALL.map(|refusal| Message::News {
        id,
        answer: Err(refusal),
    })) {
        let bytes = message.encode();
        assert_eq!(Message::decode(message.code(), &bytes), Ok(message.clone()));
        let longer = Bytes::from([&bytes[..], &[0x80]].concat());
        assert!(Message::decode(message.code(), &longer).is_err());
        let shorter = bytes.slice(..bytes.len() - 1);
        assert!(Message::decode(message.code(), &shorter).is_err());
    }
}

#[test]
fn what_is_too_much_is_refused_unread() {
    let range = TimeRange::ALL;
    let id = RequestNumber(1);
    let message = Message::GetEnvelopes {
        id,
        range,
        hashes: vec![EnvelopeHash([1; 32]); MAX_HASHES + 1],
    };
    assert!(Message::decode(message.code(), &message.encode()).is_err());
    let frame = Message::Compare {
        id,
        range,
        frame: vec![0x61; MAX_FRAME + 1].into(),
    };
    assert!(Message::decode(frame.code(), &frame.encode()).is_err());
    assert!(matches!(
        Message::decode(code::ENVELOPES, &vec![0xc0; MAX_PAYLOAD + 1].into()),
        Err(MessageError::TooLarge { .. })
    ));
    assert_eq!(
        Message::decode(9, &Bytes::from_static(b"\xc0")),
        Err(MessageError::Unknown(9))
    );
}
