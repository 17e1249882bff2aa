//! `/health`: whether the daemon does its work.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::access::Grant;
use crate::config::without_credentials;
use crate::depot::WITHOUT_NAMES;
use crate::node::rounds::Round;

/// What a monitor reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// Whether what arrives can be archived.
    pub ok: bool,
    /// What is wrong, if anything.
    pub error: Option<Cow<'static, str>>,
    /// When the daemon started, in Unix seconds.
    pub since: u32,
    /// Whether it takes in envelopes; a mirror follows another archive instead.
    pub takes_in: bool,
    /// Peers connected.
    pub peers: usize,
    /// The head CID; none before the first seal.
    pub head: Option<String>,
    /// Why nothing can be carried to the store; the archive on this disk is none the worse.
    pub store_error: Option<String>,
    /// Since when, Unix seconds.
    pub store_failing_since: Option<u32>,
    /// Why names lead to no newer head; the archive is none the worse.
    pub name_error: Option<String>,
    /// Seconds since an envelope came that was new, from a peer or from an archive that
    /// is followed; none before the first.
    pub last_envelope_age: Option<u32>,
    /// How many archives are followed: asked for new heads again and again.
    #[serde(default)]
    pub follows: usize,
    /// Why the last round brought nothing of one of them.
    pub follow_error: Option<String>,
    /// Seconds since all of the newest head of one of them was here; none before the
    /// first time.
    pub last_followed_age: Option<u32>,
}

impl Health {
    /// The same for strangers, whom names of folders and hosts do not concern.
    fn without_names(self) -> Self {
        let told = |error: Option<String>| error.map(|_| WITHOUT_NAMES.to_owned());
        Self {
            store_error: told(self.store_error),
            name_error: told(self.name_error),
            follow_error: told(self.follow_error),
            ..self
        }
    }
}

/// Why what arrives cannot be archived, if that is so.
pub(super) fn trouble(api: &Api) -> Option<Cow<'static, str>> {
    let is_failing = api.pulse.read().is_failing;
    let failing = || is_failing.then_some("the archive fails to store envelopes".into());
    api.answering.trouble().or_else(failing)
}

/// What is wrong with following somebody, without what is secret in addresses.
fn follow_error(round: &Round) -> Option<String> {
    let trouble = round.trouble.as_ref()?;
    let words = trouble.split(' ').map(|word| match word.contains("://") {
        true => without_credentials(word),
        false => word.to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// Answers 200 if all is well, 503 if not; the body says what.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Extension(grant): Extension<Grant>,
) -> (StatusCode, Json<Health>) {
    let (pulse, error) = (api.pulse.read(), trouble(&api));
    let status = match error {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let store = api.carrier.as_ref().map(|carrier| carrier.status());
    let rounds = api.rounds.now();
    let now = api.node.now();
    let health = Health {
        ok: error.is_none(),
        error,
        since: api.since.0,
        takes_in: !api.archive.is_mirror(),
        peers: api.node.peers().len(),
        head: api.archive.head_cid().map(|cid| cid.to_string()),
        store_failing_since: store.as_ref().and_then(|store| store.failing_since),
        store_error: store.and_then(|store| store.error),
        name_error: api.name_trouble.now(),
        last_envelope_age: pulse.last_stored.map(|at| now.since(at)),
        follows: rounds.len(),
        follow_error: rounds.iter().find_map(follow_error),
        last_followed_age: (api.follow.last_success()).map(|at| now.since(at)),
    };
    let told = match grant {
        Grant::Read => health.without_names(),
        Grant::Near | Grant::All => health,
    };
    (status, Json(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::rounds::Purpose;

    #[test]
    fn whoever_looks_at_the_health_reads_no_password_of_an_address() {
        let round = |trouble: Option<&str>| Round {
            name: "https://me:hunter2@leader.example".to_owned(),
            purpose: Purpose::Origin,
            asked: None,
            verified: None,
            trouble: trouble.map(str::to_owned),
        };
        assert_eq!(follow_error(&round(None)), None);
        let trouble = "cannot ask https://me:hunter2@leader.example/head?key=hunter3: refused";
        let told = follow_error(&round(Some(trouble))).unwrap();
        assert_eq!(told, "cannot ask https://leader.example/head refused");
    }
}
