//! What a request to the gateway asks for.
//!
//! Always true:
//! - Pure: nothing is looked up.
//! - What the URL says goes before what `Accept` says, and what neither says has
//!   one default, so that equal requests have equal answers.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::accept::{Choice, choices};
use crate::blocks::Cid;

/// Media type of one block.
pub(super) const RAW: &str = "application/vnd.ipld.raw";
/// Media type of a CAR, without its parameters.
pub(super) const CAR: &str = "application/vnd.ipld.car";

/// Names in a path. An archive's longest, of a leaf by way of the calendar and
/// three levels of packs, has 13.
pub(super) const MAX_NAMES: usize = 64;

/// Bytes of a path as it stands in the URL.
pub(super) const MAX_PATH: usize = 4_096;

/// Characters of a CID in a URL: the longest, of 64 bytes in base 2, are not
/// written by anybody.
const MAX_CID_TEXT: usize = 256;

/// A request that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Where the path starts.
    pub root: Cid,
    /// The names that follow, decoded.
    pub names: Vec<String>,
    /// What is wanted of where the path ends.
    pub form: Form,
    /// What the client would call the file.
    pub filename: Option<String>,
    /// Whether the URL alone says what is wanted.
    pub by_url: bool,
}

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The bytes of one block.
    Raw,
    /// A CAR of blocks.
    Car(CarForm),
}

/// What a CAR is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarForm {
    /// How much of what lies below the end of the path.
    pub scope: Scope,
    /// Which bytes of it matter, where that was said.
    pub bytes: Option<EntityBytes>,
    /// Whether a block that is met twice is sent twice.
    pub duplicates: bool,
}

/// `dag-scope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The block alone.
    Block,
    /// What is needed to read it as one thing. Blocks of the two codecs here are
    /// one thing each.
    Entity,
    /// All that can be reached from it.
    All,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Entity => "entity",
            Self::All => "all",
        })
    }
}

/// `entity-bytes`: first and last byte wanted, both included; below zero they
/// count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityBytes {
    from: i64,
    /// The end where it is `None`.
    to: Option<i64>,
}

impl EntityBytes {
    fn read(text: &str) -> Option<Self> {
        let (from, to) = text.split_once(':')?;
        let number = |text: &str| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok())?
        };
        Some(Self {
            from: number(from)?,
            to: match to {
                "*" => None,
                to => Some(number(to)?),
            },
        })
    }

    /// Whether nothing of `len` bytes is wanted: all that is lies before them or
    /// behind them.
    pub fn misses(&self, len: usize) -> bool {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let ends_before = self
            .to
            .is_some_and(|to| to < 0 && len.saturating_add(to) < 0);
        self.from >= len.max(1) || ends_before
    }
}

impl fmt::Display for EntityBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) => write!(f, "{}:{to}", self.from),
            None => write!(f, "{}:*", self.from),
        }
    }
}

/// Why a request could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The first name of the path is no CID.
    #[error("`{text}` is no CID: {reason}")]
    Cid {
        /// What was given, shortened.
        text: String,
        /// Why it is none.
        reason: String,
    },
    /// The path is no text, or too long.
    #[error("the path is {0}")]
    Path(&'static str),
    /// A parameter has a value that it cannot have.
    #[error("`{name}` cannot be `{value}`: expected {expected}")]
    Parameter {
        /// Of the query, or of the media type.
        name: &'static str,
        /// What was given, shortened.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Nothing says in which form.
    #[error(
        "this gateway serves blocks, and no web pages: add `?format=raw` or `?format=car`, or send \
         `Accept: {RAW}` or `Accept: {CAR}`"
    )]
    NoForm,
    /// A form that is not served.
    #[error("`{form}` is not served here, only `raw` ({RAW}) and `car` ({CAR})")]
    OtherForm {
        /// The form, shortened.
        form: String,
    },
}

impl Ask {
    /// Reads the part of a URL's path after `/ipfs/`, its query, and the `Accept`
    /// headers.
    pub fn read<'a>(
        path: &str,
        query: &str,
        accept: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, AskError> {
        let (root, names) = read_path(path)?;
        let query = Query::read(query);
        let choices = choices(accept);
        let (form, by_url) = read_form(&query, &choices)?;
        Ok(Self {
            root,
            names,
            form,
            filename: query.filename,
            by_url,
        })
    }

    /// The query that asks for this without any header.
    pub fn as_query(&self) -> String {
        match &self.form {
            Form::Raw => "format=raw".to_owned(),
            Form::Car(car) => {
                let bytes = car.bytes.map(|bytes| format!("&entity-bytes={bytes}"));
                format!(
                    "format=car&dag-scope={}{}&car-version=1&car-order=dfs&car-dups={}",
                    car.scope,
                    bytes.unwrap_or_default(),
                    car.dups()
                )
            }
        }
    }
}

impl CarForm {
    /// `dups` as clients write it.
    pub fn dups(&self) -> char {
        if self.duplicates { 'y' } else { 'n' }
    }
}

