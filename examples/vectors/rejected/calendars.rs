//! Calendar nodes that cannot be.

use gwa::archive::calendar::{CalendarNode, Level};
use gwa::blocks::{Cid, Codec};
use ipld_core::ipld::Ipld;
use serde_json::json;

use super::{ipld, link};
use crate::Vector;

type Fields = Vec<(&'static str, Ipld)>;

fn sums(count: i128, fingerprint: usize) -> Ipld {
    let fingerprint = Ipld::Bytes(vec![7; fingerprint]);
    Ipld::List(vec![Ipld::Integer(count), Ipld::Integer(100), fingerprint])
}

/// A node with these children, each with sound sums, and these other fields.
fn node(children: &[(&'static str, Cid)], others: Fields) -> Vec<u8> {
    let of_each = children
        .iter()
        .map(|(name, _)| ((*name).to_owned(), sums(3, 32)));
    let of_each = ("sums", Ipld::Map(of_each.collect()));
    let links = children.iter().map(|(name, cid)| (*name, Ipld::Link(*cid)));
    fields(links.chain([of_each]).chain(others).collect())
}

fn fields(fields: Fields) -> Vec<u8> {
    ipld(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    )
}

pub fn all() -> Vec<Vector> {
    let (raw, dag) = (link(Codec::Raw, 1), link(Codec::DagCbor, 2));
    let at = |level: &'static str, name, rule, bytes: Vec<u8>| Vector {
        name,
        kind: "calendar",
        description: rule,
        given: json!({ "level": level, "bytes": hex::encode(bytes) }),
    };
    let one = |name: &'static str, sums: Ipld| {
        let sums = Ipld::Map([(name.to_owned(), sums)].into());
        fields(vec![(name, Ipld::Link(dag)), ("sums", sums)])
    };
    let open = |day: i128| ("open", Ipld::Integer(day));
    let index = |cid| ("topics", Ipld::Link(cid));
    let sound = node(&[("01", raw), ("31", dag)], vec![open(31), index(dag)]);
    assert!(CalendarNode::decode(Level::Month, &sound).is_ok());
    let two = [("01", dag), ("02", link(Codec::DagCbor, 3))];
    vec![
        at("month", "calendar-not-a-map", "a node is a map", vec![0x80]),
        at(
            "month",
            "calendar-no-sums",
            "a node has sums",
            fields(vec![("01", Ipld::Link(dag))]),
        ),
        at(
            "month",
            "calendar-empty",
            "a node has a child",
            node(&[], vec![]),
        ),
        at(
            "month",
            "calendar-child-without-sums",
            "each child has sums",
            {
                let sums = Ipld::Map([("01".to_owned(), sums(3, 32))].into());
                fields(vec![
                    ("01", Ipld::Link(dag)),
                    ("02", Ipld::Link(dag)),
                    ("sums", sums),
                ])
            },
        ),
        at(
            "month",
            "calendar-sums-without-child",
            "sums are of children alone",
            {
                let both = ["01", "02"].map(|name| (name.to_owned(), sums(3, 32)));
                fields(vec![
                    ("01", Ipld::Link(dag)),
                    ("sums", Ipld::Map(both.into())),
                ])
            },
        ),
        at(
            "month",
            "calendar-child-empty",
            "a child holds an envelope",
            one("01", sums(0, 32)),
        ),
        at(
            "month",
            "calendar-negative-count",
            "counts are not negative",
            one("01", sums(-3, 32)),
        ),
        at(
            "month",
            "calendar-short-fingerprint",
            "a fingerprint has 32 bytes",
            one("01", sums(3, 31)),
        ),
        at(
            "month",
            "calendar-name-of-one-digit",
            "names have two digits",
            node(&[("1", dag)], vec![]),
        ),
        at(
            "month",
            "calendar-name-signed",
            "names are digits alone",
            node(&[("+1", dag)], vec![]),
        ),
        at(
            "month",
            "calendar-day-0",
            "days start at 01",
            node(&[("00", dag)], vec![]),
        ),
        at(
            "month",
            "calendar-day-32",
            "days end at 31",
            node(&[("32", dag)], vec![]),
        ),
        at(
            "day",
            "calendar-hour-24",
            "hours end at 23",
            node(&[("24", dag)], vec![]),
        ),
        at(
            "year",
            "calendar-month-13",
            "months end at 12",
            node(&[("13", dag)], vec![]),
        ),
        at(
            "state",
            "calendar-year-1969",
            "years start at 1970",
            node(&[("1969", dag)], vec![]),
        ),
        at(
            "state",
            "calendar-year-2107",
            "years end at 2106",
            node(&[("2107", dag)], vec![]),
        ),
        at(
            "month",
            "calendar-unknown-field",
            "no field beside those of the node",
            node(&two, vec![("next", Ipld::Link(dag))]),
        ),
        at(
            "month",
            "calendar-child-is-no-link",
            "children are links",
            {
                let sums = Ipld::Map([("01".to_owned(), sums(3, 32))].into());
                fields(vec![("01", Ipld::Bytes(dag.to_bytes())), ("sums", sums)])
            },
        ),
        at(
            "month",
            "calendar-child-twice",
            "no child stands twice",
            node(&[("01", dag), ("02", dag)], vec![]),
        ),
        at(
            "month",
            "calendar-open-not-last",
            "only the last day may be open",
            node(&two, vec![open(1)]),
        ),
        at(
            "month",
            "calendar-open-absent",
            "the open day is a child",
            node(&two, vec![open(3)]),
        ),
        at(
            "month",
            "calendar-open-null",
            "without an open day there is no field for it",
            node(&two, vec![("open", Ipld::Null)]),
        ),
        at(
            "month",
            "calendar-open-is-leaf",
            "an open day is a node",
            node(&[("01", raw)], vec![open(1)]),
        ),
        at(
            "month",
            "calendar-index-over-nothing",
            "a topic index is over closed days",
            node(&[("01", dag)], vec![open(1), index(dag)]),
        ),
        at(
            "month",
            "calendar-index-is-raw",
            "a topic index is DAG-CBOR",
            node(&two, vec![index(raw)]),
        ),
        at(
            "year",
            "calendar-index-in-year",
            "only months have a topic index",
            node(&two, vec![index(dag)]),
        ),
        at(
            "year",
            "calendar-open-in-year",
            "only months have an open day",
            node(&two, vec![open(2)]),
        ),
        at(
            "state",
            "calendar-year-is-raw",
            "years are DAG-CBOR",
            node(&[("2018", raw)], vec![]),
        ),
        at(
            "year",
            "calendar-month-is-raw",
            "months are DAG-CBOR",
            node(&[("01", raw)], vec![]),
        ),
        at("month", "calendar-link-cidv0", "a link is CIDv1", {
            let v0 = Cid::new_v0(*raw.hash()).expect("sha2-256 of 32 bytes");
            node(&[("01", v0)], vec![])
        }),
    ]
}
