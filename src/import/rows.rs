//! A row of a mailserver's database: a key, and an envelope.
//!
//! | key | written by |
//! | --- | --- |
//! | `sent (4) ++ hash (32)` | geth; status-go, at first |
//! | `sent (4) ++ hash (32) ++ topic (4)` | status-go |
//!
//! Numbers are big-endian. What counts is the envelope: a key that says something
//! else of it is told, and the envelope taken all the same.

use bytes::Bytes;

use super::{Found, ImportError, MAX_ENVELOPE, Mismatch, Place};
use crate::whisper::Envelope;

/// The envelope of one row.
pub(super) fn found(key: &[u8], value: &Bytes) -> Result<Found, ImportError> {
    let place = || Place::Row(key.to_vec());
    if value.len() > MAX_ENVELOPE {
        return Err(ImportError::TooLarge {
            place: place(),
            len: value.len(),
        });
    }
    // Without the block around it, which would live as long as it does.
    let envelope = Envelope::decode(&Bytes::copy_from_slice(value)).map_err(|source| {
        ImportError::NotAnEnvelope {
            place: place(),
            source,
        }
    })?;
    let mismatch = mismatch(key, &envelope);
    Ok(Found { envelope, mismatch })
}

fn mismatch(key: &[u8], envelope: &Envelope) -> Mismatch {
    let (sent, hash, topic) = match key.len() {
        36 => (&key[..4], &key[4..], None),
        40 => (&key[..4], &key[4..36], Some(&key[36..])),
        _ => {
            return Mismatch {
                key: true,
                ..Mismatch::default()
            };
        }
    };
    Mismatch {
        sent: sent != envelope.sent().0.to_be_bytes(),
        hash: hash != envelope.hash().0,
        topic: topic.is_some_and(|topic| topic != envelope.topic().0),
        key: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::envelope;
    use super::*;

    fn key(envelope: &Envelope) -> Vec<u8> {
        let sent = envelope.sent().0.to_be_bytes();
        [&sent[..], &envelope.hash().0, &envelope.topic().0].concat()
    }

    #[test]
    fn both_forms_of_keys_say_what_the_envelope_says() {
        let envelope = envelope(7);
        let key = key(&envelope);
        for key in [&key[..], &key[..36]] {
            let found = found(key, envelope.rlp()).unwrap();
            assert_eq!(found, Found::from(envelope.clone()));
        }
    }

    #[test]
    fn an_envelope_under_a_key_of_another_is_taken_and_told() {
        let envelope = envelope(7);
        let sound = key(&envelope);
        for (byte, sent, hash, topic) in [
            (0, true, false, false),
            (3, true, false, false),
            (4, false, true, false),
            (35, false, true, false),
            (36, false, false, true),
            (39, false, false, true),
        ] {
            let mut bent = sound.clone();
            bent[byte] ^= 1;
            let found = found(&bent, envelope.rlp()).unwrap();
            let expected = Mismatch {
                sent,
                hash,
                topic,
                key: false,
            };
            assert_eq!(
                (found.mismatch, found.envelope),
                (expected, envelope.clone())
            );
        }
        for strange in [&sound[..0], &sound[..35], &[&sound[..], &[0]].concat()] {
            assert!(found(strange, envelope.rlp()).unwrap().mismatch.key);
        }
    }

    #[test]
    fn what_is_no_envelope_is_named_by_its_key() {
        let error = found(&[0xab, 0xcd], &Bytes::from_static(b"x")).unwrap_err();
        assert!(error.to_string().starts_with("key 0xabcd: "), "{error}");
        assert!(error.goes_on());
        let long = Bytes::from(vec![0; MAX_ENVELOPE + 1]);
        assert!(matches!(
            found(&[1], &long),
            Err(ImportError::TooLarge { .. })
        ));
    }
}