/// The parameters of a query that mean something here; of two with one name the
/// first counts.
#[derive(Debug, Default)]
struct Query {
    format: Option<String>,
    filename: Option<String>,
    scope: Option<String>,
    bytes: Option<String>,
    version: Option<String>,
    order: Option<String>,
    dups: Option<String>,
}

impl Query {
    fn read(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let field = match &*name {
                "format" => &mut query.format,
                "filename" => &mut query.filename,
                "dag-scope" => &mut query.scope,
                "entity-bytes" => &mut query.bytes,
                "car-version" => &mut query.version,
                "car-order" => &mut query.order,
                "car-dups" => &mut query.dups,
                _ => continue,
            };
            field.get_or_insert_with(|| value.into_owned());
        }
        query
    }
}

fn read_path(path: &str) -> Result<(Cid, Vec<String>), AskError> {
    if path.len() > MAX_PATH {
        return Err(AskError::Path("too long"));
    }
    let mut parts = path.split('/');
    let text = parts.next().unwrap_or("");
    let refused = |reason: String| AskError::Cid {
        text: short(text),
        reason,
    };
    if text.len() > MAX_CID_TEXT {
        return Err(refused("too long".to_owned()));
    }
    let root = Cid::try_from(text).map_err(|error| refused(error.to_string()))?;
    let names: Vec<_> = parts
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8().map(Into::into))
        .collect::<Result<_, _>>()
        .map_err(|_| AskError::Path("no UTF-8"))?;
    if names.len() > MAX_NAMES {
        return Err(AskError::Path("too deep"));
    }
    Ok((root, names))
}

/// The form, and whether the URL alone says it.
fn read_form(query: &Query, choices: &[Choice]) -> Result<(Form, bool), AskError> {
    let car_choices = || choices.iter().filter(|choice| choice.media == CAR);
    match query.format.as_deref() {
        Some("raw") => return Ok((Form::Raw, car_choices().next().is_none())),
        Some("car") => {
            // `Accept` may still say how the CAR is to be.
            let choice = car_choices().next();
            let is_silent = choice.is_none_or(|choice| choice.parameters.is_empty());
            let other = choices.iter().any(|choice| choice.media == RAW);
            return Ok((read_car(query, choice)?, is_silent && !other));
        }
        Some(other) => return Err(AskError::OtherForm { form: short(other) }),
        None => {}
    }
    let mut refusal = None;
    for choice in choices {
        match choice.media.as_str() {
            RAW => return Ok((Form::Raw, false)),
            // Another choice may be one that is served.
            CAR => match read_car(query, Some(choice)) {
                Ok(form) => return Ok((form, false)),
                Err(error) => refusal = refusal.or(Some(error)),
            },
            _ => {}
        }
    }
    match choices.iter().find(|choice| !choice.is_wildcard()) {
        _ if refusal.is_some() => Err(refusal.expect("it was just seen")),
        Some(other) if !choices.iter().any(Choice::is_wildcard) => Err(AskError::OtherForm {
            form: short(&other.media),
        }),
        _ => Err(AskError::NoForm),
    }
}

fn read_car(query: &Query, choice: Option<&Choice>) -> Result<Form, AskError> {
    let said = |in_query: &Option<String>, name: &str| {
        let in_choice = || choice.and_then(|choice| choice.parameter(name));
        in_query.as_deref().or_else(in_choice).map(str::to_owned)
    };
    if let Some(value) = said(&query.version, "version")
        && value != "1"
    {
        return Err(parameter("version", &value, "1"));
    }
    if let Some(value) = said(&query.order, "order")
        && !["dfs", "unk", ""].contains(&value.as_str())
    {
        return Err(parameter("order", &value, "dfs or unk"));
    }
    let duplicates = match said(&query.dups, "dups").as_deref() {
        None | Some("n" | "") => false,
        Some("y") => true,
        Some(value) => return Err(parameter("dups", value, "y or n")),
    };
    let bytes = match query.bytes.as_deref() {
        None => None,
        Some(text) => Some(EntityBytes::read(text).ok_or_else(|| {
            parameter("entity-bytes", text, "FROM:TO, both numbers, TO maybe `*`")
        })?),
    };
    let scope = match query.scope.as_deref() {
        Some("block") => Scope::Block,
        Some("entity") => Scope::Entity,
        // Bytes are bytes of an entity.
        None | Some("all") if bytes.is_some() => Scope::Entity,
        None | Some("all") => Scope::All,
        Some(value) => return Err(parameter("dag-scope", value, "block, entity or all")),
    };
    Ok(Form::Car(CarForm {
        scope,
        bytes,
        duplicates,
    }))
}

fn parameter(name: &'static str, value: &str, expected: &'static str) -> AskError {
    AskError::Parameter {
        name,
        value: short(value),
        expected,
    }
}

/// What of a stranger's text is repeated to them: printable, and not much of it.
fn short(text: &str) -> String {
    const MOST: usize = 80;
    let plain = text.chars().filter(|c| !c.is_control());
    let mut short: String = plain.take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
