//! Positional arguments, read as geth reads them.
//!
//! Always true: what geth refuses is refused in its words, because clients look
//! into them. A null is the empty value of its type, members unknown here are
//! ignored, and members match whatever the case of their letters.

use jsonrpsee::types::Params;
use serde_json::{Map, Value};

use crate::api::rpc::fault::Fault;
use crate::api::rpc::hex_data;
use crate::rlpx::{Enode, EnodeError};

/// The arguments of a call.
#[derive(Clone, Debug)]
pub(super) struct Args(Vec<Value>);

impl Args {
    /// Reads at most `most` arguments. A method that takes none ignores what it
    /// is given.
    pub(super) fn read(params: &Params<'_>, most: usize) -> Result<Self, Fault> {
        if most == 0 {
            return Ok(Self(Vec::new()));
        }
        if params.is_object() {
            return Err(Fault::Params("non-array args".to_owned()));
        }
        let given: Option<Vec<Value>> = params
            .parse()
            .map_err(|_| Fault::Params("non-array args".to_owned()))?;
        let given = given.unwrap_or_default();
        if given.len() > most {
            let text = format!("too many arguments, want at most {most}");
            return Err(Fault::Params(text));
        }
        Ok(Self(given))
    }

    /// The argument at `at`.
    pub(super) fn required(&self, at: usize) -> Result<Argument<'_>, Fault> {
        match self.0.get(at) {
            Some(value) => Ok(Argument { value, at }),
            None => Err(Fault::Params(format!(
                "missing value for required argument {at}"
            ))),
        }
    }

    /// A text.
    pub(super) fn text(&self, at: usize) -> Result<String, Fault> {
        let argument = self.required(at)?;
        argument.read(|value| read_text(value, &Place::Alone))
    }

    /// Bytes in hex.
    pub(super) fn data(&self, at: usize) -> Result<Vec<u8>, Fault> {
        let argument = self.required(at)?;
        argument.read(|value| hex_data::read(value, &Place::Alone))
    }

    /// A number.
    pub(super) fn float(&self, at: usize) -> Result<f64, Fault> {
        let argument = self.required(at)?;
        argument.read(|value| read_float(value, &Place::Alone))
    }

    /// A whole number of 32 bits.
    pub(super) fn u32(&self, at: usize) -> Result<u32, Fault> {
        let argument = self.required(at)?;
        argument.read(|value| read_u32(value, &Place::Alone))
    }

    /// The URL of a node.
    pub(super) fn enode(&self, at: usize) -> Result<Enode, Fault> {
        enode(&self.text(at)?)
    }
}

/// The node that an URL names.
pub(super) fn enode(text: &str) -> Result<Enode, Fault> {
    text.parse().map_err(|error| match error {
        EnodeError::Scheme => Fault::because("invalid URL scheme, want \"enode\""),
        other => Fault::because(format!("invalid enode: {other}")),
    })
}

/// One argument and its place.
pub(super) struct Argument<'a> {
    value: &'a Value,
    at: usize,
}

impl<'a> Argument<'a> {
    /// Reads it; what is wrong with it is told with its place.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Result<T, Fault> {
        read(self.value)
            .map_err(|wrong| Fault::Params(format!("invalid argument {}: {wrong}", self.at)))
    }
}

/// Where a value stands, for the texts of Go's JSON decoder.
pub(super) enum Place<'a> {
    /// It is an argument.
    Alone,
    /// It is a member of an object.
    Member {
        /// The object's type in the reference.
        object: &'static str,
        /// The member's name there.
        name: &'a str,
    },
}

/// What Go's decoder says of a value of the wrong kind.
pub(super) fn mismatch(what: &str, place: &Place<'_>, kind: &str) -> String {
    match place {
        Place::Alone => format!("json: cannot unmarshal {what} into Go value of type {kind}"),
        Place::Member { object, name } => format!(
            "json: cannot unmarshal {what} into Go struct field {object}.{name} of type {kind}"
        ),
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// Go names the number itself only where a number was wanted.
fn kind_without_number(value: &Value) -> String {
    match value {
        Value::Number(_) => "number".to_owned(),
        other => kind_of(other),
    }
}

pub(super) fn read_text(value: &Value, place: &Place<'_>) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(mismatch(&kind_without_number(other), place, "string")),
    }
}

pub(super) fn read_float(value: &Value, place: &Place<'_>) -> Result<f64, String> {
    match value {
        Value::Null => Ok(0.0),
        other => other
            .as_f64()
            .ok_or_else(|| mismatch(&kind_of(other), place, "float64")),
    }
}

pub(super) fn read_u32(value: &Value, place: &Place<'_>) -> Result<u32, String> {
    match value {
        Value::Null => Ok(0),
        other => other
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| mismatch(&kind_of(other), place, "uint32")),
    }
}

