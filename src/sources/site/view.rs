//! What a public folder lists: its folders, and which block lies where in them.
//!
//! Always true:
//! - What is listed is a hint: it costs requests, and never gives a block that was
//!   not hashed.
//! - Memory is bounded for all folders together, and requests for each block.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, OnceCell};

use super::files::{Candidate, Files};
use super::{Server, swarm};
use crate::blocks::catalogue::{
    Catalogue, FILE, Fragment, Listed, MAX_CATALOGUE, file_len, fragment_of, offsets,
};
use crate::blocks::{Block, BlockError, Cid, Fault, catalogues};
use crate::sources::gateway::{fault_of, fault_of_bytes};
use crate::sources::net::NetError;
use crate::swarm::FolderAt;

/// Longest list of folders, bytes: a folder for each year, and a few more.
const MAX_LIST: u64 = 16 << 10;

/// Folders looked through: one for each of the 137 years that 32 bits of seconds
/// name, and a few more. Each costs a request.
const MAX_FOLDERS: usize = 160;

/// Memory for what all folders list, bytes: that of 25 million blocks, which is
/// an archive of a thousand million envelopes.
const MAX_LISTED: usize = 384 << 20;

/// Memory of one block that is listed.
const BLOCK_MEMORY: usize = size_of::<Listed>() + size_of::<(u32, u32)>();

/// The same of one file: its name, and what keeps it.
const FILE_MEMORY: usize = 160;

/// Places looked at for one block. Of 25 million blocks one or two others bear
/// the same fragment; a list with more is made to cost requests.
const MAX_NAMESAKES: usize = 16;

/// What a server listed at one time.
#[derive(Debug)]
pub(super) struct View {
    folders: Vec<Folder>,
    files: Files,
    /// Memory that is left for what folders list.
    room: Mutex<usize>,
    /// The head that was shown with it, where one is.
    head: Option<Block>,
    pub(super) since: Instant,
}

#[derive(Debug)]
struct Folder {
    path: String,
    /// Where it is described on Swarm.
    at: Option<FolderAt>,
    /// Where its blocks lie; fetched when a block was in no folder before it.
    index: OnceCell<Index>,
}

/// Why a view led to no block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    /// It lies nowhere.
    Absent,
    /// It lies nowhere, and a file that should have had it is gone: what was
    /// listed is of another time.
    Outdated,
    /// The server did something else.
    Fault(Fault),
}

impl From<NetError> for NotFound {
    fn from(error: NetError) -> Self {
        Self::Fault(fault_of(&error))
    }
}

impl View {
    /// Looks for the list of folders; `None` where there is none.
    pub(super) async fn find(server: Server<'_>) -> Result<Option<Self>, Fault> {
        if let Some(place) = server.swarm {
            let Some(index) = swarm::index(server, place).await? else {
                return Ok(None);
            };
            let folders = swarm::folders(server, &index).await?;
            let head = Some(index.head.block().clone());
            return Ok(Some(Self::new(described(folders), head)));
        }
        let path = format!("blocks/{FILE}");
        let text = match server.small(&path, MAX_LIST).await {
            // It may be there, and was not told.
            Err(error @ NetError::Slow { .. }) => return Err(fault_of(&error)),
            Err(error) if error.is_transient() => return Err(fault_of(&error)),
            Err(_) => return Ok(None),
            Ok(text) => text,
        };
        Ok(read_folders(&text).map(|folders| Self::new(folders, None)))
    }

    fn new(folders: Vec<Folder>, head: Option<Block>) -> Self {
        Self {
            folders,
            files: Files::default(),
            room: Mutex::new(MAX_LISTED),
            head,
            since: Instant::now(),
        }
    }

