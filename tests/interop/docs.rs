//! The documentation is true beside Kubo as well: blocks marked `console,kubo` are run,
//! by the harness of `tests/docs`, where it is told how.

#[path = "../docs/lines.rs"]
#[allow(
    dead_code,
    reason = "words of the text are looked at by `tests/docs` alone"
)]
mod lines;
#[path = "../docs/markdown.rs"]
#[allow(dead_code, reason = "links and headings too")]
mod markdown;
#[path = "../docs/pattern.rs"]
mod pattern;
#[path = "../docs/shell.rs"]
mod shell;

use crate::cluster::Cluster;
use crate::kubo::{self, Kubo, free_port};
use shell::Surroundings;

/// The checkout.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What pages leave to their readers, and the variables of the shell that they, or
/// comments in them, keep it in.
const LEFT_OPEN: [(&str, &str); 6] = [
    (" DIR/", " $dir/"),
    (" HEAD", " $head"),
    ("/ipfs/HEAD", "/ipfs/$head"),
    ("ipns://NAME", "ipns://$name"),
    ("=NAME ", "=$name "),
    ("/NAME.record", "/$name.record"),
];

/// `HOST:PORT` of an `http` URL.
fn authority(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

/// Two nodes, the first of which answers at the addresses that pages name, and the
/// proxy of a cluster. `SECOND_IPFS_PATH` is the repository of the other.
fn around(first: &Kubo, second: &Kubo, cluster: &Cluster) -> Surroundings {
    let own_p2p = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let known = [
        ("127.0.0.1:5001", authority(&first.api())),
        ("127.0.0.1:8080", authority(&first.gateway())),
        ("127.0.0.1:9095", authority(cluster.proxy())),
        ("/ip4/192.0.2.8/tcp/4001/p2p/12D3KooW…", first.address()),
        ("/ip4/192.0.2.7/tcp/4011", own_p2p.clone()),
        ("/ip4/0.0.0.0/tcp/4011", own_p2p),
    ];
    let open = LEFT_OPEN.map(|(page, here)| (page, here.to_owned()));
    let repo = |kubo: &Kubo| kubo.repo().to_str().unwrap().to_owned();
    Surroundings {
        markers: vec!["kubo"],
        programs: vec![("ipfs", kubo::binary())],
        variables: vec![
            ("IPFS_PATH", repo(first)),
            ("SECOND_IPFS_PATH", repo(second)),
            ("IPFS_TELEMETRY", "off".to_owned()),
        ],
        named: known
            .into_iter()
            .chain(open)
            .map(|(page, here)| (page.to_owned(), here))
            .collect(),
    }
}

#[test]
fn what_the_pages_show_beside_kubo_is_what_happens() {
    let pages = markdown::pages();
    let needs_kubo = |page: &&markdown::Page| {
        let mut pieces = page.pieces.iter();
        pieces.any(|piece| piece.is_run(&["kubo"]) && !piece.is_run(&[]))
    };
    let mut ran = 0;
    for page in pages.iter().filter(needs_kubo) {
        // A table of names needs a node that knows another.
        let (first, second) = (Kubo::start_in_dht(), Kubo::start_in_dht());
        second.connect(&first.address());
        let cluster = Cluster::start();
        let told = shell::run(page, &around(&first, &second, &cluster));
        assert!(told.wrong.is_none(), "\n\n{}\n", told.wrong.unwrap());
        ran += told.commands;
    }
    println!("{ran} commands run");
    assert!(ran > 0, "pages show commands beside Kubo");
}
