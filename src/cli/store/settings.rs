//! Which store is meant, and how it is opened.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use secp256k1::PublicKey;

use crate::archive::disk::{Archive, Blocks, Heads, open_public};
use crate::archive::head::{Head, Sequence};
use crate::cli::context::{Context, archive_failed};
use crate::cli::error::{CliError, Kind};
use crate::config::{self, Password, StorePartial, StoreSettings};
use crate::depot::{self, Carrier, CarrierStatus, Depot, DepotSettings, Keep, StoreAddress};

/// Flags of the store. Each may stand in `gwa.toml` too.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreFlags {
    /// Where the archive is kept beside this disk: embedded, folder:PATH, kubo:URL,
    /// s3:https://HOST/BUCKET/PREFIX, s3://BUCKET/PREFIX, swarm:URL [default: embedded].
    #[arg(
        long,
        global = true,
        env = "GWA_STORE",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    store: Option<StoreAddress>,
    /// How many bytes of the newest days stay on this disk too, as in 10G; `all` for
    /// everything [default: 1G].
    #[arg(long, global = true, env = "GWA_STORE_KEEP", value_name = "BYTES|all")]
    store_keep: Option<Keep>,
    /// What the store asks of those who write there: bearer:TOKEN or basic:USER:PASSWORD.
    #[arg(
        long,
        global = true,
        env = "GWA_STORE_AUTH",
        value_name = "TEXT",
        hide_env_values = true
    )]
    store_auth: Option<Password>,
}

impl StoreFlags {
    /// What the flags and the environment say.
    pub fn partial(&self) -> StorePartial {
        StorePartial {
            address: self.store.clone(),
            keep: self.store_keep,
            auth: self.store_auth.clone(),
        }
    }
}

pub(super) fn unusable(error: &dyn std::error::Error) -> CliError {
    CliError::new(Kind::Usage, "the store cannot be used").because(error)
}

/// The settings of the store for the archive in `data`.
pub(super) fn settings(flags: &StoreFlags, data: &Path) -> Result<StoreSettings, CliError> {
    let file = config::read(data).map_err(|error| {
        CliError::new(Kind::Usage, "the configuration is not usable").because(&error)
    })?;
    Ok(StoreSettings::resolve(flags.partial(), file.store))
}

/// Opens the depot of the archive whose heads `key` signs; `None` where it is kept in
/// the data folder alone.
pub(super) fn depot(
    settings: &StoreSettings,
    data: &Path,
    key: PublicKey,
) -> Result<Option<Arc<dyn Depot>>, CliError> {
    let opening = DepotSettings {
        auth: settings.auth.clone(),
        ..DepotSettings::new(data, key)
    };
    depot::open(&settings.address, &opening).map_err(|error| unusable(&error))
}

/// What carries from an archive to its store, if it has one.
pub fn carrier(
    flags: &StoreFlags,
    archive: Arc<Archive>,
    data: &Path,
) -> Result<Option<Arc<Carrier>>, CliError> {
    let settings = settings(flags, data)?;
    let opened = depot(&settings, data, archive.public_key())?;
    if opened.is_none() && archive.blocks().has_evicted() {
        tracing::warn!("days of this archive are at a store that is no longer named");
    }
    let Some(depot) = opened else {
        return Ok(None);
    };
    let address = settings.address.to_string();
    let source = Arc::clone(&depot);
    archive.blocks().set_depot(&address, Arc::new(source));
    Ok(Some(Arc::new(Carrier::new(
        archive,
        depot,
        address,
        settings.keep,
    ))))
}

/// The store that the environment or `gwa.toml` names, else the one that days of the
/// archive were taken to.
fn settings_of(blocks: &Blocks, data: &Path) -> Result<StoreSettings, CliError> {
    let mut settings = settings(&environment(), data)?;
    if settings.address == StoreAddress::Embedded
        && let Some(store) = blocks.evicted_to()
    {
        settings.address = store.parse().map_err(|error| unusable(&error))?;
    }
    Ok(settings)
}

/// Lets an archive read the days that are at its store: the one that the environment or
/// `gwa.toml` names, else the one that they were taken to.
pub fn attach(blocks: &Blocks, data: &Path, key: PublicKey) {
    let attached = settings_of(blocks, data).and_then(|settings| {
        let depot = depot(&settings, data, key)?;
        Ok(depot.map(|depot| (settings.address.to_string(), depot)))
    });
    match attached {
        Ok(Some((address, depot))) => blocks.set_depot(address, Arc::new(depot)),
        Ok(None) => {}
        Err(error) => tracing::warn!("the store cannot be asked: {}", error.brief()),
    }
}

/// The newest head that the store keeps of the archive whose heads `key` signs: the
/// newest one that names may lead to. `None` where there is no store: nobody names one,
/// no day was taken to one, and no daemon that runs carries to one.
pub fn kept_head(context: &Context, key: PublicKey) -> Result<Option<Head>, CliError> {
    let data = &*context.data;
    let failed = |text: String| {
        CliError::new(Kind::Error, text)
            .hint("`gwa store carry` brings the newest head there, as does a daemon")
    };
    let settings = match open_public(data) {
        Ok(Some(blocks)) => settings_of(&blocks, data)?,
        _ => settings(&environment(), data)?,
    };
    let Some(depot) = depot(&settings, data, key)? else {
        let Some(status) = super::of_daemon(context) else {
            return Ok(None);
        };
        let kept = head_called(data, &status)?;
        return match kept.filter(|head| *head.key() == key) {
            Some(head) => Ok(Some(head)),
            None => Err(failed(format!("{} keeps no head yet", status.store))),
        };
    };
    match depot.newest_head() {
        Ok(Some(head)) if *head.key() == key => Ok(Some(head)),
        Ok(_) => Err(failed(format!("{} keeps no head yet", depot.name()))),
        Err(error) => {
            let told = failed("the store does not say which head it keeps".to_owned());
            Err(super::with_way_in(told.because(&error), &error))
        }
    }
}

/// The head of the archive in `data` that a daemon says its store keeps.
fn head_called(data: &Path, status: &CarrierStatus) -> Result<Option<Head>, CliError> {
    let Some(sequence) = status.seq else {
        return Ok(None);
    };
    let head = Heads::new(data).by_sequence(Sequence(sequence));
    let head = head.map_err(|error| archive_failed("cannot read the heads", &error))?;
    Ok(head.filter(|head| status.head == Some(head.cid().to_string())))
}

/// What the environment says: commands that only read have no flags for it.
pub(super) fn environment() -> StoreFlags {
    let text = |name| std::env::var(name).ok();
    StoreFlags {
        store: text("GWA_STORE").and_then(|store| store.parse().ok()),
        store_keep: None,
        store_auth: text("GWA_STORE_AUTH").and_then(|auth| auth.parse().ok()),
    }
}
