//! What a service manager is told: its socket is one of the test's.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use gwa::rlpx::Enode;

use crate::house::House;

/// How long the slowest machine may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next message.
fn next(socket: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4_096];
    let len = socket.recv(&mut bytes).expect("a message");
    let text = std::str::from_utf8(&bytes[..len]).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// The first message that says `word`.
fn wait_for(socket: &UnixDatagram, word: &str) -> Vec<String> {
    loop {
        let said = next(socket);
        if said.iter().any(|line| line == word) {
            return said;
        }
    }
}

fn manager(house: &House) -> UnixDatagram {
    let socket = UnixDatagram::bind(house.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn status(said: &[String]) -> &str {
    let mut lines = said.iter().filter_map(|line| line.strip_prefix("STATUS="));
    lines.next().expect("a status")
}

#[test]
fn a_service_is_ready_once_it_listens_and_says_that_it_lives_until_it_stops() {
    let house = House::new();
    let socket = manager(&house);
    let daemon = house.serve(|command| {
        command
            .env("NOTIFY_SOCKET", house.path("notify"))
            .env("WATCHDOG_USEC", "300000");
    });
    let said = next(&socket);
    assert_eq!(said[0], "READY=1", "{said:?}");
    assert!(
        status(&said).starts_with("waiting for peers | "),
        "{said:?}"
    );
    let enode: Enode = daemon.told["enode"].as_str().unwrap().parse().unwrap();
    let http: SocketAddr = daemon
        .url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    for address in [enode.tcp_address(), http] {
        TcpStream::connect(address).expect("it listens");
    }
    for _ in 0..3 {
        let said = wait_for(&socket, "WATCHDOG=1");
        assert!(status(&said).contains("no head yet"), "{said:?}");
    }
    assert_eq!(daemon.end(), 0);
    let said = wait_for(&socket, "STOPPING=1");
    assert!(status(&said).starts_with("stopping"), "{said:?}");
}

#[test]
fn without_a_watchdog_nobody_is_told_that_it_lives() {
    let house = House::new();
    let socket = manager(&house);
    let daemon = house.serve(|command| {
        command.env("NOTIFY_SOCKET", house.path("notify"));
    });
    assert_eq!(next(&socket)[0], "READY=1");
    assert_eq!(daemon.end(), 0);
    loop {
        let said = next(&socket);
        assert!(!said.iter().any(|line| line == "WATCHDOG=1"), "{said:?}");
        if said[0] == "STOPPING=1" {
            break;
        }
    }
}

#[test]
fn a_service_that_cannot_start_is_never_ready() {
    let house = House::new();
    let socket = manager(&house);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").to_string();
    let output = house
        .gwa(&["serve", "--listen", "127.0.0.1:0", "--http", &taken])
        .env("NOTIFY_SOCKET", house.path("notify"))
        .output()
        .expect("gwa runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    drop(listener);
    socket.set_nonblocking(true).expect("a socket");
    assert!(socket.recv(&mut [0; 64]).is_err(), "nothing was said");
}
