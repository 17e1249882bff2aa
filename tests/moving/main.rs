//! Envelopes moved in and out of archives, and what is let go of: `gwa import`,
//! `gwa export`, `gwa prune` and `gwa log`, as their users see them.

mod export;
mod house;
mod import;
mod log;
mod prune;
