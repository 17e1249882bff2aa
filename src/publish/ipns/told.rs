//! What a record tells of an archive, in fields of our own.
//!
//! `_gwa_head` is the block of the head, so that its number, key and signature come
//! with the record; `_gwa_from` are addresses where the archive is to be had,
//! separated by spaces. Both are scalars, which every program that shows such fields
//! can show.

use std::collections::BTreeMap;

use ipld_core::ipld::Ipld;

use super::{ContentPath, NameRef, PathError, Record};
use crate::archive::head::{Head, HeadError, MAX_HEAD_LEN};
use crate::blocks::{Block, Cid, Codec};
use crate::publish::{Hints, HintsError};

/// The field of the head's block.
pub const HEAD_FIELD: &str = "_gwa_head";

/// The field of addresses.
pub const FROM_FIELD: &str = "_gwa_from";

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A head of an archive.
    Head {
        /// Its CID.
        cid: Cid,
        /// Names to follow from there.
        path: Vec<String>,
        /// The head itself, where the record carries it: then there is no path.
        head: Option<Box<Head>>,
        /// Where its blocks are to be had.
        hints: Hints,
    },
    /// Another name, which says what this one stands for: so an owner goes over to
    /// another key.
    Name {
        /// The name.
        name: NameRef,
        /// Names to follow from what it stands for.
        path: Vec<String>,
    },
}

/// Why what a record tells is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToldError {
    /// It points at nothing that could be a head.
    #[error("it points at {value}: {reason}")]
    Path {
        /// What it points at, as far as it can be shown.
        value: String,
        /// What is wrong with it.
        reason: PathError,
    },
    /// The head in it is none.
    #[error("the head in it: {0}")]
    Head(#[from] HeadError),
    /// The head in it is of another shape than bytes of a head's length.
    #[error("`{HEAD_FIELD}` in it is no head")]
    Shape,
    /// It points at something else than the head in it.
    #[error("it points at {value}, and the head in it is {head}")]
    Another {
        /// What it points at.
        value: String,
        /// The head in it.
        head: Box<Cid>,
    },
    /// The addresses in it are out of bounds.
    #[error("`{FROM_FIELD}` in it: {0}")]
    Hints(#[from] HintsError),
    /// The addresses in it are no text.
    #[error("`{FROM_FIELD}` in it is no text")]
    NoText,
}

impl Told {
    /// Reads what a record tells.
    pub fn of(record: &Record) -> Result<Self, ToldError> {
        let path = record.path().map_err(|reason| ToldError::Path {
            value: shown(record.value()),
            reason,
        })?;
        let head = match record.extra(HEAD_FIELD) {
            None => None,
            Some(Ipld::Bytes(bytes)) if bytes.len() <= MAX_HEAD_LEN => {
                let block = Block::new(Codec::DagCbor, bytes.clone());
                Some(Box::new(Head::decode(block)?))
            }
            Some(_) => return Err(ToldError::Shape),
        };
        if let Some(head) = &head
            && path != target(head)
        {
            return Err(ToldError::Another {
                value: path.to_string(),
                head: Box::new(*head.cid()),
            });
        }
        match path {
            ContentPath::Name { name, path } => Ok(Self::Name { name, path }),
            ContentPath::Block { cid, path } => Ok(Self::Head {
                cid,
                path,
                head,
                hints: hints_of(record)?,
            }),
        }
    }
}

/// What a record of `head` points at.
pub fn target(head: &Head) -> ContentPath {
    ContentPath::Block {
        cid: *head.cid(),
        path: Vec::new(),
    }
}

/// The fields that tell of a head and of where it is to be had.
pub fn fields(head: &Head, hints: &Hints) -> BTreeMap<String, Ipld> {
    let block = Ipld::Bytes(head.block().bytes().to_vec());
    let mut fields = BTreeMap::from([(HEAD_FIELD.to_owned(), block)]);
    if !hints.http().is_empty() {
        let from = Ipld::String(hints.http().join(" "));
        fields.insert(FROM_FIELD.to_owned(), from);
    }
    fields
}

fn hints_of(record: &Record) -> Result<Hints, ToldError> {
    match record.extra(FROM_FIELD) {
        None => Ok(Hints::default()),
        Some(Ipld::String(text)) => {
            let addresses = text.split(' ').filter(|address| !address.is_empty());
            Ok(Hints::read(addresses.map(str::to_owned).collect(), None)?)
        }
        Some(_) => Err(ToldError::NoText),
    }
}

/// Foreign bytes as they may stand in a message.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.chars().take(80).flat_map(char::escape_default);
    plain.collect()
}
