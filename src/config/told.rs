//! Settings as an operator is shown them.
//!
//! Always true: nothing secret is in it. Passwords are told as being set, URLs
//! without what stands before `@` and after `?`.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Serialize;

use super::{KEYS, Partial, Settings};

/// Who set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SetBy {
    /// A flag; the environment too, where who asked cannot tell them apart.
    Flag,
    /// The environment.
    Env,
    /// `gwa.toml`.
    File,
    /// The configuration of status-go that was named.
    Status,
    /// Nobody.
    Default,
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Env => "env",
            Self::File => "file",
            Self::Status => "status",
            Self::Default => "default",
        })
    }
}

/// Who set what, by key; of the limits by `limits.NAME`, where anybody did.
pub type Origins = BTreeMap<String, SetBy>;

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key in `gwa.toml`.
    pub key: &'static str,
    /// Its value, as text; empty where there is none.
    pub value: String,
    /// Who set it.
    pub from: SetBy,
}

/// Whether each key was given.
fn given(partial: &Partial) -> impl Iterator<Item = (&'static str, bool)> {
    let Partial {
        listen,
        password,
        node_key,
        peers,
        bootnodes,
        discovery,
        archivers,
        sources,
        reconcile_every,
        nat,
        min_pow,
        seal_every,
        retention,
        limits,
        follow,
        follow_every,
        lazy,
        announce,
        publish,
        publish_to,
        public_urls,
        store,
        http,
        p2p,
    } = partial;
    [
        ("listen", listen.is_some()),
        ("password", password.is_some()),
        ("node-key", node_key.is_some()),
        ("peers", peers.is_some()),
        ("bootnodes", bootnodes.is_some()),
        ("discovery", discovery.is_some()),
        ("archivers", archivers.is_some()),
        ("sources", sources.is_some()),
        ("reconcile-every", reconcile_every.is_some()),
        ("nat", nat.is_some()),
        ("min-pow", min_pow.is_some()),
        ("seal-every", seal_every.is_some()),
        ("retention", retention.is_some()),
        ("follow", follow.is_some()),
        ("follow-every", follow_every.is_some()),
        ("lazy", lazy.is_some()),
        ("announce", announce.is_some()),
        ("publish", publish.is_some()),
        ("publish-to", publish_to.is_some()),
        ("public-urls", public_urls.is_some()),
        ("limits", limits.keys().next().is_some()),
        ("store", store.address.is_some()),
        ("store-keep", store.keep.is_some()),
        ("store-auth", store.auth.is_some()),
        ("http", http.address.is_some()),
        ("http-hosts", http.hosts.is_some()),
        ("http-origins", http.origins.is_some()),
        ("http-public", http.public.is_some()),
        ("denylists", http.denylists.is_some()),
        ("rpc-open", http.open.is_some()),
        ("p2p", p2p.listen.is_some()),
        ("p2p-public", p2p.public.is_some()),
        ("p2p-bootstrap", p2p.bootstrap.is_some()),
        ("p2p-dht", p2p.dht.is_some()),
    ]
    .into_iter()
}

/// Who sets what, where a flag goes before the file, and both before `foreign`.
pub(super) fn origins(flags: &Partial, file: &Partial, foreign: &Partial) -> Origins {
    let default = |key: &&str| ((*key).to_owned(), SetBy::Default);
    let mut origins: Origins = KEYS.iter().map(default).collect();
    let places = [
        (foreign, SetBy::Status),
        (file, SetBy::File),
        (flags, SetBy::Flag),
    ];
    for (partial, by) in places {
        for (key, _) in given(partial).filter(|(_, given)| *given) {
            origins.insert(key.to_owned(), by);
        }
        for limit in partial.limits.keys() {
            origins.insert(format!("limits.{limit}"), by);
        }
    }
    origins
}

