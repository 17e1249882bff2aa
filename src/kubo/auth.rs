//! Who the client says it is.

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderValue;

/// Credentials for a node's RPC: what its `API.Authorizations` lists, or what a
/// proxy before it wants. Never shown.
///
/// Written `bearer:TOKEN` or `basic:USER:PASSWORD`, as in that list.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth(HeaderValue);

/// The environment variable that holds them where nothing else does.
pub const AUTH_VARIABLE: &str = "GWA_KUBO_AUTH";

/// A text that is no credentials. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("credentials are written bearer:TOKEN or basic:USER:PASSWORD")]
pub struct AuthError;

impl Auth {
    /// Those in the environment; `None` where there are none.
    pub fn from_env() -> Result<Option<Self>, AuthError> {
        match std::env::var_os(AUTH_VARIABLE) {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => text.to_str().ok_or(AuthError)?.parse().map(Some),
        }
    }

    /// The header `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl FromStr for Auth {
    type Err = AuthError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = match text.split_once(':') {
            Some(("bearer", token)) if !token.is_empty() => format!("Bearer {token}"),
            Some(("basic", pair)) if pair.contains(':') => {
                let coded = multibase::Base::Base64Pad.encode(pair);
                format!("Basic {coded}")
            }
            _ => return Err(AuthError),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| AuthError)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_make_a_header_and_are_never_shown() {
        let bearer: Auth = "bearer:se:cret".parse().unwrap();
        assert_eq!(bearer.header(), "Bearer se:cret");
        let basic: Auth = "basic:ann:se:cret".parse().unwrap();
        assert_eq!(basic.header(), "Basic YW5uOnNlOmNyZXQ=");
        assert!(!format!("{basic:?}{bearer:?}{:?}", basic.header()).contains("cret"));
        for text in [
            "",
            "secret",
            "bearer:",
            "basic:ann",
            "bearer:a\nb",
            "digest:a:b",
        ] {
            assert_eq!(text.parse::<Auth>(), Err(AuthError));
        }
    }
}
