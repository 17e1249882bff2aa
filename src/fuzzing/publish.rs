//! The decoders of what tells of an archive.

use crate::publish::{Announcement, Share};

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
