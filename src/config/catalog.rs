//! The keys of `gwa.toml`: what each takes, and by which flag it is set too.
//!
//! Always true: the list is whole and in the order of the file. Tests hold it against
//! the keys that are read, the flags of `gwa serve`, the defaults, and the page that
//! documents them.

use std::fmt::Write as _;

use crate::limits::Limits;

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// The flag of `gwa serve` that sets it too, without dashes.
    pub flag: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
    /// Its default, as the file would say it; `None` where it is unset unless set.
    pub default: Option<&'static str>,
    /// A value that it may have, where it has no default to show.
    pub example: &'static str,
}

impl Key {
    /// The variable of the environment that sets it too.
    pub fn env(&self) -> Option<String> {
        let name = |flag: &str| format!("GWA_{}", flag.replace('-', "_").to_uppercase());
        // Lists are named in the plural, as in the file.
        self.flag.map(|_| name(self.name))
    }
}

const fn key(
    name: &'static str,
    flag: Option<&'static str>,
    default: Option<&'static str>,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key {
        name,
        flag,
        about,
        default,
        example,
    }
}

const ENODE: &str = "[\"enode://4d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d07662a3eada2d0fe208b6d257ceb0f064284662e857f57b66b54c198bd310ded36d0@203.0.113.7:30303\"]";

