//! A public folder on a plain web server.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gwa::archive::disk::publish_folder;
use gwa::blocks::catalogue::{Catalogue, Listed, MAX_CATALOGUE, fragment_of};
use gwa::blocks::{Block, BlockSource, Cid, Codec, MAX_BLOCK_READ};
use gwa::sources::net::{Net, NetLimits};

use super::house::{House, NET, leaf, pool, pool_on, source};
use super::server::{Asked, Reply, Server};

fn all_blocks(blocks: &dyn BlockSource, root: &Cid) -> Vec<Cid> {
    let mut given = Vec::new();
    blocks
        .get_dag(root, &|_| false, &mut |block| {
            given.push(*block.cid());
            ControlFlow::Continue(())
        })
        .expect("all blocks are there");
    given.sort();
    given
}

fn public(house: &House) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    publish_folder(house.dir(), dir.path()).expect("a disk");
    dir
}

#[test]
fn a_head_and_all_its_blocks_come_from_a_web_server() {
    let house = House::new(1, 400);
    let dir = public(&house);
    let expected = all_blocks(&*house.blocks(), house.head.cid());
    for gives_parts in [false, true] {
        let server = Server::files(dir.path(), gives_parts);
        let head = source(&NET, &server.url).current_head().expect("a head");
        assert_eq!(head, house.head);
        assert_eq!(all_blocks(&pool(&[&server.url]), head.cid()), expected);
    }
}

#[test]
fn heads_before_are_found_by_whoever_walks_back() {
    let house = House::new(2, 200);
    let dir = public(&house);
    let server = Server::files(dir.path(), true);
    let pool = pool(&[&server.url]);
    let mut head = source(&NET, &server.url).current_head().expect("a head");
    let mut walked = 1;
    while let Some(prev) = head.body().prev {
        // A reader knows the way from the head it has read from there.
        pool.get(head.cid()).expect("the head");
        let block = pool.get(&prev).expect("the head before");
        head = gwa::archive::head::Head::decode(block).expect("a head");
        walked += 1;
    }
    assert_eq!(walked, house.head.body().sequence.0);
}

#[test]
fn without_parts_a_file_is_fetched_once_and_with_them_never_whole() {
    let house = House::new(3, 3_000);
    let dir = public(&house);
    let blocks = all_blocks(&*house.blocks(), house.head.cid());
    let fetch = |server: &Server| {
        let pool = pool(&[&server.url]);
        pool.get_each(&blocks, &mut |_| ControlFlow::Continue(()))
            .expect("all blocks are there");
        pool.balances()[0].clone()
    };
    let whole = Server::files(dir.path(), false);
    fetch(&whole);
    let mut cars: Vec<_> = whole.asked().into_iter().map(|asked| asked.path).collect();
    cars.retain(|path| path.ends_with(".car"));
    let all = cars.len();
    cars.sort();
    cars.dedup();
    assert_eq!(cars.len(), all, "a file was fetched twice");

    let parts = Server::files(dir.path(), true);
    let balance = fetch(&parts);
    let lists = balance.received - balance.bytes;
    assert!(lists < balance.bytes / 20 + 10_000, "{balance:?}");
}

#[test]
fn catalogues_are_small_against_what_they_list() {
    let house = House::new(4, 3_000);
    let dir = public(&house);
    let (mut lists, mut cars) = (0, 0);
    let mut folders = vec![dir.path().join("blocks")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let len = entry.metadata().expect("a file").len();
            match entry.file_name().to_string_lossy().as_ref() {
                "CATALOGUE" => lists += len,
                name if name.ends_with(".car") => cars += len,
                _ => folders.push(entry.path()),
            }
        }
    }
    // Files of tests are small; 50 bytes for each name are most of it.
    assert!(lists * 100 < cars, "{lists} bytes of lists for {cars}");
}

#[test]
fn a_server_whose_files_are_not_what_it_lists_has_lied() {
    let house = House::new(5, 200);
    let dir = public(&house);
    let honest = dir.path().to_owned();
    let forged = Server::new(move |asked| {
        let Ok(mut bytes) = std::fs::read(honest.join(asked.path.trim_start_matches('/'))) else {
            return Reply::absent();
        };
        if asked.path.ends_with(".car") {
            for byte in &mut bytes[100..] {
                *byte ^= 1;
            }
        }
        Reply::Whole(200, Vec::new(), bytes)
    });
    let fair = Server::files(dir.path(), true);
    let state = house.head.body().state.expect("something closed");
    let error = pool(&[&forged.url]).get(&state).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
    assert!(error.to_string().contains(&forged.url), "{error}");
    let both = pool(&[&forged.url, &fair.url]);
    assert!(both.get(&state).is_ok());
    assert_eq!(both.balances()[0].lies, 1);
}

