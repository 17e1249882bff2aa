//! The JSON configuration of a status-go node, as far as it is about its mailserver.
//!
//! Always true:
//! - Every field that status-go has is known: it becomes a key of `gwa.toml`, or it is
//!   said why not. What nobody knows is told, and is no error, as it is none there.
//! - What a field becomes is judged by the code that reads `gwa.toml`.
//! - Names are told apart as Go does: without regard to capitals.
//!
//! The fields are in `status_go/fields`.

pub mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use self::fields::{Becomes, FIELDS, Field};
use super::check::{Place, Problem};
use super::{ConfigError, nearest, parse_table};
use crate::rlpx::NodeKey;

/// Longest file that is read: status-go's own are some kilobytes.
pub const MAX_FILE: u64 = 1 << 20;

/// What status-go serves JSON-RPC at where its file names none.
const HTTP_HOST: &str = "localhost";
/// As well.
const HTTP_PORT: i64 = 8_545;

/// A field, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// The field, as the file names it.
    pub field: String,
    /// What there is to know.
    pub says: String,
}

/// What a file amounts to.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    /// The keys of `gwa.toml`.
    pub table: toml::Table,
    /// Which field became which key.
    pub taken: Vec<(&'static str, &'static str)>,
    /// The secret key of the node, as hex, if the file has it.
    pub node_key: Option<Zeroizing<String>>,
    /// Fields that have no counterpart, or not quite.
    pub notes: Vec<Note>,
    /// Fields that status-go does not have either.
    pub unknown: Vec<Note>,
    /// Values that cannot be what they should.
    pub problems: Vec<Problem>,
}

/// Reads the text of a file. Fails where it is no JSON object at all.
pub fn translate(text: &str) -> Result<Translated, Problem> {
    let whole = |at, says: String| Problem {
        at,
        key: None,
        says,
        hint: None,
    };
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let at = Place {
            line: error.line(),
            column: error.column(),
        };
        whole(Some(at), error.to_string())
    })?;
    let Value::Object(root) = value else {
        return Err(whole(
            None,
            "no JSON object: the file of a node is one".to_owned(),
        ));
    };
    let mut translation = Translation::default();
    translation.gather("", root);
    translation.translate();
    Ok(translation.out)
}

#[derive(Default)]
struct Translation {
    fields: BTreeMap<&'static str, Value>,
    out: Translated,
}

impl Translation {
    /// Takes in an object, the section `prefix` of the file.
    fn gather(&mut self, prefix: &str, object: serde_json::Map<String, Value>) {
        for (name, value) in object {
            let path = match prefix {
                "" => name,
                prefix => format!("{prefix}.{name}"),
            };
            let Some(field) = Field::find(&path) else {
                let names: Vec<_> = FIELDS.iter().map(|field| field.path).collect();
                let says = format!(
                    "status-go has no such field; is `{}` meant?",
                    nearest(&names, &path)
                );
                self.out.unknown.push(Note { field: path, says });
                continue;
            };
            match (field.becomes, value) {
                (Becomes::Section, Value::Object(section)) => {
                    if field.path == "WakuConfig" && !section.is_empty() {
                        self.note(
                            field.path,
                            "gwa speaks Whisper; the settings are taken for it",
                        );
                    }
                    self.gather(field.path, section);
                }
                (Becomes::Section, Value::Null) => {}
                (Becomes::Section, _) => self.refuse(field.path, "an object was expected"),
                (_, value) if is_zero(&value) && field.is_silent_when_zero() => {}
                (Becomes::Nothing(""), _) => {}
                (Becomes::Nothing(why), _) => self.note(field.path, why),
                (_, value) => {
                    self.fields.insert(field.path, value);
                }
            }
        }
    }

    fn translate(&mut self) {
        self.listen();
        self.node_key();
        self.nodes();
        self.mailserver();
        self.http();
        self.limits();
        // One by one, so that each problem is that of a field.
        for (field, key) in self.out.taken.clone() {
            let alone = match key.split_once('.') {
                None => alone(&self.out.table, key),
                Some((table, limit)) => {
                    let limits = self.out.table.get(table).and_then(toml::Value::as_table);
                    let limit = limits.and_then(|limits| alone(limits, limit));
                    limit.map(|limit| toml::Table::from_iter([(table.to_owned(), limit.into())]))
                }
            };
            let Some(alone) = alone else { continue };
            if let Err(error) = parse_table(Path::new(""), alone) {
                match error {
                    ConfigError::Value { reason, .. } => self.refuse(field, reason),
                    other => self.refuse(field, other.to_string()),
                }
            }
        }
    }

