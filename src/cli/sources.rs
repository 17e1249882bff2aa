//! Where a command gets its blocks from: what a REF names, and what the user adds.
//!
//! `--source SOURCE` works on every command, and `sources` in `gwa.toml` holds for
//! all of them. Commands without a range of time take `--from SOURCE` as well.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::Args;
use url::Url;

use crate::archive::disk::{Archive, DiskError, Heads, Origin};
use crate::archive::head::Head;
use crate::blocks::car::CarFile;
use crate::blocks::{BlockError, Cid};
use crate::cli::context::{Opened, archive_failed, newest_head, own_archive, read_head};
use crate::cli::error::{CliError, Kind};
use crate::cli::reference::Reference;
use crate::config;
use crate::publish::Share;
use crate::sources::net::{Net, NetLimits};
use crate::sources::seen::{SeenError, SeenHeads};
use crate::sources::{BlockCache, HttpSource, NoHead, Pool, SourceAddress, base_url, open_folder};

/// Folder of blocks fetched before, below the data folder.
const CACHE: &str = "cache";

/// The same where there is no data folder, below the user's cache folder.
const CACHE_OF_NOBODY: &str = "gwa/blocks";

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// Where else to look for blocks: a folder, a CAR file, http(s)://HOST of a gwa, a
    /// gateway or a web server; none is trusted, more than one may be named.
    #[arg(long = "source", global = true, value_name = "SOURCE")]
    pub sources: Vec<SourceAddress>,
    /// Go on where a source shows an older head than before, or another one with the same
    /// number.
    #[arg(long, global = true)]
    pub accept_rewrite: bool,
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
}

impl Sources {
    /// Adds what the flags name.
    pub fn add(&mut self, args: &SourceArgs) {
        self.named.extend(args.sources.iter().cloned());
        self.accept_rewrite |= args.accept_rewrite;
    }

    /// Adds what `--from` names.
    pub fn add_from(&mut self, args: &FromArgs) {
        self.named.extend(args.from.iter().cloned());
    }

    /// Whether a head that takes history back is followed.
    pub fn accepts_rewrites(&self) -> bool {
        self.accept_rewrite
    }

