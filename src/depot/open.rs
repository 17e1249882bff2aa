//! From the address of a store to the depot there.

use std::path::PathBuf;
use std::sync::Arc;

use secp256k1::PublicKey;

use super::address::StoreAddress;
use super::folder::FolderDepot;
use super::kubo::KuboDepot;
use super::objects::ObjectsDepot;
use super::swarm::SwarmDepot;
use super::{Depot, DepotError};
use crate::archive::disk::ArchiveTag;
use crate::config::Password;

/// Whose depot it is, and what opens it.
#[derive(Clone, Debug)]
pub struct DepotSettings {
    /// The data folder of the archive: a depot's own keys and notes lie there.
    pub data: PathBuf,
    /// The key that signs the archive's heads. Depots that several archives share
    /// keep each under its [tag](DepotSettings::tag).
    pub key: PublicKey,
    /// What the place asks of those who write there, in its own form. Never shown.
    pub auth: Option<Password>,
}

impl DepotSettings {
    /// Settings of a depot that asks for nothing.
    pub fn new(data: impl Into<PathBuf>, key: PublicKey) -> Self {
        Self {
            data: data.into(),
            key,
            auth: None,
        }
    }

    /// Sixteen hex digits that name the archive.
    pub fn tag(&self) -> String {
        hex::encode(ArchiveTag::of(&self.key).0)
    }
}

/// Opens the depot at an address; `None` where blocks are kept in the data folder
/// alone. Nothing is waited for: a depot that is away now says so when it is used.
pub fn open(
    address: &StoreAddress,
    settings: &DepotSettings,
) -> Result<Option<Arc<dyn Depot>>, DepotError> {
    let depot: Arc<dyn Depot> = match address {
        StoreAddress::Embedded => return Ok(None),
        StoreAddress::Folder(dir) => Arc::new(FolderDepot::new(dir)),
        StoreAddress::Kubo(url) => Arc::new(KuboDepot::new(url, settings)?),
        StoreAddress::S3(url) => {
            let environment = |name: &str| std::env::var(name).ok();
            Arc::new(ObjectsDepot::open(url, &environment)?)
        }
        StoreAddress::Swarm(url) => Arc::new(SwarmDepot::new(url, settings)?),
    };
    Ok(Some(depot))
}