/// All keys.
pub const CATALOG: &[Key] = &[
    key(
        "listen",
        Some("listen"),
        Some("\"127.0.0.1:30303\""),
        "",
        "Where peers are accepted: IP address and port, over TCP, and over UDP where discovery is on. `0.0.0.0:30303` lets others in.",
    ),
    key(
        "password",
        Some("password"),
        Some("\"status-offline-inbox\""),
        "",
        "Password of mail requests. The default is that of all public Status mailservers, known to everybody.",
    ),
    key(
        "node-key",
        Some("node-key"),
        Some("\"node.key\""),
        "",
        "File of the key by which peers know the node, made where it is absent. A relative path begins at the data folder.",
    ),
    key(
        "peers",
        Some("peer"),
        Some("[]"),
        ENODE,
        "Peers to stay connected to.",
    ),
    key(
        "bootnodes",
        Some("bootnode"),
        Some("[]"),
        ENODE,
        "Nodes by which others are found (discovery v4).",
    ),
    key(
        "discovery",
        Some("discovery"),
        None,
        "true",
        "Whether to find others and be found. Unless set: where a bootnode is named or others can reach `listen`.",
    ),
    key(
        "archivers",
        Some("archiver"),
        Some("[]"),
        ENODE,
        "Other gwas to stay connected to and to fetch from what is missing here, as it is: trust them with the archive.",
    ),
    key(
        "sources",
        None,
        Some("[]"),
        "[\"https://archive.example\"]",
        "Where blocks that are not held here are looked for (`docs/sources.md`).",
    ),
    key(
        "reconcile-every",
        Some("reconcile-every"),
        Some("\"1m\""),
        "",
        "How often to compare with other archivers.",
    ),
    key(
        "nat",
        Some("nat"),
        Some("\"none\""),
        "",
        "How a router is made to let others in: `none`, `any`, `extip:IP`, `upnp`, `pmp`.",
    ),
    key(
        "min-pow",
        Some("min-pow"),
        Some("0.001"),
        "",
        "Least proof of work of an envelope, and of sealed requests.",
    ),
    key(
        "seal-every",
        Some("seal-every"),
        Some("\"5m\""),
        "",
        "How often what came is sealed under a new head.",
    ),
    key(
        "retention",
        Some("retention"),
        None,
        "\"30d\"",
        "How long days are kept on this disk. Unless set: for good.",
    ),
    key(
        "follow",
        Some("follow"),
        Some("[]"),
        "[\"https://archive.example\"]",
        "Archives that are united with this one, again and again: REFs.",
    ),
    key(
        "follow-every",
        Some("follow-every"),
        Some("\"1m\""),
        "",
        "How often new heads of these are asked for.",
    ),
    key(
        "lazy",
        Some("lazy"),
        Some("false"),
        "",
        "Whether the history that a fork rests on is left where it is, and fetched when asked for.",
    ),
    key(
        "announce",
        Some("announce"),
        Some("false"),
        "",
        "Whether heads are announced on the network, for `gwa discover` to find.",
    ),
    key(
        "publish",
        Some("publish"),
        Some("false"),
        "",
        "Whether a name of IPNS leads to each new head: `true`, `false`, or the name of a key in the folder `ipns`.",
    ),
    key(
        "publish-to",
        Some("publish-to"),
        Some("[]"),
        "[\"kubo:http://127.0.0.1:5001\"]",
        "Nodes of IPFS that are handed the name's records.",
    ),
    key(
        "public-urls",
        Some("public-url"),
        Some("[]"),
        "[\"https://archive.example\"]",
        "Where others have the blocks, told with the heads; four at most.",
    ),
    key(
        "store",
        Some("store"),
        Some("\"embedded\""),
        "",
        "Where the archive is kept beside this disk: `embedded` for nowhere, `folder:PATH`, `kubo:URL`, `s3:..`, `s3://..`, `swarm:URL`.",
    ),
    key(
        "store-keep",
        Some("store-keep"),
        Some("\"1G\""),
        "",
        "How many bytes of the newest days stay on this disk too; `all` for everything.",
    ),
    key(
        "store-auth",
        Some("store-auth"),
        None,
        "\"bearer:TOKEN\"",
        "What the store asks of those who write there: `bearer:TOKEN` or `basic:USER:PASSWORD`. A secret.",
    ),
    key(
        "http",
        Some("http"),
        Some("\"127.0.0.1:8547\""),
        "",
        "Where HTTP, JSON-RPC and the explorer are served, or `off`.",
    ),
    key(
        "http-hosts",
        Some("http-host"),
        Some("[]"),
        "[\"archive.example\"]",
        "Names in `Host` to answer to, beside IP addresses and localhost.",
    ),
    key(
        "http-origins",
        Some("http-origin"),
        Some("[]"),
        "[\"https://page.example\"]",
        "Web pages that may use it.",
    ),
    key(
        "http-public",
        Some("http-public"),
        Some("true"),
        "",
        "Whether the archive itself may be read under every name in `Host` and by every web page.",
    ),
    key(
        "denylists",
        Some("denylist"),
        Some("[]"),
        "[\"bad.deny\"]",
        "Files of what is not served, in the compact denylist format. Relative paths begin at the data folder.",
    ),
    key(
        "rpc-open",
        Some("rpc-open"),
        Some("false"),
        "",
        "Whether every program of this machine may do everything without the token. Loopback only.",
    ),
    key(
        "p2p",
        Some("p2p"),
        Some("\"off\""),
        "",
        "Where IPFS nodes are given the archive's blocks over libp2p, as in `/ip4/127.0.0.1/tcp/4011`, or `off`.",
    ),
    key(
        "p2p-bootstrap",
        Some("p2p-bootstrap"),
        Some("[]"),
        "[\"/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp\"]",
        "Nodes of a DHT by which heads, states and roots are announced there.",
    ),
    key(
        "p2p-dht",
        Some("p2p-dht"),
        None,
        "\"client\"",
        "Whether the peer answers for the DHT too: `client` or `server`. Means nothing without `p2p-bootstrap`.",
    ),
    key(
        "p2p-public",
        Some("p2p-public"),
        Some("[]"),
        "[\"/ip4/203.0.113.7/tcp/4011\"]",
        "Where others dial the peer, where that is not where it listens.",
    ),
    key(
        "limits",
        None,
        None,
        "",
        "A table: what peers and addresses may take, each for itself.",
    ),
];

/// A `gwa.toml` that says nothing yet: every key as a comment, with what it does.
pub fn commented_file() -> String {
    let mut file = String::from(
        "# Settings of `gwa serve`. Take the # away before a key to set it. A flag wins over\n\
         # the environment, the environment over this file. `gwa config check` reads it as\n\
         # the daemon will.\n",
    );
    for key in CATALOG.iter().filter(|key| key.name != "limits") {
        let value = key.default.unwrap_or(key.example);
        let unset = if key.default.is_none() {
            " (an example: unset unless set)"
        } else {
            ""
        };
        let about = key.about;
        let name = key.name;
        let _ = write!(file, "\n# {about}{unset}\n#{name} = {value}\n");
    }
    file.push_str("\n# What peers and addresses may take; numbers are for one peer.\n#[limits]\n");
    let limits = Limits::default();
    let exempt = limits.exempt_local;
    file.push_str("# Loopback and private networks are free of rates\n");
    let _ = writeln!(file, "#exempt-local = {exempt}");
    for limit in limits.told() {
        let _ = writeln!(
            file,
            "# {}\n#{} = {}",
            limit.reason, limit.name, limit.value
        );
    }
    file
}

