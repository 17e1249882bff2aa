//! Archives in folders of their own, and the command run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with an archive `data` in it.
pub struct House {
    folder: TempDir,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The objects of `--json`, one a line.
    pub fn objects(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// The last of them.
    pub fn last(&self) -> Value {
        self.objects().pop().expect("a result")
    }
}

impl House {
    /// With an empty archive.
    pub fn new() -> Self {
        let house = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        house.ok(&["init"]);
        house
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file beside the archive; gives its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        text(&path)
    }

    /// Runs `gwa`, however it ends.
    pub fn run(&self, args: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_gwa"))
            .stdin(Stdio::null())
            .arg("--data")
            .arg(self.data())
            .args(args)
            .output()
            .expect("gwa runs");
        Ended {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `gwa`, which must succeed.
    pub fn ok(&self, args: &[&str]) -> Ended {
        self.ends(0, args)
    }

    /// Runs `gwa`, which must end with `code`.
    pub fn ends(&self, code: i32, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, code, "{args:?}: {}{}", ended.out, ended.err);
        ended
    }

    /// Imports, and seals all of it.
    pub fn import(&self, files: &[&str]) {
        self.ok(&[&["import"], files].concat());
        self.ok(&["seal"]);
    }

    /// The CID of the state.
    pub fn state(&self) -> String {
        let head = self.ok(&["--json", "head"]).last();
        head["state"].as_str().expect("a state").to_owned()
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// A number of a result.
pub fn number(object: &Value, field: &str) -> u64 {
    object[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{field} of {object}"))
}

/// The first `count` envelopes of the corpus, as a stream.
pub fn corpus(count: usize) -> Vec<u8> {
    let bytes = bytes::Bytes::from(std::fs::read("fixtures/corpus/envelopes.rlps").expect("it"));
    let mut rest = bytes.clone();
    for _ in 0..count {
        gwa::whisper::Envelope::decode_first(&mut rest).expect("an envelope");
    }
    bytes[..bytes.len() - rest.len()].to_vec()
}
