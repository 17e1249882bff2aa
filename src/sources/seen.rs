//! The newest head seen of each key: who shows an older one, or another with the
//! same number, is found out. So is a place that shows the heads of another key.
//!
//! Always true:
//! - A head is never forgotten for an older one, unless its user says so.
//! - What is remembered is the signed head itself, so that a rewritten history can
//!   be proven to anybody: both heads are kept beside each other.
//! - A place keeps the key that it showed first, unless its user says so.
//! - Processes that remember at the same time take turns.
//!
//! The same of names, whose records are remembered: `names`.
//!
//! Files: `seen/<key>.head`, the newest head's block;
//! `seen/<key>.<number>.<cid>.proof`, heads that contradict each other;
//! `seen/<hash>.place`, where a place is and the key it showed.

mod names;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use secp256k1::PublicKey;

use crate::archive::head::{Head, Sequence};
use crate::blocks::{Block, Cid, Codec};
use crate::durable;
use crate::keccak::keccak256;

pub use self::names::NameContradiction;

/// Folder of what was seen.
const FOLDER: &str = "seen";

/// What a head is to the newest one seen of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// No head of this key was seen before.
    First,
    /// It has a higher number.
    Newer,
    /// It is the same head.
    Same,
    /// It has a lower number: history was taken back, or its source is behind.
    Older,
    /// It has the same number and is another head: the key signed two.
    Equivocation,
}

impl Judgement {
    /// Judges `head` by the newest one `seen` of its key.
    pub fn of(head: &Head, seen: Option<&Head>) -> Self {
        let Some(seen) = seen else {
            return Self::First;
        };
        let number = |head: &Head| head.body().sequence;
        match number(head).cmp(&number(seen)) {
            std::cmp::Ordering::Greater => Self::Newer,
            std::cmp::Ordering::Less => Self::Older,
            std::cmp::Ordering::Equal if head.cid() == seen.cid() => Self::Same,
            std::cmp::Ordering::Equal => Self::Equivocation,
        }
    }

    /// Whether it contradicts what was seen.
    pub fn is_alarm(self) -> bool {
        matches!(self, Self::Older | Self::Equivocation)
    }
}

/// Why a head was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// It contradicts the newest one seen.
    #[error("{}", contradiction(.judgement, *.sequence, .cid, *.seen_sequence, .seen))]
    Contradiction {
        /// How.
        judgement: Judgement,
        /// The head's number.
        sequence: Sequence,
        /// The head.
        cid: Box<Cid>,
        /// The number of the newest head seen.
        seen_sequence: Sequence,
        /// The newest head seen.
        seen: Box<Cid>,
        /// Where both are kept.
        proof: PathBuf,
    },
    /// The place showed the heads of another key before.
    #[error("its head is signed by key {key}, and by {before} when it was asked first ({file})")]
    AnotherKey {
        /// The key that signed the head.
        key: Box<PublicKey>,
        /// The key that the place showed first.
        before: Box<PublicKey>,
        /// Where that is written.
        file: PathBuf,
    },
    /// The record of a name contradicts the newest one seen.
    #[error("{0}")]
    Name(Box<NameContradiction>),
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn contradiction(
    judgement: &Judgement,
    sequence: Sequence,
    cid: &Cid,
    seen_sequence: Sequence,
    seen: &Cid,
) -> String {
    match judgement {
        Judgement::Equivocation => {
            format!("its key signed two heads with number {sequence}: {cid}, and {seen} before")
        }
        _ => format!(
            "head {cid} has number {sequence}, and number {seen_sequence} of the same key was \
             seen before: {seen}"
        ),
    }
}

/// The newest heads seen, in a folder.
#[derive(Clone, Debug)]
pub struct SeenHeads {
    dir: PathBuf,
}

