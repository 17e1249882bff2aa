//! What the running daemon says, where one runs.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Bundle;
use crate::cli::context::Context;
use crate::cli::daemon::DaemonAt;
use crate::cli::error::CliError;

/// How much of the id of a peer is told: enough to tell two apart.
const SHORT_ID: usize = 8;

/// What is asked for, the name of the answer, and what it is about.
const ASKED: [(&str, &str, &str); 6] = [
    ("/health", "health.json", "whether the daemon does its work"),
    (
        "/api/v1/status",
        "status.json",
        "what the daemon is, and did so far",
    ),
    (
        "/api/v1/diagnostics",
        "diagnostics.json",
        "its settings, limits, disk, memory, and last warnings",
    ),
    (
        "/api/v1/stats",
        "stats.json",
        "what the archive holds, by month",
    ),
    ("/api/v1/verify", "verify.json", "the last verification"),
    (
        "/api/v1/peers",
        "peers.json",
        "who is connected, and who was dropped and why; ids and addresses cut",
    ),
];

/// Adds what the daemon says; where none answers, that.
pub(super) fn add(bundle: &mut Bundle, context: &Context) {
    let daemon = match DaemonAt::of_folder(context) {
        Ok(daemon) => daemon,
        Err(error) => return add_none(bundle, &error),
    };
    for (at, (path, name, about)) in ASKED.into_iter().enumerate() {
        // Ill health is an answer too.
        let told = daemon.ask::<Value>(path, &[StatusCode::SERVICE_UNAVAILABLE]);
        match told {
            Ok(mut told) => {
                shorten_ids(&mut told);
                bundle.add(name, about, &told);
            }
            Err(error) if at == 0 => return add_none(bundle, &error),
            Err(error) => bundle.add(name, about, &json!({ "error": error.brief() })),
        }
    }
    match daemon.text("/metrics") {
        Ok(told) => bundle.add_text("metrics.txt", "the figures a monitor is told", &told),
        Err(error) => bundle.add(
            "metrics.txt",
            "why there are none",
            &json!({ "error": error.brief() }),
        ),
    }
}

fn add_none(bundle: &mut Bundle, error: &CliError) {
    bundle.add(
        "daemon.json",
        "why no daemon was asked",
        &json!({ "error": error.brief() }),
    );
}

/// Ids of peers, cut short wherever they stand.
fn shorten_ids(told: &mut Value) {
    match told {
        Value::Array(values) => values.iter_mut().for_each(shorten_ids),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(id) if matches!(&**name, "id" | "peer") => {
                        *id = id.chars().take(SHORT_ID).collect();
                    }
                    value => shorten_ids(value),
                }
            }
        }
        _ => {}
    }
}
