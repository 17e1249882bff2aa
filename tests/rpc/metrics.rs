//! What a monitor is told, against what just happened.

use serde_json::json;

use crate::house::{House, eventually, send};
use crate::mail::{late_comer, password};
use crate::scrape::Scrape;

/// status-go's names, as its `mailserver/metrics.go` has them, and what they are.
const STATUS_GO: [(&str, &str); 13] = [
    ("mailserver_envelopes_total", "counter"),
    ("mailserver_delivery_failures_total", "counter"),
    ("mailserver_delivery_attempts_total", "counter"),
    ("mailserver_requests_batched_total", "counter"),
    (
        "mailserver_requests_bundle_process_duration_seconds",
        "histogram",
    ),
    ("mailserver_sync_failures_total", "counter"),
    ("mailserver_sync_attempts_total", "counter"),
    ("mailserver_send_raw_envelope_duration_seconds", "histogram"),
    ("mailserver_sent_envelope_batch_size_bytes", "histogram"),
    ("mailserver_archived_envelopes_falures_total", "counter"),
    ("mailserver_archived_envelopes_total", "counter"),
    ("mailserver_archived_envelope_size_bytes", "histogram"),
    ("mailserver_delivery_duration_seconds", "histogram"),
];

async fn text(house: &House) -> String {
    let answer = send(house.get("/metrics")).await;
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("a text")
}

async fn scrape(house: &House) -> Scrape {
    Scrape::read(&text(house).await)
}

/// The series of an expression: every word of it that begins as a name of ours does.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| {
        let ours = ["gwa_", "mailserver_", "process_", "p2p_"];
        ours.iter().any(|start| word.starts_with(start))
    })
}

