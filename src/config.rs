//! Checked settings of the daemon.
//!
//! Always true:
//! - A flag wins over the environment (`GWA_*`), which wins over `gwa.toml` in
//!   the data folder, which wins over the defaults below.
//! - A key that `gwa.toml` should not have is an error that names the nearest
//!   key there is: a misspelt setting never passes for its default.

pub mod catalog;
pub mod check;
mod conflict;
mod http;
mod limits;
mod merge;
mod p2p;
mod publish;
pub mod status_go;
mod store;
mod told;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::limits::Limits;
use crate::nat::NatMethod;
use crate::node::follow::DEFAULT_EVERY as DEFAULT_FOLLOW_EVERY;
use crate::publish::Hints;
use crate::publish::ipns::KeyName;
use crate::reconcile::exchange::DEFAULT_EVERY;
use crate::rlpx::Enode;
use crate::sources::names::TakerAddress;
use crate::sources::{Reference, SourceAddress};
use crate::whisper::Pow;

use check::Place;
pub use conflict::Conflict;
pub use http::{HttpAddress, HttpPartial, HttpSettings, host_name, page_origin};
pub use limits::LimitsPartial;
pub use p2p::{DEFAULT_LISTEN as DEFAULT_P2P_LISTEN, P2pListen, P2pPartial, P2pSettings};
pub use publish::PublishAs;
pub use store::{ParseSizeError, Size, StorePartial, StoreSettings};
pub(crate) use told::without_credentials;
pub use told::{Origins, SetBy, Setting};

/// Name of the configuration file in the data folder.
pub const FILE: &str = "gwa.toml";

/// The port of devp2p.
const DEFAULT_PORT: u16 = 30_303;

/// The password that Status clients use with every public mailserver.
pub const DEFAULT_PASSWORD: &str = "status-offline-inbox";

/// What status-go nodes ask for: whatever circulates between them is archived.
const DEFAULT_MIN_POW: Pow = Pow::STATUS_DEFAULT;

/// Five minutes: the grain of the watermark, so sealing more often gains nothing.
const DEFAULT_SEAL_EVERY: Duration = Duration::from_secs(300);

/// A password; shown nowhere.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Password {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A span of time as users write it: `30s`, `5m`, `1h`, `2d`, or seconds alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no span of time: expected a number above 0 and s, m, h or d, as in 5m")]
pub struct ParseSpanError {
    /// What was given.
    pub text: String,
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &text[digits.len()..] {
            "" | "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => None,
        };
        // 32 bits of each keep the product within 64.
        let seconds = unit
            .zip(digits.parse::<u32>().ok())
            .map(|(unit, count): (u64, u32)| unit * u64::from(count))
            .filter(|seconds| *seconds > 0);
        match seconds {
            Some(seconds) => Ok(Self(Duration::from_secs(seconds))),
            None => Err(ParseSpanError {
                text: text.to_owned(),
            }),
        }
    }
}

/// A proof of work to require, as users write it: a finite number, not below 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinPow(pub Pow);

/// A text that is no proof of work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no proof of work: expected a number of 0 or more")]
pub struct ParseMinPowError {
    /// What was given.
    pub text: String,
}

impl FromStr for MinPow {
    type Err = ParseMinPowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .ok()
            .filter(|pow: &f64| pow.is_finite())
            .and_then(Pow::new)
            .map(Self)
            .ok_or_else(|| ParseMinPowError {
                text: text.to_owned(),
            })
    }
}

