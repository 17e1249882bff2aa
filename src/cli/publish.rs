//! `gwa publish`: a name of IPNS that leads to the head.

mod keys;

use std::fmt;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::archive::head::Head;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::store;
use crate::config::{self, Span};
use crate::kubo::{Auth, KuboError};
use crate::node::publish::newest_of;
use crate::progress::Progress;
use crate::publish::Hints;
use crate::publish::ipns::{
    ContentPath, IpnsKey, KeyName, Name, NameFolder, NameFolderError, NameRef, Record, Wish,
};
use crate::sources::Reference;
use crate::sources::names::{RecordTaker, TakerAddress};
use crate::time::{Clock, SystemClock};

const EXAMPLES: &str = "\
Examples:
  gwa publish
      make a name for the archive, and a record that leads from it to the head; a running
      daemon serves it at /ipns/NAME
  gwa publish --to kubo:http://127.0.0.1:5001
      the same, and hand the record to a node of IPFS
  gwa publish --host archive.example
      the same, and print the DNS record by which ipns://archive.example leads there
  gwa publish keys
      the keys in DIR/ipns
  gwa publish --key old --hand-over new
      the last record of the key `old`: it leads to the name of the key `new`

`gwa serve --publish` does so at each new head. Numbers of records only rise: a record
is durable in DIR/ipns before it leaves.

Exit codes: 0 ok, 1 error, 2 usage, 3 made, and not taken everywhere, 10 no archive,
12 the key cannot be read.";

/// Arguments of `gwa publish`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct PublishArgs {
    #[command(subcommand)]
    command: Option<PublishCommand>,
    /// The key whose name it is, made where there is none [default: archive].
    #[arg(long, value_name = "KEY")]
    key: Option<KeyName>,
    /// A node that is handed the record: kubo:URL of its RPC; may be given more than once.
    #[arg(
        long,
        env = "GWA_PUBLISH_TO",
        value_name = "NODE",
        value_delimiter = ',',
        hide_env_values = true
    )]
    to: Vec<TakerAddress>,
    /// How long the record counts [default: 48h, 10 years of one that hands over].
    #[arg(long, value_name = "SPAN")]
    validity: Option<Span>,
    /// For how long readers may keep it before they ask again [default: 5m].
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    /// An address where others have the blocks, told in the record; up to four
    /// [default: public-urls of gwa.toml].
    #[arg(
        long = "public-url",
        env = "GWA_PUBLIC_URLS",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    public_urls: Vec<String>,
    /// A host whose DNS is to lead to the name: its TXT record is printed.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Hand the name over to another key, for good: one in DIR/ipns, or the name of one
    /// elsewhere. A host will not do: whoever owns it later would own the name.
    #[arg(long, value_name = "KEY|NAME")]
    hand_over: Option<String>,
}

#[derive(Debug, Subcommand)]
enum PublishCommand {
    /// Print the keys there are, and their names.
    Keys,
    /// Take a key in, in the form that `ipfs key export` writes.
    Import(keys::ImportArgs),
    /// Write a key out, in the form that `ipfs key import` takes.
    Export(keys::ExportArgs),
}

#[derive(Serialize)]
struct Published {
    /// The name.
    name: String,
    /// What the user calls its key.
    key: String,
    /// What it leads to.
    value: String,
    /// The head it leads to; null where it was handed over.
    head: Option<String>,
    sequence: u64,
    /// Up to when the record counts, RFC 3339.
    until: String,
    /// Seconds.
    ttl: u64,
    /// The record, hex with `0x`.
    record: String,
    to: Vec<Handed>,
    /// Name and text of the TXT record; where the name was handed over it is that of
    /// the name that it leads to.
    dnslink: [String; 2],
}

#[derive(Serialize)]
struct Handed {
    to: String,
    /// Null where it was taken.
    error: Option<String>,
}

/// Makes the record, and hands it to whoever is named.
pub fn run(args: &PublishArgs, context: &mut Context) -> Result<(), CliError> {
    match &args.command {
        None => publish(args, context),
        Some(PublishCommand::Keys) => keys::list(context),
        Some(PublishCommand::Import(args)) => keys::import(args, context),
        Some(PublishCommand::Export(args)) => keys::export(args, context),
    }
}

