//! Compression of message payloads, on from base protocol 5.
//!
//! Always true:
//! - The length a payload claims is judged before memory is taken for it: it
//!   is at most [`MAX_MESSAGE`], and no more than its bytes can inflate to.
//!
//! Source: EIP-706. The block format, without framing; the message code is not
//! compressed.

use std::fmt;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

/// Largest payload after decompression: what a frame could hold uncompressed.
pub const MAX_MESSAGE: usize = crate::rlpx::frame::MAX_FRAME;

/// No snappy element gives more than 64 bytes for 3, so a block inflates to
/// less than 22 times its length.
const MAX_INFLATION: usize = 22;

/// Why a payload was not decompressed. Each is the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    /// It claims more than a message may have.
    #[error("payload of {claimed} bytes after decompression; at most {MAX_MESSAGE} are accepted")]
    TooLarge {
        /// Length in its header, in bytes.
        claimed: usize,
    },
    /// It claims more than its bytes can hold.
    #[error("payload claims {claimed} bytes after decompression but has only {len}")]
    Impossible {
        /// Length in its header, in bytes.
        claimed: usize,
        /// Its compressed length, in bytes.
        len: usize,
    },
    /// The block is malformed.
    #[error("payload is not a snappy block: {0}")]
    Malformed(#[from] snap::Error),
}

/// Decompresses a payload.
pub fn decompress(payload: &[u8]) -> Result<Vec<u8>, SnappyError> {
    let claimed = decompress_len(payload)?;
    if claimed > MAX_MESSAGE {
        return Err(SnappyError::TooLarge { claimed });
    }
    if claimed > payload.len().saturating_mul(MAX_INFLATION) {
        return Err(SnappyError::Impossible {
            claimed,
            len: payload.len(),
        });
    }
    Ok(Decoder::new().decompress_vec(payload)?)
}

/// Compresses one payload after another, with tables and output it keeps.
pub struct Compressor {
    encoder: Encoder,
    out: Vec<u8>,
}

impl Compressor {
    /// Output kept between payloads; what a larger one needed is given back.
    const KEPT: usize = 1 << 20;

    /// A compressor without buffers yet.
    pub fn new() -> Self {
        Self {
            encoder: Encoder::new(),
            out: Vec::new(),
        }
    }

    /// The compressed payload, good until the next call. The payload must be
    /// at most [`MAX_MESSAGE`] bytes long.
    pub fn compress(&mut self, payload: &[u8]) -> &[u8] {
        let room = max_compress_len(payload.len());
        if self.out.capacity() > Self::KEPT && room <= Self::KEPT {
            self.out = Vec::new();
        }
        if self.out.len() < room {
            self.out.resize(room, 0);
        }
        let len = self
            .encoder
            .compress(payload, &mut self.out)
            .expect("the output has room for the worst case");
        &self.out[..len]
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        // The length 2^24 as a varint, then nothing of it.
        let over = [0x80, 0x80, 0x80, 0x08];
        assert_eq!(
            decompress(&over),
            Err(SnappyError::TooLarge { claimed: 1 << 24 })
        );
        let allowed_but_empty = [0xff, 0xff, 0xff, 0x07];
        assert_eq!(
            decompress(&allowed_but_empty),
            Err(SnappyError::Impossible {
                claimed: MAX_MESSAGE,
                len: 4
            })
        );
        assert!(matches!(
            decompress(&[0xff; 10]),
            Err(SnappyError::Malformed(_))
        ));
        assert!(matches!(decompress(&[]), Err(SnappyError::Malformed(_))));
    }

    #[test]
    fn the_most_compressible_payload_passes() {
        let zeros = vec![0; MAX_MESSAGE];
        let mut compressor = Compressor::new();
        let small = compressor.compress(&zeros).to_vec();
        assert!(small.len() < MAX_MESSAGE / 20);
        assert_eq!(decompress(&small).unwrap(), zeros);
        assert_eq!(decompress(compressor.compress(b"next")).unwrap(), b"next");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn decompression_undoes_compression(
            payloads in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..600), 1..4),
        ) {
            let mut compressor = Compressor::new();
            for payload in payloads {
                let small = compressor.compress(&payload).to_vec();
                prop_assert_eq!(decompress(&small).unwrap(), payload);
            }
        }
    }
}