    /// The block `cid` names, from whichever file has it.
    pub(super) async fn block(&self, server: Server<'_>, cid: &Cid) -> Result<Block, NotFound> {
        if let Some(head) = self.head.as_ref().filter(|head| head.cid() == cid) {
            return Ok(head.clone());
        }
        let Some(fragment) = fragment_of(cid) else {
            return Err(NotFound::Absent);
        };
        let (mut looked_at, mut outdated) = (0, false);
        for folder in &self.folders {
            let index = folder
                .index
                .get_or_try_init(|| self.fetch(server, folder))
                .await;
            let index = match index {
                // Named by what was signed, it must be somewhere.
                Err(error) if error.is_absent() => {
                    outdated = true;
                    continue;
                }
                other => other?,
            };
            for candidate in index.candidates(fragment) {
                if looked_at == MAX_NAMESAKES {
                    return Err(missed(outdated, || {
                        let what = format!("lists more than {looked_at} places for one block");
                        NotFound::Fault(Fault::Failed(what))
                    }));
                }
                looked_at += 1;
                let bytes = match self.files.read(server, &candidate).await {
                    // Dropped since the catalogue was written: another file has it.
                    Err(error) if error.is_absent() => {
                        outdated = true;
                        continue;
                    }
                    other => other?,
                };
                match Block::verify(cid, bytes) {
                    Ok(block) => return Ok(block),
                    Err(error) if is_a_namesake(&error, fragment) => {}
                    Err(error) => return Err(NotFound::Fault(fault_of_bytes(&error))),
                }
            }
        }
        Err(missed(outdated, || NotFound::Absent))
    }

    /// Fetches what one folder lists, while there is room for it.
    async fn fetch(&self, server: Server<'_>, folder: &Folder) -> Result<Index, NetError> {
        let path = match &folder.at {
            Some(at) => swarm::path_of(&at.reference),
            None => format!("blocks/{}/{FILE}", folder.path),
        };
        let too_much = || {
            let most = MAX_LISTED >> 20;
            NetError::Unexpected(format!("{path}: more than {most} MiB of lists with it"))
        };
        let mut room = self.room.lock().await;
        if *room == 0 {
            return Err(too_much());
        }
        let mut came = 0;
        let decoded = match &folder.at {
            Some(at) => listed_on_swarm(server, at, &mut came).await,
            None => listed(server, &folder.path, &path, &mut came).await,
        };
        let files = match decoded {
            // A folder that has gone holds nothing. A document that an index names
            // cannot go: a node says so of whatever it does not find just now.
            Err(error) if error.is_absent() && folder.at.is_none() => {
                return Ok(Index::default());
            }
            // Nonsense uses up the room too, and so does what breaks off, so that it is
            // not fetched for ever.
            Err(error) => {
                *room = room.saturating_sub(usize::try_from(came).unwrap_or(usize::MAX));
                return Err(error);
            }
            Ok(files) => files,
        };
        let memory = memory_of(&files);
        if *room < memory {
            *room = 0;
            return Err(too_much());
        }
        *room -= memory;
        Ok(Index::new(files))
    }
}

fn missed(outdated: bool, otherwise: impl FnOnce() -> NotFound) -> NotFound {
    match outdated {
        true => NotFound::Outdated,
        false => otherwise(),
    }
}

/// The files of a folder, by their path below the base.
type ListedFiles = Vec<(Arc<str>, Vec<Listed>)>;

/// The files that a folder's catalogue lists; the bytes that came are added to `came`.
async fn listed(
    server: Server<'_>,
    folder: &str,
    path: &str,
    came: &mut u64,
) -> Result<ListedFiles, NetError> {
    let most = MAX_CATALOGUE as u64;
    let bytes = server.small_counted(path, most, came).await?;
    let catalogue = Catalogue::decode(&bytes)
        .map_err(|error| NetError::Unexpected(format!("{path}: {error}")))?;
    let files = catalogue.files.into_iter();
    let files = files.map(|(name, blocks)| (format!("blocks/{folder}/{name}").into(), blocks));
    Ok(files.collect())
}

