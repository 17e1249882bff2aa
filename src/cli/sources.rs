//! Where a command gets its blocks from: what a REF names, and what the user adds.
//!
//! `--source SOURCE` works on every command, and `sources` in `gwa.toml` holds for
//! all of them. Commands without a range of time take `--from SOURCE` as well.

mod lead;
mod names;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::Args;
use url::Url;

use crate::archive::disk::{Archive, DiskError, Heads, Meta, Origin};
use crate::blocks::car::CarFile;
use crate::blocks::{BlockError, Cid};
use crate::cli::context::{Opened, archive_failed, newest_head, own_archive, read_head};
use crate::cli::error::{CliError, Kind};
use crate::cli::store;
use crate::config;
use crate::kubo::{AUTH_VARIABLE, Auth, Kubo, KuboLimits};
use crate::p2p::{Client, DhtSource, P2pSource};
use crate::publish::Hints;
use crate::sources::Reference;
use crate::sources::names::Dns;
use crate::sources::net::{Net, NetLimits, guard};
use crate::sources::seen::{Judgement, SeenError, SeenHeads};
use crate::sources::{
    BlockCache, HttpSource, KuboSource, NoHead, Pool, Remote, SourceAddress, base_url, open_folder,
};

pub use self::lead::Lead;
use self::names::place_of;

/// Folder of blocks fetched before, below the data folder.
const CACHE: &str = "cache";

/// What belongs to no archive, below the user's cache folder.
const OF_NOBODY: &str = "gwa";

/// Folder of blocks fetched before, below [`OF_NOBODY`].
const CACHE_OF_NOBODY: &str = "blocks";

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// Where else to look for blocks: a folder, a CAR file, http(s)://HOST of a gwa, a
    /// gateway or a web server, p2p:ADDR of an IPFS node, kubo:URL of its RPC; none is trusted, more than one may be named.
    #[arg(long = "source", global = true, value_name = "SOURCE")]
    pub sources: Vec<SourceAddress>,
    /// Go on where a source shows an older head than before, or another one with the same
    /// number.
    #[arg(long, global = true)]
    pub accept_rewrite: bool,
    /// The DNS server that is asked for names of hosts, as in ipns://archive.example
    /// [default: the system's].
    #[arg(long, global = true, env = "GWA_DNS", value_name = "ADDR")]
    pub dns: Option<SocketAddr>,
}

/// `--from SOURCE`, for commands where it can mean nothing else.
#[derive(Clone, Debug, Default, Args)]
pub struct FromArgs {
    /// The same as --source.
    #[arg(long = "from", value_name = "SOURCE")]
    pub from: Vec<SourceAddress>,
}

/// Sources that were named, and the way to those on the network.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    named: Vec<SourceAddress>,
    accept_rewrite: bool,
    net: OnceLock<Arc<Net>>,
    dns: Arc<Dns>,
    /// What IPFS nodes are asked by.
    peers: Arc<Client>,
}

impl Sources {
    /// Adds what the flags name.
    pub fn add(&mut self, args: &SourceArgs) {
        self.named.extend(args.sources.iter().cloned());
        self.accept_rewrite |= args.accept_rewrite;
        self.dns = Arc::new(Dns::new(args.dns));
    }

    /// Adds what `--from` names.
    pub fn add_from(&mut self, args: &FromArgs) {
        self.named.extend(args.from.iter().cloned());
    }

    /// Whether a head that takes history back is followed.
    pub fn accepts_rewrites(&self) -> bool {
        self.accept_rewrite
    }

