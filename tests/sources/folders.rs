//! A public folder on a plain web server.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gwa::archive::disk::publish_folder;
use gwa::blocks::{BlockSource, Cid};

use super::house::{House, NET, pool, source};
use super::server::{Reply, Server};

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
