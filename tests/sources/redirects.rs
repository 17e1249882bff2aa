//! Sources that send us elsewhere.

use gwa::blocks::BlockSource;

use super::house::{leaf, pool, store};
use super::server::{Reply, Server, honest};

#[test]
fn a_host_may_move_within_itself_three_times() {
    for moves in 0..6usize {
        let block = leaf("x");
        let blocks = store(std::slice::from_ref(&block));
        let server = Server::new(move |asked| {
            let moved = asked.path.matches("/on").count();
            if moved < moves {
                let cid = asked.path.rsplit('/').next().unwrap_or_default();
                return Reply::redirect(format!(
                    "/ipfs{}/{cid}?format=raw",
                    "/on".repeat(moved + 1)
                ));
            }
            let mut asked = asked.clone();
            asked.path = asked.path.replace("/on", "");
            honest(&blocks, &asked)
        });
        let pool = pool(&[&server.url]);
        let got = pool.get(block.cid());
        if moves <= 3 {
            assert_eq!(got.unwrap(), block, "{moves} moves");
        } else {
            let error = got.unwrap_err().to_string();
            assert!(error.contains("more than 3 redirects"), "{error}");
            assert_eq!(server.requests(), 4);
        }
    }
}

#[test]
fn a_loop_of_redirects_ends() {
    let server = Server::new(|asked| Reply::redirect(format!("{}?{}", asked.path, asked.query)));
    let error = pool(&[&server.url]).get(leaf("x").cid()).unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    assert_eq!(server.requests(), 4);
}

#[test]
fn nobody_is_sent_into_a_private_network() {
    let inner = Server::gateway(store(&[leaf("secret")]));
    let port = inner.url.rsplit(':').next().unwrap().to_owned();
    for to in [
        inner.url.clone(),
        format!("http://localhost:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://0x7f.1:{port}"),
        "http://10.0.0.1".to_owned(),
        "http://169.254.169.254".to_owned(),
        "http://[fe80::1]".to_owned(),
    ] {
        let target = to.clone();
        let server = Server::new(move |asked| {
            Reply::redirect(format!("{target}{}?{}", asked.path, asked.query))
        });
        let error = pool(&[&server.url]).get(leaf("secret").cid()).unwrap_err();
        assert!(
            error.to_string().contains("no public address"),
            "{to}: {error}"
        );
        assert!(error.to_string().contains(&server.url), "{to}: {error}");
    }
    assert_eq!(inner.requests(), 0, "somebody was sent to a private host");
    // Whom the user names, the user may ask.
    assert!(pool(&[&inner.url]).get(leaf("secret").cid()).is_ok());
}

#[test]
fn other_schemes_are_not_followed() {
    for to in [
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://x/",
        "javascript:1",
        "",
    ] {
        let server = Server::new(move |_| Reply::redirect(to));
        let error = pool(&[&server.url]).get(leaf("x").cid()).unwrap_err();
        assert!(!error.is_missing(), "{to}: {error}");
    }
}
