//! Processes beside the test, whose output is read line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up: a slow machine derives a
/// key from a password in seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that runs; killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        for reader in [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(reader).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Reads on until `found` says yes of all lines so far.
    pub fn wait_until(&mut self, what: &str, found: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !found(&self.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!(
                    "{what} never came; the output was:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Asks again and again, a moment apart, until `pending` says no.
    pub fn wait_while(&mut self, what: &str, pending: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while pending() {
            assert!(Instant::now() < deadline, "{what} never came");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Reads on until a line holds `text`.
    pub fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |lines| lines.iter().any(|line| line.contains(text)));
    }

    /// The lines read so far.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Forgets the lines read so far, so that none of them is waited for again.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Writes a line to the process.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").expect("the process reads");
    }

    /// Gives a command to a process that takes lines of JSON.
    pub fn tell(&mut self, command: &Value) {
        self.type_line(&command.to_string());
    }

    /// Reads on until a process that prints lines of JSON has told of `event`
    /// with each of `facts`; gives what it told.
    pub fn wait_event(&mut self, event: &str, facts: &Value) -> Value {
        let facts = facts.as_object().expect("an object");
        let matches = |line: &String| {
            let told: Value = serde_json::from_str(line).ok()?;
            let same = told["event"] == event && facts.iter().all(|(k, v)| told[k] == *v);
            same.then_some(told)
        };
        self.wait_until(&format!("{event} {facts:?}"), |lines| {
            lines.iter().any(|line| matches(line).is_some())
        });
        let told = self.seen.iter().find_map(matches);
        told.expect("it was waited for")
    }

    /// Waits for the end of a process that ends by itself; gives its exit code.
    pub fn wait(mut self, what: &str) -> Option<i32> {
        drop(self.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                // Both pipes are closed.
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!(
                    "{what} does not end; the output was:\n{}",
                    self.seen.join("\n")
                ),
            }
        }
        let code = self.child.wait().expect("the process ends").code();
        if code != Some(0) {
            eprintln!("{what}:\n{}", self.seen.join("\n"));
        }
        code
    }

    /// Asks the process to end, and gives its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.child.id())])
            .status()
            .expect("sh runs");
        assert!(kill.success());
        self.child.wait().expect("the process ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
