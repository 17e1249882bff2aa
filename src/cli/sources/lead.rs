//! Whose newest head is learned, once or again and again, and who has its blocks.
//!
//! Always true:
//! - A head is one of the key that is meant: the one that a shared line or the
//!   origin of the archive names, and of a bare URL the one that it showed first.
//! - Of several places the newest head counts; one that is behind, away, or shows
//!   another key is passed over. Two heads of one number and key are refused.
//! - A shared line names the least: no older head than its own is taken. So does a
//!   name, which is looked up each time.
//! - The archive in the data folder is not opened for it: whoever follows has it
//!   open. Blocks come from the same sources as long as the head stays the same,
//!   and what each of them did is remembered for good.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secp256k1::PublicKey;
use url::Url;

use super::names::{name_in, place_of};
use super::{
    Sources, is_archive, memory_folder, no_head_at, open_car, origin_places, remembered, standing,
    unopened,
};
use crate::archive::disk::{Heads, Origin};
use crate::archive::head::Head;
use crate::blocks::car::CarFile;
use crate::blocks::{Block, BlockError, BlockSource, Cid};
use crate::cli::context::{newest_head, read_head};
use crate::cli::error::{CliError, Kind};
use crate::publish::Hints;
use crate::publish::ipns::NameRef;
use crate::sources::Reference;
use crate::sources::names::Resolved;
use crate::sources::seen::{Judgement, SeenError, SeenHeads};
use crate::sources::{HttpSource, NoHead, Pool, Remote, SourceAddress, open_folder};

/// Whoever is followed.
pub struct Lead {
    data: PathBuf,
    accept_rewrite: bool,
    places: Vec<Place>,
    /// The key that signs the heads, where it is known beforehand.
    key: Option<PublicKey>,
    line: Option<Line>,
    named: Option<Named>,
    /// The block of the head that the name's record carried the last time.
    head_of_name: Option<Block>,
    /// Sources as of the head that was the newest the last time.
    kept: Option<(Cid, Arc<Pool>)>,
}

/// A name that is looked up each time.
struct Named {
    name: NameRef,
    sources: Sources,
}

/// A source of blocks.
struct Place {
    address: SourceAddress,
    /// Whether its newest head is asked for.
    tells: bool,
    /// Whether nothing but the record of a name told of it.
    by_name: bool,
    /// The same, where it is on the network and may tell of a head.
    far: Option<Arc<HttpSource>>,
    /// The same, where it is on the network and gives blocks alone.
    mute: Option<Arc<dyn Remote>>,
}

/// A head that was named.
struct Line {
    cid: Cid,
    /// Whether later heads of its key are meant too.
    and_later: bool,
    /// The head, once it was read.
    head: Option<Head>,
}

/// A head, and who told it.
struct Told {
    head: Head,
    /// Where, as far as that is a place on the network.
    at: Option<Url>,
}

impl Sources {
    /// Who tells the newest head that `reference` names; nobody is asked yet.
    pub fn lead(&self, reference: &Reference, data: &Path) -> Result<Lead, CliError> {
        let (told_by, key, line) = match reference {
            Reference::Name { name, .. } => {
                let mut told_by = self.named.clone();
                told_by.extend(self.hints_seen(name, data)?);
                let also = [origin_places(data)?, standing(data)?].concat();
                let mut lead = self.lead_of(data, told_by, also, None, None)?;
                lead.named = Some(self.named(name.clone())?);
                return Ok(lead);
            }
            Reference::Folder(path) => (vec![SourceAddress::Folder(path.clone())], None, None),
            Reference::CarFile(path) => (vec![SourceAddress::Car(path.clone())], None, None),
            Reference::Url(base) => (vec![SourceAddress::Http(base.clone())], None, None),
            Reference::Swarm(address) => (vec![SourceAddress::Swarm(address.clone())], None, None),
            Reference::OwnHead => (vec![SourceAddress::Folder(data.to_owned())], None, None),
            Reference::Cid { cid, .. } | Reference::AtGateway { cid, .. } => {
                let line = Line {
                    cid: *cid,
                    and_later: false,
                    head: None,
                };
                (Vec::new(), None, Some(line))
            }
            Reference::Shared(share) => {
                let line = Line {
                    cid: share.head,
                    and_later: true,
                    head: None,
                };
                (self.hints(&share.hints, data)?, share.key, Some(line))
            }
        };
        let mut also = Vec::new();
        if let Reference::AtGateway { base, .. } = reference {
            also.push(SourceAddress::Http(base.clone()));
        }
        also.extend(self.named.iter().cloned());
        // Whoever names one file or folder wants to know what that one holds.
        if !matches!(reference, Reference::CarFile(_) | Reference::Folder(_)) {
            also.extend(origin_places(data)?);
            also.extend(standing(data)?);
        }
        self.lead_of(data, told_by, also, key, line)
    }

