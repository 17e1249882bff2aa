//! Settings that may each be as they are, and not together.

use super::Settings;

/// What of two settings cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {says}")]
pub struct Conflict {
    /// The key that is at fault.
    pub key: &'static str,
    /// What is wrong with it.
    pub says: String,
    /// What helps.
    pub hint: &'static str,
}

impl Settings {
    /// All that cannot be together; no daemon runs with one of them.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        if let Some(address) = self.http.address
            && self.http.open
            && !address.ip().is_loopback()
        {
            conflicts.push(Conflict {
                key: "rpc-open",
                says: format!("without a token `http` cannot be {address}, beyond loopback"),
                hint: "leave `rpc-open` out, and give clients DIR/rpc.token",
            });
        }
        if let Some(auth) = &self.store.auth
            && let Err(error) = self.store.address.check_auth(auth.expose())
        {
            conflicts.push(Conflict {
                key: "store-auth",
                says: error.to_string(),
                hint: "it is what the store of `store` asks for",
            });
        }
        conflicts
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Partial, parse};

    fn conflicts(text: &str) -> Vec<&'static str> {
        let file = parse(Path::new("/data/gwa.toml"), text).unwrap();
        let settings = Settings::resolve(Path::new("/data"), Partial::default(), file);
        let told = settings.conflicts();
        for conflict in &told {
            assert!(!conflict.to_string().contains("hunter2"), "{conflict}");
        }
        told.iter().map(|conflict| conflict.key).collect()
    }

    #[test]
    fn who_needs_no_token_is_on_this_machine() {
        assert_eq!(
            conflicts("rpc-open = true\nhttp = \"0.0.0.0:0\""),
            ["rpc-open"]
        );
        for alone in [
            "rpc-open = true",
            "rpc-open = true\nhttp = \"off\"",
            "rpc-open = false\nhttp = \"0.0.0.0:0\"",
        ] {
            assert!(conflicts(alone).is_empty(), "{alone}");
        }
    }

    #[test]
    fn each_store_is_given_what_it_asks_for() {
        let batch = "a5".repeat(32);
        for (store, auth, fits) in [
            ("kubo:http://127.0.0.1:5001", "hunter2", false),
            ("kubo:http://127.0.0.1:5001", "bearer:hunter2", true),
            ("kubo:http://127.0.0.1:5001", &batch, false),
            ("swarm:http://127.0.0.1:1633", "bearer:hunter2", false),
            ("swarm:http://127.0.0.1:1633", &batch, true),
            ("swarm:http://127.0.0.1:1633", &format!("0x{batch}"), true),
            // Those ask for nothing.
            ("embedded", "hunter2", true),
            ("folder:/mnt/nas", "hunter2", true),
        ] {
            let text = format!("store = \"{store}\"\nstore-auth = \"{auth}\"");
            assert_eq!(conflicts(&text).is_empty(), fits, "{store} {auth}");
        }
    }
}
