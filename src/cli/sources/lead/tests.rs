//! Who leads, over archives in folders.

use super::*;
use crate::archive::disk::Archive;
use crate::archive::testing::envelope;
use crate::archive::watermark::Watermark;
use crate::progress::Quiet;
use crate::time::UnixSeconds;

/// Takes in an envelope of this hour, and seals it.
fn go_on(archive: &Archive, hour: u32) -> Head {
    let sent = 1_538_092_800 + hour * 3_600;
    archive.append(&[envelope(1, sent, 20)]).unwrap();
    let until = Watermark::at_or_before(UnixSeconds(sent + 3_600));
    let sealed = archive.seal(until, until.at(), &Quiet).unwrap();
    sealed.head.unwrap()
}

#[test]
fn sources_stay_open_as_long_as_the_head_does_and_the_own_archive_is_none() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    go_on(&Archive::init(own.path(), "").unwrap(), 1);
    let archive = Archive::init(other.path(), "").unwrap();
    let first = go_on(&archive, 1);
    let reference = Reference::Folder(other.path().to_owned());
    let mut lead = Sources::default().lead(&reference, own.path()).unwrap();
    let (head, pool) = lead.latest().unwrap();
    assert_eq!(head, first);
    let sources = pool.balances().into_iter().map(|balance| balance.source);
    let folder = other.path().display().to_string();
    assert_eq!(sources.collect::<Vec<_>>(), [folder]);
    assert!(Arc::ptr_eq(&pool, &lead.latest().unwrap().1));
    // What is new lies in files that were not there.
    let second = go_on(&archive, 2);
    let (head, later) = lead.latest().unwrap();
    assert_eq!(head, second);
    assert!(later.get(&head.body().state.unwrap()).is_ok());
}

#[test]
fn a_mirror_that_is_served_knows_all_its_places() {
    let dir = tempfile::tempdir().unwrap();
    let (gone, here) = (dir.path().join("gone"), dir.path().join("here"));
    let head = go_on(&Archive::init(&here, "").unwrap(), 1);
    let places = [&gone, &here].map(|path| path.display().to_string());
    let origin = Origin::of(crate::archive::disk::Kind::Mirror, &head, places.to_vec());
    let sources = Sources::default();
    let mut lead = sources.lead_of_mirror(&origin, dir.path()).unwrap();
    assert_eq!(lead.latest().unwrap().0, head);
    // Whoever shows the archive of another key is passed over.
    let key = secp256k1::SecretKey::from_secret_bytes([9; 32]).unwrap();
    let other = Origin {
        key: key.public_key(),
        ..origin
    };
    let mut lead = sources.lead_of_mirror(&other, dir.path()).unwrap();
    let error = lead.latest().map(|(head, _)| head).unwrap_err();
    assert_eq!(error.kind(), Kind::Verification);
}

#[test]
fn a_name_whose_addresses_change_has_those_of_its_last_record_alone() {
    let data = tempfile::tempdir().unwrap();
    let sources = Sources::default();
    let name: NameRef = "archive.example".parse().unwrap();
    let named = sources.named(name).unwrap();
    let standing = vec![SourceAddress::Folder(data.path().to_owned())];
    let lead = sources.lead_of(data.path(), Vec::new(), standing, None, None);
    let mut lead = lead.unwrap();
    for round in 0..50 {
        let urls = ["a", "b"].map(|host| format!("https://{host}{round}.example/"));
        let told = Hints::new(vec![urls[0].clone(), urls[1].clone()], None).unwrap();
        lead.go_where_told(&named, &told).unwrap();
        let places = lead.places.iter().map(|place| place.address.clone());
        let expected = sources.hints(&told, data.path()).unwrap();
        assert_eq!(expected.len(), 2);
        assert_eq!(places.skip(1).collect::<Vec<_>>(), expected);
    }
    // Those that say nothing of it leave what was known otherwise.
    lead.go_where_told(&named, &Hints::default()).unwrap();
    assert_eq!(lead.places.len(), 1);
}
