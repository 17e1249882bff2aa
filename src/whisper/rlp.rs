//! RLP lists of mixed items, which the encoding crate leaves to its callers.

use alloy_rlp::{BufMut, Encodable, Header};
use bytes::{Bytes, BytesMut};

/// The list of `items`, in order.
pub(crate) fn list(items: &[&dyn Encodable]) -> Bytes {
    let header = Header {
        list: true,
        payload_length: items.iter().map(|item| item.length()).sum(),
    };
    let mut out = BytesMut::with_capacity(header.length_with_payload());
    header.encode(&mut out);
    for item in items {
        item.encode(&mut out);
    }
    out.freeze()
}

/// Bytes that are an RLP item already.
pub(crate) struct Encoded<'a>(pub(crate) &'a [u8]);

impl Encodable for Encoded<'_> {
    fn encode(&self, out: &mut dyn BufMut) {
        out.put_slice(self.0);
    }

    fn length(&self) -> usize {
        self.0.len()
    }
}

/// The list of items that are encoded already.
pub(crate) fn list_of_encoded<'a>(items: impl Iterator<Item = &'a [u8]> + Clone) -> Bytes {
    let header = Header {
        list: true,
        payload_length: items.clone().map(<[u8]>::len).sum(),
    };
    let mut out = BytesMut::with_capacity(header.length_with_payload());
    header.encode(&mut out);
    for item in items {
        out.extend_from_slice(item);
    }
    out.freeze()
}