#[tokio::test]
async fn an_answer_to_a_mail_client_is_counted_under_the_names_of_status_go() {
    let (near, far, _) = late_comer(3).await;
    let before = scrape(&far).await;
    for (name, kind) in STATUS_GO {
        let typed = format!("# TYPE {name} {kind}\n");
        assert!(text(&far).await.contains(&typed), "{name}");
    }
    assert_eq!(before.value("mailserver_archived_envelopes_total"), 3.0);
    assert_eq!(before.value("mailserver_delivery_attempts_total"), 0.0);
    let size = "mailserver_archived_envelope_size_bytes";
    assert_eq!(before.value(&format!("{size}_count")), 3.0);
    assert_eq!(
        before.value(&format!("{size}_bucket{{le=\"1024.0\"}}")),
        3.0
    );
    let bytes = before.value(&format!("{size}_sum"));
    assert_eq!(before.value("gwa_archive_appended_bytes_total"), bytes);

    let retries = json!({"baseTimeout": 20_000_000_000u64, "stepTimeout": 0, "maxRetries": 1});
    let ask = async |key| {
        let request = json!({
            "mailServerPeer": far.enode.to_string(),
            "symKeyID": key,
            "topics": ["0x01020304"],
            "timeout": 20,
        });
        let sync = "shhext_requestMessagesSync";
        near.call(sync, json!([retries, request])).await
    };
    let answered = ask(password(&near).await).await;
    assert_eq!(answered["error"], json!(null));
    let refused = ask(near.shared_key().await).await;
    assert_eq!(refused["error"], "failed to decrypt p2p request");

    // The client is answered a moment before that is counted.
    eventually(async || {
        let told = scrape(&far).await;
        told.value("mailserver_delivery_duration_seconds_count") == 2.0
    })
    .await;
    let told = scrape(&far).await;
    for (series, expected) in [
        ("mailserver_delivery_attempts_total", 2.0),
        ("mailserver_envelopes_total", 3.0),
        ("mailserver_sent_envelope_batch_size_bytes_count", 1.0),
        ("mailserver_sent_envelope_batch_size_bytes_sum", bytes),
        (
            "mailserver_requests_bundle_process_duration_seconds_count",
            1.0,
        ),
        (
            "mailserver_delivery_failures_total{type=\"validation\"}",
            1.0,
        ),
        ("mailserver_delivery_failures_total{type=\"iterator\"}", 0.0),
        (
            "mailserver_delivery_failures_total{type=\"peer_req_limit\"}",
            0.0,
        ),
        ("mailserver_archived_envelopes_falures_total", 0.0),
        ("gwa_mail_duration_seconds_count", 2.0),
        ("gwa_mail_envelopes_total", 3.0),
        ("gwa_mail_requests_total{outcome=\"served\"}", 1.0),
        ("gwa_mail_requests_total{outcome=\"refused\"}", 1.0),
    ] {
        assert_eq!(told.value(series), expected, "{series}");
    }
    let sends = told.value("mailserver_send_raw_envelope_duration_seconds_count");
    assert!((1.0..=3.0).contains(&sends), "{sends} packets");
    let seconds = told.value("mailserver_delivery_duration_seconds_sum");
    assert!(seconds > 0.0 && seconds < 20.0, "{seconds} s");
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn another_mailserver_that_takes_over_the_archive_is_counted_too() {
    let (near, far, _) = late_comer(3).await;
    let request = json!({
        "mailServerPeer": far.enode.to_string(),
        "from": 0,
        "to": u32::MAX,
        "limit": 2,
    });
    let answer = near.call("shhext_syncMessages", json!([request])).await;
    assert_eq!(answer["error"], "", "{answer}");
    eventually(async || {
        let told = scrape(&far).await;
        told.value("mailserver_sent_envelope_batch_size_bytes_count") == 1.0
    })
    .await;
    let told = scrape(&far).await;
    assert_eq!(told.value("mailserver_sync_attempts_total"), 1.0);
    assert_eq!(told.value("mailserver_envelopes_total"), 2.0);
    for kind in ["req_per_sec_limit", "req_invalid", "iterator", "routine"] {
        let series = format!("mailserver_sync_failures_total{{type=\"{kind}\"}}");
        assert_eq!(told.value(&series), 0.0, "{kind}");
    }
    near.end().await;
    far.end().await;
}

#[tokio::test]
async fn envelopes_peers_and_bytes_are_those_of_the_node() {
    let (near, far, _) = late_comer(2).await;
    let status: serde_json::Value = send(far.get("/api/v1/status")).await.json().await.unwrap();
    let told = scrape(&far).await;
    let envelopes = &status["envelopes"];
    for (series, field) in [
        ("gwa_envelopes_received_total", "received"),
        ("gwa_envelopes_stored_total", "stored"),
        ("gwa_envelopes_duplicate_total", "duplicate"),
        ("gwa_last_envelope_timestamp_seconds", "last_stored"),
    ] {
        assert_eq!(
            Some(told.value(series)),
            envelopes[field].as_f64(),
            "{series}"
        );
    }
    assert_eq!(told.value("gwa_waiting_envelopes"), 2.0);
    assert_eq!(
        told.value("gwa_waiting_bytes"),
        told.value("gwa_archive_appended_bytes_total")
    );
    assert_eq!(told.value("gwa_archive_takes_in"), 1.0);
    let peers = |told: &Scrape, direction: &str| {
        told.value(&format!("gwa_peers{{direction=\"{direction}\"}}"))
    };
    assert_eq!(
        (peers(&told, "inbound"), peers(&told, "outbound")),
        (1.0, 0.0)
    );
    assert_eq!(told.value("p2p_peers_absolute"), 1.0);
    let received = "gwa_peer_bytes_total{direction=\"received\"}";
    let before = told.value(received);
    assert!(before > 0.0);

    // What a connection carried stays told when it is gone.
    near.end().await;
    eventually(async || peers(&scrape(&far).await, "inbound") == 0.0).await;
    let told = scrape(&far).await;
    assert!(told.value(received) >= before);
    // It says goodbye: somebody left, for whatever of the two reasons is heard first.
    let gone = |reason: &str| told.value(&format!("gwa_peer_drops_total{{reason=\"{reason}\"}}"));
    assert_eq!(gone("left") + gone("network"), 1.0);
    assert_eq!(gone("flood"), 0.0);
    far.end().await;
}

#[tokio::test]
async fn answers_over_http_are_counted_by_route_and_status() {
    let house = House::new().await;
    for (path, status) in [("/health", 200), ("/nothing/here", 404), ("/head", 404)] {
        assert_eq!(send(house.get(path)).await.status(), status, "{path}");
    }
    let foreign = house.get("/metrics").header("host", "elsewhere.example");
    assert_eq!(send(foreign).await.status(), 403);
    let told = scrape(&house).await;
    for (route, status, count) in [
        ("health", "2xx", 1.0),
        ("none", "4xx", 1.0),
        ("head", "4xx", 1.0),
        ("metrics", "4xx", 1.0),
        ("metrics", "2xx", 0.0),
        ("rpc", "5xx", 0.0),
    ] {
        let labels = format!("{{route=\"{route}\",status=\"{status}\"}}");
        let counted = told.value(&format!("gwa_http_requests_total{labels}"));
        assert_eq!(counted, count, "{labels}");
    }
    let durations = "gwa_http_request_duration_seconds_count{route=\"health\"}";
    assert_eq!(told.value(durations), 1.0);
    house.end().await;
}

#[tokio::test]
async fn each_scraper_gets_the_text_it_understands() {
    let house = House::new().await;
    let kind = |answer: &reqwest::Response| {
        let kind = &answer.headers()["content-type"];
        kind.to_str().expect("plain text").to_owned()
    };
    let plain = send(house.get("/metrics")).await;
    assert_eq!(kind(&plain), "text/plain; version=0.0.4; charset=utf-8");
    let accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5";
    let open = send(house.get("/metrics").header("accept", accept)).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(kind(&open), expected);
    let open = open.text().await.expect("a text");
    assert!(open.ends_with("\n# EOF\n"));
    assert!(open.contains("# TYPE gwa_envelopes_received counter\n"));
    assert!(open.contains("\ngwa_envelopes_received_total 0\n"));
    // The same names, in both.
    let plain = Scrape::read(&plain.text().await.expect("a text"));
    for line in open.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        assert!(plain.names.contains(name), "{name}");
    }
    house.end().await;
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_name_only_what_a_daemon_tells() {
    let house = House::new().await;
    let told = scrape(&house).await;
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");
    let read = |file: &str| std::fs::read_to_string(format!("{packaging}/{file}")).expect(file);
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("grafana/gwa.json")).expect("JSON");
    let mut shown = 0;
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            for name in names(expression) {
                assert!(told.names.contains(name), "the dashboard names {name}");
                shown += 1;
            }
        }
    }
    assert!(shown > 40, "the dashboard shows {shown} series");
    for file in ["prometheus/alerts.yml", "prometheus/alerts_test.yml"] {
        let text = read(file);
        for name in names(&text) {
            assert!(told.names.contains(name), "{file} names {name}");
        }
        assert!(names(&text).count() > 15, "{file}");
    }
    house.end().await;
}

