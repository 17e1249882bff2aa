//! One message on the encrypted link.
//!
//! ```text
//! header ciphertext (16) || header tag (16) || body ciphertext (n, padded to 16) || body tag (16)
//! header: size (3, big-endian, without padding) || C2 80 80 || 0 (10)
//! body:   rlp(code) || payload || zeros
//! ```
//!
//! Always true:
//! - Nothing of a frame is used before its tag has matched, in constant time;
//!   the size is judged before any byte of the body is awaited.
//! - A body takes memory as it arrives, not as it is announced.
//! - After an error the link is lost: both directions run on one keystream
//!   and one MAC state that cannot be found again.
//!
//! Source: devp2p `rlpx.md`, section "Framing". Chunked frames are not in use
//! on any network and not read.

use std::fmt;

use aes::Aes256Enc;
use alloy_rlp::{Decodable, Encodable};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use keccak_asm::{Digest, Keccak256};
use subtle::ConstantTimeEq;

type Aes256Ctr = ctr::Ctr128BE<aes::Aes256>;

/// Largest frame, code included: the size field has 3 bytes.
pub const MAX_FRAME: usize = (1 << 24) - 1;

/// AES block, tag and header all have this length.
const BLOCK: usize = 16;
/// Header and its tag.
const HEADER: usize = 2 * BLOCK;
/// A header's bytes after the size: an RLP list of two zeros, which readers
/// ignore, and padding.
const HEADER_TAIL: [u8; 3] = [0xc2, 0x80, 0x80];

/// Payloads below this are copied out of the read buffer, which is about as
/// large: a small message kept for long would otherwise hold all of it.
const COPY_BELOW: usize = 16 << 10;

/// A decrypted message: code on the wire, and payload, possibly compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Message code, offset included.
    pub code: u64,
    /// What follows the code.
    pub payload: Bytes,
}

/// Why a frame cannot be read. Each is the peer's fault, or damage on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header's tag differs.
    #[error("frame header has a wrong MAC")]
    HeaderMac,
    /// The body's tag differs.
    #[error("frame body has a wrong MAC")]
    BodyMac,
    /// No body, hence no message code.
    #[error("frame without a message code")]
    Empty,
    /// The body starts with no canonical RLP integer.
    #[error("message code: {0}")]
    Code(alloy_rlp::Error),
    /// More than is accepted at this stage of the link.
    #[error("frame of {size} bytes; at most {most} are accepted")]
    TooLarge {
        /// Size announced.
        size: usize,
        /// Size allowed.
        most: usize,
    },
}

/// A message that does not fit into a frame: the sender's own fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message of {size} bytes; a frame holds {MAX_FRAME}")]
pub struct MessageTooLarge {
    /// Code and payload together, in bytes.
    pub size: usize,
}

/// The writing direction of a link.
pub struct FrameEncoder {
    cipher: Aes256Ctr,
    mac: Mac,
}

impl FrameEncoder {
    /// Starts a direction from the secrets of its handshake.
    pub(crate) fn new(aes: &[u8; 32], mac: &[u8; 32], seeded: Keccak256) -> Self {
        Self {
            cipher: Aes256Ctr::new(aes.into(), &[0; BLOCK].into()),
            mac: Mac::new(mac, seeded),
        }
    }

    /// Appends a message to `out`. Frames must reach the peer in the order they
    /// were encoded.
    pub fn encode(
        &mut self,
        code: u64,
        payload: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), MessageTooLarge> {
        let size = code.length() + payload.len();
        if size > MAX_FRAME {
            return Err(MessageTooLarge { size });
        }
        self.seal(size, out, |out| {
            code.encode(out);
            out.put_slice(payload);
        });
        Ok(())
    }

    /// Appends a frame whose body of `size` bytes `write` appends.
    pub(crate) fn seal(
        &mut self,
        size: usize,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut),
    ) {
        let padded = size.next_multiple_of(BLOCK);
        out.reserve(HEADER + padded + BLOCK);

        let mut header = [0; BLOCK];
        let [_, _, _, _, _, a, b, c] = (size as u64).to_be_bytes();
        header[..3].copy_from_slice(&[a, b, c]);
        header[3..6].copy_from_slice(&HEADER_TAIL);
        self.cipher.apply_keystream(&mut header);
        out.put_slice(&header);
        out.put_slice(&self.mac.header_tag(header));

        let body = out.len();
        write(out);
        out.resize(body + padded, 0);
        self.cipher.apply_keystream(&mut out[body..]);
        let tag = self.mac.body_tag(&out[body..]);
        out.put_slice(&tag);
    }

    #[cfg(test)]
    pub(super) fn mac_digest(&self) -> [u8; 32] {
        self.mac.state.clone().finalize().into()
    }
}

