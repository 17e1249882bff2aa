//! The decoders of what tells of an archive.

use bytes::Bytes;

use crate::publish::ipns::{ContentPath, IpnsKey, Name, Record, Told, record};
use crate::publish::{Announcement, Share};
use crate::time::UnixSeconds;

/// The payload of an announcement.
pub fn announcement(data: &[u8]) {
    if let Ok(announcement) = Announcement::decode(data) {
        assert_eq!(announcement.encode(), data);
    }
}

/// A shared line: what reads is written to what reads the same.
pub fn share(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(share) = text.parse::<Share>() {
        assert_eq!(share.to_string().parse(), Ok(share));
    }
}

/// The secret key of the fuzzed records, in protobuf: Ed25519 from 32 bytes 0x07. Its
/// public half follows it.
const IPNS_KEY: &str = "080112400707070707070707070707070707070707070707070707070707070707070707ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

/// A record of IPNS as it comes; and the same bytes as the data of one, signed here so
/// that they are read. What reads is read again from its own bytes.
pub fn ipns_record(data: &[u8]) {
    let key = hex::decode(IPNS_KEY).expect("hex");
    let key = IpnsKey::from_protobuf(&key).expect("a key");
    let signed = record::sign_data(&key, data);
    for bytes in [data, &signed] {
        let Ok(record) = Record::read(&key.name(), Bytes::copy_from_slice(bytes)) else {
            continue;
        };
        assert_eq!(record.bytes(), bytes);
        assert!(record.is_expired(UnixSeconds::MAX) || !record.is_expired(UnixSeconds::MIN));
        let _ = Told::of(&record);
        if let Ok(path) = record.path() {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
    }
}

/// A path as users, DNS and records write it, and a name alone.
pub fn ipns_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(path) = text.parse::<ContentPath>() {
        assert_eq!(path.to_string().parse(), Ok(path));
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}