    fn listen(&mut self) {
        if let Some(address) = self.text("ListenAddr") {
            let address = match address.split_once(':') {
                // Go listens everywhere where no host is named.
                Some(("", port)) => format!("0.0.0.0:{port}"),
                Some(("localhost", port)) => format!("127.0.0.1:{port}"),
                _ => address,
            };
            self.set("ListenAddr", "listen", address);
        }
        if let Some(ip) = self.text("AdvertiseAddr") {
            self.set("AdvertiseAddr", "nat", format!("extip:{ip}"));
        }
        if let Some(no_discovery) = self.yes("NoDiscovery") {
            self.set("NoDiscovery", "discovery", !no_discovery);
        }
    }

    fn node_key(&mut self) {
        let asym = self
            .text("WhisperConfig.MailServerAsymKey")
            .map(Zeroizing::new);
        let key = self.text("NodeKey").map(Zeroizing::new);
        if let (Some(asym), key) = (&asym, &key)
            && key.as_ref() != Some(asym)
        {
            self.note(
                "WhisperConfig.MailServerAsymKey",
                "requests that are sealed to the node's own key are read, those to another key are not",
            );
        }
        if let Some(key) = key {
            match key.parse::<NodeKey>() {
                Ok(_) => {
                    self.out.node_key = Some(key);
                    self.out.taken.push(("NodeKey", "node-key"));
                }
                Err(error) => self.refuse("NodeKey", error.to_string()),
            }
        }
    }

    fn nodes(&mut self) {
        let is_on = self.yes("ClusterConfig.Enabled").unwrap_or(false);
        for (field, key) in [
            ("ClusterConfig.StaticNodes", "peers"),
            ("ClusterConfig.BootNodes", "bootnodes"),
        ] {
            let Some(nodes) = self.list(field) else {
                continue;
            };
            match is_on {
                true => self.set(field, key, nodes),
                false => self.note(
                    field,
                    "`ClusterConfig.Enabled` is not true: nobody dials them",
                ),
            }
        }
        if is_on && self.out.table.contains_key("bootnodes") {
            self.note(
                "ClusterConfig.BootNodes",
                "gwa asks by discovery v4; nodes that know v5 alone do not answer it",
            );
        }
    }

    fn mailserver(&mut self) {
        let field = "WhisperConfig.MinimumPoW";
        match self.fields.remove(field) {
            Some(Value::Number(pow)) => match pow.as_f64() {
                Some(pow) => self.set(field, "min-pow", pow),
                None => self.refuse(field, "a number was expected"),
            },
            Some(_) => self.refuse(field, "a number was expected"),
            None => {}
        }
        if let Some(password) = self.text("WhisperConfig.MailServerPassword") {
            self.set("WhisperConfig.MailServerPassword", "password", password);
        }
        if let Some(days) = self.number("WhisperConfig.MailServerDataRetention") {
            self.set(
                "WhisperConfig.MailServerDataRetention",
                "retention",
                format!("{days}d"),
            );
        }
    }

    fn http(&mut self) {
        let enabled = self.yes("HTTPEnabled");
        // What it was called until 2018.
        let enabled = self.yes("RPCEnabled").or(enabled);
        let host = self
            .text("HTTPHost")
            .unwrap_or_else(|| HTTP_HOST.to_owned());
        let port = self.number("HTTPPort").unwrap_or(HTTP_PORT);
        let host = match host.as_str() {
            "localhost" => "127.0.0.1",
            host => host,
        };
        match enabled {
            Some(true) => self.set("HTTPEnabled", "http", format!("{host}:{port}")),
            Some(false) => self.note(
                "HTTPEnabled",
                "the explorer and JSON-RPC stay where gwa has them, on this machine alone; `http = \"off\"` ends them",
            ),
            None => {}
        }
        for (field, key) in [
            ("HTTPVirtualHosts", "http-hosts"),
            ("HTTPCors", "http-origins"),
        ] {
            if let Some(mut names) = self.list(field) {
                // Any host to status-go; here names that are looked for.
                if key == "http-hosts" && names.iter().any(|name| name == "*") {
                    names.retain(|name| name != "*");
                    self.note(field, "names have to be listed: `*` allows none");
                }
                if key == "http-origins" && names.iter().any(|name| name == "*") {
                    let says = "`*` lets every web page that a browser here opens read the answers";
                    self.note(field, says);
                }
                if !names.is_empty() {
                    self.set(field, key, names);
                }
            }
        }
    }

