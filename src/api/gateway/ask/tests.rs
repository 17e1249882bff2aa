use super::*;

const CID: &str = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";

fn ask(query: &str, accept: &[&str]) -> Result<Ask, AskError> {
    Ask::read(CID, query, accept.iter().copied())
}

fn car(query: &str, accept: &[&str]) -> CarForm {
    match ask(query, accept).unwrap().form {
        Form::Car(car) => car,
        Form::Raw => panic!("{query} {accept:?}"),
    }
}

#[test]
fn the_url_goes_before_the_header() {
    assert_eq!(ask("format=raw", &[CAR]).unwrap().form, Form::Raw);
    assert!(!car("format=car", &[RAW]).duplicates);
    assert!(car("format=car", &["application/vnd.ipld.car; dups=y"]).duplicates);
    assert!(
        !car(
            "format=car&car-dups=n",
            &["application/vnd.ipld.car; dups=y"]
        )
        .duplicates
    );
    assert_eq!(ask("", &[RAW]).unwrap().form, Form::Raw);
    assert_eq!(ask("format=raw&format=car", &[]).unwrap().form, Form::Raw);
}

#[test]
fn an_answer_that_a_header_chose_is_to_be_found_by_its_url() {
    assert!(ask("format=raw", &[]).unwrap().by_url);
    assert!(ask("format=car", &["*/*"]).unwrap().by_url);
    for (query, accept) in [
        ("", RAW),
        ("", CAR),
        ("format=raw", CAR),
        ("format=car", RAW),
        ("format=car", "application/vnd.ipld.car; dups=y"),
    ] {
        let chosen = ask(query, &[accept]).unwrap();
        assert!(!chosen.by_url, "{query} {accept}");
        let again = ask(&chosen.as_query(), &[]).unwrap();
        assert!(again.by_url);
        assert_eq!(again.form, chosen.form);
    }
}

#[test]
fn the_most_wanted_form_that_is_served_is_chosen() {
    let form = |accept: &str| ask("", &[accept]).unwrap().form;
    assert_eq!(
        form("application/vnd.ipld.car;q=0.5, application/vnd.ipld.raw"),
        Form::Raw
    );
    let first_unserved =
        "application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5";
    assert!(car("", &[first_unserved]).duplicates);
    assert_eq!(form("text/html, application/vnd.ipld.raw;q=0.1"), Form::Raw);
}

#[test]
fn what_is_not_served_is_told_apart_from_what_was_not_said() {
    for accept in [
        &[][..],
        &["*/*"],
        &["text/html,*/*;q=0.8"],
        &["application/*"],
    ] {
        assert_eq!(ask("", accept), Err(AskError::NoForm), "{accept:?}");
    }
    for (query, accept) in [
        ("", &["text/html"][..]),
        ("", &["application/vnd.ipld.dag-json"]),
        ("format=tar", &[]),
        ("format=dag-cbor", &[RAW]),
        ("format=", &[]),
    ] {
        let refused = ask(query, accept).unwrap_err();
        assert!(
            matches!(refused, AskError::OtherForm { .. }),
            "{query} {accept:?}"
        );
    }
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    for (query, name) in [
        ("car-version=2", "version"),
        ("car-order=bfs", "order"),
        ("car-dups=maybe", "dups"),
        ("dag-scope=some", "dag-scope"),
        ("entity-bytes=0", "entity-bytes"),
        ("entity-bytes=*:5", "entity-bytes"),
        ("entity-bytes=1.5:2", "entity-bytes"),
        ("entity-bytes=+1:2", "entity-bytes"),
        ("entity-bytes=99999999999999999999:*", "entity-bytes"),
    ] {
        let refused = ask(&format!("format=car&{query}"), &[]).unwrap_err();
        match refused {
            AskError::Parameter { name: found, .. } => assert_eq!(found, name),
            other => panic!("{query}: {other}"),
        }
    }
    let version = ask("", &["application/vnd.ipld.car;version=2"]).unwrap_err();
    assert!(matches!(
        version,
        AskError::Parameter {
            name: "version",
            ..
        }
    ));
}

#[test]
fn bytes_are_bytes_of_an_entity() {
    assert_eq!(car("format=car", &[]).scope, Scope::All);
    assert_eq!(car("format=car&entity-bytes=0:*", &[]).scope, Scope::Entity);
    let block = car("format=car&entity-bytes=0:*&dag-scope=block", &[]);
    assert_eq!(block.scope, Scope::Block);
}

#[test]
fn bytes_that_are_partly_there_are_there() {
    let misses = |text: &str, len| EntityBytes::read(text).unwrap().misses(len);
    for there in [
        "0:*",
        "0:0",
        "9:9",
        "-5:*",
        "-99:*",
        "-99:-3",
        "5:99",
        "4:2",
        "499:-1000",
    ] {
        let len = if there.contains("499") { 2_000 } else { 10 };
        assert!(!misses(there, len), "{there}");
    }
    for outside in ["10:*", "10:20", "0:-11", "-99:-50"] {
        assert!(misses(outside, 10), "{outside}");
    }
    assert!(!misses("0:*", 0));
    assert!(misses("1:*", 0));
    assert!(misses("9223372036854775807:*", 10));
    assert!(misses("-9223372036854775808:-9223372036854775808", 10));
}

#[test]
fn a_path_is_decoded_name_by_name() {
    let read = |path: &str| Ask::read(path, "format=raw", []);
    let names = |path: &str| read(&format!("{CID}/{path}")).unwrap().names;
    assert_eq!(names("state/2019/07/"), ["state", "2019", "07"]);
    assert_eq!(names("a%2Fb//c%20d"), ["a/b", "c d"]);
    assert_eq!(names("%D0%B6"), ["ж"]);
    let refused = |path: String| read(&path).unwrap_err();
    assert_eq!(refused(format!("{CID}/%ff")), AskError::Path("no UTF-8"));
    assert_eq!(
        refused(format!("{CID}{}", "/a".repeat(MAX_NAMES + 1))),
        AskError::Path("too deep")
    );
    assert_eq!(
        refused(format!("{CID}/{}", "a".repeat(MAX_PATH))),
        AskError::Path("too long")
    );
}

#[test]
fn a_cid_is_one_in_any_base_and_of_any_kind() {
    let root = |text: &str| Ask::read(text, "format=raw", []).map(|ask| ask.root);
    let cid: Cid = CID.parse().unwrap();
    let hex = cid
        .to_string_of_base(cid::multibase::Base::Base16Lower)
        .unwrap();
    assert_eq!(root(&hex), Ok(cid));
    let v0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
    assert_eq!(root(v0).unwrap().version(), cid::Version::V0);
    for wrong in ["", "notacid", "bafy", &"b".repeat(1_000)] {
        assert!(matches!(root(wrong), Err(AskError::Cid { .. })), "{wrong}");
    }
}

#[test]
fn what_is_repeated_of_a_strangers_text_is_short_and_printable() {
    let told = ask(&format!("format={}%0a%1b", "x".repeat(5_000)), &[]).unwrap_err();
    let told = told.to_string();
    assert!(
        told.len() < 400 && !told.contains(['\n', '\u{1b}']),
        "{told}"
    );
}
