//! A web server that says what a test tells it to say.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gwa::blocks::{BlockSource, Cid};

/// A request as far as anyone here looks at it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The path, without the query.
    pub path: String,
    /// The query, without its mark.
    pub query: String,
    /// Headers by their name in small letters.
    pub headers: HashMap<String, String>,
}

impl Asked {
    /// The CID that a gateway is asked for.
    pub fn cid(&self) -> Option<Cid> {
        self.path.strip_prefix("/ipfs/")?.parse().ok()
    }

    /// Whether a whole DAG is asked for.
    pub fn wants_car(&self) -> bool {
        self.query.contains("format=car")
    }
}

/// What is answered.
pub enum Reply {
    /// A status, headers and a body.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Whatever is done with the connection.
    Raw(Box<dyn FnOnce(&mut TcpStream) + Send>),
}

impl Reply {
    /// Nothing there.
    pub fn absent() -> Self {
        Self::Whole(404, Vec::new(), b"nothing here".to_vec())
    }

    /// One block.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let kind = ("content-type", "application/vnd.ipld.raw".to_owned());
        Self::Whole(200, vec![kind], bytes.into())
    }

    /// A CAR.
    pub fn car(bytes: impl Into<Vec<u8>>) -> Self {
        let kind = "application/vnd.ipld.car; version=1; order=dfs; dups=n".to_owned();
        Self::Whole(200, vec![("content-type", kind)], bytes.into())
    }

    /// Somewhere else.
    pub fn redirect(to: impl Into<String>) -> Self {
        Self::Whole(302, vec![("location", to.into())], Vec::new())
    }
}

/// A running server; it ends with the test.
pub struct Server {
    /// Where it is.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// A server that answers each request by `answer`, one a connection.
    pub fn new(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Self {
            url,
            asked: Arc::default(),
            ended: Arc::default(),
        };
        let asked = Arc::clone(&server.asked);
        let (ended, answer) = (Arc::clone(&server.ended), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let asked = Arc::clone(&asked);
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    // Whoever has enough hangs up.
                    let _ = serve(stream, &*answer, &asked);
                });
            }
        });
        server
    }

    /// A trustless gateway over `source`, honest.
    pub fn gateway(source: impl BlockSource + 'static) -> Self {
        Self::new(move |asked| honest(&source, asked))
    }

    /// A plain web server of the files in `dir`, with or without parts of files.
    pub fn files(dir: &Path, gives_parts: bool) -> Self {
        let dir = dir.to_owned();
        Self::new(move |asked| file(&dir, asked, gives_parts))
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panicked").clone()
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.asked().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The listener wakes up, and leaves.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// What an honest gateway says.
pub fn honest(source: &dyn BlockSource, asked: &Asked) -> Reply {
    let Some(cid) = asked.cid() else {
        return Reply::absent();
    };
    if asked.wants_car() {
        let mut blocks = Vec::new();
        let walked = source.get_dag(&cid, &|_| false, &mut |block| {
            blocks.push(block);
            std::ops::ControlFlow::Continue(())
        });
        return match walked {
            Ok(()) => Reply::car(car(&cid, &blocks)),
            Err(_) => Reply::absent(),
        };
    }
    match source.get(&cid) {
        Ok(block) => Reply::raw(block.into_bytes()),
        Err(_) => Reply::absent(),
    }
}

/// The bytes of a CAR.
pub fn car(root: &Cid, blocks: &[gwa::blocks::Block]) -> Vec<u8> {
    let mut writer = gwa::blocks::car::CarWriter::new(Vec::new(), root).expect("memory");
    for block in blocks {
        writer.put(block).expect("memory");
    }
    writer.finish().expect("memory")
}

fn file(dir: &Path, asked: &Asked, gives_parts: bool) -> Reply {
    let path: PathBuf = dir.join(asked.path.trim_start_matches('/'));
    if asked.path.contains("..") || !path.is_file() {
        return Reply::absent();
    }
    let bytes = std::fs::read(&path).expect("a file");
    let kind = ("content-type", "application/octet-stream".to_owned());
    let range = asked.headers.get("range").filter(|_| gives_parts);
    let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((from, to)) = range else {
        return Reply::Whole(200, vec![kind], bytes);
    };
    let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("one"));
    let told = format!("bytes {from}-{to}/{}", bytes.len());
    Reply::Whole(
        206,
        vec![kind, ("content-range", told)],
        bytes[from..=to].to_vec(),
    )
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&Asked) -> Reply,
    all: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let first = first?;
    let target = first.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut asked = Asked {
        path: path.to_owned(),
        query: query.to_owned(),
        headers: HashMap::new(),
    };
    for line in lines {
        let line = line?;
        match line.split_once(':') {
            Some((name, value)) => {
                let name = name.to_ascii_lowercase();
                asked.headers.insert(name, value.trim().to_owned());
            }
            None => break,
        }
    }
    all.lock().expect("nobody panicked").push(asked.clone());
    match answer(&asked) {
        Reply::Raw(act) => act(&mut stream),
        Reply::Whole(status, headers, body) => {
            let len = body.len();
            let mut head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            head += &format!("content-length: {len}\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
        }
    }
    Ok(())
}