    fn limits(&mut self) {
        let mut limits = toml::Table::new();
        if let Some(most) = self.number("MaxPeers") {
            match most {
                0 => self.note(
                    "MaxPeers",
                    "0 leaves the limit as it is: gwa has a place at least",
                ),
                most => {
                    limits.insert("max-peers".to_owned(), most.into());
                    self.out.taken.push(("MaxPeers", "limits.max-peers"));
                }
            }
        }
        let field = "WhisperConfig.MailServerRateLimit";
        if let Some(seconds) = self.number(field) {
            limits.insert("requests-per-second".to_owned(), 1.into());
            self.out.taken.push((field, "limits.requests-per-second"));
            if seconds > 1 {
                self.note(
                    field,
                    "one request a second is the least that gwa can be set to",
                );
            }
        }
        let is_limited = self.yes("WhisperConfig.EnableRateLimiter").unwrap_or(false);
        for (field, key, unit) in [
            (
                "WhisperConfig.PacketRateLimitPeerID",
                "limits.packets-per-second",
                1,
            ),
            (
                "WhisperConfig.BytesRateLimitPeerID",
                "limits.receive-kib-per-second",
                1_024,
            ),
        ] {
            match self.number(field) {
                Some(rate) if is_limited => {
                    let name = key.trim_start_matches("limits.").to_owned();
                    limits.insert(name, (rate / unit).max(1).into());
                    self.out.taken.push((field, key));
                }
                _ => {}
            }
        }
        if !limits.is_empty() {
            self.out.table.insert("limits".to_owned(), limits.into());
        }
    }

    fn set(&mut self, field: &'static str, key: &'static str, value: impl Into<toml::Value>) {
        self.out.table.insert(key.to_owned(), value.into());
        self.out.taken.push((field, key));
    }

    fn note(&mut self, field: &str, says: impl Into<String>) {
        self.out.notes.push(Note {
            field: field.to_owned(),
            says: says.into(),
        });
    }

    fn refuse(&mut self, field: &str, says: impl Into<String>) {
        self.out.problems.push(Problem {
            at: None,
            key: Some(field.to_owned()),
            says: says.into(),
            hint: None,
        });
    }

    fn text(&mut self, field: &'static str) -> Option<String> {
        match self.fields.remove(field)? {
            Value::String(text) => Some(text),
            _ => {
                self.refuse(field, "a text was expected");
                None
            }
        }
    }

    /// A number of 0 or more.
    fn number(&mut self, field: &'static str) -> Option<i64> {
        let number = self
            .fields
            .remove(field)?
            .as_i64()
            .filter(|number| *number >= 0);
        if number.is_none() {
            self.refuse(field, "a whole number of 0 or more was expected");
        }
        number
    }

    fn yes(&mut self, field: &'static str) -> Option<bool> {
        let yes = self.fields.remove(field)?.as_bool();
        if yes.is_none() {
            self.refuse(field, "true or false was expected");
        }
        yes
    }

    fn list(&mut self, field: &'static str) -> Option<Vec<String>> {
        let value = self.fields.remove(field)?;
        let texts = value.as_array().and_then(|list| {
            let text = |one: &Value| one.as_str().map(str::to_owned);
            list.iter().map(text).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.refuse(field, "a list of texts was expected");
        }
        texts
    }
}

/// The entry `key` of `table`, as a table of nothing else.
fn alone(table: &toml::Table, key: &str) -> Option<toml::Table> {
    let value = table.get(key)?.clone();
    Some(toml::Table::from_iter([(key.to_owned(), value)]))
}

/// What Go has where a file says nothing.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}