    /// Who tells the newest head of what the mirror in `data` follows: every place
    /// that is known to have it.
    pub fn lead_of_mirror(&self, origin: &Origin, data: &Path) -> Result<Lead, CliError> {
        let told_by = origin.sources.iter();
        let told_by = told_by.filter_map(|place| place.parse().ok()).collect();
        let also = [&self.named[..], &standing(data)?].concat();
        let mut lead = self.lead_of(data, told_by, also, Some(origin.key), None)?;
        let name = origin.sources.iter().find_map(|place| name_in(place));
        lead.named = name.map(|name| self.named(name)).transpose()?;
        Ok(lead)
    }

    fn named(&self, name: NameRef) -> Result<Named, CliError> {
        // Closing these closes those of the name too.
        self.net()?;
        Ok(Named {
            name,
            sources: self.clone(),
        })
    }

    /// Who has the history that a fork rests on, whose newest head is `own`.
    pub fn lead_of_fork(&self, own: Head, data: &Path) -> Result<Lead, CliError> {
        let also = [origin_places(data)?, self.named.clone(), standing(data)?].concat();
        let line = Line {
            cid: *own.cid(),
            and_later: false,
            head: Some(own),
        };
        self.lead_of(data, Vec::new(), also, None, Some(line))
    }

    fn lead_of(
        &self,
        data: &Path,
        told_by: Vec<SourceAddress>,
        also: Vec<SourceAddress>,
        key: Option<PublicKey>,
        line: Option<Line>,
    ) -> Result<Lead, CliError> {
        let mut places: Vec<Place> = Vec::new();
        let told_by = told_by.into_iter().map(|address| (address, true));
        for (address, tells) in told_by.chain(also.into_iter().map(|address| (address, false))) {
            if places.iter().any(|place| place.address == address) {
                continue;
            }
            places.push(self.place(address, tells, false)?);
        }
        Ok(Lead {
            data: data.to_owned(),
            accept_rewrite: self.accept_rewrite,
            places,
            key,
            line,
            named: None,
            head_of_name: None,
            kept: None,
        })
    }

    fn place(&self, address: SourceAddress, tells: bool, by_name: bool) -> Result<Place, CliError> {
        Ok(Place {
            tells,
            by_name,
            far: self.far(&address)?,
            mute: self.mute(&address)?,
            address,
        })
    }
}

impl Lead {
    /// The newest head, its signature checked, and where its blocks come from.
    pub fn latest(&mut self) -> Result<(Head, Arc<Pool>), CliError> {
        let head = self.newest()?;
        let pool = match &self.kept {
            Some((cid, pool)) if cid == head.cid() => Arc::clone(pool),
            _ => {
                for place in &mut self.places {
                    let far = place.far.as_ref();
                    place.far = far.map(|source| Arc::new(source.anew()));
                }
                let pool = Arc::new(self.pool()?);
                self.kept = Some((*head.cid(), Arc::clone(&pool)));
                pool
            }
        };
        Ok((head, pool))
    }

