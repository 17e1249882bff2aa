//! What the archive in the data folder no longer holds, and where else it may be.

use std::path::Path;

use crate::archive::ArchiveError;
use crate::archive::disk::{Origin, kept_from, sealed_by};
use crate::archive::held::{Runs, days_lacking};
use crate::archive::watermark::Day;
use crate::cli::context::{Context, OpenedHead};
use crate::cli::error::{CliError, Kind};
use crate::cli::sources::standing;
use crate::sources::Reference;
use crate::time::TimeRange;

/// Sources known to the archive in `data` that may hold its history: those it was
/// forked or mirrored from, and those that its configuration names.
pub fn elsewhere(data: &Path) -> Vec<String> {
    // What helps to find the rest must not fail for itself.
    let origin = Origin::read(data).ok().flatten();
    let mut known = origin.map(|origin| origin.sources).unwrap_or_default();
    for source in standing(data).unwrap_or_default() {
        let source = source.to_string();
        if !known.contains(&source) {
            known.push(source);
        }
    }
    known
}

/// A sentence that says where the rest of the history under `head` may be had.
pub fn hint(data: &Path, head: &impl std::fmt::Display) -> String {
    match &elsewhere(data)[..] {
        [] => format!(
            "no other place that holds them is known here; whoever has head {head} whole does"
        ),
        known => format!("they may still be had from {}", known.join(", ")),
    }
}

impl Context {
    /// The first day that the archive in the data folder keeps, where `reference`
    /// is about that archive; the first of all where it keeps everything.
    pub fn floor(&self, reference: &Reference) -> Day {
        match reference {
            // What cannot be read is no reason to take a gap for a drop.
            Reference::OwnHead | Reference::Cid { .. } => kept_from(&self.data).unwrap_or(Day(0)),
            Reference::Folder(dir) => kept_from(dir).unwrap_or(Day(0)),
            _ => Day(0),
        }
    }

    /// As [`Self::unreadable`], of a question about `range`: where it fails because
    /// days were dropped here, it says which, and where else they may be.
    pub fn unanswered(
        &self,
        reference: &Reference,
        opened: &OpenedHead,
        range: TimeRange,
        what: &str,
        error: &ArchiveError,
    ) -> CliError {
        let floor = self.floor(reference);
        let sealed = sealed_by(&opened.head);
        if error.is_missing()
            && let Ok(lacking) = days_lacking(&*opened.source, &sealed, range, floor)
            && !lacking.is_empty()
        {
            return self.not_held(opened, &lacking, what);
        }
        self.unreadable(reference, what, error)
    }

    /// The failure of a question that days dropped here would be needed for.
    pub fn not_held(&self, opened: &OpenedHead, days: &[Day], what: &str) -> CliError {
        let runs: Runs = days.iter().copied().collect();
        let from = days.last().map_or(Day(0), |day| Day(day.0 + 1));
        CliError::new(
            Kind::Partial,
            format!(
                "{what}: {} days are no longer kept here: {runs}",
                days.len()
            ),
        )
        .hint(format!(
            "`--from {from}` asks for what is kept; {}",
            hint(&self.data, opened.head.cid())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_of_its_own_knows_of_no_other_place() {
        let dir = tempfile::tempdir().unwrap();
        assert!(elsewhere(dir.path()).is_empty());
        let told = hint(dir.path(), &"bafy");
        assert!(told.contains("whoever has head bafy"), "{told}");
    }

    #[test]
    fn a_fork_names_where_it_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let origin = serde_json::json!({
            "kind": "fork",
            "key": "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "name": "",
            "sources": ["https://one.example", "two.car"],
        });
        std::fs::write(dir.path().join("origin.json"), origin.to_string()).unwrap();
        let told = hint(dir.path(), &"bafy");
        assert_eq!(
            told,
            "they may still be had from https://one.example, two.car"
        );
        let settings = r#"sources = ["https://one.example", "https://three.example"]"#;
        std::fs::write(dir.path().join("gwa.toml"), settings).unwrap();
        let known = elsewhere(dir.path());
        assert_eq!(
            known,
            ["https://one.example", "two.car", "https://three.example"]
        );
    }
}
