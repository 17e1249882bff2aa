//! The PostgreSQL table of a status-go mailserver:
//! `envelopes(id bytea, data bytea, topic bytea, bloom bit(512))`, where `id` is
//! the key that its LevelDB would have.
//!
//! Always true:
//! - The server is asked within one transaction that reads only, and sees the
//!   table as it was when it began, whatever a node writes meanwhile.
//! - Rows are streamed: neither side gathers them. No envelope above
//!   [`MAX_ENVELOPE`] crosses the link.
//! - As many rows come as the server counted, or the import fails saying so.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use postgres::config::{Host, SslMode};
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Config, NoTls, Row, RowIter};

use super::{Found, ImportError, Items, MAX_ENVELOPE, Mismatch, Place, rows};

/// How long a server may take to accept a connection, where the address says
/// nothing of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the password is looked for, so that it need not stand in the address.
const PASSWORD: &str = "PGPASSWORD";

/// The address of a database. Printed without its password.
#[derive(Clone)]
pub struct Address(Box<Config>);

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// An address that is none.
    #[error("not the address of a database: {0}")]
    Address(#[source] postgres::Error),
    /// One of which it is not clear where its password ends.
    #[error("it has more than one @")]
    AtSigns,
    /// It asks for TLS.
    #[error("TLS is not spoken with databases")]
    Tls,
    /// There is no such table.
    #[error("there is no table `envelopes`")]
    NoTable,
    /// A table of another shape.
    #[error("the table `envelopes` has no column `{column}` of type bytea")]
    Column {
        /// The column.
        column: &'static str,
    },
    /// Other rows came than were counted.
    #[error("{came} rows came, where the server had counted {counted}")]
    Rows {
        /// How many came.
        came: u64,
        /// How many there are.
        counted: u64,
    },
    /// The server asks for a password, and none is given.
    #[error("the server asks for a password")]
    NoPassword,
    /// The server, or the way to it.
    #[error("{}", server_text(.0))]
    Server(#[from] postgres::Error),
}

/// What the server said, in its own words where it spoke.
fn server_text(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => said.message().to_owned(),
        None => error.to_string(),
    }
}

impl PostgresError {
    /// Whether the server wants a password, or another.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, Self::NoPassword) || self.is_refused_as(&SqlState::INVALID_PASSWORD)
    }

    /// Whether the server lets the user in from nowhere, or not from here, or not
    /// without TLS, whatever the password.
    pub fn is_not_admitted(&self) -> bool {
        self.is_refused_as(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }

    fn is_refused_as(&self, state: &SqlState) -> bool {
        matches!(self, Self::Server(error) if error.code() == Some(state))
    }
}

/// What the client says where it is asked for a password that it has not; it has
/// no code for it.
const PASSWORD_MISSING: &str = "password missing";

fn connect(config: &Config) -> Result<Client, PostgresError> {
    config.connect(NoTls).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        if cause.as_deref() == Some(PASSWORD_MISSING) {
            PostgresError::NoPassword
        } else {
            PostgresError::Server(error)
        }
    })
}

impl Address {
    /// Whether a text names a database rather than a file.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }
}

impl FromStr for Address {
    type Err = PostgresError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The client would end the password at the first, and show the rest of it
        // as the host or the database.
        if text.matches('@').count() > 1 {
            return Err(PostgresError::AtSigns);
        }
        let config = Config::from_str(text).map_err(PostgresError::Address)?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(PostgresError::Tls);
        }
        Ok(Self(Box::new(config)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        match self.0.get_hosts().first() {
            Some(Host::Tcp(host)) => f.write_str(host)?,
            Some(Host::Unix(path)) => write!(f, "{}", path.display())?,
            None => f.write_str("localhost")?,
        }
        if let Some(port) = self.0.get_ports().first() {
            write!(f, ":{port}")?;
        }
        let user = self.0.get_user();
        write!(f, "/{}", self.0.get_dbname().or(user).unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// A database, connected to.
pub struct Database {
    client: Client,
    has_topic: bool,
    rows: u64,
    bytes: u64,
}

impl Database {
    /// Connects, and sees the table as it is from now on.
    pub fn open(address: &Address) -> Result<Self, PostgresError> {
        let mut config = address.0.as_ref().clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var(PASSWORD)
        {
            config.password(password);
        }
        config.application_name("gwa import");
        let mut client = connect(&config)?;
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let has_topic = check_table(&mut client)?;
        let row = client.query_one(
            "SELECT count(*), coalesce(sum(octet_length(data)), 0)::bigint FROM envelopes",
            &[],
        )?;
        let number = |at| row.try_get::<_, i64>(at).map(i64::unsigned_abs);
        let (rows, bytes) = (number(0)?, number(1)?);
        Ok(Self {
            client,
            has_topic,
            rows,
            bytes,
        })
    }

    /// Rows, and bytes of the envelopes in them.
    pub fn totals(&self) -> (u64, u64) {
        (self.rows, self.bytes)
    }

    /// The envelopes, in whatever order the server reads them.
    pub fn items(&mut self) -> Result<Items<'_>, ImportError> {
        let topic = if self.has_topic { "topic" } else { "NULL" };
        let statement = format!(
            "SELECT id, octet_length(data), \
             CASE WHEN octet_length(data) <= {MAX_ENVELOPE} THEN data END, {topic}::bytea \
             FROM envelopes"
        );
        let nothing: [i32; 0] = [];
        let rows = self
            .client
            .query_raw(&statement, nothing)
            .map_err(PostgresError::from)?;
        Ok(Box::new(Rows {
            rows,
            came: 0,
            counted: self.rows,
            ended: false,
        }))
    }
}

/// Whether the table is one of a mailserver's; gives whether it names topics.
fn check_table(client: &mut Client) -> Result<bool, PostgresError> {
    let columns = client.query(
        "SELECT a.attname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = to_regclass('envelopes') AND a.attnum > 0 \
         AND NOT a.attisdropped AND t.typname = 'bytea'",
        &[],
    )?;
    let columns: Vec<String> = columns
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let has = |column: &str| columns.iter().any(|name| name == column);
    if columns.is_empty() {
        return Err(PostgresError::NoTable);
    }
    for column in ["id", "data"] {
        if !has(column) {
            return Err(PostgresError::Column { column });
        }
    }
    Ok(has("topic"))
}

struct Rows<'c> {
    rows: RowIter<'c>,
    came: u64,
    counted: u64,
    ended: bool,
}

impl Iterator for Rows<'_> {
    type Item = Result<Found, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match self.rows.next() {
            Ok(Some(row)) => {
                self.came += 1;
                found(&row)
            }
            Ok(None) if self.came == self.counted => return None,
            Ok(None) => Err(PostgresError::Rows {
                came: self.came,
                counted: self.counted,
            }
            .into()),
            Err(error) => Err(PostgresError::Server(error).into()),
        };
        self.ended = item.as_ref().is_err_and(|error| !error.goes_on());
        Some(item)
    }
}

