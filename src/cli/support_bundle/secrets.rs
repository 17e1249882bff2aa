//! The secrets of a data folder and of the environment: what is looked for, so that it
//! is nowhere.

use std::fs;
use std::path::Path;

use super::scrub::Scrubber;
use crate::api::token_file;
use crate::config::{DEFAULT_PASSWORD, Settings};

/// Largest file that is taken for a key or a token, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Files of secrets in a data folder, beside that of the node key.
const FILES: [&str; 4] = ["archive.key", "node.key", "p2p.key", token_file::NAME];

/// The folder of the keys of names.
const NAMES: &str = "ipns";

/// Variables of the environment that hold secrets, by how their names end.
const VARIABLES: [&str; 5] = ["PASSWORD", "TOKEN", "SECRET_ACCESS_KEY", "_AUTH", "SECRET"];

/// What cuts out all of them.
pub(super) fn scrubber(data: &Path, settings: &Settings) -> Scrubber {
    let mut secrets = Vec::new();
    let mut of_file = |path: &Path| secrets.extend(of_file(path));
    for name in FILES {
        of_file(&data.join(name));
    }
    of_file(&settings.node_key);
    let names = fs::read_dir(data.join(NAMES)).into_iter().flatten();
    for entry in names.flatten() {
        if entry.path().extension().is_some_and(|end| end == "key") {
            of_file(&entry.path());
        }
    }
    // The one that every Status client knows is none.
    let password = settings.password.expose();
    if password != DEFAULT_PASSWORD {
        secrets.push(password.to_owned());
    }
    if let Some(auth) = &settings.store.auth {
        secrets.extend(of_auth(auth.expose()));
    }
    for (name, value) in std::env::vars() {
        if VARIABLES.iter().any(|end| name.ends_with(end)) && value != DEFAULT_PASSWORD {
            secrets.extend(of_auth(&value));
        }
    }
    Scrubber::new(secrets)
}

/// What a file holds, as text and as hex.
fn of_file(path: &Path) -> Vec<String> {
    let is_small = fs::metadata(path).is_ok_and(|about| about.len() <= MAX_SECRET);
    let Some(bytes) = is_small.then(|| fs::read(path).ok()).flatten() else {
        return Vec::new();
    };
    let mut secrets = vec![hex::encode(&bytes)];
    secrets.extend(String::from_utf8(bytes).ok());
    secrets
}

/// Credentials as a whole, and the part of them that is secret: what follows the last
/// colon of `bearer:TOKEN` and `basic:USER:PASSWORD`.
fn of_auth(text: &str) -> Vec<String> {
    let last = text.rsplit(':').next().unwrap_or_default();
    vec![text.to_owned(), last.to_owned()]
}