fn publish(args: &PublishArgs, context: &mut Context) -> Result<(), CliError> {
    let folder = NameFolder::new(&context.data);
    let (mut wish, head, heir) = match &args.hand_over {
        // Whoever has no archive wants no key of it either.
        None => {
            let head = head_to_tell(args, &folder, context)?;
            (
                Wish::of_head(&head, &hints(args, context)?),
                Some(head),
                None,
            )
        }
        Some(to) => {
            let heir = successor(to, &folder)?;
            (Wish::of_hand_over(heir), None, Some(heir))
        }
    };
    if let Some(Span(validity)) = args.validity {
        (wish.validity, wish.exact) = (validity, true);
    }
    if let Some(Span(ttl)) = args.ttl {
        (wish.ttl, wish.exact) = (ttl, true);
    }
    let takers = takers(&args.to)?;
    let key_name = args.key.clone().unwrap_or_default();
    let key = match &args.hand_over {
        None => folder.key_or_new(&key_name).map_err(|e| failed(&e))?,
        Some(_) => existing(&folder, &key_name)?,
    };
    let handle = context.sources.net()?.handle().clone();
    let now = SystemClock.now();
    // A record that only others know of, as after a backup was put back.
    let name = NameRef::Key(key.name());
    let mut names = context.sources.names(&name, &context.data)?;
    let asked = takers.iter().map(|taker| Arc::clone(taker) as _);
    names.givers.extend(asked);
    let progress = context.progress();
    progress.phase("looking for a newer record", None, None);
    let known = handle.block_on(names.highest(&key.name()));
    let record = folder
        .say(&key, &wish, known.as_ref(), now)
        .map_err(|e| failed(&e))?;
    progress.phase("handing the record in", Some(takers.len() as u64), None);
    let (to, refused) = handle.block_on(hand_in(&takers, &record, &*progress));
    drop(progress);
    let published = Published {
        name: record.name().to_string(),
        key: key_name.to_string(),
        value: String::from_utf8_lossy(record.value()).into_owned(),
        head: head.map(|head| head.cid().to_string()),
        sequence: record.sequence(),
        until: record.until().to_string(),
        ttl: record.ttl().as_secs(),
        record: format!("0x{}", hex::encode(record.bytes())),
        to,
        // A host is to lead to whoever has the name from now on.
        dnslink: dnslink(args.host.as_deref(), heir.unwrap_or(key.name()))?,
    };
    context.output.result(&published, &published)?;
    let failures: Vec<_> = published
        .to
        .iter()
        .filter_map(|handed| Some(format!("{}: {}", handed.to, handed.error.as_ref()?)))
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    let what = failures.join("; ");
    let what = format!("the record is made, and was not taken by {what}");
    Err(CliError::new(Kind::Partial, what).hint(match refused {
        true => {
            "where the node asks for credentials, GWA_KUBO_AUTH holds them, bearer:TOKEN or \
             basic:USER:PASSWORD; run it again then: the same record is handed in"
        }
        false => "run it again: the same record is handed in",
    }))
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name     ipns://{}", self.name)?;
        writeln!(f, "leads to {}", self.value)?;
        writeln!(f, "number   {}, counts until {}", self.sequence, self.until)?;
        for handed in &self.to {
            let error = handed.error.as_deref().unwrap_or("taken");
            writeln!(f, "to       {}: {error}", handed.to)?;
        }
        let [host, text] = &self.dnslink;
        write!(f, "dnslink  {host} TXT \"{text}\"")
    }
}

/// The archive's head; where it has a store, the newest one that is there too, for what a
/// name leads to must be had by whoever reads there.
fn head_to_tell(
    args: &PublishArgs,
    folder: &NameFolder,
    context: &mut Context,
) -> Result<Head, CliError> {
    let own = context.head(&Reference::OwnHead)?.head;
    let Some(kept) = store::kept_head(context, *own.key())? else {
        return Ok(own);
    };
    if kept.cid() != own.cid() {
        context.output.story(format!(
            "the store keeps head {} so far, and the name leads to that one",
            kept.body().sequence
        ));
    }
    let key = folder.key(&args.key.clone().unwrap_or_default());
    let record = match key.map_err(|error| failed(&error))? {
        None => None,
        Some(key) => folder.record(&key.name()).map_err(|error| failed(&error))?,
    };
    Ok(newest_of(record.as_ref(), kept))
}