/// Settings where each may be left open: what flags and environment say, or what
/// the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partial {
    /// Where to accept peers; port 0 picks one.
    pub listen: Option<SocketAddr>,
    /// Password of mail requests.
    pub password: Option<Password>,
    /// File of the node key, in hex.
    pub node_key: Option<PathBuf>,
    /// Peers to keep a connection to.
    pub peers: Option<Vec<Enode>>,
    /// Nodes by which others are found.
    pub bootnodes: Option<Vec<Enode>>,
    /// Whether to find others and be found.
    pub discovery: Option<bool>,
    /// Archivers to reconcile with.
    pub archivers: Option<Vec<Enode>>,
    /// Where blocks that are not held are looked for; in the file alone.
    pub sources: Option<Vec<SourceAddress>>,
    /// How often to reconcile.
    pub reconcile_every: Option<Span>,
    /// How a router is made to let others in.
    pub nat: Option<NatMethod>,
    /// Least proof of work of an envelope.
    pub min_pow: Option<MinPow>,
    /// How often to seal.
    pub seal_every: Option<Span>,
    /// How long days are kept.
    pub retention: Option<Span>,
    /// What peers and addresses may take; in the file alone.
    pub limits: LimitsPartial,
    /// Whose archives are united with this one: REFs.
    pub follow: Option<Vec<Reference>>,
    /// How often new heads are asked for.
    pub follow_every: Option<Span>,
    /// Whether the history that a fork rests on is left where it is.
    pub lazy: Option<bool>,
    /// Whether heads are announced on the network.
    pub announce: Option<bool>,
    /// As whom heads are told by IPNS.
    pub publish: Option<PublishAs>,
    /// Who is handed the records.
    pub publish_to: Option<Vec<TakerAddress>>,
    /// Where others have the blocks.
    pub public_urls: Option<Hints>,
    /// Where blocks are kept.
    pub store: StorePartial,
    /// The HTTP interface.
    pub http: HttpPartial,
    /// The libp2p peer.
    pub p2p: P2pPartial,
}

/// Settings of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to accept peers; port 0 picks one.
    pub listen: SocketAddr,
    /// Password of mail requests.
    pub password: Password,
    /// File of the node key, in hex; made where it is absent.
    pub node_key: PathBuf,
    /// Peers to keep a connection to.
    pub peers: Vec<Enode>,
    /// Nodes by which others are found.
    pub bootnodes: Vec<Enode>,
    /// Whether to find others and be found.
    pub discovery: bool,
    /// Archivers to keep a connection to, whose envelopes are taken as they are.
    pub archivers: Vec<Enode>,
    /// Where blocks that are not held are looked for.
    pub sources: Vec<SourceAddress>,
    /// How often what archivers hold is compared.
    pub reconcile_every: Duration,
    /// How a router is made to let others in.
    pub nat: NatMethod,
    /// Least proof of work of an envelope.
    pub min_pow: Pow,
    /// How often to seal.
    pub seal_every: Duration,
    /// How long days are kept; for good where it is `None`.
    pub retention: Option<Duration>,
    /// What peers and addresses may take.
    pub limits: Limits,
    /// Whose archives are united with this one: REFs.
    pub follow: Vec<Reference>,
    /// How often new heads are asked for.
    pub follow_every: Duration,
    /// Whether the history that a fork rests on is left where it is.
    pub lazy: bool,
    /// Whether heads are announced on the network.
    pub announce: bool,
    /// The key whose name leads to the heads, if any.
    pub publish: Option<KeyName>,
    /// Who is handed the records of the name.
    pub publish_to: Vec<TakerAddress>,
    /// Where others have the blocks: told with the heads.
    pub public_urls: Hints,
    /// Where blocks are kept.
    pub store: StoreSettings,
    /// The HTTP interface.
    pub http: HttpSettings,
    /// The libp2p peer.
    pub p2p: P2pSettings,
    /// Who set what.
    pub set_by: Origins,
}