    /// The newest head's CID, and every source of blocks as its own.
    pub fn newest_and_pool(&mut self) -> Result<(Pool, Cid), CliError> {
        let head = self.newest()?;
        Ok((self.pool()?, *head.cid()))
    }

    fn newest(&mut self) -> Result<Head, CliError> {
        if let Some(named) = self.named.take() {
            let (named, head) = self.of_name(named);
            self.named = Some(named);
            return head;
        }
        match self.line()? {
            Some((head, false)) => Ok(head),
            Some((head, true)) => self.choose(Some(head), None),
            None => self.choose(None, None),
        }
    }

    /// The newest head of what a name stands for. Where it leads nowhere, what was
    /// seen of it says whose heads are meant.
    fn of_name(&mut self, named: Named) -> (Named, Result<Head, CliError>) {
        let resolved = named.sources.resolve(&named.name, &self.data);
        let head = match resolved {
            Ok(resolved) => self.of_resolved(&named, resolved),
            Err(error) if error.kind() == Kind::Verification => Err(error),
            Err(error) => {
                let seen = SeenHeads::new(&memory_folder(&self.data));
                let seen = seen.key_of_place(&place_of(&named.name)).ok().flatten();
                match self.key.or(seen) {
                    None => Err(error),
                    key => {
                        let brief = error.brief();
                        tracing::warn!("{brief}: heads are asked for as far as they are told");
                        self.choose(None, key).map_err(|_| error)
                    }
                }
            }
        };
        (named, head)
    }

    fn of_resolved(&mut self, named: &Named, resolved: Resolved) -> Result<Head, CliError> {
        let place = place_of(&named.name);
        if !resolved.path.is_empty() {
            let (cid, path) = (resolved.cid, resolved.path.join("/"));
            return Err(CliError::new(
                Kind::Error,
                format!("{place} stands for /ipfs/{cid}/{path}, where a head was expected"),
            ));
        }
        self.go_where_told(named, &resolved.hints)?;
        let head = match resolved.head {
            Some(head) => *head,
            None => self.fetched(&resolved.cid)?,
        };
        // A mirror follows one key, whatever the name shows.
        if self.key.is_some_and(|key| key != *head.key()) {
            return Err(another_key(&place));
        }
        let seen = SeenHeads::new(&memory_folder(&self.data));
        let judged = seen.remember_key_of(&place, &head, self.accept_rewrite);
        remembered(&place, judged.map(|()| Judgement::Same))?;
        self.head_of_name = Some(head.block().clone());
        self.choose(Some(head), None)
    }

    /// Asks at the addresses that the record of a name tells from now on, and no longer
    /// at those that only an earlier one told: an owner who moves on and on must not
    /// leave his readers with ever more to ask.
    fn go_where_told(&mut self, named: &Named, hints: &Hints) -> Result<(), CliError> {
        let told = named.sources.hints(hints, &self.data)?;
        self.places
            .retain(|place| !place.by_name || told.contains(&place.address));
        for address in told {
            if !self.places.iter().any(|place| place.address == address) {
                let place = named.sources.place(address, true, true)?;
                self.places.push(place);
            }
        }
        Ok(())
    }

    /// The newest of what is told; `line` is the head that a shared line or a name
    /// names, `seen` the key that a name showed.
    fn choose(&self, line: Option<Head>, seen: Option<PublicKey>) -> Result<Head, CliError> {
        let shared = line.is_some() || seen.is_some();
        let known = self.key.or(seen);
        let key = known.or_else(|| line.as_ref().map(|line| *line.key()));
        let (mut told, away) = self.ask(key.as_ref(), shared);
        // Whoever accepts that history is taken back takes what is told.
        let overruled = self.accept_rewrite && !told.is_empty();
        if let Some(line) = line.filter(|_| !overruled) {
            let seen = SeenHeads::new(&memory_folder(&self.data)).newest(&line);
            let known = [Some(line), seen.ok().flatten()].into_iter().flatten();
            told.splice(0..0, known.map(|head| Told { head, at: None }));
        }
        told.sort_by_key(|told| Reverse(told.head.body().sequence));
        let Some(newest) = told.first() else {
            return Err(away.unwrap_or_else(nobody));
        };
        for told in &told {
            if told.head.body().sequence == newest.head.body().sequence {
                self.remember(told, shared, away.as_ref())?;
            } else if let Some(at) = &told.at {
                tracing::warn!(%at, "is behind the newest head of its key");
            }
        }
        Ok(newest.head.clone())
    }