fn found(row: &Row) -> Result<Found, ImportError> {
    let server = |error| ImportError::from(PostgresError::Server(error));
    let key: Option<&[u8]> = row.try_get(0).map_err(server)?;
    let len: Option<i32> = row.try_get(1).map_err(server)?;
    let data: Option<&[u8]> = row.try_get(2).map_err(server)?;
    let topic: Option<&[u8]> = row.try_get(3).map_err(server)?;
    let key = key.unwrap_or_default();
    let len = usize::try_from(len.unwrap_or_default()).unwrap_or_default();
    if len > MAX_ENVELOPE {
        let place = Place::Row(key.to_vec());
        return Err(ImportError::TooLarge { place, len });
    }
    let value = Bytes::copy_from_slice(data.unwrap_or_default());
    let mut found = rows::found(key, &value)?;
    found.mismatch = Mismatch {
        topic: found.mismatch.topic || topic.is_some_and(|topic| topic != found.envelope.topic().0),
        ..found.mismatch
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            (
                "postgres://status:secret@db.example:5433/mail",
                "postgres://db.example:5433/mail",
            ),
            (
                "postgresql://status:secret@db/",
                "postgres://db:5432/status",
            ),
        ] {
            assert!(Address::is_meant(text));
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("secret"));
        }
        assert!(!Address::is_meant("postgres.rlps"));
    }

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        let tls = "postgres://db/mail?sslmode=require".parse::<Address>();
        assert!(matches!(tls, Err(PostgresError::Tls)));
        let nonsense = "postgres://db:port/".parse::<Address>();
        assert!(matches!(nonsense, Err(PostgresError::Address(_))));
    }

    #[test]
    fn no_part_of_a_password_is_taken_for_the_host_or_the_database() {
        for text in [
            "postgres://status:p@ss@db/mail",
            "postgres://status:p@s/s@db/mail",
            "postgres://status:p@s?s@db/mail",
        ] {
            let refused = text.parse::<Address>().unwrap_err();
            assert!(matches!(refused, PostgresError::AtSigns), "{text}");
            assert!(!refused.to_string().contains("s@"), "{refused}");
        }
        let address: Address = "postgres://status:p%40ss@db/mail".parse().unwrap();
        assert_eq!(address.to_string(), "postgres://db:5432/mail");
    }

    /// What becomes of a connection that a server answers with these bytes.
    fn answered(answer: &[u8]) -> PostgresError {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let config = Config::from_str(&format!("postgres://status@127.0.0.1:{port}/mail"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut link, _) = server.accept().unwrap();
                let mut len = [0; 4];
                link.read_exact(&mut len).unwrap();
                let mut startup = vec![0; u32::from_be_bytes(len) as usize - 4];
                link.read_exact(&mut startup).unwrap();
                link.write_all(answer).unwrap();
            });
            connect(&config.unwrap())
                .err()
                .expect("no server goes on so")
        })
    }

    #[test]
    fn a_password_that_is_missing_is_told_from_a_user_who_is_not_let_in() {
        let asks = answered(b"R\0\0\0\x08\0\0\0\x03");
        assert!(asks.is_wrong_password(), "{asks:?}");
        let refusal = |code: &str| {
            let fields = format!("SFATAL\0C{code}\0Mno pg_hba.conf entry, no encryption\0\0");
            let len = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            answered(&[b"E", &len[..], fields.as_bytes()].concat())
        };
        let wrong = refusal("28P01");
        assert!(wrong.is_wrong_password() && !wrong.is_not_admitted());
        let barred = refusal("28000");
        assert!(barred.is_not_admitted() && !barred.is_wrong_password());
        assert!(barred.to_string().contains("pg_hba.conf"), "{barred}");
    }
}
