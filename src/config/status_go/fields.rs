//! The fields of status-go's configuration, from `params/config.go` of its versions with
//! Whisper (2018 to 2020) and Waku (to 2023).

use std::fmt::Write as _;

/// What a field becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// An object with fields of its own.
    Section,
    /// A key of `gwa.toml`, and how.
    Key(&'static str, &'static str),
    /// Nothing, and why.
    Nothing(&'static str),
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name after those of its sections.
    pub path: &'static str,
    /// What it becomes.
    pub becomes: Becomes,
}

impl Field {
    /// The field at `path`, without regard to capitals. The fields of a section that is
    /// of no matter here are that section.
    pub fn find(path: &str) -> Option<&'static Self> {
        // Waku's section has the fields of Whisper's, under another name.
        let as_whisper = path
            .get(..11)
            .filter(|start| start.eq_ignore_ascii_case("WakuConfig."));
        if as_whisper.is_some() {
            let path = format!("WhisperConfig.{}", &path[11..]);
            return FIELDS
                .iter()
                .find(|field| field.path.eq_ignore_ascii_case(&path));
        }
        FIELDS
            .iter()
            .find(|field| field.path.eq_ignore_ascii_case(path))
    }

    /// Whether nothing need be said of it where it says nothing itself. Of these two
    /// even `false` decides something.
    pub fn is_silent_when_zero(&self) -> bool {
        !matches!(self.path, "NoDiscovery" | "HTTPEnabled" | "MaxPeers")
    }
}

const fn key(path: &'static str, key: &'static str, how: &'static str) -> Field {
    let becomes = Becomes::Key(key, how);
    Field { path, becomes }
}

const fn no(path: &'static str, why: &'static str) -> Field {
    let becomes = Becomes::Nothing(why);
    Field { path, becomes }
}

const fn section(path: &'static str) -> Field {
    let becomes = Becomes::Section;
    Field { path, becomes }
}

const HISTORY: &str = "the history kept there is taken over once, by `gwa import`";
const LOGS: &str = "the log goes to stderr: `-v`, `--quiet`, `GWA_LOG`";
const IPC: &str = "there is no IPC socket: JSON-RPC is served over HTTP and WebSocket";
const LATER: &str = "Waku v2 is another network";
const WALLET: &str = "a mailserver has no wallet, no contacts and no chain";
const DISCOVERY: &str = "gwa finds others by discovery v4, and by the nodes it is named";
const ADDRESS: &str = "an address is given four times what a peer is: the limit of a peer decides";
const FULL: &str = "a mailserver hears and passes on everything";

