//! `gwa show`: any block, decoded.

use clap::Args;
use ipld_core::ipld::Ipld;
use serde_json::{Map, Value, json};

use crate::blocks::{Block, BlockSource, Cid, Codec};
use crate::cli::context::Context;
use crate::cli::envelopes::Row;
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::FromArgs;
use crate::sources::Reference;

/// Arguments of `gwa show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The block: a CID, or /ipfs/CID/path or http(s)://HOST/ipfs/CID/path, whose path is
    /// followed through links.
    #[arg(value_name = "CID")]
    reference: Reference,
    #[command(flatten)]
    from: FromArgs,
}

/// Prints a node as DAG-JSON, a leaf as its envelopes.
pub fn run(args: &ShowArgs, context: &mut Context) -> Result<(), CliError> {
    context.sources.add_from(&args.from);
    let opened = context.source(&args.reference)?;
    let path = args.reference.path();
    match follow(&*opened.source, opened.root, path)? {
        Shown::Leaf(block) => show_leaf(block, context),
        Shown::Value(value) => {
            let value = dag_json(&value);
            let text = format!("{value:#}");
            context.output.result(&value, text)
        }
    }
}

/// What a path leads to.
#[derive(Debug)]
enum Shown {
    Leaf(Block),
    Value(Ipld),
}

/// Walks `path` from the block `root`, through links where it meets them.
fn follow(source: &dyn BlockSource, root: Cid, path: &[String]) -> Result<Shown, CliError> {
    let mut names = path.iter();
    let mut at = root;
    loop {
        let block = source.get(&at).map_err(|error| unreadable(at, &error))?;
        let remaining = names.len();
        let mut value = match Codec::of(&at) {
            Some(Codec::Raw) if remaining == 0 => return Ok(Shown::Leaf(block)),
            Some(Codec::Raw) => return Err(no_such(path, path.len() - remaining, at)),
            _ => serde_ipld_dagcbor::from_slice(block.bytes()).map_err(|error| {
                CliError::new(Kind::Verification, format!("block {at} is no DAG-CBOR"))
                    .because(&error)
            })?,
        };
        loop {
            let passed = path.len() - names.len();
            let Some(name) = names.next() else {
                return Ok(Shown::Value(value));
            };
            value = step(value, name).ok_or_else(|| no_such(path, passed, at))?;
            // A link at the end of a path stands for the block it names.
            if let Ipld::Link(cid) = value {
                at = cid;
                break;
            }
        }
    }
}

fn step(value: Ipld, name: &str) -> Option<Ipld> {
    match value {
        Ipld::Map(mut map) => map.remove(name),
        Ipld::List(mut list) => {
            let index: usize = name.parse().ok()?;
            (index < list.len()).then(|| list.swap_remove(index))
        }
        _ => None,
    }
}

fn unreadable(cid: Cid, error: &crate::blocks::BlockError) -> CliError {
    let kind = if error.is_corrupt() {
        Kind::Verification
    } else {
        Kind::Error
    };
    CliError::new(kind, format!("cannot read block {cid}")).because(error)
}

fn no_such(path: &[String], passed: usize, at: Cid) -> CliError {
    let name = path.get(passed).map_or("", String::as_str);
    CliError::new(Kind::Error, format!("there is no `{name}` in block {at}"))
}

fn show_leaf(block: Block, context: &mut Context) -> Result<(), CliError> {
    let cid = *block.cid();
    let bytes = block.into_bytes();
    for envelope in crate::import::stream::StreamEnvelopes::new(&bytes[..]) {
        let envelope = envelope.map_err(|error| {
            CliError::new(Kind::Verification, format!("block {cid} is no leaf")).because(&error)
        })?;
        let row = Row::from(&envelope);
        context.output.result(&row, &row)?;
    }
    Ok(())
}

/// DAG-JSON: links and bytes under the key `/`.
fn dag_json(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(yes) => json!(yes),
        Ipld::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
            (Ok(number), _) => json!(number),
            (_, Ok(number)) => json!(number),
            _ => json!(number.to_string()),
        },
        Ipld::Float(number) => json!(number),
        Ipld::String(text) => json!(text),
        Ipld::Bytes(bytes) => {
            let multibase = cid::multibase::encode(cid::multibase::Base::Base64, bytes);
            // DAG-JSON writes the base64 without the letter that names it.
            json!({ "/": { "bytes": multibase.get(1..).unwrap_or_default() } })
        }
        Ipld::List(list) => list.iter().map(dag_json).collect(),
        Ipld::Map(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), dag_json(value)))
                .collect::<Map<_, _>>(),
        ),
        Ipld::Link(cid) => json!({ "/": cid.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::blocks::{BlockStore, Group, MemoryStore, Reuse};

    fn store(blocks: &[&Block]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut writer = store.begin(Group::Calendar, Reuse::Nothing).unwrap();
        for block in blocks {
            writer.put(block).unwrap();
        }
        writer.commit(blocks[0].cid()).unwrap();
        store
    }

    fn node(entries: &[(&str, Ipld)]) -> Block {
        let map: BTreeMap<String, Ipld> = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        Block::new(
            Codec::DagCbor,
            serde_ipld_dagcbor::to_vec(&Ipld::Map(map)).unwrap(),
        )
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn a_path_leads_through_links_lists_and_maps() {
        let leaf = Block::new(Codec::Raw, &b"leaf"[..]);
        let day = node(&[("hours", Ipld::List(vec![Ipld::Link(*leaf.cid())]))]);
        let root = node(&[("day", Ipld::Link(*day.cid())), ("n", Ipld::Integer(7))]);
        let store = store(&[&root, &day, &leaf]);
        let found = |text: &str| follow(&store, *root.cid(), &path(text));

        assert!(matches!(found("n"), Ok(Shown::Value(Ipld::Integer(7)))));
        assert!(matches!(found("day"), Ok(Shown::Value(Ipld::Map(_)))));
        assert!(matches!(found("day/hours/0"), Ok(Shown::Leaf(block)) if block == leaf));
        for (wrong, named) in [
            ("day/hours/1", "`1`"),
            ("day/minutes", "`minutes`"),
            ("n/0", "`0`"),
            ("day/hours/0/x", "`x`"),
        ] {
            let error = found(wrong).unwrap_err().to_string();
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_missing_block_is_named() {
        let leaf = Block::new(Codec::Raw, &b"leaf"[..]);
        let root = node(&[("leaf", Ipld::Link(*leaf.cid()))]);
        let error = follow(&store(&[&root]), *root.cid(), &path("leaf")).unwrap_err();
        assert!(error.to_string().contains(&leaf.cid().to_string()));
    }

    #[test]
    fn nodes_print_as_dag_json() {
        let leaf = Block::new(Codec::Raw, &b"leaf"[..]);
        let value = Ipld::Map(BTreeMap::from([
            ("bytes".to_owned(), Ipld::Bytes(vec![0xff, 0xff])),
            ("link".to_owned(), Ipld::Link(*leaf.cid())),
        ]));
        assert_eq!(
            dag_json(&value),
            json!({ "bytes": { "/": { "bytes": "//8" } }, "link": { "/": leaf.cid().to_string() } })
        );
    }
}