/// Why the settings are not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there and cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML. Its words are not shown: they may hold a password.
    #[error("{path}:{}:{}: {message}", place.line, place.column)]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What.
        message: String,
    },
    /// The file has a key that means nothing.
    #[error("{path}: unknown key `{key}`")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The key that was probably meant.
        nearest: &'static str,
    },
    /// A value is not what its key takes.
    #[error("{path}: `{key}`: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Settings {
    /// Settings from `flags` and `file`, the defaults where both are silent.
    /// A key file named in neither is `node.key` in the data folder.
    pub fn resolve(data: &Path, flags: Partial, file: Partial) -> Self {
        Self::resolve_over(data, flags, file, Partial::default())
    }

    /// As [`Self::resolve`]; where flags and file are silent, `foreign` goes before the
    /// defaults: what another program's configuration says.
    pub fn resolve_over(data: &Path, flags: Partial, file: Partial, foreign: Partial) -> Self {
        let set_by = told::origins(&flags, &file, &foreign);
        let file = file.or(foreign);
        let listen = flags
            .listen
            .or(file.listen)
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into());
        let bootnodes = flags.bootnodes.or(file.bootnodes).unwrap_or_default();
        // Who listens on this machine alone and knows nobody has nobody to find.
        let has_others = !bootnodes.is_empty() || !listen.ip().is_loopback();
        Self {
            listen,
            discovery: flags.discovery.or(file.discovery).unwrap_or(has_others),
            bootnodes,
            password: flags
                .password
                .or(file.password)
                .unwrap_or_else(|| Password(DEFAULT_PASSWORD.to_owned())),
            node_key: flags
                .node_key
                .or(file.node_key)
                .unwrap_or_else(|| data.join("node.key")),
            peers: flags.peers.or(file.peers).unwrap_or_default(),
            archivers: flags.archivers.or(file.archivers).unwrap_or_default(),
            sources: flags.sources.or(file.sources).unwrap_or_default(),
            reconcile_every: flags
                .reconcile_every
                .or(file.reconcile_every)
                .map_or(DEFAULT_EVERY, |span| span.0),
            nat: flags.nat.or(file.nat).unwrap_or_default(),
            min_pow: flags
                .min_pow
                .or(file.min_pow)
                .map_or(DEFAULT_MIN_POW, |pow| pow.0),
            seal_every: flags
                .seal_every
                .or(file.seal_every)
                .map_or(DEFAULT_SEAL_EVERY, |span| span.0),
            retention: flags.retention.or(file.retention).map(|span| span.0),
            limits: flags.limits.or(file.limits).resolve(),
            follow: flags.follow.or(file.follow).unwrap_or_default(),
            follow_every: flags
                .follow_every
                .or(file.follow_every)
                .map_or(DEFAULT_FOLLOW_EVERY, |span| span.0),
            lazy: flags.lazy.or(file.lazy).unwrap_or(false),
            announce: flags.announce.or(file.announce).unwrap_or(false),
            publish: flags.publish.or(file.publish).and_then(|publish| publish.0),
            publish_to: flags.publish_to.or(file.publish_to).unwrap_or_default(),
            public_urls: flags.public_urls.or(file.public_urls).unwrap_or_default(),
            store: StoreSettings::resolve(flags.store, file.store),
            http: HttpSettings::resolve(flags.http, file.http),
            p2p: P2pSettings::resolve(flags.p2p, file.p2p),
            set_by,
        }
    }
}

/// The keys `gwa.toml` may have.
const KEYS: &[&str] = &[
    "listen",
    "password",
    "node-key",
    "peers",
    "bootnodes",
    "discovery",
    "archivers",
    "sources",
    "reconcile-every",
    "nat",
    "min-pow",
    "seal-every",
    "retention",
    "follow",
    "follow-every",
    "lazy",
    "announce",
    "publish",
    "publish-to",
    "public-urls",
    "limits",
    "store",
    "store-keep",
    "store-auth",
    "http",
    "http-hosts",
    "http-origins",
    "http-public",
    "denylists",
    "rpc-open",
    "p2p",
    "p2p-bootstrap",
    "p2p-dht",
    "p2p-public",
];

/// Reads `gwa.toml` in the data folder; where there is none, it says nothing.
pub fn read(data: &Path) -> Result<Partial, ConfigError> {
    let path = data.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Partial::default()),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// Checks the text of the file at `path`.
fn parse(path: &Path, text: &str) -> Result<Partial, ConfigError> {
    let parsed: Result<toml::Table, toml::de::Error> = text.parse();
    let table = parsed.map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        place: Place::of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    parse_table(path, table)
}