impl fmt::Debug for FrameEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameEncoder")
    }
}

/// The reading direction of a link.
pub struct FrameDecoder {
    cipher: Aes256Ctr,
    mac: Mac,
    most: usize,
    /// Size of the frame whose header was read; `None` between frames.
    awaited: Option<usize>,
}

impl FrameDecoder {
    /// Starts a direction from the secrets of its handshake.
    pub(crate) fn new(aes: &[u8; 32], mac: &[u8; 32], seeded: Keccak256) -> Self {
        Self {
            cipher: Aes256Ctr::new(aes.into(), &[0; BLOCK].into()),
            mac: Mac::new(mac, seeded),
            most: MAX_FRAME,
            awaited: None,
        }
    }

    /// Refuses frames above `most` bytes from the next header on.
    pub fn set_limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Takes one frame off `input`; `None` while it has not fully arrived.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let size = match self.awaited {
            Some(size) => size,
            None => match self.decode_header(input)? {
                Some(size) => size,
                None => return Ok(None),
            },
        };
        self.awaited = Some(size);
        let padded = size.next_multiple_of(BLOCK);
        if input.len() < padded + BLOCK {
            return Ok(None);
        }
        self.awaited = None;

        let (body, rest) = input.split_at_mut(padded);
        let tag = self.mac.body_tag(body);
        if !bool::from(tag.ct_eq(&rest[..BLOCK])) {
            return Err(FrameError::BodyMac);
        }
        self.cipher.apply_keystream(body);
        let mut content = &body[..size];
        let code = u64::decode(&mut content).map_err(FrameError::Code)?;
        let payload_at = size - content.len();
        let payload = if content.len() < COPY_BELOW {
            let payload = Bytes::copy_from_slice(content);
            input.advance(padded + BLOCK);
            payload
        } else {
            let mut frame = input.split_to(padded + BLOCK);
            frame.truncate(size);
            frame.advance(payload_at);
            frame.freeze()
        };
        Ok(Some(Frame { code, payload }))
    }

    fn decode_header(&mut self, input: &mut BytesMut) -> Result<Option<usize>, FrameError> {
        let Some(&bytes) = input.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let mut header = [0; BLOCK];
        header.copy_from_slice(&bytes[..BLOCK]);
        let tag = self.mac.header_tag(header);
        if !bool::from(tag.ct_eq(&bytes[BLOCK..])) {
            return Err(FrameError::HeaderMac);
        }
        self.cipher.apply_keystream(&mut header);
        let [a, b, c, ..] = header;
        let size = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if size == 0 {
            return Err(FrameError::Empty);
        }
        if size > self.most {
            return Err(FrameError::TooLarge {
                size,
                most: self.most,
            });
        }
        input.advance(HEADER);
        Ok(Some(size))
    }

    #[cfg(test)]
    pub(super) fn mac_digest(&self) -> [u8; 32] {
        self.mac.state.clone().finalize().into()
    }
}

impl fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameDecoder")
            .field("awaited", &self.awaited)
            .finish_non_exhaustive()
    }
}

/// The running MAC of one direction.
///
/// ```text
/// U(seed): d = digest(state)[..16]; state absorbs AES(d) XOR seed; tag = digest(state)[..16]
/// header tag = U(header ciphertext)
/// body tag   = state absorbs the ciphertext; U(digest(state)[..16])
/// ```
///
/// A digest costs a permutation, and most frames are small, so two of the five
/// above are not computed again: a header's `d` is the tag before it, and a
/// body's `d` is its seed.
struct Mac {
    state: Keccak256,
    cipher: Aes256Enc,
    /// First half of the digest of `state` as it is after the last tag.
    last: [u8; BLOCK],
}

impl Mac {
    fn new(key: &[u8; 32], seeded: Keccak256) -> Self {
        Self {
            last: half_digest(&seeded),
            state: seeded,
            cipher: Aes256Enc::new(key.into()),
        }
    }

    fn header_tag(&mut self, ciphertext: [u8; BLOCK]) -> [u8; BLOCK] {
        self.update(self.last, ciphertext)
    }

    fn body_tag(&mut self, ciphertext: &[u8]) -> [u8; BLOCK] {
        self.state.update(ciphertext);
        let digest = half_digest(&self.state);
        self.update(digest, digest)
    }