    /// What every place tells, and why the last one that could not be asked could
    /// not be.
    fn ask(&self, key: Option<&PublicKey>, shared: bool) -> (Vec<Told>, Option<CliError>) {
        let (mut told, mut away, mut untold) = (Vec::new(), None, None);
        let tellers = self.places.iter().filter(|place| place.tells);
        let is_one_of_many = shared || tellers.clone().count() > 1;
        for place in tellers {
            let error = match place.head() {
                Ok(head) if key.is_none_or(|key| key == head.key()) => {
                    let at = place.far.as_ref().map(|source| source.base().clone());
                    told.push(Told { head, at });
                    continue;
                }
                Ok(_) => another_key(&place.address.to_string()),
                // A gateway has blocks, and knows nothing of heads.
                Err(Untold::Silent(error)) => {
                    untold = Some(error);
                    continue;
                }
                Err(Untold::Failed(error)) => error,
            };
            if is_one_of_many {
                tracing::warn!("passed over: {}", error.brief());
            }
            away = Some(error);
        }
        if told.is_empty() {
            away = away.or(untold);
        }
        (told, away)
    }

    /// Remembers the newest head, and refuses it where it takes history back. While
    /// a place is `away` that may know better, it is only not to be learned now.
    fn remember(&self, told: &Told, shared: bool, away: Option<&CliError>) -> Result<(), CliError> {
        let seen = SeenHeads::new(&memory_folder(&self.data));
        let Told { head, at } = told;
        let judged = match at {
            Some(base) if self.key.is_none() && !shared => {
                seen.remember_of(base.as_str(), head, self.accept_rewrite)
            }
            None if !shared => return Ok(()),
            _ => seen.remember(head, self.accept_rewrite),
        };
        let by = at.as_ref().map_or("the shared line", Url::as_str);
        let is_behind = matches!(
            judged,
            Err(SeenError::Contradiction {
                judgement: Judgement::Older,
                ..
            })
        );
        remembered(by, judged).map_err(|refused| match away {
            Some(_) if is_behind => refused.of_kind(Kind::Error),
            _ => refused,
        })
    }

    /// The head that was named, and whether later ones are meant too.
    fn line(&mut self) -> Result<Option<(Head, bool)>, CliError> {
        let Some(line) = &self.line else {
            return Ok(None);
        };
        let (cid, and_later) = (line.cid, line.and_later);
        if let Some(head) = &line.head {
            return Ok(Some((head.clone(), and_later)));
        }
        let head = self.fetched(&cid)?;
        if let Some(key) = &self.key {
            check_key(key, &head)?;
        }
        self.line = Some(Line {
            cid,
            and_later,
            head: Some(head.clone()),
        });
        Ok(Some((head, and_later)))
    }

    /// The head `cid`, from whoever has it.
    fn fetched(&self, cid: &Cid) -> Result<Head, CliError> {
        let mut pool = self.pool()?;
        if is_archive(&self.data) {
            pool.add_local("this archive", Box::new(Heads::new(&self.data)));
        }
        if pool.is_empty() {
            return Err(nobody());
        }
        read_head(&pool, cid)
    }

    /// `head`, which was the latest, is copied and recomputed.
    pub fn is_verified(&self, head: &Head) {
        for place in self.places.iter().filter(|place| place.tells) {
            place.far.iter().for_each(|far| far.is_verified(head));
        }
    }

