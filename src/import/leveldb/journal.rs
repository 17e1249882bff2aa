//! What journals say that is in no table yet.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::bytes::{byte, string};
use super::table::{Said, Version};

/// Versions by key, the latest of each first.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<(Vec<u8>, Reverse<u64>), Said>);

impl Waiting {
    /// Takes what one record of a journal says: a batch.
    pub(super) fn take(&mut self, batch: &[u8]) -> Result<(), &'static str> {
        const CUT: &str = "a batch that ends too early";
        let (sequence, rest) = batch.split_first_chunk::<8>().ok_or(CUT)?;
        let (count, mut rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
        let first = u64::from_le_bytes(*sequence);
        let mut said = 0;
        while !rest.is_empty() {
            let (key, what) = match byte(&mut rest).ok_or(CUT)? {
                0 => (string(&mut rest).ok_or(CUT)?, Said::Deleted),
                1 => {
                    let key = string(&mut rest).ok_or(CUT)?;
                    let value = string(&mut rest).ok_or(CUT)?;
                    (key, Said::Put(Bytes::copy_from_slice(value)))
                }
                _ => return Err("a batch that says something not known"),
            };
            let sequence = first.saturating_add(said);
            self.0.insert((key.to_vec(), Reverse(sequence)), what);
            said += 1;
        }
        if said == u64::from(u32::from_le_bytes(*count)) {
            Ok(())
        } else {
            Err("a batch that says less or more than it counts")
        }
    }

    /// The next version in order of keys.
    pub(super) fn next(&mut self) -> Option<Version> {
        let ((key, Reverse(sequence)), said) = self.0.pop_first()?;
        Some(Version {
            key,
            sequence,
            said,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: u64, said: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
        let mut bytes = first.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(said.len()).unwrap().to_le_bytes());
        for (key, value) in said {
            bytes.push(u8::from(value.is_some()));
            for text in std::iter::once(key).chain(value) {
                bytes.push(u8::try_from(text.len()).unwrap());
                bytes.extend_from_slice(text);
            }
        }
        bytes
    }

    #[test]
    fn versions_come_by_key_and_the_latest_first() {
        let mut waiting = Waiting::default();
        waiting
            .take(&batch(5, &[(b"b", Some(b"1")), (b"a", Some(b"2"))]))
            .unwrap();
        waiting.take(&batch(7, &[(b"b", None)])).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| waiting.next())
            .map(|version| (version.key, version.sequence))
            .collect();
        assert_eq!(
            order,
            [(b"a".to_vec(), 6), (b"b".to_vec(), 7), (b"b".to_vec(), 5)]
        );
    }

    #[test]
    fn a_batch_that_does_not_add_up_is_refused() {
        let sound = batch(1, &[(b"key", Some(b"value"))]);
        for cut in 0..sound.len() {
            assert!(Waiting::default().take(&sound[..cut]).is_err(), "{cut}");
        }
        let mut strange = sound;
        strange[12] = 2;
        assert!(Waiting::default().take(&strange).is_err());
    }
}
