//! What the commands share that talk to mailservers: flags, keys, and how a
//! server's failures read to the user.

use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;

use crate::cli::error::{CliError, Kind};
use crate::config::{DEFAULT_PASSWORD, MinPow, Password, Span};
use crate::mailserver::client::{ClientError, History, RequestForm, RequestKey, Requester};
use crate::mailserver::request::MailQuery;
use crate::rlpx::session::LocalNode;
use crate::rlpx::{Enode, NodeKey};
use crate::time::{Clock, DAY, SystemClock, TimeRange, UnixSeconds};
use crate::whisper::keys::SymKey;
use crate::whisper::mining::Target;
use crate::whisper::node::protocol;

/// Envelopes asked for at a time, unless told otherwise.
pub const PAGE: u32 = 1_000;

/// How requests are made.
#[derive(Debug, Args)]
pub struct MailArgs {
    /// The servers' password [default: the one of public Status servers].
    #[arg(
        long,
        env = "GWA_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true
    )]
    password: Option<Password>,
    /// Encrypt requests to the server's node key instead.
    #[arg(long)]
    server_key: bool,
    /// Ask in the 72-byte form of geth's clients, as servers that call
    /// themselves Geth or wnode are asked anyway.
    #[arg(long)]
    legacy: bool,
    /// How long nothing has to come until the answer of a geth server, which
    /// never says that it is complete, is taken for ended [default: 5s].
    #[arg(long, value_name = "SPAN")]
    quiet_after: Option<Span>,
    /// The proof of work that requests show [default: 0.001; 0.2 for geth].
    #[arg(long, value_name = "POW")]
    request_pow: Option<MinPow>,
}

/// This process, as it presents itself to servers: a new identity each time.
pub struct Asker {
    /// The identity.
    pub local: Arc<LocalNode>,
    /// How it asks.
    pub requester: Requester,
}

impl Asker {
    /// Asks as the flags say. Derives a key, which takes a moment.
    pub fn new(args: &MailArgs) -> Self {
        let key = if args.server_key {
            RequestKey::ServerKey
        } else {
            let password = args.password.as_ref().map(Password::expose);
            RequestKey::Password(SymKey::from_password(password.unwrap_or(DEFAULT_PASSWORD)))
        };
        let identity = NodeKey::generate();
        let mut requester = Requester::new(key, *identity.secret());
        if args.legacy {
            requester.form = RequestForm::Binary;
        }
        if let Some(Span(quiet)) = args.quiet_after {
            requester.quiet = quiet;
        }
        if let Some(MinPow(pow)) = args.request_pow {
            requester.work = Target::Both(pow);
        }
        Self {
            local: local_node(identity),
            requester,
        }
    }

    /// The history of `server` that matches `query`.
    pub fn history(&self, server: Enode, query: MailQuery) -> History {
        History::new(
            server,
            Arc::clone(&self.local),
            self.requester.clone(),
            Arc::new(SystemClock),
            query,
        )
    }
}

/// A node that only asks or posts.
pub fn local_node(identity: NodeKey) -> Arc<LocalNode> {
    let name = concat!("gwa/v", env!("CARGO_PKG_VERSION"));
    Arc::new(LocalNode::new(identity, name, vec![protocol()], 0))
}

/// The range asked for, as status clients default it: up to now, from a day
/// before its end.
pub fn range(from: Option<UnixSeconds>, to: Option<UnixSeconds>) -> Result<TimeRange, CliError> {
    let to = to.unwrap_or_else(|| SystemClock.now());
    let from = from.unwrap_or_else(|| to.saturating_sub(DAY));
    TimeRange::new(from, to)
        .map_err(|error| CliError::new(Kind::Usage, "no envelope can match").because(&error))
}

/// The threads that a command's links live on.
pub fn runtime() -> Result<Runtime, CliError> {
    Runtime::new().map_err(|error| CliError::new(Kind::Error, "cannot start").because(&error))
}

/// A server in a line of the story: its address, which is what people
/// recognise, and the start of its key.
pub fn short(server: &Enode) -> String {
    let id = server.id.to_string();
    format!("enode://{}…@{}", &id[..8], server.tcp_address())
}

/// How a server's failure reads, and what helps.
pub fn server_failed(what: &str, server: &Enode, error: &ClientError) -> CliError {
    let kind = if error.is_wrong_password() {
        Kind::WrongKey
    } else {
        Kind::Error
    };
    let told = CliError::new(kind, format!("{what} {}", short(server))).because(error);
    match error {
        error if error.is_wrong_password() => told.hint(
            "name the server's password with `--password`, or ask with `--server-key`; \
             a server whose requests need more work answers this too: `--request-pow`",
        ),
        ClientError::Silent => told.hint(
            "a node that is no mailserver ignores requests; one of geth ignores \
             what it cannot decrypt: `--legacy` asks as its clients do",
        ),
        error if error.is_servers_fault() => {
            told.hint("no honest server sends this: do not trust what it sends or lacks")
        }
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_now_and_is_a_day_long_unless_told_otherwise() {
        let whole = range(None, None).unwrap();
        assert_eq!(whole.to().since(whole.from()), DAY);
        let given = range(None, Some(UnixSeconds(200_000))).unwrap();
        assert_eq!(given.from(), UnixSeconds(200_000 - DAY));
        let reversed = range(Some(UnixSeconds(2)), Some(UnixSeconds(1)));
        assert_eq!(reversed.unwrap_err().kind(), Kind::Usage);
    }
}
