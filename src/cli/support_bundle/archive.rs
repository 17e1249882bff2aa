//! What the archive says of itself, and the few things that are looked at: no block but
//! heads and the roots that the head names is read. `gwa fsck` reads all.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::archive::disk::{DiskError, Reader};
use crate::archive::head::Head;
use crate::blocks::{BlockSource, BlockStore, Cid};

/// Heads told of, the newest first.
const HEADS: usize = 20;

/// One thing that was looked at.
#[derive(Serialize)]
struct Look {
    at: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Look {
    fn new<T, E: std::fmt::Display>(at: impl Into<String>, seen: &Result<T, E>) -> Self {
        Self {
            at: at.into(),
            ok: seen.is_ok(),
            error: seen.as_ref().err().map(ToString::to_string),
        }
    }
}

pub(super) fn told(data: &Path) -> Value {
    match look(data) {
        Ok(told) => told,
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn look(data: &Path) -> Result<Value, DiskError> {
    let reader = Reader::open(data)?;
    let mut looks = Vec::new();
    let head = reader.head();
    looks.push(Look::new("HEAD, and the signature of its head", &head));
    let head = head.ok().flatten();
    let blocks = reader.blocks();
    if let Some(head) = &head {
        for (of, cid) in roots(head) {
            let read = blocks.get(&cid).map(drop);
            looks.push(Look::new(format!("{of} {cid}"), &read));
        }
    }
    let files = reader.folder().files();
    looks.push(Look::new("the files of blocks", &files));
    let files = files.unwrap_or_default();
    let evicted = blocks.evicted();
    let meta = reader.meta();
    Ok(json!({
        "name": meta.name,
        "network": meta.network,
        "format": meta.format,
        "head": head.as_ref().map(row),
        "lineage": lineage(&reader),
        "kept_from": reader.kept_from().ok().map(|day| day.to_string()),
        "files": files.len(),
        "file_bytes": files.iter().map(|file| file.bytes).sum::<u64>(),
        "evicted_to": blocks.evicted_to(),
        "evicted_files": evicted.len(),
        "evicted_bytes": evicted.iter().map(|file| file.bytes).sum::<u64>(),
        "looked_at": looks,
    }))
}

/// What a head names first, and what for.
fn roots(head: &Head) -> Vec<(&'static str, Cid)> {
    let body = head.body();
    let state = body.state.iter().map(|cid| ("state", *cid));
    let open = body.open.iter().map(|cid| ("open delta", *cid));
    state.chain(open).collect()
}

fn row(head: &Head) -> Value {
    let body = head.body();
    json!({
        "cid": head.cid().to_string(),
        "seq": body.sequence.0,
        "watermark": body.watermark.at().0,
        "signed_at": body.signed_at.0,
        "count": body.totals.count,
        "bytes": body.totals.bytes,
        "state": body.state.map(|cid| cid.to_string()),
        "open": body.open.len(),
        "merged": body.merged.len(),
    })
}

fn lineage(reader: &Reader) -> Vec<Value> {
    let Ok(heads) = reader.heads().lineage() else {
        return Vec::new();
    };
    heads
        .take(HEADS)
        .map(|head| match head {
            Ok(head) => row(&head),
            Err(error) => json!({ "error": error.to_string() }),
        })
        .collect()
}
