//! `/api/v1/openapi.json`: the HTTP interface for programs, as OpenAPI 3.1.
//!
//! Always true: every path of the router stands in it and nothing else does, but for
//! the files of the explorer's page; its version is the program's.

use axum::http::header;
use axum::response::IntoResponse;

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

/// Answers `/api/v1/openapi.json`.
pub(super) async fn get() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        // A newer daemon has a newer one.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn every_path_is_described_and_nothing_else() {
        use crate::api::{confidential, of_archive, of_blocks, of_heads, of_node};
        let all = [
            of_node(),
            confidential(),
            of_heads(),
            of_blocks(),
            of_archive(),
        ];
        let routed: BTreeSet<String> = all
            .into_iter()
            .flatten()
            // The same without a path, where there is nothing.
            .filter(|(path, _)| *path != "/ipfs/")
            .map(|(path, _)| path.replace("{*", "{"))
            .collect();
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<String> = paths.keys().cloned().collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn its_version_is_the_programs() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_what_changes_something_asks_for_the_token() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name}");
                // Each method of JSON-RPC says by itself what it needs.
                if method != "get" && path != "/rpc" {
                    let needed = &operation["security"][0]["token"];
                    assert!(needed.is_array(), "{method} {path}");
                }
            }
        }
    }
}
