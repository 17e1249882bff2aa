//! A DNS server for tests: it answers for TXT records by a table, over UDP.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record};

/// Longest question: what DNS over UDP takes.
const MAX_QUESTION: usize = 512;

type Table = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    at: SocketAddr,
    table: Table,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Starts one on loopback, at a port of the system's choice.
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let at = socket.local_addr()?;
        let table = Table::default();
        let thread = std::thread::spawn({
            let table = Arc::clone(&table);
            move || serve(&socket, &table)
        });
        Ok(Self {
            at,
            table,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// From now on these are the texts of `name`, written without its last dot.
    pub fn set(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(name.to_ascii_lowercase(), texts);
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        // No question has no bytes: this one says that it is over.
        let sent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.send_to(&[], self.at));
        if sent.is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, table: &Table) {
    let mut buffer = [0; MAX_QUESTION];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        if len == 0 {
            return;
        }
        if let Some(answer) = answer(&buffer[..len], table) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn answer(question: &[u8], table: &Table) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).ok()?.into_response();
    let name = message.queries.first()?.name.clone();
    let text = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    match table.get(&text) {
        None => message.metadata.response_code = ResponseCode::NXDomain,
        Some(texts) => {
            for text in texts {
                let data = RData::TXT(TXT::new(vec![text.clone()]));
                message.add_answer(Record::from_rdata(name.clone(), 0, data));
            }
        }
    }
    message.to_vec().ok()
}