/// Hands the record to each, one after another; and whether one of them refused to talk.
async fn hand_in(
    takers: &[Arc<dyn RecordTaker>],
    record: &Record,
    progress: &dyn Progress,
) -> (Vec<Handed>, bool) {
    let (mut handed, mut refused) = (Vec::new(), false);
    for taker in takers {
        let error = taker.put(record).await.err();
        refused |= matches!(error, Some(KuboError::Refused(_)));
        handed.push(Handed {
            to: taker.name().to_owned(),
            error: error.map(|error| error.to_string()),
        });
        progress.advance(1, record.bytes().len() as u64);
    }
    (handed, refused)
}

/// Whoever is handed records; credentials come from the environment.
pub fn takers(addresses: &[TakerAddress]) -> Result<Vec<Arc<dyn RecordTaker>>, CliError> {
    let wrong = |error: &dyn std::error::Error| {
        CliError::new(Kind::Usage, "cannot hand records in").because(error)
    };
    let auth = Auth::from_env().map_err(|error| wrong(&error))?;
    let open = |address: &TakerAddress| address.open(auth.clone());
    let opened = addresses.iter().map(open).collect::<Result<_, _>>();
    opened.map_err(|error| wrong(&error))
}

/// Where the archive is said to be had.
fn hints(args: &PublishArgs, context: &Context) -> Result<Hints, CliError> {
    if !args.public_urls.is_empty() {
        return Hints::new(args.public_urls.clone(), None).map_err(|error| {
            CliError::new(Kind::Usage, "the public URLs are wrong").because(&error)
        });
    }
    let file = config::read(&context.data).map_err(|error| {
        CliError::new(Kind::Usage, "the configuration is not usable").because(&error)
    })?;
    Ok(file.public_urls.unwrap_or_default())
}

/// What a name is handed over to.
fn successor(text: &str, folder: &NameFolder) -> Result<Name, CliError> {
    if let Ok(name) = text.parse::<KeyName>()
        && let Some(key) = folder.key(&name).map_err(|error| failed(&error))?
    {
        return Ok(key.name());
    }
    let name = text
        .strip_prefix("ipns://")
        .or_else(|| text.strip_prefix("/ipns/"));
    name.unwrap_or(text).parse().map_err(|_| {
        CliError::new(
            Kind::Usage,
            format!("`{text}` is neither a key in DIR/ipns nor the name of one"),
        )
        .hint("`gwa publish --key NAME` makes a key, `gwa publish keys` prints those there are")
    })
}

fn existing(folder: &NameFolder, name: &KeyName) -> Result<IpnsKey, CliError> {
    let key = folder.key(name).map_err(|error| failed(&error))?;
    key.ok_or_else(|| {
        CliError::new(Kind::Usage, format!("there is no key `{name}`"))
            .hint("`gwa publish keys` prints those there are")
    })
}

/// Name and text of the TXT record that leads to `name`.
fn dnslink(host: Option<&str>, name: Name) -> Result<[String; 2], CliError> {
    let host = match host.map(str::parse) {
        None => "HOST".to_owned(),
        Some(Ok(NameRef::Host(host))) => host,
        Some(_) => {
            return Err(CliError::new(Kind::Usage, "`--host` names no host in DNS"));
        }
    };
    let path = ContentPath::Name {
        name: NameRef::Key(name),
        path: Vec::new(),
    };
    Ok([format!("_dnslink.{host}"), format!("dnslink={path}")])
}

fn failed(error: &NameFolderError) -> CliError {
    let kind = match error {
        NameFolderError::Key { .. } => Kind::WrongKey,
        NameFolderError::Record { .. } => Kind::Verification,
        NameFolderError::Exists { .. }
        | NameFolderError::HandedOver { .. }
        | NameFolderError::Loop { .. } => Kind::Usage,
        _ => Kind::Error,
    };
    let told = CliError::new(kind, "cannot use the name").because(error);
    match error {
        NameFolderError::Record { .. } => told.hint(
            "move the file away: the number to go on from is then asked of `--to` and `--source`",
        ),
        NameFolderError::HandedOver { .. } => {
            told.hint("`--key` names another key; a name that was handed over stays so")
        }
        NameFolderError::Loop { .. } => {
            told.hint("`--hand-over` names another key than `--key` does")
        }
        NameFolderError::Exists { .. } => told.hint("give it another name"),
        _ => told,
    }
}
