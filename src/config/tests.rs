//! What `gwa.toml` and the environment may say.

use super::*;

fn parsed(text: &str) -> Result<Partial, ConfigError> {
    parse(Path::new("/data/gwa.toml"), text)
}

#[test]
fn every_key_is_read() {
    let id = crate::rlpx::NodeKey::generate().id();
    let peer = Enode::new(id, "127.0.0.1:1".parse().unwrap());
    let file = parsed(&format!(
        r#"
            listen = "127.0.0.1:0"
            password = "open sesame"
            node-key = "keys/node"
            peers = ["{peer}"]
            archivers = ["{peer}"]
            reconcile-every = "5m"
            nat = "extip:203.0.113.7"
            min-pow = 0.5
            seal-every = "10m"
            http = "off"
            http-hosts = ["archive.example"]
            http-origins = ["https://page.example"]
            http-public = false
            denylists = ["bad.deny", "/etc/worse.deny"]
            follow = ["https://other.example"]
            follow-every = "2m"
            lazy = true
            announce = true
            public-urls = ["https://archive.example"]
            rpc-open = true
            retention = "30d"
            [limits]
            max-peers = 3
            "#,
    ))
    .unwrap();
    let settings = Settings::resolve(Path::new("/data"), Partial::default(), file);
    assert_eq!(settings.listen, "127.0.0.1:0".parse().unwrap());
    assert_eq!(settings.password.expose(), "open sesame");
    assert_eq!(settings.node_key, Path::new("/data/keys/node"));
    assert_eq!(settings.peers, [peer]);
    assert_eq!(settings.archivers, [peer]);
    assert_eq!(settings.follow, ["https://other.example".parse().unwrap()]);
    assert_eq!(settings.follow_every, Duration::from_secs(120));
    assert!(settings.lazy);
    assert!(settings.announce);
    assert_eq!(settings.public_urls.http(), ["https://archive.example"]);
    assert_eq!(settings.reconcile_every, Duration::from_secs(300));
    assert_eq!(settings.nat, "extip:203.0.113.7".parse().unwrap());
    assert_eq!(settings.min_pow, Pow::new(0.5).unwrap());
    assert_eq!(settings.seal_every, Duration::from_secs(600));
    assert_eq!(settings.http.address, None);
    assert_eq!(settings.http.hosts, ["archive.example"]);
    assert_eq!(settings.http.origins, ["https://page.example"]);
    assert!(settings.http.open);
    assert_eq!(settings.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(settings.limits.max_peers.get(), 3);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let file = parsed("seal-every = 60\nmin-pow = 1").unwrap();
    let flags = Partial {
        seal_every: Some(Span(Duration::from_secs(30))),
        ..Partial::default()
    };
    let settings = Settings::resolve(Path::new("/data"), flags, file);
    assert_eq!(settings.seal_every, Duration::from_secs(30));
    assert_eq!(settings.min_pow, Pow::new(1.0).unwrap());
    assert_eq!(settings.listen, "127.0.0.1:30303".parse().unwrap());
    assert_eq!(settings.node_key, Path::new("/data/node.key"));
}

#[test]
fn discovery_is_on_where_there_is_somebody_to_find() {
    let id = crate::rlpx::NodeKey::generate().id();
    let boot = Enode::new(id, "127.0.0.1:1".parse().unwrap());
    let bootnodes = format!("bootnodes = [\"{boot}\"]\n");
    for (text, is_on) in [
        ("", false),
        ("listen = \"0.0.0.0:0\"", true),
        (&bootnodes, true),
        (&format!("{bootnodes}discovery = false"), false),
        ("discovery = true", true),
    ] {
        let file = parsed(text).unwrap();
        let settings = Settings::resolve(Path::new("/data"), Partial::default(), file);
        assert_eq!(settings.discovery, is_on, "{text}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    for (written, meant) in [
        ("lisen = 1", "listen"),
        ("min_pow = 1", "min-pow"),
        ("peer = 1", "peers"),
        ("seal = 1", "seal-every"),
    ] {
        match parsed(written) {
            Err(ConfigError::UnknownKey { nearest, .. }) => assert_eq!(nearest, meant),
            other => panic!("{written}: {other:?}"),
        }
    }
}

#[test]
fn values_of_another_shape_are_refused_by_key() {
    for (text, named) in [
        ("listen = \"here\"", "listen"),
        ("nat = \"stun\"", "nat"),
        ("min-pow = -1", "min-pow"),
        ("min-pow = nan", "min-pow"),
        ("peers = [\"enode://\"]", "peers"),
        ("seal-every = \"0s\"", "seal-every"),
        ("password = [1]", "password"),
        ("http = \"here\"", "http"),
        ("rpc-open = 1", "rpc-open"),
        ("http-hosts = [\"bad host/\"]", "http-hosts"),
        ("http-origins = [\"not an origin\"]", "http-origins"),
        ("follow = [\"nonsense here\"]", "follow"),
        ("[limits]\nrequests = 1", "limits"),
        ("[limits]\nmax-peers = 0", "limits"),
    ] {
        match parsed(text) {
            Err(ConfigError::Value { key, .. }) => assert_eq!(key, named),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(
        parsed("listen ="),
        Err(ConfigError::Syntax { .. })
    ));
    // What stands in a line that is no TOML may be a password.
    let told = parsed("nat = \"none\"\npassword = \"hunter2").unwrap_err();
    let shown = format!("{told} {told:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(told.to_string().contains(":2:"), "{told}");
}

#[test]
fn a_span_is_a_number_and_a_unit() {
    for (text, seconds) in [
        ("30", 30),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3_600),
        ("2d", 172_800),
    ] {
        assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))));
    }
    for text in ["", "m", "5 m", "5x", "0s", "-1s", "1.5h", "99999999999d"] {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }
}

#[test]
fn a_password_is_not_printed() {
    let password: Password = "open sesame".parse().unwrap();
    assert_eq!(format!("{password:?}"), "Password(..)");
}