/// All fields.
pub const FIELDS: &[Field] = &[
    key("ListenAddr", "listen", "`:PORT` is `0.0.0.0:PORT`"),
    key("AdvertiseAddr", "nat", "`extip:IP`"),
    key("NoDiscovery", "discovery", "the reverse of it"),
    key("MaxPeers", "limits.max-peers", ""),
    key(
        "NodeKey",
        "node-key",
        "kept in the key file, where there is none yet: the enode stays the same",
    ),
    key(
        "HTTPEnabled",
        "http",
        "where it is true: `HTTPHost:HTTPPort`",
    ),
    key("RPCEnabled", "http", "as `HTTPEnabled`"),
    key("HTTPHost", "http", "`localhost` is 127.0.0.1"),
    key(
        "HTTPPort",
        "http",
        "8545 where none is named, as in status-go",
    ),
    key("HTTPVirtualHosts", "http-hosts", ""),
    key("HTTPCors", "http-origins", ""),
    section("ClusterConfig"),
    key(
        "ClusterConfig.Enabled",
        "peers, bootnodes",
        "whether the nodes below are taken",
    ),
    key("ClusterConfig.StaticNodes", "peers", ""),
    key(
        "ClusterConfig.BootNodes",
        "bootnodes",
        "only those that speak discovery v4 answer",
    ),
    no(
        "ClusterConfig.Fleet",
        "no list of a fleet's nodes is built in: name nodes by `peers` and `bootnodes`",
    ),
    no(
        "ClusterConfig.TrustedMailServers",
        "clients ask them; `gwa sync ENODE` takes over what they have",
    ),
    no(
        "ClusterConfig.PushNotificationsServers",
        "a push server stands beside the mailserver",
    ),
    no("ClusterConfig.RendezvousNodes", DISCOVERY),
    no("ClusterConfig.WakuNodes", LATER),
    no("ClusterConfig.DiscV5BootstrapNodes", DISCOVERY),
    no("ClusterConfig.ClusterID", LATER),
    section("WhisperConfig"),
    section("WakuConfig"),
    no("WhisperConfig.Enabled", ""),
    no("WhisperConfig.EnableMailServer", ""),
    no("WhisperConfig.DataDir", HISTORY),
    key("WhisperConfig.MinimumPoW", "min-pow", ""),
    key("WhisperConfig.MailServerPassword", "password", ""),
    key(
        "WhisperConfig.MailServerAsymKey",
        "node-key",
        "where it is the same as `NodeKey`; requests to another key are not read",
    ),
    key(
        "WhisperConfig.MailServerRateLimit",
        "limits.requests-per-second",
        "1 where it is above 0: one a second is the least there is",
    ),
    key(
        "WhisperConfig.MailServerDataRetention",
        "retention",
        "in days; 0 is for good",
    ),
    no(
        "WhisperConfig.MailServerCleanupPeriod",
        "days past their retention go within the hour",
    ),
    section("WhisperConfig.DatabaseConfig"),
    section("WhisperConfig.DatabaseConfig.PGConfig"),
    no(
        "WhisperConfig.DatabaseConfig.PGConfig.Enabled",
        "the archive is kept in files",
    ),
    no(
        "WhisperConfig.DatabaseConfig.PGConfig.URI",
        "`gwa import URI` takes over what the database has",
    ),
    no("WhisperConfig.TTL", "a mailserver posts nothing of its own"),
    no(
        "WhisperConfig.MaxMessageSize",
        "envelopes to 1 MiB are taken",
    ),
    no("WhisperConfig.LightClient", FULL),
    no("WhisperConfig.FullNode", ""),
    no(
        "WhisperConfig.EnableNTPSync",
        "the clock of the machine is kept by the machine",
    ),
    key(
        "WhisperConfig.EnableRateLimiter",
        "limits",
        "whether the two below are taken",
    ),
    key(
        "WhisperConfig.PacketRateLimitPeerID",
        "limits.packets-per-second",
        "",
    ),
    key(
        "WhisperConfig.BytesRateLimitPeerID",
        "limits.receive-kib-per-second",
        "divided by 1,024",
    ),
    no("WhisperConfig.PacketRateLimitIP", ADDRESS),
    no("WhisperConfig.BytesRateLimitIP", ADDRESS),
    no(
        "WhisperConfig.RateLimitTolerance",
        "whoever sends too much is read more slowly",
    ),
    no("WhisperConfig.BloomFilterMode", FULL),
    no(
        "WhisperConfig.SoftBlacklistedPeerIDs",
        "nobody is let in and not heard",
    ),
    no(
        "WhisperConfig.EnableConfirmations",
        "batches are always confirmed, after they are stored",
    ),
    no("DataDir", HISTORY),
    no("RootDataDir", HISTORY),
    no("BackupDisabledDataDir", HISTORY),
    no("KeyStoreDir", WALLET),
    no("KeycardPairingDataFile", WALLET),
    no("NetworkId", WALLET),
    no("Name", "peers are told `gwa` and its version"),
    no("Version", "peers are told `gwa` and its version"),
    no("NodeName", "peers are told `gwa` and its version"),
    no("Rendezvous", DISCOVERY),
    no("RegisterTopics", DISCOVERY),
    no("RequireTopics", DISCOVERY),
    no(
        "APIModules",
        "all methods are served; those that touch keys ask for the token in `rpc.token`",
    ),
    no("WSEnabled", "WebSocket is served at the same port as HTTP"),
    no("WSHost", "WebSocket is served at the same port as HTTP"),
    no("WSPort", "WebSocket is served at the same port as HTTP"),
    no("IPCEnabled", IPC),
    no("IPCFile", IPC),
    no("TLSEnabled", "a reverse proxy speaks TLS"),
    no(
        "MaxPendingPeers",
        "handshakes are bounded for each address: `handshakes-per-address`",
    ),
    no("LogEnabled", LOGS),
    no("LogMobileSystem", LOGS),
    no("LogDir", LOGS),
    no("LogFile", LOGS),
    no("LogLevel", LOGS),
    no("RuntimeLogLevel", LOGS),
    no("LogMaxBackups", LOGS),
    no("LogMaxSize", LOGS),
    no("LogCompressRotated", LOGS),
    no("LogToStderr", ""),
    no("StatusServiceEnabled", WALLET),
    no("EnableStatusService", WALLET),
    no(
        "DebugAPIEnabled",
        "`gwa support-bundle` and `/api/v1/diagnostics` are there instead",
    ),
    no("MailServerRegistryAddress", WALLET),
    no("UpstreamConfig", WALLET),
    no("Networks", WALLET),
    no("LightEthConfig", WALLET),
    no("SwarmConfig", WALLET),
    no("ShhextConfig", WALLET),
    no("WalletConfig", WALLET),
    no("LocalNotificationsConfig", WALLET),
    no("BrowsersConfig", WALLET),
    no("PermissionsConfig", WALLET),
    no("MailserversConfig", WALLET),
    no("Web3ProviderConfig", WALLET),
    no("EnsConfig", WALLET),
    no("StatusAccountsConfig", WALLET),
    no("TorrentConfig", WALLET),
    no("IncentivisationConfig", WALLET),
    no(
        "PushNotificationServerConfig",
        "a push server stands beside the mailserver",
    ),
    no("NodeMonitoringConfig", "`/metrics` is there instead"),
    no("BridgeConfig", "Waku and Whisper are not bridged"),
    no("WakuV2Config", LATER),
    no("OutputMessageCSVEnabled", WALLET),
    no("ProcessBackedupMessages", WALLET),
];

/// The fields as a table of a page.
pub fn markdown() -> String {
    let mut page = String::from("| field | becomes | |\n| --- | --- | --- |\n");
    for field in FIELDS {
        let (key, says) = match field.becomes {
            Becomes::Section => continue,
            Becomes::Key(key, how) => (format!("`{key}`"), how),
            Becomes::Nothing("") => (String::new(), "is always so"),
            Becomes::Nothing(why) => (String::new(), why),
        };
        let _ = writeln!(page, "| `{}` | {key} | {says} |", field.path);
    }
    page
}
