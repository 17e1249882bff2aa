//! The secrets of a data folder and of the environment: what is looked for, so that it
//! is nowhere.

use std::fs;
use std::path::Path;

use super::scrub::Scrubber;
use crate::config::{DEFAULT_PASSWORD, Settings};

/// Largest file that is taken for a key or a token, in bytes.
const MAX_SECRET: u64 = 64 << 10;

/// Where in a data folder files of secrets lie: in itself, and in that of names.
const FOLDERS: [&str; 2] = [".", "ipns"];

/// How the names of such files end: `archive.key`, `swarm.key`, `rpc.token`.
const ENDS: [&str; 2] = ["key", "token"];

/// Variables of the environment that hold secrets, by how their names end.
const VARIABLES: [&str; 5] = ["PASSWORD", "TOKEN", "SECRET_ACCESS_KEY", "_AUTH", "SECRET"];

/// What cuts out all of them.
pub(super) fn scrubber(data: &Path, settings: &Settings) -> Scrubber {
    let mut secrets = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(data.join(folder)).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            let end = path.extension().unwrap_or_default();
            if ENDS.iter().any(|secret| end == *secret) {
                secrets.extend(of_file(&path));
            }
        }
    }
    secrets.extend(of_file(&settings.node_key));
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
    let is_small =
        fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= MAX_SECRET);
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