#[test]
fn catalogues_that_are_nonsense_lead_nowhere() {
    let house = House::new(6, 100);
    let dir = public(&house);
    let state = house.head.body().state.expect("something closed");
    for nonsense in [&b"gwa catalogue 1\n\xff\xff"[..], b"<html>", b""] {
        let honest = dir.path().to_owned();
        let server = Server::new(move |asked| {
            if asked.path.ends_with("calendar/CATALOGUE") {
                return Reply::Whole(200, Vec::new(), nonsense.to_vec());
            }
            match std::fs::read(honest.join(asked.path.trim_start_matches('/'))) {
                Ok(bytes) => Reply::Whole(200, Vec::new(), bytes),
                Err(_) => Reply::absent(),
            }
        });
        let error = pool(&[&server.url]).get(&state).unwrap_err();
        assert!(error.to_string().contains("CATALOGUE"), "{error}");
    }
}

/// A server of one folder `calendar` with this catalogue, whose files are told of
/// by `file`.
fn listing(catalogue: Vec<u8>, file: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
    Server::new(move |asked| match asked.path.as_str() {
        "/blocks/CATALOGUE" => {
            Reply::Whole(200, Vec::new(), b"gwa catalogues 1\ncalendar\n".to_vec())
        }
        "/blocks/calendar/CATALOGUE" => Reply::Whole(200, Vec::new(), catalogue.clone()),
        path if path.ends_with(".car") => file(asked),
        _ => Reply::absent(),
    })
}

/// A catalogue of one file, in which every block begins like `cid`.
fn namesakes(cid: &Cid, blocks: usize, len: u32) -> Vec<u8> {
    let fragment = fragment_of(cid).expect("a CID of ours");
    let files = BTreeMap::from([("x.car".to_owned(), vec![Listed { fragment, len }; blocks])]);
    Catalogue { files }.encode()
}

#[test]
fn a_part_without_end_is_left_where_the_part_ends() {
    let block = leaf("x");
    let catalogue = namesakes(block.cid(), 5_000, 2 << 20);
    let server = listing(catalogue, |asked| {
        let range = asked.headers["range"].replace("bytes=", "bytes ");
        Reply::Raw(Box::new(move |stream| {
            let _ = write!(
                stream,
                "HTTP/1.1 206 x\r\ncontent-range: {range}/10485760000\r\n\r\n"
            );
            while stream.write_all(&[0; 65_536]).is_ok() {}
        }))
    });
    let pool = pool(&[&server.url]);
    let error = pool.get(block.cid()).unwrap_err();
    assert!(
        error.to_string().contains("more than 2097152 bytes"),
        "{error}"
    );
    let received = pool.balances()[0].received;
    assert!(received <= MAX_BLOCK_READ as u64 + (1 << 20), "{received}");
}

#[test]
fn a_block_that_is_listed_everywhere_costs_few_requests() {
    let block = leaf("x");
    let catalogue = namesakes(block.cid(), 5_000, 4);
    // Another block that begins alike, as one of 16 million does.
    let alike = 3_441_013u32.to_be_bytes();
    let cid = *Block::new(Codec::Raw, alike.to_vec()).cid();
    assert_eq!(fragment_of(&cid), fragment_of(block.cid()));
    let server = listing(catalogue, move |asked| {
        let told = asked.headers["range"].replace("bytes=", "bytes ");
        let told = ("content-range", format!("{told}/200000"));
        Reply::Whole(206, vec![told], alike.to_vec())
    });
    let pool = pool(&[&server.url]);
    for _ in 0..9 {
        let error = pool.get(block.cid()).unwrap_err();
        assert!(!error.is_missing() && !error.is_corrupt(), "{error}");
    }
    let cars = server
        .asked()
        .into_iter()
        .filter(|asked| asked.path.ends_with(".car"));
    assert_eq!(
        cars.count(),
        3 * 16,
        "sixteen at a time, and after three times none"
    );
}

