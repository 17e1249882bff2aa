//! The decoders of what an archive on Swarm says of itself.

use crate::swarm::{Folder, Index, decode_list, encode_list};

/// The document that an update of a feed is.
pub fn swarm_index(data: &[u8]) {
    // Mutations seldom keep the length.
    let mut chunk = data.to_vec();
    chunk.resize(crate::swarm::CHUNK, 0);
    for bytes in [data, &chunk] {
        if let Ok(index) = Index::decode(bytes) {
            assert_eq!(index.encode().as_deref(), Some(bytes));
        }
    }
}

/// The document of a folder, and a list of folders.
pub fn swarm_folder(data: &[u8]) {
    if let Ok(folder) = Folder::decode(data) {
        assert_eq!(folder.encode().as_deref(), Ok(data));
    }
    if let Ok(list) = decode_list(data) {
        assert_eq!(encode_list(&list), data);
    }
}
