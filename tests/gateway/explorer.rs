//! The page at `/`, as a browser gets it.

use reqwest::header::{HOST, IF_NONE_MATCH, ORIGIN};

use crate::house::{House, header, send};

/// The page, and the files it names.
const FILES: [(&str, &str); 6] = [
    ("/", "text/html; charset=utf-8"),
    ("/app.js", "text/javascript; charset=utf-8"),
    ("/worker.js", "text/javascript; charset=utf-8"),
    ("/style.css", "text/css; charset=utf-8"),
    ("/icon.svg", "image/svg+xml"),
    ("/third-party.txt", "text/plain; charset=utf-8"),
];

#[tokio::test]
async fn the_page_comes_under_its_policy_and_once() {
    let house = House::new().await;
    for (path, kind) in FILES {
        let answer = send(house.get(path)).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(header(&answer, "content-type"), kind);
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        let policy = header(&answer, "content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        let tag = header(&answer, "etag");
        assert!(!answer.bytes().await.expect("a body").is_empty(), "{path}");
        let again = send(house.get(path).header(IF_NONE_MATCH, tag)).await;
        assert_eq!(again.status(), 304, "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn under_a_foreign_name_and_for_a_foreign_page_there_is_no_explorer() {
    let house = House::new().await;
    for (path, _) in FILES {
        for (name, value) in [
            (HOST, "gateway.example"),
            (ORIGIN, "https://page.example"),
            (ORIGIN, "null"),
        ] {
            let answer = send(house.get(path).header(name.clone(), value)).await;
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
        }
    }
    house.end().await;
}