    /// Every source of blocks; one on this machine that cannot be opened is left
    /// out where it only helps.
    fn pool(&self) -> Result<Pool, CliError> {
        let mut pool = Pool::default();
        if let Some(block) = &self.head_of_name {
            let record = OneBlock(block.clone());
            pool.add_local("the record of the name", Box::new(record));
        }
        for place in &self.places {
            match place.add_to(&mut pool) {
                Err(error) if place.tells && self.places.len() == 1 => return Err(error),
                Err(error) => tracing::warn!("left out: {}", error.brief()),
                Ok(()) => {}
            }
        }
        Ok(pool)
    }
}

impl Place {
    /// The newest head it tells.
    fn head(&self) -> Result<Head, Untold> {
        let head = match (&self.address, &self.far) {
            (_, Some(source)) => {
                return source.current_head().map_err(|error| match &error {
                    NoHead::Untold { .. } => Untold::Silent(no_head_at(&error)),
                    NoHead::Fault { .. } => Untold::Failed(no_head_at(&error)),
                });
            }
            (SourceAddress::Car(path), _) => {
                open_car(path).and_then(|(car, root)| read_head(&car, &root))
            }
            (SourceAddress::Folder(path), _) => {
                let heads = Heads::new(path);
                newest_head(&heads).and_then(|cid| read_head(&heads, &cid))
            }
            (SourceAddress::Kubo(_) | SourceAddress::P2p(_) | SourceAddress::Dht(_), _) => {
                return Err(Untold::Silent(nobody()));
            }
            (_, None) => Err(nobody()),
        };
        head.map_err(Untold::Failed)
    }

    fn add_to(&self, pool: &mut Pool) -> Result<(), CliError> {
        let opened: Box<dyn BlockSource> = match (&self.address, &self.far) {
            (_, Some(source)) => {
                pool.add_remote(source.clone());
                return Ok(());
            }
            (SourceAddress::Car(path), _) => {
                Box::new(CarFile::open(path).map_err(|error| unopened(path, &error))?)
            }
            (SourceAddress::Folder(path), _) => {
                open_folder(path).map_err(|error| unopened(path, &error))?
            }
            (SourceAddress::Kubo(_) | SourceAddress::P2p(_) | SourceAddress::Dht(_), _) => {
                if let Some(source) = &self.mute {
                    pool.add_remote(Arc::clone(source));
                }
                return Ok(());
            }
            (_, None) => return Ok(()),
        };
        pool.add_local(self.address.to_string(), opened);
        Ok(())
    }
}

/// A block that came by itself.
struct OneBlock(Block);

impl BlockSource for OneBlock {
    fn get(&self, cid: &Cid) -> Result<Block, BlockError> {
        match self.has(cid)? {
            true => Ok(self.0.clone()),
            false => Err(BlockError::Missing { cid: *cid }),
        }
    }

    fn has(&self, cid: &Cid) -> Result<bool, BlockError> {
        Ok(self.0.cid() == cid)
    }
}

/// Why a place tells no head.
enum Untold {
    /// It knows none.
    Silent(CliError),
    /// It could not be asked, or what it tells is no head.
    Failed(CliError),
}

/// Refuses a head that is not signed by the key that was shared with it.
pub(super) fn check_key(key: &PublicKey, head: &Head) -> Result<(), CliError> {
    if key == head.key() {
        return Ok(());
    }
    Err(CliError::new(
        Kind::Verification,
        format!(
            "the shared line names key {key}, and its head {} is signed by {}",
            head.cid(),
            head.key()
        ),
    )
    .hint("the line was tampered with: ask whoever shares the archive for another"))
}

fn another_key(place: &str) -> CliError {
    CliError::new(
        Kind::Verification,
        format!("{place} shows the archive of another key"),
    )
    .hint("it is not the key that was shared or followed so far: somebody else answers there")
}

fn nobody() -> CliError {
    CliError::new(Kind::Error, "there is nobody to ask for the head")
        .hint("name a source of its blocks with `--source`")
}

#[cfg(test)]
mod tests;
