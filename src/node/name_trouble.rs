//! Why the names of a daemon lead to no newer head, for whoever asks it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::publish::ipns::NameFolderError;

/// What fails now; shared by whoever names heads and whoever tells of it.
#[derive(Clone, Debug, Default)]
pub struct NameTrouble(Arc<Mutex<Option<String>>>);

impl NameTrouble {
    /// What fails; `None` where nothing does.
    pub fn now(&self) -> Option<String> {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    /// Says what fails from now on; whether that is another thing than before.
    pub(super) fn set(&self, failing: Option<String>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *now != failing;
        *now = failing;
        is_news
    }
}

/// What failed, and what its user can do about it.
pub(super) fn text_of(error: &NameFolderError) -> String {
    match error {
        NameFolderError::HandedOver { .. } => format!("{error}: `--publish` names another key"),
        _ => error.to_string(),
    }
}