/// The same of a folder on Swarm.
async fn listed_on_swarm(
    server: Server<'_>,
    at: &FolderAt,
    came: &mut u64,
) -> Result<ListedFiles, NetError> {
    let bytes = swarm::document(server, at, came).await?;
    let folder = swarm::folder(at, &bytes)?;
    let files = folder.files.into_values();
    let files = files.map(|file| (swarm::path_of(&file.reference).into(), file.blocks));
    Ok(files.collect())
}

fn memory_of(files: &ListedFiles) -> usize {
    let blocks: usize = files.iter().map(|(_, blocks)| blocks.len()).sum();
    blocks * BLOCK_MEMORY + files.len() * FILE_MEMORY
}

/// The blocks of one folder.
#[derive(Debug, Default)]
struct Index {
    /// The files, by their path below the base.
    files: ListedFiles,
    /// File and place in it of every block, in order of their fragments.
    order: Vec<(u32, u32)>,
}

impl Index {
    fn new(files: ListedFiles) -> Self {
        let mut order = Vec::with_capacity(files.iter().map(|(_, blocks)| blocks.len()).sum());
        for (file, (_, blocks)) in (0..).zip(&files) {
            order.extend((0..).zip(blocks).map(|(at, _)| (file, at)));
        }
        let mut index = Self {
            files,
            order: Vec::new(),
        };
        order.sort_unstable_by_key(|&place| (index.listed(place).fragment, place));
        index.order = order;
        index
    }

    fn listed(&self, (file, at): (u32, u32)) -> &Listed {
        &self.files[file as usize].1[at as usize]
    }

    fn candidates(&self, fragment: Fragment) -> impl Iterator<Item = Candidate> {
        let before = |place: &(u32, u32)| self.listed(*place).fragment < fragment;
        let start = self.order.partition_point(before);
        let found = self.order[start..].iter();
        found
            .take_while(move |place| self.listed(**place).fragment == fragment)
            .map(|&(file, at)| {
                let (path, blocks) = &self.files[file as usize];
                let mut offsets = offsets(blocks);
                Candidate {
                    path: Arc::clone(path),
                    file_len: file_len(blocks),
                    offset: offsets.nth(at as usize).expect("a place within the file"),
                    len: blocks[at as usize].len,
                }
            })
    }
}

/// Whether the bytes are another block that the catalogue lists by the same
/// fragment, as an honest one may.
fn is_a_namesake(error: &BlockError, fragment: Fragment) -> bool {
    match error {
        BlockError::WrongBytes { actual, .. } => fragment_of(actual) == Some(fragment),
        _ => false,
    }
}

/// The folders of a list, in the order in which they are looked through: first
/// what is small and asked for by every query, then days, the newest first.
fn read_folders(text: &[u8]) -> Option<Vec<Folder>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    if lines.next() != Some(catalogues::FOLDERS) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_name = |name: &str| !name.is_empty() && name.chars().all(plain);
    let mut paths: Vec<&str> = lines
        .filter(|path| path.split('/').count() <= 2 && path.split('/').all(is_name))
        .collect();
    paths.sort_by_cached_key(|path| by_use(path));
    paths.dedup();
    paths.truncate(MAX_FOLDERS);
    let folder = |path: &str| Folder {
        path: path.to_owned(),
        at: None,
        index: OnceCell::new(),
    };
    Some(paths.into_iter().map(folder).collect())
}

/// What folders are ordered by.
fn by_use(path: &str) -> (bool, bool, std::cmp::Reverse<String>) {
    let path_is_of_days = path.contains('/');
    let last_first = std::cmp::Reverse(path.to_owned());
    (path != "calendar", path_is_of_days, last_first)
}