/// Checks the table of the file at `path`.
pub fn parse_table(path: &Path, table: toml::Table) -> Result<Partial, ConfigError> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(ConfigError::UnknownKey {
            path: path.to_owned(),
            key: key.clone(),
            nearest: nearest(KEYS, key),
        });
    }
    let file = File { path, table };
    Ok(Partial {
        listen: file.text("listen")?,
        password: file.text("password")?,
        // A relative path is meant from where the file lies, not from where the
        // daemon happens to be started.
        node_key: file
            .value::<PathBuf>("node-key")?
            .map(|key| path.parent().unwrap_or(Path::new("")).join(key)),
        peers: file.value("peers")?,
        bootnodes: file.value("bootnodes")?,
        discovery: file.value("discovery")?,
        archivers: file.value("archivers")?,
        sources: file.value("sources")?,
        reconcile_every: file.text("reconcile-every")?,
        nat: file.text("nat")?,
        min_pow: file.text("min-pow")?,
        seal_every: file.text("seal-every")?,
        retention: file.text("retention")?,
        follow: file.value("follow")?,
        follow_every: file.text("follow-every")?,
        lazy: file.value("lazy")?,
        announce: file.value("announce")?,
        publish: file.value("publish")?,
        publish_to: file.value("publish-to")?,
        public_urls: file.value("public-urls")?,
        limits: file.value("limits")?.unwrap_or_default(),
        store: StorePartial {
            address: file.text("store")?,
            keep: file.text("store-keep")?,
            auth: file.text("store-auth")?,
        },
        http: HttpPartial {
            address: file.text("http")?,
            hosts: file.each("http-hosts", host_name)?,
            origins: file.each("http-origins", page_origin)?,
            open: file.value("rpc-open")?,
            public: file.value("http-public")?,
            denylists: file.value::<Vec<PathBuf>>("denylists")?.map(|paths| {
                let folder = path.parent().unwrap_or(Path::new(""));
                paths.into_iter().map(|list| folder.join(list)).collect()
            }),
        },
        p2p: P2pPartial {
            listen: file.text("p2p")?,
            bootstrap: file.value("p2p-bootstrap")?,
            dht: file.value("p2p-dht")?,
            public: file.value("p2p-public")?,
        },
    })
}

/// The name that `name` looks most like; an empty text where there are none.
fn nearest<'n>(names: &[&'n str], name: &str) -> &'n str {
    names
        .iter()
        .copied()
        .max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))
        .unwrap_or_default()
}

/// A table and where it was read, for the errors.
struct File<'a> {
    path: &'a Path,
    table: toml::Table,
}

impl File<'_> {
    /// The value of `key` in the shape of `T`.
    fn value<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<T>, ConfigError> {
        let value = self.table.get(key).cloned();
        value
            .map(|value| value.try_into().map_err(|error| self.refused(key, &error)))
            .transpose()
    }

    /// The texts of `key`, each as `read` takes it.
    fn each<T, E: fmt::Display>(
        &self,
        key: &'static str,
        read: fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let texts: Option<Vec<String>> = self.value(key)?;
        texts
            .map(|texts| texts.iter().map(|text| read(text)).collect())
            .transpose()
            .map_err(|error: E| self.refused(key, &error))
    }

    /// The value of `key`, a text or a number, as `T` reads it.
    fn text<T: FromStr<Err: fmt::Display>>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let text = match self.table.get(key) {
            None => return Ok(None),
            Some(toml::Value::String(text)) => text.clone(),
            Some(toml::Value::Integer(number)) => number.to_string(),
            Some(toml::Value::Float(number)) => number.to_string(),
            Some(other) => {
                let what = format!("a {} where a text was expected", other.type_str());
                return Err(self.refused(key, &what));
            }
        };
        text.parse()
            .map(Some)
            .map_err(|error| self.refused(key, &error))
    }

    fn refused(&self, key: &'static str, reason: &dyn fmt::Display) -> ConfigError {
        ConfigError::Value {
            path: self.path.to_owned(),
            key,
            reason: reason.to_string().trim_end().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