#[test]
fn nonsense_without_end_is_not_fetched_without_end() {
    let mut nonsense = b"gwa catalogue 1\n".to_vec();
    nonsense.resize(MAX_CATALOGUE, 0xff);
    let server = listing(nonsense, |_| Reply::absent());
    let net = Net::new(NetLimits {
        rest: Duration::ZERO,
        ..NetLimits::default()
    });
    let pool = pool_on(&net.expect("threads"), &[&server.url]);
    for n in 0..20 {
        assert!(
            !pool
                .get(leaf(&n.to_string()).cid())
                .unwrap_err()
                .is_missing()
        );
    }
    let lists = server
        .asked()
        .into_iter()
        .filter(|asked| asked.path.ends_with("calendar/CATALOGUE"));
    assert_eq!(
        lists.count(),
        6,
        "six times 64 MiB are all there is room for"
    );
}

/// A folder whose blocks move to a file of another name.
fn moving() -> (Block, Server, Arc<AtomicBool>) {
    let block = leaf("x");
    let moved = Arc::new(AtomicBool::new(false));
    let is_moved = Arc::clone(&moved);
    let bytes = super::server::car(block.cid(), std::slice::from_ref(&block));
    let listed = Listed {
        fragment: fragment_of(block.cid()).expect("a CID of ours"),
        len: 1,
    };
    let server = Server::new(move |asked| {
        let name = match is_moved.load(Ordering::SeqCst) {
            false => "before.car",
            true => "after.car",
        };
        let files = BTreeMap::from([(name.to_owned(), vec![listed])]);
        match asked.path.strip_prefix("/blocks/") {
            Some("CATALOGUE") => {
                Reply::Whole(200, Vec::new(), b"gwa catalogues 1\ncalendar\n".to_vec())
            }
            Some("calendar/CATALOGUE") => {
                Reply::Whole(200, Vec::new(), Catalogue { files }.encode())
            }
            Some(path) if path == format!("calendar/{name}") => {
                let range = &asked.headers["range"];
                let (from, to) = range["bytes=".len()..].split_once('-').expect("a range");
                let told = format!("bytes {from}-{to}/{}", bytes.len());
                let (from, to): (usize, usize) =
                    (from.parse().expect("a number"), to.parse().expect("one"));
                Reply::Whole(
                    206,
                    vec![("content-range", told)],
                    bytes[from..=to].to_vec(),
                )
            }
            _ => Reply::absent(),
        }
    });
    (block, server, moved)
}

#[test]
fn what_moved_to_another_file_is_found_there() {
    let (block, server, moved) = moving();
    let net = Net::new(NetLimits {
        renew_after: Duration::ZERO,
        ..NetLimits::default()
    });
    let pool = pool_on(&net.expect("threads"), &[&server.url]);
    assert_eq!(pool.get(block.cid()).expect("before"), block);
    moved.store(true, Ordering::SeqCst);
    assert_eq!(pool.get(block.cid()).expect("after"), block);
}

#[test]
fn a_folder_is_not_listed_anew_for_every_file_that_is_gone() {
    let (block, server, moved) = moving();
    let net = Net::new(NetLimits {
        renew_after: Duration::from_secs(3_600),
        ..NetLimits::default()
    });
    let pool = pool_on(&net.expect("threads"), &[&server.url]);
    assert_eq!(pool.get(block.cid()).expect("before"), block);
    moved.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(pool.get(block.cid()).unwrap_err().is_missing());
    }
    let lists = server
        .asked()
        .into_iter()
        .filter(|asked| asked.path.ends_with("CATALOGUE"));
    assert_eq!(lists.count(), 2);
}

/// `python3 -m http.server`, ended with the test.
struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its server of `dir`, where there is a Python; it tells its port on stdout.
fn python(dir: &Path) -> Option<(Python, String)> {
    use std::io::BufRead;
    let mut child = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut first = String::new();
    let stdout = child.stdout.take()?;
    let python = Python(child);
    std::io::BufReader::new(stdout).read_line(&mut first).ok()?;
    let port = first.split("port ").nth(1)?.split(' ').next()?.to_owned();
    Some((python, format!("http://127.0.0.1:{port}")))
}

/// The same question to Python's server and to ours without parts; on a machine
/// without Python ours stands for both.
#[test]
fn pythons_server_will_do() {
    let house = House::new(8, 400);
    let dir = public(&house);
    let ours = Server::files(dir.path(), false);
    let python = python(dir.path());
    let expected = all_blocks(&*house.blocks(), house.head.cid());
    let urls = python.iter().map(|(_, url)| url).chain([&ours.url]);
    for url in urls {
        let head = source(&NET, url).current_head().expect("a head");
        assert_eq!(all_blocks(&pool(&[url]), head.cid()), expected, "{url}");
    }
}
