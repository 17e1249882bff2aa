//! What a call fails with: geth's codes and texts.

use jsonrpsee::types::ErrorObjectOwned;

/// The method did not do what was asked.
pub(super) const HANDLER: i32 = -32_000;
/// The method needs the token; a code of our own.
pub(super) const NO_TOKEN: i32 = -32_001;
/// There is no such method.
pub(super) const NO_METHOD: i32 = -32_601;
/// The arguments are not what the method takes.
pub(super) const PARAMS: i32 = -32_602;
/// What came is no call.
pub(super) const PARSE: i32 = -32_700;

/// Why a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The arguments are not what the method takes.
    Params(String),
    /// The method did not do what was asked.
    Handler(String),
    /// There is nothing of this name to subscribe to.
    NoSubscription(String),
}

impl Fault {
    /// What was asked cannot be done, for this reason.
    pub(super) fn because(reason: impl std::fmt::Display) -> Self {
        Self::Handler(reason.to_string())
    }
}

impl From<Fault> for ErrorObjectOwned {
    fn from(fault: Fault) -> Self {
        let (code, text) = match fault {
            Fault::Params(text) => (PARAMS, text),
            Fault::Handler(text) => (HANDLER, text),
            Fault::NoSubscription(name) => (
                NO_METHOD,
                format!("no {name:?} subscription in shh namespace"),
            ),
        };
        Self::owned(code, text, None::<()>)
    }
}
