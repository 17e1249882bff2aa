//! The commands of a page, run as a reader types them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::ROOT;
use super::lines;
use super::markdown::{Page, Piece};
use super::pattern::{self, Bound};

/// How long a command may take, or a daemon to show what it should.
const PATIENCE: Duration = Duration::from_secs(120);

/// How soon what may not have heard an interrupt is interrupted again.
const AGAIN: Duration = Duration::from_millis(200);

/// What ends a daemon, as a terminal shows it.
const INTERRUPT: &str = "^C";

/// Folders of a page's own that stand for those of the system.
const FOLDERS: [&str; 4] = ["/mnt", "/srv", "/etc", "/var"];

/// Where a daemon listens that was not told otherwise: its flags, and the ports.
const ADDRESSES: [(&str, &str); 2] = [
    ("--listen", "127.0.0.1:30303"),
    ("--http", "127.0.0.1:8547"),
];

/// What a page finds beside `gwa`.
#[derive(Default)]
pub struct Surroundings {
    /// Markers of the blocks that can be run with it.
    pub markers: Vec<&'static str>,
    /// Programs, by the names that the page calls them by.
    pub programs: Vec<(&'static str, PathBuf)>,
    /// Variables of the shell.
    pub variables: Vec<(&'static str, String)>,
    /// What the page writes, and what stands for it here.
    pub named: Vec<(String, String)>,
}

/// How a page went.
pub struct Told {
    /// Commands run.
    pub commands: usize,
    /// What went otherwise than shown. The rest of the page is left then.
    pub wrong: Option<String>,
}

/// One command, or an interrupt of the last daemon.
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

/// Runs a page's commands in order.
pub fn run(page: &Page, around: &Surroundings) -> Told {
    let steps: Vec<Step> = page
        .pieces
        .iter()
        .filter(|piece| piece.is_run(&around.markers))
        .flat_map(steps)
        .collect();
    let mut shell = Shell::new(around);
    let (mut commands, mut wrong) = (0, None);
    for (at, step) in steps.iter().enumerate() {
        let asks_how = steps
            .get(at + 1)
            .is_some_and(|next| next.command == "echo $?");
        commands += 1;
        if let Err(what) = shell.step(step, asks_how) {
            let path = page.path.display();
            wrong = Some(format!("{path}:{}: $ {}\n{what}", step.line, step.command));
            break;
        }
    }
    Told { commands, wrong }
}

/// The commands of a block, each with the output shown.
fn steps(piece: &Piece) -> Vec<Step> {
    let (first, lines, all_commands) = match piece {
        Piece::Fence(fence) => (fence.line, &fence.lines, false),
        Piece::Hidden(fence) => (fence.line, &fence.lines, true),
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = lines.iter().enumerate();
    while let Some((at, text)) = lines.next() {
        let command = match text.strip_prefix("$ ") {
            Some(command) => command,
            None if all_commands || text == INTERRUPT => text,
            None => {
                if let Some(step) = steps.last_mut() {
                    step.shown.push(text.clone());
                }
                continue;
            }
        };
        let mut command = command.to_owned();
        let ends_with = here_document(&command).map(str::to_owned);
        while command.ends_with('\\') || ends_with.is_some() {
            let Some((_, next)) = lines.next() else { break };
            command.push('\n');
            command.push_str(next);
            if ends_with.as_ref() == Some(next) {
                break;
            }
        }
        steps.push(Step {
            line: first + at,
            command,
            shown: Vec::new(),
        });
    }
    steps
}

/// The word that ends what the command is given in line.
fn here_document(command: &str) -> Option<&str> {
    let (_, word) = command.split_once("<<")?;
    word.split_whitespace()
        .next()
        .map(|word| word.trim_matches(['\'', '"']))
}

/// Whether it is a request whose answer has no end.
fn is_stream(command: &str) -> bool {
    let words = lines::words(command).into_iter().next_back();
    let words = words.unwrap_or_default();
    let is_unbuffered = |word: &String| word.starts_with('-') && word.ends_with('N');
    words.first().is_some_and(|first| first == "curl") && words.iter().any(is_unbuffered)
}

/// A daemon in the background.
struct Running {
    pid: String,
    /// Whether it is a daemon that says when it listens.
    serves: bool,
    out: PathBuf,
    /// What the page showed of it so far.
    shown: Vec<String>,
}

/// A shell in a folder of its own.
struct Shell {
    folder: TempDir,
    process: Child,
    stdin: ChildStdin,
    told: Receiver<String>,
    bound: Bound,
    /// Addresses that the page names, and those in this run.
    ports: Vec<(String, String)>,
    daemons: Vec<Running>,
    /// Every process that was started beside the shell.
    pids: Vec<String>,
    outputs: usize,
}

impl Shell {
    fn new(around: &Surroundings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (home, bin) = (folder.path().join("home/me"), folder.path().join("bin"));
        for dir in FOLDERS
            .map(|dir| folder.path().join(&dir[1..]))
            .iter()
            .chain([&home, &bin])
        {
            std::fs::create_dir_all(dir).expect("a folder");
        }
        symlink(Path::new(ROOT).join("fixtures"), home.join("fixtures")).expect("a link");
        symlink(env!("CARGO_BIN_EXE_gwa"), bin.join("gwa")).expect("a link");
        for (name, program) in &around.programs {
            symlink(program, bin.join(name)).expect("a link");
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut process = Command::new("sh")
            .env_clear()
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", &home)
            .env("LANG", "C.UTF-8")
            .envs(around.variables.iter().cloned())
            .current_dir(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("there is a shell");
        let stdin = process.stdin.take().expect("a pipe");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let (tell, told) = channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Self {
            folder,
            process,
            stdin,
            told,
            bound: Bound::new(),
            ports: around.named.clone(),
            daemons: Vec::new(),
            pids: Vec::new(),
            outputs: 0,
        }
    }

    fn tell(&mut self, script: &str) -> Result<(), String> {
        writeln!(self.stdin, "{script}").map_err(|error| format!("the shell is gone: {error}"))
    }

    /// Has the shell do something that ends with one line to us, and takes that.
    fn ask(&mut self, script: &str) -> Result<String, String> {
        self.tell(script)?;
        self.told
            .recv_timeout(PATIENCE)
            .map_err(|error| format!("no end of it: {error}"))
    }

    fn step(&mut self, step: &Step, asks_how: bool) -> Result<(), String> {
        if step.command == INTERRUPT {
            return self.interrupt(&step.shown);
        }
        let command = self.real(&step.command);
        let args = lines::gwa_lines(&step.command).pop().unwrap_or_default();
        let has = |word: &str| args.iter().any(|arg| arg == word);
        if has("serve") || has("--follow") || is_stream(&step.command) {
            return self.background(&command, &step.shown, has("serve"));
        }
        let out = self.next_output();
        let path = out.display();
        let status = self.ask(&format!(
            "{{ {command}\n}} >'{path}' 2>&1 </dev/null; status=$?; echo $status; (exit $status)"
        ));
        let real = self.shown(&out);
        let status = status.map_err(|what| format!("{what}\n{}", quoted(&real)))?;
        let fails = step.shown.iter().any(|line| line.starts_with("Error:"));
        if !asks_how && fails == (status == "0") {
            return Err(format!(
                "ends with exit code {status}, and says\n{}",
                quoted(&real)
            ));
        }
        self.compare(&step.shown, &real)
    }

    /// Starts what goes on until it is interrupted.
    fn background(&mut self, command: &str, shown: &[String], serves: bool) -> Result<(), String> {
        let command = command.split(" # ").next().unwrap_or(command).trim_end();
        let (command, addresses) = self.at_free_ports(command);
        let out = self.next_output();
        let pid = self.ask(&format!(
            "{command} >'{}' 2>&1 </dev/null & echo $!",
            out.display()
        ))?;
        self.pids.push(pid.clone());
        if serves {
            let run = self.wait_for(&out, "it does not serve", |shell| shell.run_file(&pid))?;
            for (flag, named) in addresses {
                let real = match flag {
                    "--http" => run["http"]
                        .as_str()
                        .and_then(|url| url.strip_prefix("http://")),
                    _ => run["enode"]
                        .as_str()
                        .and_then(|url| url.split(['@', '?']).nth(1)),
                };
                if let Some(real) = real {
                    self.ports.retain(|(of, _)| *of != named);
                    self.ports.push((named, real.to_owned()));
                }
            }
        }
        let goes_on: Vec<String> = shown.iter().cloned().chain(["…".to_owned()]).collect();
        self.wait_for(
            &out,
            &format!("shown is\n{}", quoted(&shown.join("\n"))),
            |shell| {
                let real = shell.shown(&out);
                shell.fits(&goes_on, &real).then_some(())
            },
        )?;
        self.daemons.push(Running {
            pid,
            serves,
            out,
            shown: goes_on,
        });
        Ok(())
    }

    /// Ends the daemon that was started last.
    fn interrupt(&mut self, after: &[String]) -> Result<(), String> {
        let daemon = self
            .daemons
            .pop()
            .ok_or("nothing runs that could be interrupted")?;
        let pid = &daemon.pid;
        self.tell(&format!("wait {pid}; echo $?"))?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            // A daemon that serves hears the first one, and takes a second for haste.
            // Others may not listen yet, or never: a shell starts what is in the
            // background so that it hears no interrupt unless it asks to.
            let (signal, wait) = match daemon.serves {
                true => ("-INT", PATIENCE),
                false => ("-TERM", AGAIN),
            };
            let _ = Command::new("kill").args([signal, pid]).status();
            match self.told.recv_timeout(wait) {
                Ok(status) => break status,
                Err(_) if Instant::now() < deadline => {}
                Err(error) => return Err(format!("it does not end: {error}")),
            }
        };
        let real = self.shown(&daemon.out);
        if !["0", "130", "143"].contains(&status.as_str()) {
            return Err(format!("ended with {status}, and said\n{}", quoted(&real)));
        }
        let mut shown = daemon.shown;
        shown.extend_from_slice(after);
        self.compare(&shown, &real)
    }

    /// The command with a free port for each that it would take, and what the page calls
    /// them. A port that was taken before is taken again.
    fn at_free_ports(&self, command: &str) -> (String, Vec<(&'static str, String)>) {
        let (mut command, mut named) = (command.to_owned(), Vec::new());
        let Some(serve) = command.find(" serve").map(|at| at + " serve".len()) else {
            return (command, named);
        };
        for (flag, default) in ADDRESSES {
            let given = command.split(&format!("{flag} ")).nth(1).map(|rest| {
                let word = rest.split_whitespace().next().unwrap_or_default();
                word.to_owned()
            });
            // Nobody names a port that is picked.
            if given
                .as_deref()
                .is_some_and(|at| at == "off" || at.ends_with(":0"))
            {
                continue;
            }
            let of = given.clone().unwrap_or_else(|| default.to_owned());
            let real = self.ports.iter().find(|(page, _)| *page == of);
            let real = real.map_or("127.0.0.1:0", |(_, real)| real);
            match given {
                Some(given) if self.ports.iter().any(|(_, real)| *real == given) => {
                    let (page, _) = self
                        .ports
                        .iter()
                        .find(|(_, real)| *real == given)
                        .expect("it is there");
                    named.push((flag, page.clone()));
                }
                Some(given) => {
                    command =
                        command.replace(&format!("{flag} {given}"), &format!("{flag} {real}"));
                    named.push((flag, of));
                }
                None => {
                    command.insert_str(serve, &format!(" {flag} {real}"));
                    named.push((flag, of));
                }
            }
        }
        (command, named)
    }

    /// What a process says of itself in `run.json`, wherever its data folder is.
    fn run_file(&self, pid: &str) -> Option<Value> {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).ok()?.flatten() {
                // No link is followed: `fixtures` is large.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                } else if entry.file_name() == "run.json" {
                    let text = std::fs::read(entry.path()).unwrap_or_default();
                    let run: Value = serde_json::from_slice(&text).unwrap_or_default();
                    if run["pid"].as_u64().map(|id| id.to_string()).as_deref() == Some(pid) {
                        return Some(run);
                    }
                }
            }
        }
        None
    }

    /// Looks until there is what is waited for.
    fn wait_for<T>(
        &mut self,
        out: &Path,
        otherwise: &str,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "{otherwise}\nand it says\n{}",
                    quoted(&self.shown(out))
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn next_output(&mut self) -> PathBuf {
        self.outputs += 1;
        self.folder.path().join(format!("output-{}", self.outputs))
    }

    /// A command of the page as it is run here.
    fn real(&self, command: &str) -> String {
        let mut real = pattern::with_real(command, &self.bound);
        for (page, here) in &self.ports {
            real = real.replace(page, here);
            if let Some(port) = page.strip_prefix("127.0.0.1:") {
                for host in ["localhost", "archive.example"] {
                    real = real.replace(&format!("{host}:{port}"), here);
                }
            }
        }
        let own = self.folder.path().display().to_string();
        for folder in FOLDERS.iter().chain(&["/home/me"]) {
            for before in [" ", ":", "=", "'", "\""] {
                let named = format!("{before}{folder}/");
                real = real.replace(&named, &format!("{before}{own}{folder}/"));
            }
        }
        real
    }

    /// What a process wrote, as the page would show it.
    fn shown(&self, out: &Path) -> String {
        let text = std::fs::read(out).unwrap_or_default();
        let own = self.folder.path().display().to_string();
        let text = String::from_utf8_lossy(&text).replace(&own, "");
        self.ports
            .iter()
            .fold(text, |text, (page, here)| text.replace(here, page))
    }

    fn fits(&mut self, shown: &[String], real: &str) -> bool {
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let real: Vec<&str> = real.trim_end().lines().collect();
        pattern::fits(&shown, &real, &mut self.bound)
    }

    fn compare(&mut self, shown: &[String], real: &str) -> Result<(), String> {
        if shown.is_empty() || self.fits(shown, real) {
            return Ok(());
        }
        Err(format!(
            "shown is\n{}\nand it says\n{}",
            quoted(&shown.join("\n")),
            quoted(real)
        ))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for pid in &self.pids {
            let _ = Command::new("kill")
                .args(["-9", pid])
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Set off from what is said about it.
fn quoted(text: &str) -> String {
    text.lines().map(|line| format!("  | {line}\n")).collect()
}
