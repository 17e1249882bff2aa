//! Files as operators of status-go have them.

use super::*;
use crate::config::{KEYS, Partial, Settings, parse_table};

const NODE: &str = "enode://4d4b6cd1361032ca9bd2aeb9d900aa4d45d9ead80ac9423374c451a7254d07662a3eada2d0fe208b6d257ceb0f064284662e857f57b66b54c198bd310ded36d0@203.0.113.7:30303";

fn translated(text: &str) -> Translated {
    translate(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn settings(translated: &Translated) -> Settings {
    let file = parse_table(Path::new("/data/gwa.toml"), translated.table.clone()).unwrap();
    Settings::resolve(Path::new("/data"), Partial::default(), file)
}

fn noted(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.field.as_str()).collect()
}

#[test]
fn the_file_of_a_mailserver_becomes_settings() {
    let text = include_str!("../../../fixtures/status-go/mailserver.json");
    let translated = translated(text);
    assert_eq!(translated.problems, []);
    assert_eq!(translated.unknown, []);
    let settings = settings(&translated);
    assert_eq!(settings.listen, "0.0.0.0:30303".parse().unwrap());
    assert_eq!(settings.nat, "extip:203.0.113.9".parse().unwrap());
    assert_eq!(settings.limits.max_peers.get(), 50);
    assert_eq!(settings.limits.requests_per_second.get(), 1);
    assert_eq!(settings.limits.packets_per_second.get(), 200);
    assert_eq!(settings.limits.receive_kib_per_second.get(), 1_024);
    assert_eq!(settings.peers, [NODE.parse().unwrap()]);
    assert_eq!(settings.bootnodes, [NODE.parse().unwrap()]);
    assert!(!settings.discovery);
    assert_eq!(settings.password.expose(), "status-offline-inbox");
    assert_eq!(settings.min_pow.get(), 0.002);
    let month = std::time::Duration::from_secs(30 * 86_400);
    assert_eq!(settings.retention, Some(month));
    assert_eq!(settings.http.address, "127.0.0.1:8645".parse().ok());
    assert_eq!(settings.http.hosts, ["mail.example"]);
    assert_eq!(translated.node_key.unwrap().as_str(), "11".repeat(32));
    let noted = noted(&translated.notes);
    for field in ["WhisperConfig.DataDir", "LogLevel", "ClusterConfig.Fleet"] {
        assert!(noted.contains(&field), "{noted:?}");
    }
    // What is as it always is here, or says nothing, is not worth a word.
    for field in [
        "WhisperConfig.EnableMailServer",
        "WhisperConfig.LightClient",
    ] {
        assert!(!noted.contains(&field), "{noted:?}");
    }
}

#[test]
fn nobody_is_dialled_where_the_cluster_is_off() {
    let text = format!("{{\"ClusterConfig\": {{\"StaticNodes\": [\"{NODE}\"]}}}}");
    let translated = translated(&text);
    assert!(translated.table.is_empty());
    assert_eq!(noted(&translated.notes), ["ClusterConfig.StaticNodes"]);
}

#[test]
fn a_section_of_waku_is_read_as_that_of_whisper() {
    let translated = translated(r#"{"WakuConfig": {"Enabled": true, "MinimumPoW": 0.5}}"#);
    assert_eq!(settings(&translated).min_pow.get(), 0.5);
}

#[test]
fn names_are_told_apart_as_go_does() {
    let translated = translated(r#"{"listenaddr": ":1", "WHISPERCONFIG": {"minimumpow": 0.5}}"#);
    assert_eq!(settings(&translated).listen, "0.0.0.0:1".parse().unwrap());
    assert_eq!(settings(&translated).min_pow.get(), 0.5);
}

#[test]
fn what_nobody_knows_is_told_with_what_was_probably_meant() {
    let translated = translated(r#"{"LisenAddr": ":1", "WhisperConfig": {"MinPoW": 1}}"#);
    assert_eq!(
        noted(&translated.unknown),
        ["LisenAddr", "WhisperConfig.MinPoW"]
    );
    assert!(translated.unknown[0].says.contains("`ListenAddr`"));
    assert!(
        translated.unknown[1]
            .says
            .contains("`WhisperConfig.MinimumPoW`")
    );
    assert!(translated.problems.is_empty() && translated.table.is_empty());
}

#[test]
fn values_that_cannot_be_are_told_by_field_and_secrets_are_not_shown() {
    let text = r#"{
        "ListenAddr": "everywhere", "AdvertiseAddr": "a.example", "MaxPeers": -1,
        "NodeKey": "hunter2", "HTTPEnabled": "yes", "WhisperConfig": 7,
        "ClusterConfig": {"Enabled": true, "StaticNodes": ["enode://x"], "BootNodes": [1]},
        "WakuConfig": {"MinimumPoW": "much", "MailServerDataRetention": 1.5}
    }"#;
    let translated = translated(text);
    let mut fields: Vec<_> = translated
        .problems
        .iter()
        .map(|problem| problem.key.as_deref().unwrap())
        .collect();
    fields.sort_unstable();
    let expected = [
        "AdvertiseAddr",
        "ClusterConfig.BootNodes",
        "ClusterConfig.StaticNodes",
        "HTTPEnabled",
        "ListenAddr",
        "MaxPeers",
        "NodeKey",
        "WhisperConfig",
        "WhisperConfig.MailServerDataRetention",
        "WhisperConfig.MinimumPoW",
    ];
    assert_eq!(fields, expected);
    assert!(!format!("{:?}", translated.problems).contains("hunter2"));
}

#[test]
fn what_is_no_object_is_refused_with_its_place() {
    let problem = translate("{\n  \"a\": 1,\n}").unwrap_err();
    assert_eq!(problem.at.map(|at| at.line), Some(3));
    for text in ["", "[]", "7", "null", "{\"a\": "] {
        assert!(translate(text).is_err(), "{text}");
    }
}

#[test]
fn every_field_becomes_a_key_that_there_is() {
    for field in FIELDS {
        if let Becomes::Key(keys, _) = field.becomes {
            for key in keys.split(", ") {
                let key = key.split('.').next().unwrap_or_default();
                assert!(KEYS.contains(&key), "{}: {key}", field.path);
            }
        }
        assert_eq!(Field::find(field.path), Some(field), "{}", field.path);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(300))]
    #[test]
    fn whatever_stands_in_a_known_field_ends_in_settings_or_in_a_problem(
        which in 0..FIELDS.len(),
        value in "(null|true|-1|0|3|1e99|\"\"|\":1\"|\"é:1\"|\\[\"x\"\\]|\\{\\}|18446744073709551615)",
    ) {
        let mut text = value;
        for name in FIELDS[which].path.split('.').rev() {
            text = format!("{{\"{name}\": {text}}}");
        }
        let translated = translate(&text).unwrap();
        proptest::prop_assert!(translated.unknown.is_empty());
        if translated.problems.is_empty() {
            proptest::prop_assert!(
                parse_table(Path::new(""), translated.table).is_ok(), "{}", text
            );
        }
    }
}
