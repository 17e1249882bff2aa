//! Who asks, and the envelope a request travels in.

use std::time::Duration;

use secp256k1::SecretKey;

use crate::mailserver::client::{ClientError, MailClient, QUIET};
use crate::mailserver::request::{ListForm, MailQuery};
use crate::time::{Expiry, Ttl, UnixSeconds};
use crate::whisper::keys::SymKey;
use crate::whisper::message::{MessageRandom, Reader, seal};
use crate::whisper::mining::{Target, Template, mine_within};
use crate::whisper::pow::Pow;
use crate::whisper::{Envelope, Topic};

/// The lifetime of a request's envelope, in seconds: what status clients use.
const REQUEST_TTL: Ttl = Ttl(50);

/// The lifetime of a request in the binary form. Work counts by lifetime, and
/// geth's servers ask for 200 times as much of it as others: with the shortest
/// lifetime there is, a request costs a moment in either formula. No server
/// looks at a request's expiry.
const BINARY_TTL: Ttl = Ttl(1);

/// Nonces tried for a request: some ten seconds of mining at most.
const REQUEST_NONCES: u32 = 1 << 24;

/// How a request is encrypted.
#[derive(Clone, Debug)]
pub enum RequestKey {
    /// With the key of the server's password.
    Password(SymKey),
    /// To the server's node key.
    ServerKey,
}

/// How a request is written, and so how its answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestForm {
    /// As the server's name suggests: geth's and wnode's get the binary form.
    #[default]
    ByName,
    /// The list of status clients. The answer ends with a completion.
    List,
    /// The 72 bytes of geth's clients. The answer ends with a completion where
    /// the server sends one, else when nothing more comes.
    Binary,
}

/// Who asks, and how.
#[derive(Clone, Debug)]
pub struct Requester {
    /// How requests are encrypted.
    pub key: RequestKey,
    /// Signs requests. Servers ask for a signature and do not care whose.
    pub signer: SecretKey,
    /// The work requests show.
    pub work: Target,
    /// How requests are written.
    pub form: RequestForm,
    /// How long nothing has to come until an answer in the binary form is taken
    /// for ended.
    pub quiet: Duration,
}

impl Requester {
    /// Asks with the key of a password and work enough for status servers.
    pub fn with_password(key: SymKey, signer: SecretKey) -> Self {
        Self::new(RequestKey::Password(key), signer)
    }

    /// Asks with `key` and work enough for status servers.
    pub fn new(key: RequestKey, signer: SecretKey) -> Self {
        Self {
            key,
            signer,
            work: Target::Both(Pow::STATUS_DEFAULT),
            form: RequestForm::ByName,
            quiet: QUIET,
        }
    }

    /// The envelope of a request to `server`: a list, or in the binary form.
    pub(super) async fn seal(
        &self,
        server: &MailClient,
        query: MailQuery,
        list: Option<ListForm>,
        now: UnixSeconds,
    ) -> Result<Envelope, ClientError> {
        let (payload, ttl) = match list {
            None => (query.encode_binary(), BINARY_TTL),
            Some(form) => (query.encode(form), REQUEST_TTL),
        };
        let signer = Some(&self.signer);
        let random = MessageRandom::draw();
        let sealed = match &self.key {
            RequestKey::Password(key) => seal(&payload, signer, Reader::Holders(key), &random),
            RequestKey::ServerKey => {
                let key = server.server().public_key()?;
                seal(&payload, signer, Reader::Owner(&key), &random)
            }
        };
        let template = Template {
            expiry: Expiry::of(now, ttl),
            ttl,
            topic: Topic::default(),
            data: sealed.expect("a query is far shorter than the longest payload"),
        };
        let work = match self.work {
            // A server of geth does not say what it asks of requests; its
            // default for envelopes is its default for requests too.
            Target::Both(pow) if list.is_none() => {
                Target::Both(pow.max(Pow::GETH_DEFAULT).max(server.server_pow()))
            }
            given => given,
        };
        tokio::task::spawn_blocking(move || mine_within(&template, work, REQUEST_NONCES))
            .await
            .ok()
            .flatten()
            .ok_or(ClientError::TooMuchWork)
    }
}