/// An object, whose members match whatever the case of their letters.
pub(super) struct Object<'a> {
    members: Option<&'a Map<String, Value>>,
    kind: &'static str,
}

impl<'a> Object<'a> {
    /// The object in `value`; null is one without members. `kind` is its type
    /// in the reference, as in `NewMessage`, `package` where that comes from.
    pub(super) fn read(
        value: &'a Value,
        package: &str,
        kind: &'static str,
    ) -> Result<Self, String> {
        let members = match value {
            Value::Null => None,
            Value::Object(members) => Some(members),
            other => {
                let what = kind_without_number(other);
                let full = format!("{package}.{kind}");
                return Err(mismatch(&what, &Place::Alone, &full));
            }
        };
        Ok(Self { members, kind })
    }

    /// Reads the member `name`; absent is as null.
    pub(super) fn member<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Value, &Place<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let place = Place::Member {
            object: self.kind,
            name,
        };
        let exact = self.members.and_then(|members| members.get(name));
        let found = exact.or_else(|| {
            let mut members = self.members?.iter();
            members
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        });
        read(found.unwrap_or(&Value::Null), &place)
    }

    pub(super) fn text(&self, name: &str) -> Result<String, String> {
        self.member(name, read_text)
    }

    pub(super) fn data(&self, name: &str) -> Result<Vec<u8>, String> {
        self.member(name, hex_data::read)
    }

    pub(super) fn float(&self, name: &str) -> Result<f64, String> {
        self.member(name, read_float)
    }

    pub(super) fn u32(&self, name: &str) -> Result<u32, String> {
        self.member(name, read_u32)
    }

    pub(super) fn bool(&self, name: &str) -> Result<bool, String> {
        self.member(name, |value, place| match value {
            Value::Null => Ok(false),
            Value::Bool(given) => Ok(*given),
            other => Err(mismatch(&kind_without_number(other), place, "bool")),
        })
    }

    /// A list, each of whose items `read` reads.
    pub(super) fn list<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.member(name, |value, place| match value {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items.iter().map(read).collect(),
            other => Err(mismatch(&kind_without_number(other), place, kind)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn args(params: &str, most: usize) -> Result<Args, Fault> {
        Args::read(&Params::new(Some(params)), most)
    }

    fn told<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        match result.expect_err("a fault") {
            Fault::Params(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_counted_as_geth_counts_them() {
        assert_eq!(told(args("{}", 1)), "non-array args");
        assert_eq!(told(args("7", 1)), "non-array args");
        assert_eq!(
            told(args("[1, 2]", 1)),
            "too many arguments, want at most 1"
        );
        let none = Args::read(&Params::new(None), 1).unwrap();
        assert_eq!(told(none.text(0)), "missing value for required argument 0");
        assert!(args("[1, 2, 3]", 0).is_ok());
    }

    #[test]
    fn values_of_another_kind_are_refused_as_by_go() {
        let given = args(r#"[7, "x", 1.5, "0x123", null]"#, 5).unwrap();
        assert_eq!(
            told(given.text(0)),
            "invalid argument 0: json: cannot unmarshal number into Go value of type string"
        );
        assert_eq!(
            told(given.float(1)),
            "invalid argument 1: json: cannot unmarshal string into Go value of type float64"
        );
        assert_eq!(
            told(given.u32(2)),
            "invalid argument 2: json: cannot unmarshal number 1.5 into Go value of type uint32"
        );
        assert_eq!(
            told(given.data(3)),
            "invalid argument 3: json: cannot unmarshal hex string of odd length \
             into Go value of type hexutil.Bytes"
        );
        assert_eq!(given.text(4).unwrap(), "");
        assert_eq!(given.data(4).unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn members_match_whatever_their_case_and_may_be_absent() {
        let value = json!({"SymKeyID": "a", "ttl": 7, "TTL": 8, "unknown": []});
        let object = Object::read(&value, "whisperv6", "NewMessage").unwrap();
        assert_eq!(object.text("symKeyID").unwrap(), "a");
        assert_eq!(object.u32("ttl").unwrap(), 7);
        assert_eq!(object.float("powTarget").unwrap(), 0.0);
        assert!(!object.bool("allowP2P").unwrap());
        let value = json!({"payload": "abc", "ttl": -1});
        let object = Object::read(&value, "whisperv6", "NewMessage").unwrap();
        assert_eq!(
            object.data("payload").unwrap_err(),
            "json: cannot unmarshal hex string without 0x prefix into Go struct field \
             NewMessage.payload of type hexutil.Bytes"
        );
        assert_eq!(
            object.u32("ttl").unwrap_err(),
            "json: cannot unmarshal number -1 into Go struct field NewMessage.ttl of type uint32"
        );
        let text = Value::String(String::new());
        assert_eq!(
            Object::read(&text, "whisperv6", "NewMessage")
                .err()
                .unwrap(),
            "json: cannot unmarshal string into Go value of type whisperv6.NewMessage"
        );
    }
}
