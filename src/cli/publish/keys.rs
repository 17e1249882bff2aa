//! `gwa publish keys`, `import` and `export`: the keys that names are made of.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{existing, failed};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::publish::ipns::{IpnsKey, KeyError, KeyName, Name, NameFolder, folder};

/// Longest file of a key read, in bytes: one of RSA has 2,000.
const MAX_FILE: u64 = 16 << 10;

/// Arguments of `gwa publish import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What to call the key.
    #[arg(value_name = "KEY")]
    key: KeyName,
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Arguments of `gwa publish export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The key.
    #[arg(value_name = "KEY")]
    key: KeyName,
    /// The file to make, which must not be there. Whoever has it can publish under the
    /// name.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Row {
    key: String,
    name: String,
    /// Number of its newest record; null where none was made.
    sequence: Option<u64>,
    /// What that leads to.
    value: Option<String>,
    /// Up to when it counts, RFC 3339.
    until: Option<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ipns://{}", self.key, self.name)?;
        if let (Some(sequence), Some(value), Some(until)) =
            (self.sequence, &self.value, &self.until)
        {
            write!(f, "  number {sequence}, {value} until {until}")?;
        }
        Ok(())
    }
}

/// Prints the keys there are.
pub fn list(context: &mut Context) -> Result<(), CliError> {
    let folder = NameFolder::new(&context.data);
    for (key, name) in folder.keys().map_err(|error| failed(&error))? {
        tell(&folder, &key, name, context)?;
    }
    Ok(())
}

fn tell(
    folder: &NameFolder,
    key: &KeyName,
    name: Name,
    context: &mut Context,
) -> Result<(), CliError> {
    let record = folder.record(&name).map_err(|error| failed(&error))?;
    let value = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let row = Row {
        key: key.to_string(),
        name: name.to_string(),
        sequence: record.as_ref().map(|record| record.sequence()),
        value: record.as_ref().map(|record| value(record.value())),
        until: record.as_ref().map(|record| record.until().to_string()),
    };
    context.output.result(&row, &row)
}

/// Takes a key in.
pub fn import(args: &ImportArgs, context: &mut Context) -> Result<(), CliError> {
    let what = || format!("cannot read {}", args.file.display());
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(&args.file)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|error| CliError::new(Kind::Error, what()).because(&error))?;
    let key = IpnsKey::from_protobuf(&bytes).map_err(|error| {
        CliError::new(Kind::WrongKey, what())
            .because(&error)
            .hint(match error {
                KeyError::Pem => {
                    "`ipfs key export --output=FILE NAME`, without `--format`, writes the form \
                     that is read"
                }
                _ => "`ipfs key export NAME` writes the form that is read, for Ed25519 keys",
            })
    })?;
    let folder = NameFolder::new(&context.data);
    folder
        .keep_key(&args.key, &key)
        .map_err(|error| failed(&error))?;
    tell(&folder, &args.key, key.name(), context)
}

/// Writes a key out.
pub fn export(args: &ExportArgs, context: &mut Context) -> Result<(), CliError> {
    let folder = NameFolder::new(&context.data);
    let key = existing(&folder, &args.key)?;
    folder::write_key(&args.file, &key.to_protobuf()).map_err(|error| failed(&error))?;
    tell(&folder, &args.key, key.name(), context)
}
