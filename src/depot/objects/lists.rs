//! What a bucket holds, looked at and listed.
//!
//! Always true:
//! - A file that no catalogue lists as it is was never told of by a head: whoever
//!   carries finds it, and reads it through.
//! - A catalogue is written in the place of the version that was read. Where another
//!   writer was there, both's files are listed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::view::{FileIndex, Folder, Unlisted, View, split};
use super::{BLOCKS, Inner, object, read};
use crate::blocks::catalogue::{Catalogue, FILE, MAX_CATALOGUE, file_len};
use crate::depot::DepotError;
use crate::depot::registry::{Entry, Version};

/// How often the lists are written again where another writer changed them meanwhile.
const LIST_ATTEMPTS: usize = 5;

impl Inner {
    /// Looks at the bucket where that was not done yet, or what was seen is old.
    pub(super) async fn look(&self, most: Option<Duration>) -> Result<bool, DepotError> {
        let since = self.view().1;
        let is_new = |since: Option<Instant>| match (since, most) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(since), Some(most)) => since.elapsed() < most,
        };
        if is_new(since) {
            return Ok(false);
        }
        let _changing = self.changing.lock().await;
        // Another may have looked meanwhile.
        if self.view().1 != since && is_new(self.view().1) {
            return Ok(true);
        }
        self.look_again().await?;
        Ok(true)
    }

    /// Looks at the bucket. `changing` is held.
    pub(super) async fn look_again(&self) -> Result<(), DepotError> {
        let begun = Instant::now();
        let old = self.view().0.clone();
        let objects = self.bucket.list(BLOCKS).await?;
        let mut new = View::default();
        let mut versions = BTreeMap::new();
        for listed in &objects {
            if let Some((folder, _)) = split(&listed.name) {
                versions.entry(folder).or_insert(None);
            } else if let Some(folder) = listed.name.strip_suffix(FILE) {
                // That of the list of folders is empty.
                versions.insert(folder.trim_end_matches('/'), listed.version.clone());
            }
        }
        new.list.version = versions.remove("").flatten();
        let mut catalogues = BTreeMap::new();
        for (folder, version) in versions {
            let known = old.folders.get(folder);
            let is_same = version.is_some()
                && known.is_some_and(|known| !known.is_stale && known.version == version);
            let (version, catalogue) = match (is_same, version) {
                (true, version) => (version, old.catalogue(folder)),
                (false, None) => (None, Catalogue::default()),
                (false, Some(_)) => self.read_catalogue(folder).await?,
            };
            catalogues.insert(folder, catalogue);
            let is_stale = false;
            let folder = folder.to_owned();
            new.folders.insert(folder, Folder { version, is_stale });
        }
        for listed in &objects {
            let Some((folder, name)) = split(&listed.name) else {
                continue;
            };
            let catalogue = catalogues.get_mut(folder);
            let catalogued = catalogue.and_then(|catalogue| catalogue.files.remove(name));
            let name: Arc<str> = (*listed.name).into();
            let held = old
                .files
                .get(&name)
                .filter(|_| old.holds(&name, listed.len));
            let fits = |blocks: &Vec<_>| file_len(blocks) == listed.len;
            let index = match (held, catalogued) {
                (Some(index), Some(blocks)) if index.blocks == blocks => Arc::clone(index),
                (Some(index), _) => {
                    new.make_stale(folder);
                    Arc::clone(index)
                }
                (None, Some(blocks)) if fits(&blocks) => Arc::new(FileIndex::new(blocks)),
                (None, _) => {
                    let file = Unlisted {
                        len: listed.len,
                        version: listed.version.clone(),
                        is_broken: false,
                    };
                    // It is not read through again and again.
                    let known = old.unlisted.get(&name).filter(|known| {
                        known.version.is_some()
                            && (known.len, &known.version) == (file.len, &file.version)
                    });
                    new.unlisted.insert(name, known.cloned().unwrap_or(file));
                    continue;
                }
            };
            new.files.insert(name, index);
        }
        // What is left of the catalogues lists files that have gone.
        for (folder, catalogue) in catalogues {
            if !catalogue.files.is_empty() {
                new.make_stale(folder);
            }
        }
        new.list.is_stale = new.list.version.is_none()
            || new.list.version != old.list.version
            || !new.folders.keys().eq(old.folders.keys());
        *self.view() = (new, Some(begun));
        Ok(())
    }

    /// The catalogue of a folder; what is none is as good as none.
    async fn read_catalogue(
        &self,
        folder: &str,
    ) -> Result<(Option<Version>, Catalogue), DepotError> {
        let path = object(&format!("{folder}/{FILE}"));
        let read = self.bucket.small(&path, MAX_CATALOGUE as u64).await?;
        Ok(match read {
            None => (None, Catalogue::default()),
            Some(Entry { bytes, version }) => {
                let catalogue = Catalogue::decode(&bytes).unwrap_or_default();
                (Some(version), catalogue)
            }
        })
    }

    /// Writes the catalogues of folders that have changed. `changing` is held.
    pub(super) async fn write_lists(&self) -> Result<(), DepotError> {
        for _ in 0..LIST_ATTEMPTS {
            let view = self.view().0.clone();
            let mut overtaken = false;
            for (name, folder) in view.folders.iter().filter(|(_, folder)| folder.is_stale) {
                let bytes = view.catalogue(name).encode();
                let path = object(&format!("{name}/{FILE}"));
                match self.write_list(&path, &bytes, folder).await? {
                    None => overtaken = true,
                    Some(written) => {
                        self.view().0.folders.insert(name.clone(), written);
                    }
                }
            }
            if view.list.is_stale || view.list.version.is_none() {
                let text = view.list_text();
                match self
                    .write_list(&object(FILE), text.as_bytes(), &view.list)
                    .await?
                {
                    None => overtaken = true,
                    Some(written) => self.view().0.list = written,
                }
            }
            if !overtaken {
                return Ok(());
            }
            // Another writer changed them: what both carried is listed by a new look.
            self.look_again().await?;
            let mut view = self.view();
            view.0.list.is_stale = true;
            for folder in view.0.folders.values_mut() {
                folder.is_stale = true;
            }
        }
        Err(self
            .bucket
            .away("another writer changes its lists all the time"))
    }

    async fn write_list(
        &self,
        path: &str,
        bytes: &[u8],
        folder: &Folder,
    ) -> Result<Option<Folder>, DepotError> {
        let written = match &folder.version {
            None => self.bucket.create(path, bytes).await?,
            Some(version) => self.bucket.replace(path, bytes, version).await?,
        };
        Ok(written.map(|version| Folder {
            version: Some(version),
            is_stale: false,
        }))
    }

    /// Learns what files hold that no catalogue lists: a writer was stopped before it
    /// wrote them. A file that is not whole is as good as none.
    pub(super) async fn read_unlisted(self: &Arc<Self>) -> Result<(), DepotError> {
        let unlisted = self.view().0.unlisted.clone();
        let unlisted = unlisted.into_iter().filter(|(_, file)| !file.is_broken);
        for (name, Unlisted { len, .. }) in unlisted {
            let inner = Arc::clone(self);
            let file = Arc::clone(&name);
            let scanned =
                tokio::task::spawn_blocking(move || read::scan(&inner.bucket, &file, len));
            let scanned = scanned
                .await
                .map_err(|error| self.bucket.away(error.to_string()))?;
            match scanned? {
                Some(blocks) => self.view().0.insert(&name, blocks),
                None => {
                    tracing::warn!(file = &*name, "it is not whole in the depot");
                    if let Some(file) = self.view().0.unlisted.get_mut(&name) {
                        file.is_broken = true;
                    }
                }
            }
        }
        Ok(())
    }
}
