//! An archive on Swarm as a public folder: documents name its folders and files by
//! references instead of paths, and a node gives parts of them.
//!
//! Always true: an index is what its reference names, or signed by the owner of the
//! feed that shows it; a document is what its reference names.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};

use super::{Server, below, fault_of};
use crate::blocks::Fault;
use crate::sources::net::{Answer, NetError};
use crate::swarm::{
    CHUNK, Folder, FolderAt, Folders, Index, Reference, SwarmError, SwarmPlace, Update,
    decode_list, topic,
};

/// Header of the number of an update, 16 hex digits.
const INDEX: HeaderName = HeaderName::from_static("swarm-feed-index");

/// Header of the signature of an update, 130 hex digits.
const SIGNATURE: HeaderName = HeaderName::from_static("swarm-soc-signature");

/// Why a source failed that does not find what the newest index leads to. It is no
/// proof that a block is nowhere: a node says the same where its peers are silent.
pub(super) const NOT_FOUND: &str = "does not find now what the index of the archive names";

/// Where the bytes of a reference are, below a node.
pub(super) fn path_of(reference: &Reference) -> String {
    format!("bytes/{reference}")
}

/// The index at a place; `None` where nothing was ever shown there.
pub(super) async fn index(server: Server<'_>, place: &SwarmPlace) -> Result<Option<Index>, Fault> {
    let found = match place {
        SwarmPlace::Index(reference) => named(server, reference, CHUNK as u64).await,
        SwarmPlace::Feed(_) => newest(server, place).await,
    };
    match found {
        Ok(bytes) => {
            let index = Index::decode(&bytes).map_err(|error| fault_of_index(&error))?;
            Ok(Some(index))
        }
        Err(Fault::Absent) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// An index of a later version is rightly signed: this program is too old for it.
fn fault_of_index(error: &SwarmError) -> Fault {
    match error {
        SwarmError::Version(_) => Fault::Failed(error.to_string()),
        _ => Fault::Lied(error.to_string()),
    }
}

/// The folders that an index names.
pub(super) async fn folders(server: Server<'_>, index: &Index) -> Result<Vec<FolderAt>, Fault> {
    match &index.folders {
        Folders::Here(folders) => Ok(folders.clone()),
        Folders::Elsewhere { reference, bytes } => {
            let list = named(server, reference, *bytes).await;
            let list = list.map_err(|fault| match fault {
                // What was signed names it.
                Fault::Absent => Fault::Failed(NOT_FOUND.to_owned()),
                fault => fault,
            })?;
            decode_list(&list).map_err(|error| Fault::Lied(error.to_string()))
        }
    }
}

/// The document of a folder, not verified; what came is added to `came`.
pub(super) async fn document(
    server: Server<'_>,
    at: &FolderAt,
    came: &mut u64,
) -> Result<Bytes, NetError> {
    let path = path_of(&at.reference);
    server.small_counted(&path, at.bytes, came).await
}

/// The folder that is described there by `bytes`.
pub(super) fn folder(at: &FolderAt, bytes: &[u8]) -> Result<Folder, NetError> {
    let checked = at.reference.check(bytes);
    let folder = checked.and_then(|()| Folder::decode(bytes));
    folder.map_err(|error| NetError::Unexpected(error.to_string()))
}

/// The bytes of a reference, `most` at most.
async fn named(server: Server<'_>, reference: &Reference, most: u64) -> Result<Bytes, Fault> {
    let bytes = server.small(&path_of(reference), most).await;
    let bytes = bytes.map_err(|error| fault_of(&error))?;
    match reference.check(&bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Fault::Lied(error.to_string())),
    }
}

/// The payload of the newest update of a feed, its signature checked.
async fn newest(server: Server<'_>, place: &SwarmPlace) -> Result<Bytes, Fault> {
    let SwarmPlace::Feed(owner) = place else {
        return Err(Fault::Absent);
    };
    let path = format!("feeds/{owner}/{}", hex::encode(topic()));
    let url = below(server.base, &path).map_err(|error| fault_of(&error))?;
    let mut tried = 0;
    let (number, signature, payload) = loop {
        let Server {
            net, base, account, ..
        } = server;
        let asked = async {
            let answer = net
                .get(base, &url, &HeaderMap::new(), account, CHUNK as u64)
                .await?;
            let number = digits::<8>(&answer, &INDEX)?;
            let signature = digits::<65>(&answer, &SIGNATURE)?;
            Ok((number, signature, answer.body.whole().await?))
        };
        match asked.await {
            Ok(update) => break update,
            Err(error) if net.again(account, &mut tried, &error).await => {}
            Err(error) => return Err(fault_of(&error)),
        }
    };
    let update = Update::verify(
        owner,
        u64::from_be_bytes(number),
        payload.to_vec(),
        signature,
    );
    match update {
        Ok(_) => Ok(payload),
        Err(error) => Err(Fault::Lied(error.to_string())),
    }
}

/// The bytes whose hex digits are in a header.
fn digits<const N: usize>(answer: &Answer<'_>, name: &HeaderName) -> Result<[u8; N], NetError> {
    let value = answer.headers.get(name);
    let value = value.and_then(|value| value.to_str().ok());
    let mut bytes = [0; N];
    let read = value.is_some_and(|value| hex::decode_to_slice(value, &mut bytes).is_ok());
    match read {
        true => Ok(bytes),
        false => Err(NetError::Unexpected(format!(
            "answered without {name}: it shows no feeds of Swarm"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_a_later_version_is_no_lie() {
        let later = fault_of_index(&SwarmError::Version(2));
        assert!(matches!(&later, Fault::Failed(what) if what.contains("version 2")));
        let wrong = SwarmError::Length { what: "x", len: 1 };
        assert!(matches!(fault_of_index(&wrong), Fault::Lied(_)));
    }
}
