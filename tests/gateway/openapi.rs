//! The document of the interface, and that the interface does what it says.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::house::{House, header, send};

const PATH: &str = "/api/v1/openapi.json";

/// Every operation: its path, its method and what is said of it.
fn operations(document: &Value) -> Vec<(String, Method, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let method = method.to_uppercase().parse().expect("a method");
            operations.push((path.clone(), method, operation.clone()));
        }
    }
    operations
}

/// The path with a value in the place of its parameter.
fn filled_in(path: &str) -> String {
    path.replace("{day}", "2019-07-15").replace("{path}", "x")
}

#[tokio::test]
async fn every_path_below_the_interface_has_the_methods_that_are_described() {
    let house = House::new().await;
    let document = house.told(PATH).await;
    let operations = operations(&document);
    let paths: BTreeSet<&String> = operations.iter().map(|(path, ..)| path).collect();
    for path in paths.into_iter().filter(|path| *path != "/rpc") {
        let described: BTreeSet<String> = operations
            .iter()
            .filter(|(of, ..)| of == path)
            .map(|(_, method, _)| method.to_string())
            .collect();
        let probe = "PROBE".parse().expect("a method");
        let answer = send(house.request(probe, &filled_in(path))).await;
        assert_eq!(answer.status(), 405, "{path}");
        let allowed = header(&answer, "allow");
        let allowed = allowed.split(',').map(|method| method.trim().to_owned());
        // What may be read may be asked for without its body, and by any page.
        let allowed = allowed.filter(|method| method != "HEAD" && method != "OPTIONS");
        assert_eq!(allowed.collect::<BTreeSet<_>>(), described, "{path}");
    }
    house.end().await;
}

#[tokio::test]
async fn what_changes_something_needs_the_token_and_comes_from_here() {
    let house = House::new().await;
    let document = house.told(PATH).await;
    let changing: Vec<_> = operations(&document)
        .into_iter()
        .filter(|(_, _, operation)| operation["security"][0]["token"].is_array())
        .collect();
    assert!(changing.len() >= 2, "{changing:?}");
    for (path, method, _) in changing {
        let ask = || {
            let request = house.request(method.clone(), &path);
            request
                .header("content-type", "application/json")
                .body("{}")
        };
        for request in [ask(), ask().bearer_auth("guess")] {
            let answer = send(request).await;
            assert_eq!(answer.status(), 401, "{method} {path}");
            assert_eq!(header(&answer, "www-authenticate"), "Bearer", "{path}");
            says_why(&answer.text().await.expect("a body"));
        }
        for (name, value) in [
            ("host", "evil.example"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let answer = send(ask().bearer_auth(house.token()).header(name, value)).await;
            assert_eq!(answer.status(), 403, "{method} {path} {name}: {value}");
            says_why(&answer.text().await.expect("a body"));
        }
    }
    house.end().await;
}

/// Fails where a body is not what the document calls an error.
fn says_why(body: &str) {
    let told: Value = serde_json::from_str(body).expect("JSON");
    let members: Vec<&String> = told.as_object().expect("an object").keys().collect();
    assert!(told["error"].as_str().is_some_and(|why| !why.is_empty()));
    assert!(
        members
            .iter()
            .all(|member| ["error", "hint"].contains(&member.as_str()))
    );
}

#[tokio::test]
async fn whatever_fails_says_why_as_json() {
    let house = House::new().await;
    let long = vec![b' '; 6 << 20];
    let post = |body: Vec<u8>| {
        let post = house.request(Method::POST, "/api/v1/messages");
        post.bearer_auth(house.token())
            .header("content-type", "application/json")
            .body(body)
    };
    for (request, status) in [
        (house.get("/api/v1/nothing"), 404),
        (house.get("/api/v1/"), 404),
        (house.request(Method::DELETE, "/api/v1/status"), 405),
        (house.get("/api/v1/heads?limit=x"), 400),
        (house.get("/api/v1/days/%ff"), 400),
        (
            house.get("/api/v1/status").header("host", "evil.example"),
            403,
        ),
        (house.get("/health").header("host", "evil.example"), 403),
        (house.get("/api/v1/status?token=guess"), 401),
        (house.get("/head?format=xml"), 406),
        (house.get("/api/v1/heads?format=xml"), 406),
        (post(long), 413),
        (post(b"{".to_vec()), 400),
    ] {
        let answer = send(request).await;
        let path = answer.url().path().to_owned();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            header(&answer, "content-type"),
            "application/json",
            "{path}"
        );
        says_why(&answer.text().await.expect("a body"));
    }
    house.end().await;
}
