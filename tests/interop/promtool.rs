//! Prometheus' own checker reads what a daemon tells, and the files that come with it.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::running::Running;

fn promtool(args: &[&str], input: &str) -> Output {
    let program = env::var_os("GWA_PROMTOOL").expect("GWA_PROMTOOL names promtool");
    let mut promtool = Command::new(program)
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    // One that takes no input may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    promtool.wait_with_output().unwrap()
}

/// Demands that the checker has nothing to say against it.
fn passes(args: &[&str], input: &str) {
    let output = promtool(args, input);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
    // What it only advises against is told there, too.
    assert_eq!(told, "", "{args:?}");
}

#[test]
fn a_scrape_of_a_live_daemon_passes() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_gwa"));
    serve.arg("--data").arg(folder.path()).arg("serve");
    serve.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let mut daemon = Running::start(&mut serve);
    let run = folder.path().join("run.json");
    daemon.wait_while("run.json", || !run.exists());
    let run = std::fs::read(run).unwrap();
    let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
    let url = format!("{}/metrics", run["http"].as_str().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let scrape = runtime.block_on(async {
        let client = gwa::tls::http_client().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    });
    assert!(scrape.contains("mailserver_archived_envelopes_falures_total 0\n"));
    passes(&["check", "metrics"], &scrape);
    let broken = scrape.replacen(
        "gwa_healthy 1",
        "gwa_healthy{instance=\"a\",instance=\"b\"} 1",
        1,
    );
    let output = promtool(&["check", "metrics"], &broken);
    assert!(!output.status.success(), "the checker finds nothing wrong");
}

#[test]
fn the_configuration_and_the_alerts_that_come_with_it_pass() {
    passes(&["check", "config", "prometheus.yml"], "");
    passes(&["check", "rules", "alerts.yml"], "");
    passes(&["test", "rules", "alerts_test.yml"], "");
}
