//! `gwa support-bundle`: what somebody who helps would ask for, in one file.
//!
//! Always true:
//! - Of the files of the data folder their names and sizes are in it, and of what they
//!   hold no more than heads and settings say: no envelope, and no key.
//! - Every text passes [`Scrubber`] before it is in: secrets and credentials in URLs are
//!   cut out, and addresses beyond private networks cut to their networks.
//! - It needs no daemon, no archive and no lock: what is not to be had is said so.

mod archive;
mod asked;
mod files;
mod scrub;
mod secrets;
mod system;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::config::{self, Partial, Settings};
use crate::time::{Clock, SystemClock};

use scrub::Scrubber;

const EXAMPLES: &str = "\
Examples:
  gwa support-bundle
      writes gwa-support-TIME.tar.gz into this folder
  gwa support-bundle -o /tmp/help.tar.gz
      writes it there; a file that exists is left alone

Keys, tokens, passwords and queries of URLs are not in it, and of addresses beyond
private networks no more than the network. Look before you send it: `tar -xzf FILE`
unpacks it, all of it is text.";

/// Arguments of `gwa support-bundle`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SupportBundleArgs {
    /// Where to write it [default: gwa-support-TIME.tar.gz in this folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What was written.
#[derive(Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
    contents: Vec<&'static str>,
}

/// Texts on their way into the file.
struct Bundle {
    scrubber: Scrubber,
    texts: Vec<Part>,
}

/// One text.
struct Part {
    name: &'static str,
    about: &'static str,
    text: String,
}

impl Bundle {
    fn add_text(&mut self, name: &'static str, about: &'static str, text: &str) {
        let text = self.scrubber.scrub(text);
        self.texts.push(Part { name, about, text });
    }

    fn add(&mut self, name: &'static str, about: &'static str, told: &impl Serialize) {
        let mut text = serde_json::to_string_pretty(told).expect("what is told is JSON");
        text.push('\n');
        self.add_text(name, about, &text);
    }

    /// All of it as a compressed archive, in a folder of its own.
    fn pack(&self, folder: &str, made: u64) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let mut add = |name: &str, text: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(made);
            archive.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())
        };
        add("README.txt", &self.contents())?;
        for part in &self.texts {
            add(part.name, &part.text)?;
        }
        archive.into_inner()?.finish()
    }

    fn contents(&self) -> String {
        let mut text = String::from(
            "What `gwa support-bundle` found, for somebody who helps. Keys, tokens and\n\
             passwords and credentials in URLs are cut out, and of addresses beyond private\n\
             networks all but the network. Look through it before you send it.\n\n",
        );
        for part in &self.texts {
            text.push_str(&format!("{:<16}{}\n", part.name, part.about));
        }
        text
    }
}

/// Gathers, scrubs, packs and writes.
pub fn run(args: &SupportBundleArgs, context: &mut Context) -> Result<(), CliError> {
    let now = SystemClock.now();
    let file = config::read(&context.data);
    let settings = Settings::resolve(
        &context.data,
        Partial::default(),
        file.as_ref().cloned().unwrap_or_default(),
    );
    let mut bundle = Bundle {
        scrubber: secrets::scrubber(&context.data, &settings),
        texts: Vec::new(),
    };
    bundle.add(
        "system.json",
        "the program, the machine, the disk",
        &system::told(&context.data, now),
    );
    match &file {
        Ok(_) => bundle.add(
            "settings.json",
            "gwa.toml, and what it leaves open; a daemon may have flags beside",
            &settings.told(),
        ),
        // What is wrong may be quoted, and be a password.
        Err(error) => bundle.add_text(
            "settings.json",
            "why gwa.toml cannot be read",
            &format!("{}\n", system::quiet(error)),
        ),
    }
    bundle.add(
        "archive.json",
        "the head, its lineage, and whether what it names first is here",
        &archive::told(&context.data),
    );
    bundle.add(
        "files.json",
        "names, sizes and times of the files of the data folder",
        &files::told(&context.data),
    );
    asked::add(&mut bundle, context);

    let stamp: String = now.to_string().replace(['-', ':'], "");
    let folder = format!("gwa-support-{stamp}");
    let path = match &args.output {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{folder}.tar.gz")),
    };
    let failed = |error: &dyn std::error::Error| {
        CliError::new(Kind::Error, format!("cannot write {}", path.display()))
            .because(error)
            .hint("`-o FILE` names another file")
    };
    let packed = bundle
        .pack(&folder, now.0.into())
        .map_err(|error| failed(&error))?;
    write_new(&path, &packed).map_err(|error| failed(&error))?;

    for part in &bundle.texts {
        let (name, about) = (part.name, part.about);
        context.output.story(format!("{name:<16}{about}"));
    }
    context.output.story(
        "keys, tokens, passwords and the hosts of addresses beyond private networks were cut \
         out; look before you send it",
    );
    let path = std::path::absolute(&path).unwrap_or(path);
    let line = path.display().to_string();
    let written = Written {
        bytes: packed.len(),
        contents: bundle.texts.iter().map(|part| part.name).collect(),
        file: path,
    };
    context.output.result(&written, line)
}

/// Writes a file that only its owner reads, and that was not there.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
