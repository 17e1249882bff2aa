//! The explorer: the page at `/`, for people.
//!
//! Always true:
//! - The files of `web/dist` are part of the program: nothing is read from disk,
//!   and nothing is fetched from anywhere else.
//! - The page runs no script and applies no style but its own files, speaks to where
//!   it came from alone, stands in no frame and sends no form; the browser is told so
//!   in every answer, and holds it to that.
//! - What others wrote of it goes with their notices, `third-party.txt`.
//! - It passes the same door as what it asks of the node (`api::guard`): under a
//!   foreign name there is no page.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::api::gateway::is_known;

/// What the page may do: all that is not named is forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self'; worker-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types gwa";

/// Bytes of a file's hash that tell one version from another.
const TAG: usize = 16;

/// One file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    tag: LazyLock<HeaderValue>,
}

/// A file of `web/dist`; the tag is that of its bytes.
macro_rules! asset {
    ($index:literal, $path:literal, $kind:literal, $file:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            bytes: include_bytes!(concat!("../../web/dist/", $file)),
            tag: LazyLock::new(|| tag_of(ASSETS[$index].bytes)),
        }
    };
}

/// All of the page.
static ASSETS: [Asset; 6] = [
    asset!(0, "/", "text/html; charset=utf-8", "index.html"),
    asset!(1, "/app.js", "text/javascript; charset=utf-8", "app.js"),
    asset!(
        2,
        "/worker.js",
        "text/javascript; charset=utf-8",
        "worker.js"
    ),
    asset!(3, "/style.css", "text/css; charset=utf-8", "style.css"),
    asset!(4, "/icon.svg", "image/svg+xml", "icon.svg"),
    asset!(
        5,
        "/third-party.txt",
        "text/plain; charset=utf-8",
        "third-party.txt"
    ),
];

/// The routes of the page.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        router.route(
            asset.path,
            get(move |headers: HeaderMap| async move { asset.answer(&headers) }),
        )
    })
}

impl Asset {
    fn answer(&self, asked: &HeaderMap) -> Response {
        let tag = &*self.tag;
        let fixed = HeaderValue::from_static;
        let headers = HeaderMap::from_iter([
            (header::ETAG, tag.clone()),
            // A newer daemon has newer files under the same names.
            (header::CACHE_CONTROL, fixed("no-cache")),
            (header::CONTENT_SECURITY_POLICY, fixed(POLICY)),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (header::REFERRER_POLICY, fixed("no-referrer")),
            (header::CONTENT_TYPE, fixed(self.kind)),
        ]);
        let is_known = tag.to_str().is_ok_and(|tag| is_known(asked, tag));
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.bytes).into_response()
    }
}

fn tag_of(bytes: &[u8]) -> HeaderValue {
    let hash = hex::encode(&Sha256::digest(bytes)[..TAG]);
    HeaderValue::try_from(format!("\"{hash}\"")).expect("hex is plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all files may weigh together, bytes, as `web/build.mjs` has it.
    const MAX_WEIGHT: usize = 300_000;

    #[test]
    fn the_page_is_light() {
        let weight: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(weight < MAX_WEIGHT, "{weight} bytes");
    }

    #[test]
    fn the_page_names_no_file_that_is_not_served_and_no_other_host() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        for (at, _) in page
            .match_indices("src=\"")
            .chain(page.match_indices("href=\""))
        {
            let rest = &page[at..];
            let name = rest.split('"').nth(1).unwrap();
            let path = format!("/{name}");
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{name}");
        }
        assert!(!page.contains("//"), "an address of another host");
        assert!(!page.contains("<style") && !page.contains("style="));
    }

    #[test]
    fn every_file_comes_with_the_policy_and_is_not_sent_twice() {
        for asset in &ASSETS {
            let first = asset.answer(&HeaderMap::new());
            assert_eq!(first.status(), StatusCode::OK);
            assert_eq!(first.headers()["content-security-policy"], POLICY);
            assert_eq!(first.headers()["x-content-type-options"], "nosniff");
            let tag = first.headers()[header::ETAG].clone();
            let again = asset.answer(&HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            let newer = HeaderMap::from_iter([(
                header::IF_NONE_MATCH,
                HeaderValue::from_static("\"of another version\""),
            )]);
            assert_eq!(asset.answer(&newer).status(), StatusCode::OK);
        }
    }
}