impl Settings {
    /// Every setting but the limits, in the order of the file's keys.
    pub fn told(&self) -> Vec<Setting> {
        let setting = |key: &&'static str| Setting {
            key,
            value: self.value(key),
            from: self.set_by(key),
        };
        let keys = KEYS.iter().filter(|key| **key != "limits");
        keys.map(setting).collect()
    }

    /// Who set `key`, or the limit `limits.NAME`.
    pub fn set_by(&self, key: &str) -> SetBy {
        self.set_by.get(key).copied().unwrap_or(SetBy::Default)
    }

    fn value(&self, key: &str) -> String {
        let seconds = |span: std::time::Duration| format!("{}s", span.as_secs());
        match key {
            "listen" => self.listen.to_string(),
            "password" => "(set)".to_owned(),
            "node-key" => self.node_key.display().to_string(),
            "peers" => list(&self.peers),
            "bootnodes" => list(&self.bootnodes),
            "discovery" => self.discovery.to_string(),
            "archivers" => list(&self.archivers),
            "sources" => list(&self.sources),
            "reconcile-every" => seconds(self.reconcile_every),
            "nat" => self.nat.to_string(),
            "min-pow" => self.min_pow.get().to_string(),
            "seal-every" => seconds(self.seal_every),
            "retention" => self.retention.map(seconds).unwrap_or_default(),
            "follow" => list(&self.follow),
            "follow-every" => seconds(self.follow_every),
            "lazy" => self.lazy.to_string(),
            "announce" => self.announce.to_string(),
            "publish" => text(self.publish.as_ref()),
            "publish-to" => list(&self.publish_to),
            "public-urls" => list(self.public_urls.http()),
            "store" => without_credentials(&self.store.address.to_string()),
            "store-keep" => self.store.keep.to_string(),
            "store-auth" => text(self.store.auth.as_ref().map(|_| "(set)")),
            "http" => text(self.http.address.as_ref()),
            "http-hosts" => list(&self.http.hosts),
            "http-origins" => list(&self.http.origins),
            "http-public" => self.http.public.to_string(),
            "denylists" => {
                let paths = self.http.denylists.iter().map(|path| path.display());
                list(&paths.collect::<Vec<_>>())
            }
            "rpc-open" => self.http.open.to_string(),
            "p2p" => text(self.p2p.listen.as_ref()),
            "p2p-public" => list(&self.p2p.public),
            "p2p-bootstrap" => {
                let dht = self.p2p.dht.as_ref();
                dht.map(|dht| list(&dht.bootstrap)).unwrap_or_default()
            }
            "p2p-dht" => text(self.p2p.dht.as_ref().map(|dht| format!("{:?}", dht.mode))),
            _ => String::new(),
        }
    }
}

fn text(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn list<T: Display>(values: &[T]) -> String {
    let texts = values
        .iter()
        .map(|value| without_credentials(&value.to_string()));
    texts.collect::<Vec<_>>().join(", ")
}

/// A URL without a user, a password and a query: keys and tokens stand there. Of an
/// enode the part before `@` is its public key, and stays.
pub(crate) fn without_credentials(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    if scheme == "enode" {
        return text.to_owned();
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{HttpPartial, StorePartial, parse};
    use crate::publish::Hints;

    #[test]
    fn every_key_is_told_with_who_set_it() {
        let path = Path::new("/data/gwa.toml");
        let file = parse(path, "seal-every = \"1m\"\nmin-pow = 0.5\nlazy = true").unwrap();
        let flags = Partial {
            min_pow: Some("0.25".parse().unwrap()),
            http: HttpPartial {
                hosts: Some(vec!["archive.example".to_owned()]),
                ..HttpPartial::default()
            },
            ..Partial::default()
        };
        let told = Settings::resolve(Path::new("/data"), flags, file).told();
        let keys: Vec<_> = told.iter().map(|setting| setting.key).collect();
        let but_limits: Vec<_> = KEYS
            .iter()
            .copied()
            .filter(|key| *key != "limits")
            .collect();
        assert_eq!(keys, but_limits);
        let of = |key: &str| {
            let setting = told.iter().find(|setting| setting.key == key).unwrap();
            (setting.value.clone(), setting.from)
        };
        assert_eq!(of("min-pow"), ("0.25".to_owned(), SetBy::Flag));
        assert_eq!(of("seal-every"), ("60s".to_owned(), SetBy::File));
        assert_eq!(of("lazy"), ("true".to_owned(), SetBy::File));
        assert_eq!(of("nat"), ("none".to_owned(), SetBy::Default));
        assert_eq!(
            of("http-hosts"),
            ("archive.example".to_owned(), SetBy::Flag)
        );
    }

    #[test]
    fn nothing_secret_is_told() {
        // Of one's own such an address is refused; were it not, it would not be shown.
        let urls = "https://user:hunter2-url@a.example/b?token=hunter2-query";
        let urls = Hints::read(vec![urls.to_owned()], None).unwrap();
        let flags = Partial {
            password: Some("hunter2-mail".parse().unwrap()),
            public_urls: Some(urls),
            store: StorePartial {
                auth: Some("bearer:hunter2-store".parse().unwrap()),
                ..StorePartial::default()
            },
            ..Partial::default()
        };
        let told = Settings::resolve(Path::new("/data"), flags, Partial::default()).told();
        assert!(
            told.iter()
                .all(|setting| !setting.value.contains("hunter2"))
        );
        let urls = told.iter().find(|one| one.key == "public-urls").unwrap();
        assert_eq!(urls.value, "https://a.example/b");
        let auth = told.iter().find(|one| one.key == "store-auth").unwrap();
        assert_eq!((&*auth.value, auth.from), ("(set)", SetBy::Flag));
    }
}