    fn update(&mut self, digest: [u8; BLOCK], seed: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = digest.into();
        self.cipher.encrypt_block(&mut block);
        let mixed: [u8; BLOCK] = std::array::from_fn(|i| block[i] ^ seed[i]);
        self.state.update(mixed);
        self.last = half_digest(&self.state);
        self.last
    }
}

/// The first 16 bytes of a state's digest; the state itself runs on.
fn half_digest(state: &Keccak256) -> [u8; BLOCK] {
    let digest: [u8; 32] = state.clone().finalize().into();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (FrameEncoder, FrameDecoder) {
        (
            FrameEncoder::new(&[1; 32], &[2; 32], Keccak256::new()),
            FrameDecoder::new(&[1; 32], &[2; 32], Keccak256::new()),
        )
    }

    #[test]
    fn bodies_without_a_canonical_code_are_refused() {
        use alloy_rlp::Error;
        for (body, expected) in [
            (&b""[..], FrameError::Empty),
            (b"\x00", FrameError::Code(Error::LeadingZero)),
            (b"\x81\x01", FrameError::Code(Error::NonCanonicalSingleByte)),
            (b"\x82\x00\x80", FrameError::Code(Error::LeadingZero)),
            (b"\xc0", FrameError::Code(Error::UnexpectedList)),
            (b"\x81", FrameError::Code(Error::InputTooShort)),
            (
                b"\x89\x01\x00\x00\x00\x00\x00\x00\x00\x00",
                FrameError::Code(Error::Overflow),
            ),
        ] {
            let (mut encoder, mut decoder) = pair();
            let mut wire = BytesMut::new();
            encoder.seal(body.len(), &mut wire, |out| out.put_slice(body));
            assert_eq!(decoder.decode(&mut wire), Err(expected), "{body:02x?}");
        }
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_at_its_header() {
        let (mut encoder, mut decoder) = pair();
        decoder.set_limit(100);
        let mut wire = BytesMut::new();
        encoder.encode(16, &[0; 99], &mut wire).unwrap();
        assert!(decoder.decode(&mut wire).unwrap().is_some());
        encoder.encode(16, &[0; 100], &mut wire).unwrap();
        wire.truncate(HEADER);
        assert_eq!(
            decoder.decode(&mut wire),
            Err(FrameError::TooLarge {
                size: 101,
                most: 100
            })
        );
    }

    #[test]
    fn an_announced_size_takes_no_memory() {
        let (mut encoder, mut decoder) = pair();
        let mut wire = BytesMut::new();
        encoder
            .encode(16, &vec![0; MAX_FRAME - 1], &mut wire)
            .unwrap();
        let mut arrived = BytesMut::from(&wire[..HEADER + 1]);
        assert_eq!(decoder.decode(&mut arrived), Ok(None));
        assert!(arrived.capacity() < 1_024);
    }

    #[test]
    fn small_payloads_do_not_hold_the_read_buffer() {
        let (mut encoder, mut decoder) = pair();
        let mut wire = BytesMut::new();
        encoder.encode(16, &[7; 100], &mut wire).unwrap();
        encoder.encode(16, &[8; COPY_BELOW], &mut wire).unwrap();
        let buffer = wire.as_ptr() as usize..wire.as_ptr() as usize + wire.len();
        let small = decoder.decode(&mut wire).unwrap().unwrap();
        let large = decoder.decode(&mut wire).unwrap().unwrap();
        assert_eq!(&small.payload[..], [7; 100]);
        assert_eq!(&large.payload[..], [8; COPY_BELOW]);
        assert!(!buffer.contains(&(small.payload.as_ptr() as usize)));
        assert!(buffer.contains(&(large.payload.as_ptr() as usize)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn frames_arrive_whatever_way_the_bytes_are_cut(
            messages in proptest::collection::vec(
                (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..20_000)), 1..6),
            cuts in proptest::collection::vec(1..9_000_usize, 1..8),
        ) {
            let (mut encoder, mut decoder) = pair();
            let mut wire = BytesMut::new();
            for (code, payload) in &messages {
                encoder.encode(*code, payload, &mut wire).unwrap();
            }
            let (mut input, mut arrived) = (BytesMut::new(), Vec::new());
            let mut cuts = cuts.iter().cycle();
            while !wire.is_empty() {
                let len = wire.len().min(*cuts.next().unwrap());
                input.extend_from_slice(&wire.split_to(len));
                while let Some(frame) = decoder.decode(&mut input).unwrap() {
                    arrived.push((frame.code, frame.payload.to_vec()));
                }
            }
            prop_assert_eq!(arrived, messages);
            prop_assert!(input.is_empty());
            prop_assert_eq!(encoder.mac_digest(), decoder.mac_digest());
        }
    }
}