/// The folders of an index on Swarm, in the same order.
fn described(mut folders: Vec<FolderAt>) -> Vec<Folder> {
    folders.sort_by_cached_key(|folder| by_use(&folder.path));
    let folder = |at: FolderAt| Folder {
        path: at.path.clone(),
        at: Some(at),
        index: OnceCell::new(),
    };
    folders.into_iter().map(folder).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::sources::Account;
    use crate::sources::net::{Net, NetLimits};

    fn paths(text: &str) -> Vec<String> {
        let folders = read_folders(text.as_bytes()).unwrap();
        folders.into_iter().map(|folder| folder.path).collect()
    }

    #[test]
    fn folders_come_in_the_order_of_their_use() {
        let text = "gwa catalogues 1\ncalendar\ndays/2018\ndays/2019\ndays/beyond\ndeltas\nhours\n../etc\n/x\na/b/c\ndays/2018\n";
        assert_eq!(
            paths(text),
            [
                "calendar",
                "hours",
                "deltas",
                "days/beyond",
                "days/2019",
                "days/2018"
            ]
        );
        assert!(read_folders(b"<html>\n").is_none());
    }

    #[test]
    fn no_more_folders_are_looked_through_than_there_are_years() {
        let names: Vec<_> = (0..3_000).map(|n| format!("days/{n}")).collect();
        let text = format!("{}\ncalendar\n{}\n", catalogues::FOLDERS, names.join("\n"));
        let paths = paths(&text);
        assert_eq!(paths.len(), MAX_FOLDERS);
        assert_eq!(paths[0], "calendar");
    }

    /// A server that breaks off each answer after `came` bytes.
    fn breaking_off(net: &Net, came: usize) -> url::Url {
        let listener = net.handle().block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        net.handle().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4_096];
                let _ = stream.read(&mut asked).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 2 * came);
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&vec![b'x'; came]).await;
            }
        });
        format!("http://{address}/").parse().unwrap()
    }

    #[test]
    fn a_list_that_breaks_off_uses_up_the_room_of_what_came() {
        let limits = NetLimits {
            attempts: 1,
            ..NetLimits::default()
        };
        let net = Net::new(limits).unwrap();
        let base = breaking_off(&net, 600);
        let account = Account::new("a");
        let server = Server {
            net: &net,
            base: &base,
            account: &account,
            swarm: None,
        };
        let view = View {
            room: Mutex::new(1_000),
            ..View::new(Vec::new(), None)
        };
        let folder = Folder {
            path: "hours".to_owned(),
            at: None,
            index: OnceCell::new(),
        };
        let left = || {
            let fetched = net.handle().block_on(view.fetch(server, &folder));
            let error = fetched.unwrap_err().to_string();
            (error.contains("MiB of lists"), *view.room.blocking_lock())
        };
        assert_eq!(left(), (false, 400));
        assert_eq!(left(), (false, 0));
        assert_eq!(left(), (true, 0));
    }

    #[test]
    fn a_block_is_looked_for_where_it_is_listed() {
        let listed = |fragment, len| Listed { fragment, len };
        let files = [
            ("a.car", vec![listed([1; 3], 10), listed([2; 3], 20)]),
            ("b.car", vec![]),
            ("c.car", vec![listed([2; 3], 5), listed([1; 3], 6)]),
        ];
        let files = files.map(|(name, blocks)| (name.to_owned(), blocks));
        let below = |(name, blocks): (String, Vec<Listed>)| {
            (format!("blocks/calendar/{name}").into(), blocks)
        };
        let listed: ListedFiles = files.clone().map(below).into();
        assert_eq!(memory_of(&listed), 4 * 16 + 3 * FILE_MEMORY);
        let index = Index::new(listed);
        let found: Vec<_> = index.candidates([2; 3]).collect();
        let expected = [(0, 1), (2, 0)].map(|(file, at): (usize, usize)| {
            let (name, blocks) = &files[file];
            Candidate {
                path: format!("blocks/calendar/{name}").into(),
                file_len: file_len(blocks),
                offset: offsets(blocks).nth(at).unwrap(),
                len: blocks[at].len,
            }
        });
        assert_eq!(found, expected);
        assert_eq!(index.candidates([3; 3]).count(), 0);
    }
}
