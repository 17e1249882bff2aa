//! A daemon that keeps the last days only, as its operator sees it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const CORPUS: &str = "fixtures/corpus/envelopes.rlps";

/// Runs a command; gives its exit code and what it printed.
fn gwa(data: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gwa"))
        .arg("--data")
        .arg(data)
        .args(args)
        .output()
        .expect("gwa runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit code");
    (code, text(output.stdout), text(output.stderr))
}

/// Starts a daemon, waits until it serves, and ends it.
fn serve_once(data: &Path, args: &[&str]) {
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_gwa"))
        .arg("--data")
        .arg(data)
        .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("gwa runs");
    let mut line = String::new();
    let stdout = daemon.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let kill = format!("kill -TERM {}", daemon.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.expect("sh runs").success());
    assert!(daemon.wait().expect("it ends").success());
}

#[test]
fn days_past_their_retention_go_and_whoever_asks_for_them_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    for args in [&["init"] as &[_], &["import", CORPUS], &["seal"]] {
        assert_eq!(gwa(&data, args).0, 0, "{args:?}");
    }
    let (_, head, _) = gwa(&data, &["head"]);
    assert_eq!(gwa(&data, &["query", "--count"]).1, "19800\n");

    serve_once(&data, &["--retention", "300000d"]);
    assert_eq!(gwa(&data, &["query", "--count"]).1, "19800\n");

    serve_once(&data, &["--retention", "30d"]);
    let left = std::fs::read_dir(data.join("blocks/days/2018")).expect("a folder");
    // Beside the files of days lies the list of them.
    let names = left.map(|entry| entry.expect("an entry").file_name());
    let files = names.filter(|name| name.to_string_lossy().ends_with(".car"));
    assert_eq!(files.count(), 0);
    // What there was is still told; the envelopes are not there any more.
    assert_eq!(gwa(&data, &["head"]).1, head);
    assert!(
        gwa(&data, &["--json", "head"])
            .1
            .contains("\"count\":19800")
    );
    let september = ["--from", "2018-09-01", "--to", "2018-09-30"];
    let nobodys = ["query", "--count", "--topic", "00000000"];
    let absent = gwa(&data, &[&nobodys[..], &september].concat());
    assert_eq!((absent.0, absent.1.as_str()), (0, "0\n"));
    for args in [&["query", "--count"] as &[_], &["stats"], &["verify"]] {
        let (code, _, told) = gwa(&data, args);
        assert_eq!(code, 3, "{args:?}: {told}");
        assert!(told.contains("no longer kept here"), "{args:?}: {told}");
    }
    let (code, tally, told) = gwa(&data, &["import", CORPUS]);
    assert_eq!(code, 3);
    let tally = tally.lines().next();
    assert_eq!(tally, Some("read 20000 stored 0 duplicate 0 refused 20000"));
    assert!(told.contains("no longer kept"), "{told}");
}