    /// Where what `reference` names is to be had, another day and from another
    /// folder: as a user writes sources.
    pub fn places(&self, reference: &Reference) -> Vec<String> {
        let whole = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            path.display().to_string()
        };
        let url = |url: &Url| SourceAddress::Http(url.clone()).to_string();
        let of_reference = match reference {
            Reference::CarFile(path) | Reference::Folder(path) => Some(whole(path)),
            Reference::Url(base) | Reference::AtGateway { base, .. } => Some(url(base)),
            Reference::Shared(_) | Reference::OwnHead | Reference::Cid { .. } => None,
        };
        let of_share = match reference {
            Reference::Shared(share) => hints(share),
            _ => Vec::new(),
        };
        let named = self.named.iter().map(|source| match source {
            SourceAddress::Folder(path) | SourceAddress::Car(path) => whole(path),
            SourceAddress::Http(base) => url(base),
        });
        let of_share = of_share.iter().map(url);
        of_reference
            .into_iter()
            .chain(of_share)
            .chain(named)
            .collect()
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
        Ok(Opened::new(pool, root))
    }

    /// Opens a head for whoever keeps its blocks himself.
    pub fn open_head(&self, reference: &Reference, data: &Path) -> Result<(Head, Pool), CliError> {
        let (pool, root) = self.pool(reference, data)?;
        let named = read_head(&pool, &root)?;
        let newest = match reference {
            Reference::Shared(share) => self.newest(share, &named, data)?,
            _ => None,
        };
        Ok((newest.unwrap_or(named), pool))
    }

    /// The newest head that the addresses of a shared line tell, of the key that the
    /// line names. One that tells none, or another's, is passed over.
    fn newest(&self, share: &Share, named: &Head, data: &Path) -> Result<Option<Head>, CliError> {
        for base in hints(share) {
            match self.http(&base)?.current_head() {
                Ok(head) if head.key() == named.key() => {
                    self.remember(&head, &base, data)?;
                    return Ok(Some(head));
                }
                Ok(_) => tracing::warn!(%base, "shows a head of another key"),
                Err(error) => tracing::warn!(%error, "tells no newer head"),
            }
        }
        Ok(None)
    }

    /// Every source but the archive in `data` itself.
    pub fn elsewhere(&self, reference: Option<&Reference>, data: &Path) -> Result<Pool, CliError> {
        let mut pool = Pool::default();
        let of_reference = reference.map(|reference| self.places(reference));
        let origin = Origin::read(data)
            .map_err(|error| archive_failed("cannot read where the history came from", &error))?;
        let places = of_reference
            .unwrap_or_else(|| self.places(&Reference::OwnHead))
            .into_iter()
            .chain(origin.into_iter().flat_map(|origin| origin.sources));
        let places = places.filter_map(|place| place.parse().ok());
        for source in places.chain(standing(data)?) {
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
                for base in hints(share) {
                    pool.add_remote(self.http(&base)?);
                }
                share.head
            }
            Reference::Url(base) => {
                self.add_own(&mut pool, data)?;
                let source = self.http(base)?;
                let head = source.current_head().map_err(|error| no_head_at(&error))?;
                self.remember(&head, base, data)?;
                pool.add_remote(source);
                *head.cid()
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
            SourceAddress::Http(base) => pool.add_remote(self.http(base)?),
        }
        Ok(())
    }

    fn add_own(&self, pool: &mut Pool, data: &Path) -> Result<(), CliError> {
        if let Some(reader) = own_archive(data)? {
            pool.add_local("this archive", reader.into_source());
        }
        Ok(())
    }

    fn add_folder(&self, pool: &mut Pool, path: &Path) -> Result<(), CliError> {
        let folder = open_folder(path).map_err(|error| unopened(path, &error))?;
        pool.add_local(path.display().to_string(), folder);
        Ok(())
    }

    fn http(&self, base: &Url) -> Result<Arc<HttpSource>, CliError> {
        let net = Arc::clone(self.net()?);
        Ok(Arc::new(HttpSource::new(net, base.clone())))
    }

    /// Remembers a head that a source calls its current one, and refuses one that
    /// takes history back.
    fn remember(&self, head: &Head, base: &Url, data: &Path) -> Result<(), CliError> {
        match SeenHeads::new(data).remember(head, self.accept_rewrite) {
            Ok(_) => Ok(()),
            Err(error @ SeenError::Contradiction { .. }) => Err(rewritten(base, &error)),
            Err(error) => {
                tracing::warn!("cannot remember the head: {error}");
                Ok(())
            }
        }
    }
}

/// The addresses of a shared line, as far as they can be asked.
fn hints(share: &Share) -> Vec<Url> {
    let http = share.hints.http().iter();
    http.filter_map(|text| base_url(text).ok()).collect()
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
fn standing(data: &Path) -> Result<Vec<SourceAddress>, CliError> {
    let file = config::read(data).map_err(|error| {
        CliError::new(Kind::Usage, "the configuration is not usable").because(&error)
    })?;
    Ok(file.sources.unwrap_or_default())
}

/// How it reads that a source shows a history that contradicts what was seen.
pub fn rewritten(source: &Url, error: &SeenError) -> CliError {
    let proof = match error {
        SeenError::Contradiction { proof, .. } => {
            let folder = proof.parent().unwrap_or(proof);
            format!("both heads are kept in {}; ", folder.display())
        }
        SeenError::Io { .. } => String::new(),
    };
    let source = source.as_str().trim_end_matches('/');
    CliError::new(
        Kind::Verification,
        format!("{source} shows a history that was rewritten, or is behind"),
    )
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

/// Where blocks fetched before are kept: with the data, or with other programs'
/// caches where there is no data.
fn cache_folder(data: &Path) -> PathBuf {
    if data.is_dir() {
        return data.join(CACHE);
    }
    let of_the_user = std::env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    match of_the_user {
        Some(dir) => dir.join(CACHE_OF_NOBODY),
        None => data.join(CACHE),
    }
}
