//! A link that breaks where the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gwa::rlpx::Enode;

/// How a link breaks.
#[derive(Clone, Copy, PartialEq)]
enum Break {
    Cut,
    Silence,
}

/// Passes bytes on between clients and a server.
pub struct Proxy {
    address: SocketAddr,
    links: Arc<AtomicUsize>,
}

impl Proxy {
    /// In front of `server`. The first `broken` links are cut once they have
    /// carried `after` bytes to the client; later ones live.
    pub fn start(server: SocketAddr, broken: usize, after: usize) -> Self {
        Self::with(server, broken, after, Break::Cut)
    }

    /// In front of `server`. Every link falls silent once it has carried `after`
    /// bytes to the client.
    pub fn falling_silent(server: SocketAddr, after: usize) -> Self {
        Self::with(server, usize::MAX, after, Break::Silence)
    }

    fn with(server: SocketAddr, broken: usize, after: usize, how: Break) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let links = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&links);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("a client");
                let link = counted.fetch_add(1, Ordering::SeqCst);
                let most = if link < broken { after } else { usize::MAX };
                std::thread::spawn(move || carry(client, server, most, how));
            }
        });
        Self { address, links }
    }

    /// Where `server` is reached through it.
    pub fn enode(&self, server: &Enode) -> String {
        Enode::new(server.id, self.address).to_string()
    }

    /// Links opened so far.
    pub fn links(&self) -> usize {
        self.links.load(Ordering::SeqCst)
    }
}

fn carry(client: TcpStream, server: SocketAddr, most: usize, how: Break) {
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    let (from, to) = (
        client.try_clone().expect("a socket"),
        server.try_clone().expect("a socket"),
    );
    std::thread::spawn(move || pass(from, to, usize::MAX, Break::Cut));
    pass(server, client, most, how);
}

/// Passes up to `most` bytes on, then breaks the link.
fn pass(mut from: TcpStream, mut to: TcpStream, most: usize, how: Break) {
    let mut left = most;
    let mut buffer = [0; 4_096];
    while left > 0 {
        let room = buffer.len().min(left);
        let Ok(read @ 1..) = from.read(&mut buffer[..room]) else {
            break;
        };
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        left -= read;
    }
    if how == Break::Silence {
        // What still comes goes nowhere, until the server closes.
        while matches!(from.read(&mut buffer), Ok(1..)) {}
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