#[test]
fn what_a_runbook_tells_to_type_works_beside_a_daemon_or_after_its_stop() {
    let alerts = include_str!("../../packaging/prometheus/alerts.yml");
    let runbooks: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: "))
        .collect();
    let mut told = 0;
    for runbook in &runbooks {
        // These have the archive to themselves.
        let alone = ["prune", "repair", "merge", "import", "seal", "sync", "fork"];
        let plain = alone
            .iter()
            .any(|it| runbook.contains(&format!("`gwa {it}")));
        assert!(!plain, "of which folder, and by whom? {runbook}");
        let typed = alone.map(|it| format!("`sudo -u gwa gwa --data /var/lib/gwa {it} "));
        let needs = typed.iter().filter_map(|command| runbook.find(command));
        if let Some(first) = needs.min() {
            let stop = runbook.find("`systemctl stop gwa`");
            assert!(stop.is_some_and(|stop| stop < first), "{runbook}");
            assert!(runbook.contains("`systemctl start gwa`"), "{runbook}");
            told += 1;
        }
    }
    assert!(told >= 5, "{told} runbooks of {}", runbooks.len());
}

#[test]
fn what_the_composed_service_sets_itself_can_be_set_from_outside() {
    let compose = include_str!("../../packaging/docker/compose.yaml");
    let (_, service) = compose.split_once("\n  gwa:\n").expect("the service");
    let (_, set) = service.split_once("    environment:\n").expect("settings");
    let set = set.lines().take_while(|line| line.starts_with("      "));
    let set = set.filter_map(|line| line.trim().split_once(": "));
    let mut names = Vec::new();
    for (name, value) in set.filter(|(name, _)| name.starts_with("GWA_")) {
        // A value of its own would go before that of gwa.env, and be the only one.
        assert!(value.contains(&format!("${{{name}:-")), "{name}: {value}");
        names.push(name);
    }
    assert_eq!(names, ["GWA_HTTP_HOSTS", "GWA_NAT"]);
    let install = include_str!("../../docs/install.md");
    for name in names {
        assert!(install.contains(&format!("`{name}`")), "{name}");
    }
}