/// The keys as a table of a page.
pub fn markdown() -> String {
    let mut page = String::from(
        "| key | default | flag | environment | what it does |\n| --- | --- | --- | --- | --- |\n",
    );
    let code = |text: Option<String>| text.map_or(String::new(), |text| format!("`{text}`"));
    for key in CATALOG {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            key.name,
            code(key.default.map(str::to_owned)),
            code(key.flag.map(|flag| format!("--{flag}"))),
            code(key.env()),
            key.about.replace('|', "\\|"),
        );
    }
    page
}

/// The limits as a table of a page.
pub fn limits_markdown() -> String {
    let limits = Limits::default();
    let mut page =
        String::from("| key of `[limits]` | default | what it bounds |\n| --- | --- | --- |\n");
    let exempt = limits.exempt_local;
    let _ = writeln!(
        page,
        "| `exempt-local` | `{exempt}` | whether loopback and private networks are free of rates and of limits by address |"
    );
    for limit in limits.told() {
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} |",
            limit.name, limit.value, limit.reason
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{KEYS, Partial, Settings, parse};

    fn resolved(text: &str) -> Settings {
        let file = parse(Path::new("/data/gwa.toml"), text);
        let file = file.unwrap_or_else(|error| panic!("{text}: {error}"));
        Settings::resolve(Path::new("/data"), Partial::default(), file)
    }

    /// All settings, whoever set them.
    fn values(settings: Settings) -> Settings {
        Settings {
            set_by: Default::default(),
            ..settings
        }
    }

    #[test]
    fn every_key_that_is_read_is_in_the_list_and_no_other() {
        let mut names: Vec<_> = CATALOG.iter().map(|key| key.name).collect();
        let mut keys = KEYS.to_vec();
        names.sort_unstable();
        keys.sort_unstable();
        assert_eq!(names, keys);
    }

    #[test]
    fn the_defaults_are_what_holds_where_nothing_is_set() {
        let nothing = values(resolved(""));
        for key in CATALOG {
            if let Some(default) = key.default {
                let set = resolved(&format!("{} = {default}", key.name));
                assert_eq!(values(set), nothing, "{}", key.name);
            }
        }
    }

    #[test]
    fn the_examples_are_understood_and_change_something() {
        let nothing = values(resolved(""));
        for key in CATALOG.iter().filter(|key| !key.example.is_empty()) {
            let set = values(resolved(&format!("{} = {}", key.name, key.example)));
            // Without nodes to ask there is no DHT to be a client of.
            let changes = key.name != "p2p-dht";
            assert_eq!(set != nothing, changes, "{}", key.name);
        }
    }

    #[test]
    fn the_commented_file_says_nothing_until_its_comments_are_taken_away() {
        let file = commented_file();
        assert_eq!(resolved(&file), resolved(""));
        let said: String = file
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' '))
            .filter(|line| {
                !["retention", "store-auth", "discovery"]
                    .iter()
                    .any(|key| line.starts_with(key))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(said.contains("[limits]"), "{said}");
        assert_eq!(values(resolved(&said)), values(resolved("")));
    }

    #[test]
    fn the_page_of_settings_has_the_keys_and_the_limits_as_they_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let mut renewed = page.clone();
        for (name, table) in [
            ("keys", markdown()),
            ("limits", limits_markdown()),
            ("status-go", crate::config::status_go::fields::markdown()),
        ] {
            let (begin, end) = (format!("<!-- {name}: -->\n"), format!("<!-- :{name} -->"));
            let from = renewed.find(&begin).expect("where the table begins") + begin.len();
            let to = renewed.find(&end).expect("where the table ends");
            renewed.replace_range(from..to, &format!("\n{table}\n"));
        }
        if renewed != page && std::env::var_os("GWA_RENEW_DOCS").is_some() {
            std::fs::write(&path, &renewed).unwrap();
        } else {
            assert!(
                renewed == page,
                "docs/configuration.md is not what the settings are; \
                 `GWA_RENEW_DOCS=1 cargo test --lib config::catalog` writes it anew"
            );
        }
    }
}