impl SeenHeads {
    /// Those remembered in `dir`; it need not exist yet.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.join(FOLDER),
        }
    }

    /// The newest head seen of the key that signed `head`.
    pub fn newest(&self, head: &Head) -> Result<Option<Head>, SeenError> {
        let path = self.dir.join(format!("{}.head", key_of(head)));
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error(&path))?,
        };
        // Its signature says whether the file is what it should be; one that is
        // damaged tells nothing.
        let seen = Head::decode(Block::new(Codec::DagCbor, bytes)).ok();
        Ok(seen.filter(|seen| seen.key() == head.key()))
    }

    /// Remembers a head that a source calls its current one. A head that
    /// contradicts what was seen is refused, and both are kept as proof; with
    /// `accept_rewrite` it takes the other's place.
    pub fn remember(&self, head: &Head, accept_rewrite: bool) -> Result<Judgement, SeenError> {
        let _turn = self.turn()?;
        self.judge(head, accept_rewrite)
    }

    /// As [`Self::remember`], of a head that `place` calls its current one without
    /// a key being known to ask it for. Signed by another key than the one it
    /// showed first the head is refused; with `accept_rewrite` its key takes the
    /// other's place.
    pub fn remember_of(
        &self,
        place: &str,
        head: &Head,
        accept_rewrite: bool,
    ) -> Result<Judgement, SeenError> {
        let _turn = self.turn()?;
        let before = self.check_place(place, head, accept_rewrite)?;
        let judgement = self.judge(head, accept_rewrite)?;
        self.keep_place(place, head, before)?;
        Ok(judgement)
    }

    /// As [`Self::remember_of`], of the key alone: of a place that may well be behind,
    /// as the record of a name is.
    pub fn remember_key_of(
        &self,
        place: &str,
        head: &Head,
        accept_rewrite: bool,
    ) -> Result<(), SeenError> {
        let _turn = self.turn()?;
        let before = self.check_place(place, head, accept_rewrite)?;
        self.keep_place(place, head, before)
    }

    /// The key that a place showed first.
    pub fn key_of_place(&self, place: &str) -> Result<Option<PublicKey>, SeenError> {
        let file = self.place_file(place);
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(key_in(&other.map_err(io_error(&file))?)),
        }
    }

    fn place_file(&self, place: &str) -> PathBuf {
        let name = hex::encode(keccak256(place));
        self.dir.join(format!("{name}.place"))
    }

    /// Refuses a head of another key than the one a place showed first; gives that.
    fn check_place(
        &self,
        place: &str,
        head: &Head,
        accept_rewrite: bool,
    ) -> Result<Option<PublicKey>, SeenError> {
        let before = self.key_of_place(place)?;
        match before.filter(|before| before != head.key() && !accept_rewrite) {
            None => Ok(before),
            Some(before) => Err(SeenError::AnotherKey {
                key: Box::new(*head.key()),
                before: Box::new(before),
                file: self.place_file(place),
            }),
        }
    }

    fn keep_place(
        &self,
        place: &str,
        head: &Head,
        before: Option<PublicKey>,
    ) -> Result<(), SeenError> {
        if before == Some(*head.key()) {
            return Ok(());
        }
        let file = self.place_file(place);
        let text = format!("{} {place}\n", head.key());
        durable::replace_file(&file, text.as_bytes()).map_err(io_error(&file))
    }

    /// Waits until no other process remembers.
    fn turn(&self) -> Result<File, SeenError> {
        durable::create_folder(&self.dir).map_err(io_error(&self.dir))?;
        let lock = self.dir.join("lock");
        let held = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(io_error(&lock))?;
        held.lock().map_err(io_error(&lock))?;
        Ok(held)
    }

    fn judge(&self, head: &Head, accept_rewrite: bool) -> Result<Judgement, SeenError> {
        let seen = self.newest(head)?;
        let judgement = Judgement::of(head, seen.as_ref());
        if let Some(seen) = seen.as_ref().filter(|_| judgement.is_alarm()) {
            self.keep_proof(seen)?;
            let proof = self.keep_proof(head)?;
            if !accept_rewrite {
                return Err(SeenError::Contradiction {
                    judgement,
                    sequence: head.body().sequence,
                    cid: Box::new(*head.cid()),
                    seen_sequence: seen.body().sequence,
                    seen: Box::new(*seen.cid()),
                    proof,
                });
            }
        }
        if judgement != Judgement::Same {
            self.write(&format!("{}.head", key_of(head)), head)?;
        }
        Ok(judgement)
    }

    fn keep_proof(&self, head: &Head) -> Result<PathBuf, SeenError> {
        let number = head.body().sequence.0;
        self.write(
            &format!("{}.{number:010}.{}.proof", key_of(head), head.cid()),
            head,
        )
    }

    fn write(&self, name: &str, head: &Head) -> Result<PathBuf, SeenError> {
        let path = self.dir.join(name);
        durable::replace_file(&path, head.block().bytes()).map_err(io_error(&path))?;
        Ok(path)
    }
}

fn key_of(head: &Head) -> String {
    hex::encode(head.key().serialize())
}