    /// The same sources, reached over a way of their own: closing one closes no
    /// other.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            net: OnceLock::new(),
            peers: Arc::default(),
            ..self.clone()
        }
    }

    /// Ends what waits for sources on the network, for good.
    pub fn close(&self) {
        if let Some(net) = self.net.get() {
            net.close();
        }
    }

    /// Where what `reference` names is to be had, another day and from another
    /// folder: as a user writes sources.
    pub fn places(&self, reference: &Reference, data: &Path) -> Result<Vec<String>, CliError> {
        let of_reference = match reference {
            Reference::CarFile(path) => vec![SourceAddress::Car(path.clone())],
            Reference::Folder(path) => vec![SourceAddress::Folder(path.clone())],
            Reference::Url(base) | Reference::AtGateway { base, .. } => {
                vec![SourceAddress::Http(base.clone())]
            }
            Reference::Swarm(address) => vec![SourceAddress::Swarm(address.clone())],
            Reference::Shared(share) => self.hints(&share.hints, data)?,
            Reference::Name { name, .. } => self.hints_seen(name, data)?,
            Reference::OwnHead | Reference::Cid { .. } => Vec::new(),
        };
        let mut places: Vec<String> = Vec::new();
        if let Reference::Name { name, .. } = reference {
            places.push(place_of(name));
        }
        for address in of_reference.iter().chain(&self.named) {
            let place = match address {
                SourceAddress::Folder(path) | SourceAddress::Car(path) => {
                    let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                    path.display().to_string()
                }
                SourceAddress::Http(_)
                | SourceAddress::Public(_)
                | SourceAddress::Swarm(_)
                | SourceAddress::Kubo(_)
                | SourceAddress::P2p(_)
                | SourceAddress::Dht(_) => address.to_string(),
            };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// The addresses of a shared line or a record, as far as they can be asked: at
    /// public addresses alone, unless the user named the very host himself, now or
    /// when the archive began.
    fn hints(&self, hints: &Hints, data: &Path) -> Result<Vec<SourceAddress>, CliError> {
        let known = [origin_places(data)?, standing(data)?].concat();
        let at = |url: &Url| {
            (
                url.host_str().map(str::to_owned),
                url.port_or_known_default(),
            )
        };
        let is_named = |hint: &Url| {
            let mut all = self.named.iter().chain(&known);
            all.any(|source| matches!(source, SourceAddress::Http(url) if at(url) == at(hint)))
        };
        let hints = hints.http().iter();
        let hints = hints.filter_map(|text| base_url(text).ok()).map(|hint| {
            if is_named(&hint) {
                return SourceAddress::Http(hint);
            }
            if !guard::may_be_asked(&hint) {
                let hint = hint.as_str().trim_end_matches('/');
                tracing::warn!(
                    "{hint} is told as a source, and is no public address: not asked \
                     unless you name it too, with `--source {hint}`"
                );
            }
            SourceAddress::Public(hint)
        });
        Ok(hints.collect())
    }

    /// The way to sources on the network.
    pub fn net(&self) -> Result<&Arc<Net>, CliError> {
        if let Some(net) = self.net.get() {
            return Ok(net);
        }
        let net = Net::new(NetLimits::default())
            .map_err(|error| CliError::new(Kind::Error, "cannot start").because(&error))?;
        Ok(self.net.get_or_init(|| net))
    }

    /// Opens what `reference` names, with every source there is for its blocks, and
    /// keeps what comes from far.
    pub fn open(&self, reference: &Reference, data: &Path) -> Result<Opened, CliError> {
        let (mut pool, root) = self.pool(reference, data)?;
        if pool.is_remote() {
            pool.set_cache(BlockCache::new(&cache_folder(data)));
        }
        let opened = Opened::new(pool, root);
        if let Reference::Shared(share) = reference
            && let Some(key) = &share.key
        {
            lead::check_key(key, &read_head(&*opened.source, &opened.root)?)?;
        }
        Ok(opened)
    }

    /// Every source but the archive in `data` itself.
    pub fn elsewhere(&self, reference: Option<&Reference>, data: &Path) -> Result<Pool, CliError> {
        let mut pool = Pool::default();
        let places = self.places(reference.unwrap_or(&Reference::OwnHead), data)?;
        let places = places.iter().filter_map(|place| place.parse().ok());
        for source in places.chain(origin_places(data)?).chain(standing(data)?) {
            self.add_to(&mut pool, &source)?;
        }
        Ok(pool)
    }

    /// Every source there is for what `reference` names, and the block it names.
    fn pool(&self, reference: &Reference, data: &Path) -> Result<(Pool, Cid), CliError> {
        let mut pool = Pool::default();
        let root = match reference {
            Reference::CarFile(path) => {
                let (car, root) = open_car(path)?;
                pool.add_local(path.display().to_string(), Box::new(car));
                root
            }
            Reference::Folder(path) => {
                let root = newest_head(&Heads::new(path))?;
                self.add_folder(&mut pool, path)?;
                root
            }
            Reference::OwnHead => {
                let reader = own_archive(data)?.ok_or_else(|| {
                    archive_failed(
                        "cannot open the archive",
                        &DiskError::NoArchive {
                            dir: data.to_owned(),
                        },
                    )
                })?;
                let root = newest_head(reader.heads())?;
                pool.add_local("this archive", reader.into_source());
                root
            }
            Reference::Cid { cid, .. } => {
                self.add_own(&mut pool, data)?;
                *cid
            }
            Reference::AtGateway { base, cid, .. } => {
                self.add_own(&mut pool, data)?;
                pool.add_remote(self.http(base)?);
                *cid
            }
            Reference::Shared(share) => {
                self.add_own(&mut pool, data)?;
                for hint in self.hints(&share.hints, data)? {
                    self.add_to(&mut pool, &hint)?;
                }
                share.head
            }
            Reference::Name { .. } => {
                let mut lead = self.lead(reference, data)?;
                let (mut pool, root) = lead.newest_and_pool()?;
                self.add_own(&mut pool, data)?;
                return Ok((pool, root));
            }
            Reference::Url(base) => {
                self.add_own(&mut pool, data)?;
                self.add_current(&mut pool, self.http(base)?, data)?
            }
            Reference::Swarm(address) => {
                self.add_own(&mut pool, data)?;
                let source = HttpSource::on_swarm(Arc::clone(self.net()?), address);
                self.add_current(&mut pool, Arc::new(source), data)?
            }
        };
        for source in &self.named {
            self.add_to(&mut pool, source)?;
        }
        // What a fork rests on, and did not fetch.
        if matches!(reference, Reference::OwnHead | Reference::Cid { .. }) {
            for source in upstream(data)? {
                self.add_to(&mut pool, &source)?;
            }
        }
        // Whoever names one file or folder wants to know what that one holds.
        if !matches!(reference, Reference::CarFile(_) | Reference::Folder(_)) {
            for source in standing(data)? {
                self.add_to(&mut pool, &source)?;
            }
        }
        if pool.is_empty() {
            return Err(archive_failed(
                "there is no archive here, and no source was named",
                &DiskError::NoArchive {
                    dir: data.to_owned(),
                },
            )
            .hint("name a source of its blocks with `--source`"));
        }
        Ok((pool, root))
    }

    /// Opens the archive in `data` for writing; what a fork lacks is asked of where
    /// its history came from.
    pub fn archive(&self, data: &Path) -> Result<Archive, DiskError> {
        let archive = Archive::open(data)?;
        self.set_upstream(&archive, data);
        store::attach(archive.blocks(), data, archive.public_key());
        store::wait_turn(&archive, data);
        Ok(archive)
    }

    /// Lets an archive ask for blocks that it lacks.
    pub fn set_upstream(&self, archive: &Archive, data: &Path) {
        let mut pool = Pool::default();
        let added = upstream(data).and_then(|places| {
            let mut places = places.iter();
            places.try_for_each(|place| self.add_to(&mut pool, place))
        });
        if let Err(error) = added {
            tracing::warn!(
                "what this fork lacks cannot be asked for: {}",
                error.brief()
            );
        }
        if !pool.is_empty() {
            archive.blocks().set_upstream(Some(Arc::new(pool)));
        }
    }

    /// Adds one source to a pool.
    pub fn add_to(&self, pool: &mut Pool, source: &SourceAddress) -> Result<(), CliError> {
        match source {
            SourceAddress::Folder(path) => self.add_folder(pool, path)?,
            SourceAddress::Car(path) => {
                let car = CarFile::open(path).map_err(|error| unopened(path, &error))?;
                pool.add_local(path.display().to_string(), Box::new(car));
            }
            SourceAddress::Http(_) | SourceAddress::Public(_) | SourceAddress::Swarm(_) => {
                self.far(source)?
                    .into_iter()
                    .for_each(|far| pool.add_remote(far));
            }
            SourceAddress::Kubo(_) | SourceAddress::P2p(_) | SourceAddress::Dht(_) => {
                self.mute(source)?
                    .into_iter()
                    .for_each(|peer| pool.add_remote(peer));
            }
        }
        Ok(())
    }

    fn add_own(&self, pool: &mut Pool, data: &Path) -> Result<(), CliError> {
        if let Some(reader) = own_archive(data)? {
            pool.add_local("this archive", reader.into_source());
        }
        Ok(())
    }

    /// Adds a source whose newest head is meant; gives that, once it is remembered.
    fn add_current(
        &self,
        pool: &mut Pool,
        source: Arc<HttpSource>,
        data: &Path,
    ) -> Result<Cid, CliError> {
        let base = source.base().clone();
        let head = source.current_head().map_err(|error| no_head_at(&error))?;
        let seen = SeenHeads::new(&memory_folder(data));
        let judged = seen.remember_of(base.as_str(), &head, self.accept_rewrite);
        remembered(base.as_str(), judged)?;
        pool.add_remote(source);
        Ok(*head.cid())
    }

    fn add_folder(&self, pool: &mut Pool, path: &Path) -> Result<(), CliError> {
        let folder = open_folder(path).map_err(|error| unopened(path, &error))?;
        pool.add_local(path.display().to_string(), folder);
        Ok(())
    }

    /// The source at an address on the network.
    fn far(&self, source: &SourceAddress) -> Result<Option<Arc<HttpSource>>, CliError> {
        let (net, base) = match source {
            SourceAddress::Folder(_)
            | SourceAddress::Car(_)
            | SourceAddress::Kubo(_)
            | SourceAddress::P2p(_)
            | SourceAddress::Dht(_) => return Ok(None),
            SourceAddress::Http(base) => (Arc::clone(self.net()?), base),
            SourceAddress::Public(base) => (self.net()?.public_only(), base),
            SourceAddress::Swarm(address) => {
                let net = Arc::clone(self.net()?);
                return Ok(Some(Arc::new(HttpSource::on_swarm(net, address))));
            }
        };
        Ok(Some(Arc::new(HttpSource::new(net, base.clone()))))
    }

    /// The source at an address on the network that tells of no head.
    fn mute(&self, source: &SourceAddress) -> Result<Option<Arc<dyn Remote>>, CliError> {
        Ok(match source {
            SourceAddress::Kubo(base) => {
                let net = Arc::clone(self.net()?);
                Some(Arc::new(KuboSource::new(net, kubo_at(source, base)?)))
            }
            SourceAddress::P2p(peer) => {
                let (net, client) = (Arc::clone(self.net()?), Arc::clone(&self.peers));
                Some(Arc::new(P2pSource::new(net, client, peer.clone())))
            }
            SourceAddress::Dht(peer) => {
                let net = Arc::clone(self.net()?);
                Some(Arc::new(DhtSource::new(net, peer.clone())))
            }
            _ => None,
        })
    }

    fn http(&self, base: &Url) -> Result<Arc<HttpSource>, CliError> {
        let net = Arc::clone(self.net()?);
        Ok(Arc::new(HttpSource::new(net, base.clone())))
    }
}

/// The RPC of Kubo at `base`, with the credentials of the environment.
fn kubo_at(source: &SourceAddress, base: &Url) -> Result<Kubo, CliError> {
    let auth = Auth::from_env().map_err(|error| {
        CliError::new(Kind::Usage, format!("{AUTH_VARIABLE} is not usable")).because(&error)
    })?;
    Kubo::new(base.clone(), auth, KuboLimits::default())
        .map_err(|error| CliError::new(Kind::Error, format!("cannot ask {source}")).because(&error))
}

/// What came of remembering a head that `by` showed: an error where it is refused.
fn remembered(by: &str, judged: Result<Judgement, SeenError>) -> Result<(), CliError> {
    match judged {
        Ok(_) => Ok(()),
        Err(error @ SeenError::Io { .. }) => {
            tracing::warn!(%error, "cannot remember the head");
            Ok(())
        }
        Err(error) => Err(rewritten(by, &error)),
    }
}

/// Where the archive in `data` came from; nowhere where it began with nothing.
fn origin_places(data: &Path) -> Result<Vec<SourceAddress>, CliError> {
    let origin = Origin::read(data)
        .map_err(|error| archive_failed("cannot read where the history came from", &error))?;
    let places = origin.into_iter().flat_map(|origin| origin.sources);
    Ok(places.filter_map(|place| place.parse().ok()).collect())
}

/// Where the history of the fork in `data` is to be had, until it is all here.
fn upstream(data: &Path) -> Result<Vec<SourceAddress>, CliError> {
    let origin = Origin::read(data)
        .map_err(|error| archive_failed("cannot read where the history came from", &error))?;
    let places = origin.into_iter().filter(|origin| !origin.complete);
    let places = places.flat_map(|origin| origin.sources);
    Ok(places.filter_map(|place| place.parse().ok()).collect())
}

/// The sources that the configuration names.
pub fn standing(data: &Path) -> Result<Vec<SourceAddress>, CliError> {
    let file = config::read(data).map_err(|error| {
        CliError::new(Kind::Usage, "the configuration is not usable").because(&error)
    })?;
    Ok(file.sources.unwrap_or_default())
}

/// How it reads that a source shows a history that contradicts what was seen.
fn rewritten(source: &str, error: &SeenError) -> CliError {
    let source = source.trim_end_matches('/');
    let (what, proof) = match error {
        SeenError::AnotherKey { .. } => (
            "shows the archive of another key than before",
            "somebody else may answer there now; ".to_owned(),
        ),
        SeenError::Contradiction { proof, .. } => {
            let folder = proof.parent().unwrap_or(proof).display();
            (
                "shows a history that was rewritten, or is behind",
                format!("both heads are kept in {folder}; "),
            )
        }
        SeenError::Name(told) => {
            let folder = told.proof.as_deref().and_then(Path::parent);
            (
                "was taken back, or whoever gave its record is behind",
                folder.map_or_else(String::new, |folder| {
                    format!("both records are kept in {}; ", folder.display())
                }),
            )
        }
        SeenError::Io { .. } => ("cannot be judged", String::new()),
    };
    CliError::new(Kind::Verification, format!("{source} {what}"))
        .because(error)
        .hint(format!(
            "{proof}`--accept-rewrite` goes on with what it shows"
        ))
}

fn no_head_at(error: &NoHead) -> CliError {
    let kind = if error.is_lie() {
        Kind::Verification
    } else {
        Kind::Error
    };
    CliError::new(kind, "cannot learn the head")
        .because(error)
        .hint("a gateway that is no gwa knows no head: name one, as in http://HOST/ipfs/CID")
}

fn open_car(path: &Path) -> Result<(CarFile, Cid), CliError> {
    let car = CarFile::open(path).map_err(|error| unopened(path, &error))?;
    let root = match car.roots() {
        [root] => *root,
        roots => {
            return Err(CliError::new(
                Kind::Error,
                format!(
                    "cannot read {}: it has {} roots, where one is a head",
                    path.display(),
                    roots.len()
                ),
            ));
        }
    };
    Ok((car, root))
}

fn unopened(path: &Path, error: &BlockError) -> CliError {
    let kind = match error {
        BlockError::Corrupt { .. } => Kind::Verification,
        _ => Kind::Error,
    };
    CliError::new(kind, format!("cannot read {}", path.display())).because(error)
}

/// Whether there is an archive in `data`; one that cannot be read is there.
fn is_archive(data: &Path) -> bool {
    !matches!(Meta::read(data), Ok(None))
}

/// Where blocks fetched before are kept: with the archive, or with other programs'
/// caches where there is none.
fn cache_folder(data: &Path) -> PathBuf {
    match of_nobody(data) {
        Some(dir) => dir.join(CACHE_OF_NOBODY),
        None => data.join(CACHE),
    }
}

/// Where it is remembered what others showed: with the archive, or with other
/// programs' caches where there is none. A mere question makes no data folder.
fn memory_folder(data: &Path) -> PathBuf {
    of_nobody(data).unwrap_or_else(|| data.to_owned())
}

/// The folder of what belongs to no archive; `None` where there is an archive in
/// `data`, or a user without a folder of his own.
fn of_nobody(data: &Path) -> Option<PathBuf> {
    if is_archive(data) {
        return None;
    }
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|dir| dir.join(OF_NOBODY))
}
