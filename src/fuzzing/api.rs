//! What clients of the HTTP interface send.

use crate::api::access::{Access, Credentials, Denial, Token};
use crate::api::{read_arguments, read_message};
use crate::time::UnixSeconds;

/// Arguments of any JSON-RPC method, and the headers that name who asks.
pub fn rpc_arguments(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    read_arguments(text, UnixSeconds(1_600_000_000));
    let token = Token::read(&"a1".repeat(32)).expect("letters and digits");
    let access = Access::new(token, false, [], []);
    let shown = Credentials {
        host: Some("127.0.0.1"),
        origin: None,
        authorization: Some(text),
        query: Some(text),
    };
    // Whoever does not show the token does nothing with it.
    if let Ok(granted) = access.judge(&shown) {
        let has_token = text.contains(&"a1".repeat(32));
        assert!(has_token || granted == crate::api::access::Grant::Read);
    }
    let page = Credentials {
        origin: Some(text),
        ..shown
    };
    assert_eq!(access.judge(&page), Err(Denial::Origin));
    let _ = access.judge(&Credentials {
        host: Some(text),
        ..Credentials::default()
    });
}

/// A message that is posted: what reads as an envelope is the bytes that came.
pub fn api_message(data: &[u8]) {
    read_message(data);
}