/// The key that the file of a place begins with; a damaged one tells nothing.
fn key_in(text: &str) -> Option<PublicKey> {
    text.split_whitespace().next()?.parse().ok()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SeenError {
    let path = path.to_owned();
    |source| SeenError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::head::HeadBody;
    use crate::archive::sums::Sums;
    use crate::archive::watermark::Watermark;
    use crate::time::UnixSeconds;

    fn head(key: u8, sequence: u64, name: &str) -> Head {
        let body = HeadBody {
            network: "shh/6".to_owned(),
            name: name.to_owned(),
            sequence: Sequence(sequence),
            watermark: Watermark::new(UnixSeconds(300)).unwrap(),
            signed_at: UnixSeconds(400),
            state: None,
            open: Vec::new(),
            added: None,
            totals: Sums::default(),
            prev: (sequence > 1).then(|| *Block::new(Codec::Raw, &b"before"[..]).cid()),
            skip: None,
            merged: Vec::new(),
        };
        let key = secp256k1::SecretKey::from_secret_bytes([key; 32]).unwrap();
        Head::sign(body, &key).unwrap()
    }

    fn proofs(dir: &Path) -> usize {
        let entries = fs::read_dir(dir.join(FOLDER)).unwrap();
        entries
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().ends_with(".proof")
            })
            .count()
    }

    #[test]
    fn heads_go_forward_and_never_back() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let judge = |head: &Head| seen.remember(head, false);
        assert_eq!(judge(&head(1, 5, "")).unwrap(), Judgement::First);
        assert_eq!(judge(&head(1, 5, "")).unwrap(), Judgement::Same);
        assert_eq!(judge(&head(1, 9, "")).unwrap(), Judgement::Newer);
        // Another key has a history of its own.
        assert_eq!(judge(&head(2, 1, "")).unwrap(), Judgement::First);
        assert_eq!(proofs(dir.path()), 0);
        let error = judge(&head(1, 8, "")).unwrap_err();
        assert!(matches!(
            error,
            SeenError::Contradiction { judgement: Judgement::Older, ref proof, .. } if proof.exists()
        ));
        assert_eq!(proofs(dir.path()), 2);
        assert_eq!(judge(&head(1, 9, "")).unwrap(), Judgement::Same);
    }

    #[test]
    fn two_heads_with_one_number_are_both_kept() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let (one, other) = (head(1, 5, "one"), head(1, 5, "other"));
        seen.remember(&one, false).unwrap();
        let error = seen.remember(&other, false).unwrap_err().to_string();
        assert!(error.contains(&one.cid().to_string()) && error.contains(&other.cid().to_string()));
        assert_eq!(proofs(dir.path()), 2);
        assert_eq!(seen.newest(&one).unwrap(), Some(one.clone()));
        // Whoever accepts it goes on from the other.
        let judged = seen.remember(&other, true).unwrap();
        assert_eq!(judged, Judgement::Equivocation);
        assert_eq!(seen.newest(&one).unwrap(), Some(other));
        assert!(seen.remember(&one, false).is_err());
    }

    #[test]
    fn a_place_keeps_the_key_it_showed_first() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let at = |place: &str, head: &Head, accept| seen.remember_of(place, head, accept);
        assert_eq!(at("a", &head(1, 5, ""), false).unwrap(), Judgement::First);
        assert_eq!(at("a", &head(1, 6, ""), false).unwrap(), Judgement::Newer);
        let files = || fs::read_dir(dir.path().join(FOLDER)).unwrap().count();
        let before = files();
        for sequence in 1..9 {
            let error = at("a", &head(2, sequence, ""), false).unwrap_err();
            assert!(matches!(error, SeenError::AnotherKey { ref file, .. } if file.exists()));
        }
        assert_eq!(files(), before, "a stranger's heads were kept");
        // Another place may well show another key; and so may this one, where its
        // user says so.
        assert_eq!(at("b", &head(2, 1, ""), false).unwrap(), Judgement::First);
        assert_eq!(at("a", &head(2, 2, ""), true).unwrap(), Judgement::Newer);
        assert!(at("a", &head(1, 7, ""), false).is_err());
        assert_eq!(at("a", &head(2, 3, ""), false).unwrap(), Judgement::Newer);
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let seen = SeenHeads::new(dir.path());
        let known = head(1, 5, "");
        seen.remember(&known, false).unwrap();
        let path = dir
            .path()
            .join(FOLDER)
            .join(format!("{}.head", key_of(&known)));
        fs::write(&path, head(2, 9, "").block().bytes()).unwrap();
        assert_eq!(seen.newest(&known).unwrap(), None);
        fs::write(&path, b"nonsense").unwrap();
        assert_eq!(seen.newest(&known).unwrap(), None);
        assert_eq!(seen.remember(&known, false).unwrap(), Judgement::First);
    }
}
