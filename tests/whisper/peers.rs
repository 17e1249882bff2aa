//! The session's side of the `shh_*` lists of `rlpx.json`: what is refused and
//! what is ignored unread.

use gwa::whisper::packet::code;
use gwa::whisper::peer::{Action, Session, SessionConfig};
use gwa::whisper::status::Status;
use gwa::whisper::{Bloom, Pow};

use crate::fixture::{bytes, decimal, file, list, name, number, text};

fn session() -> Session {
    Session::new(SessionConfig {
        status: Status::default(),
        is_mailserver: false,
    })
}

#[test]
fn first_packets_open_a_session_where_they_do_with_the_reference() {
    let file = file("wire/rlpx.json");
    for vector in list(&file, "shh_status_received") {
        let name = name(vector);
        let code = u8::try_from(number(vector, "code")).unwrap();
        let mut session = session();
        let reaction = session.receive(code, &bytes(vector, "payload"));
        assert_eq!(
            reaction.is_ok(),
            vector["error"].is_null(),
            "{name}: {reaction:?}"
        );
        if reaction.is_ok() {
            assert_eq!(reaction, Ok(vec![Action::Ready]), "{name}");
            assert_eq!(session.pow().get(), decimal(vector, "pow_requirement"));
            let expected = Bloom::from_wire(&bytes(vector, "bloom")).unwrap();
            assert_eq!(session.bloom(), expected, "{name}");
        }
    }
}

#[test]
fn later_packets_change_a_session_as_they_do_with_the_reference() {
    let file = file("wire/rlpx.json");
    let opening = Status {
        pow: Pow::GETH_DEFAULT,
        ..Status::default()
    };
    for vector in list(&file, "shh_updates") {
        let name = name(vector);
        let code = u8::try_from(number(vector, "code")).unwrap();
        let mut session = session();
        session.receive(code::STATUS, &opening.encode()).unwrap();
        let reaction = session.receive(code, &bytes(vector, "payload"));
        assert_eq!(
            reaction.is_ok(),
            vector["disconnect_error"].is_null(),
            "{name}: {reaction:?}"
        );
        if reaction.is_ok() {
            assert_eq!(reaction, Ok(vec![]), "{name}");
            assert_eq!(
                session.pow().get(),
                decimal(vector, "pow_requirement"),
                "{name}"
            );
            assert_eq!(session.bloom().to_string(), text(vector, "bloom"), "{name}");
        }
    }
}
