//! The program and the machine it runs on.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::config::ConfigError;
use crate::time::UnixSeconds;

/// The program and the machine.
#[derive(Serialize)]
pub(super) struct System {
    version: &'static str,
    arch: &'static str,
    os: &'static str,
    /// As `/etc/os-release` names it.
    distribution: Option<String>,
    kernel: Option<String>,
    processors: Option<usize>,
    /// When the bundle was made.
    now: String,
    data: String,
    /// Bytes of the disk of the data folder, and how many may still be written.
    disk_size: Option<u64>,
    disk_free: Option<u64>,
    disk_files_free: Option<u64>,
    /// What the process may open, as `/proc` says it.
    open_files: Option<String>,
}

pub(super) fn told(data: &Path, now: UnixSeconds) -> System {
    let disk = rustix::fs::statvfs(data).ok();
    let line = |file: &str, start: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(start))?;
        Some(line.trim().trim_matches('"').to_owned())
    };
    System {
        version: env!("CARGO_PKG_VERSION"),
        arch: std::env::consts::ARCH,
        os: std::env::consts::OS,
        distribution: line("/etc/os-release", "PRETTY_NAME="),
        kernel: line("/proc/sys/kernel/osrelease", ""),
        processors: std::thread::available_parallelism()
            .ok()
            .map(std::num::NonZero::get),
        now: now.to_string(),
        data: data.display().to_string(),
        // Blocks are counted in fragments.
        disk_size: disk
            .as_ref()
            .map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
        disk_free: disk
            .as_ref()
            .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        disk_files_free: disk.as_ref().map(|disk| disk.f_favail),
        open_files: line("/proc/self/limits", "Max open files"),
    }
}

/// What is wrong with the settings, without the words of the file: a value that does not
/// read may be a password in the wrong place.
pub(super) fn quiet(error: &ConfigError) -> String {
    match error {
        ConfigError::Read { path, source } => format!("{}: {source}", path.display()),
        ConfigError::Syntax { path, .. } => {
            format!("{}: no TOML; its words are left out", path.display())
        }
        ConfigError::UnknownKey { path, nearest, .. } => {
            format!(
                "{}: a key that means nothing; near `{nearest}`",
                path.display()
            )
        }
        ConfigError::Value { path, key, .. } => {
            format!(
                "{}: the value of `{key}` is not what it takes",
                path.display()
            )
        }
    }
}
