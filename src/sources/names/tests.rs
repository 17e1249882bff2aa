//! Names over givers that have, lack, lie and are away, and over a real DNS server.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::testing::DnsServer;
use super::*;
use crate::publish::ipns::{Draft, IpnsKey};

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);
const CID: &str = "bafyreic5wlgq6a6ibjfx5m73hs4v3g5lv4ibxktyhdf524kl6q6w6dxiqi";

/// What a giver says, whatever it is asked for.
struct Given(&'static str, Result<Option<Bytes>, String>);

impl RecordGiver for Given {
    fn name(&self) -> &str {
        self.0
    }

    fn record<'a>(&'a self, _: &'a Name) -> Giving<'a> {
        Box::pin(async { self.1.clone() })
    }
}

fn gives(record: &Record) -> Arc<dyn RecordGiver> {
    Arc::new(Given("honest", Ok(Some(record.bytes().clone()))))
}

fn lacks() -> Arc<dyn RecordGiver> {
    Arc::new(Given("empty", Ok(None)))
}

fn is_away() -> Arc<dyn RecordGiver> {
    Arc::new(Given("away", Err("no connection".to_owned())))
}

fn lies() -> Arc<dyn RecordGiver> {
    Arc::new(Given("liar", Ok(Some(Bytes::from_static(b"nonsense")))))
}

fn record(key: &IpnsKey, sequence: u64, value: &str, until: u32) -> Record {
    let draft = Draft {
        value: value.parse().unwrap(),
        sequence,
        until: UnixSeconds(until),
        ttl: Duration::from_secs(1),
        extra: BTreeMap::new(),
    };
    Record::make(key, &draft).unwrap()
}

fn newest(key: &IpnsKey, sequence: u64) -> Record {
    record(key, sequence, &format!("/ipfs/{CID}"), NOW.0 + 10)
}

struct World {
    dir: tempfile::TempDir,
    names: Names,
}

fn world(givers: Vec<Arc<dyn RecordGiver>>) -> World {
    let dir = tempfile::tempdir().unwrap();
    let names = Names {
        givers,
        last: Vec::new(),
        here: Vec::new(),
        dns: Arc::default(),
        seen: SeenHeads::new(dir.path()),
        accept_rewrite: false,
    };
    World { dir, names }
}

impl World {
    async fn record(&self, key: &IpnsKey) -> Result<Record, ResolveError> {
        self.names.record(&key.name(), NOW).await
    }
}

#[tokio::test]
async fn of_several_records_the_newest_that_counts_does() {
    let key = IpnsKey::generate();
    let (old, new) = (newest(&key, 3), newest(&key, 4));
    let expired = record(&key, 9, "/ipns/a.b", NOW.0);
    let others = newest(&IpnsKey::generate(), 12);
    let world = world(vec![
        gives(&old),
        lies(),
        gives(&expired),
        gives(&new),
        gives(&others),
        is_away(),
        lacks(),
    ]);
    assert_eq!(world.record(&key).await.unwrap(), new);
}

#[tokio::test]
async fn a_name_without_a_record_says_who_was_asked() {
    let key = IpnsKey::generate();
    let failed = |givers| async {
        let world = world(givers);
        world.record(&key).await.unwrap_err()
    };
    let error = failed(vec![lacks(), lies()]).await;
    assert!(error.is_lie());
    assert!(error.to_string().contains("empty has none"), "{error}");
    // Who is away may know better.
    assert!(!failed(vec![lies(), is_away()]).await.is_lie());
    let expired = record(&key, 9, "/ipns/a.b", NOW.0);
    let error = failed(vec![gives(&expired)]).await;
    assert!(!error.is_lie() && error.to_string().contains("counted until"));
    assert!(failed(vec![]).await.to_string().contains("nobody to ask"));
}

/// Files of the memory whose names end so.
fn kept(world: &World, end: &str) -> usize {
    let files = std::fs::read_dir(world.dir.path().join("seen")).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    names
        .filter(|name| name.to_str().unwrap().ends_with(end))
        .count()
}

#[tokio::test]
async fn whoever_is_behind_takes_nothing_from_a_name() {
    let key = IpnsKey::generate();
    let newer = newest(&key, 4);
    let mut world = world(vec![gives(&newer)]);
    world.record(&key).await.unwrap();
    world.names.givers = vec![gives(&record(&key, 3, "/ipns/a.b", NOW.0 + 99))];
    assert_eq!(world.record(&key).await.unwrap(), newer);
    // Where they are behind the last resort is asked as if they had none.
    let newest = newest(&key, 5);
    world.names.last = vec![gives(&newest)];
    assert_eq!(world.record(&key).await.unwrap(), newest);
    assert_eq!(kept(&world, ".ipns-proof"), 0);
}

#[tokio::test]
async fn a_name_never_goes_back() {
    let key = IpnsKey::generate();
    let mut world = world(vec![gives(&newest(&key, 4))]);
    world.record(&key).await.unwrap();
    let older = record(&key, 3, &format!("/ipfs/{CID}"), NOW.0 + 99);
    world.names.givers = vec![gives(&older)];
    let later = NOW.saturating_add(10);
    let name = key.name();
    let error = world.names.record(&name, later).await.unwrap_err();
    assert!(error.is_lie(), "{error}");
    assert!(matches!(error, ResolveError::Seen(SeenError::Name(_))));
    // Who is away may know better.
    world.names.givers.push(is_away());
    let error = world.names.record(&name, later).await.unwrap_err();
    assert!(
        !error.is_lie() && error.to_string().contains("older"),
        "{error}"
    );
    let rival = record(&key, 4, "/ipns/a.b", NOW.0 + 99);
    world.names.givers = vec![gives(&rival)];
    assert!(world.record(&key).await.unwrap_err().is_lie());
    world.names.accept_rewrite = true;
    assert_eq!(world.record(&key).await.unwrap(), rival);
    world.names.givers = vec![gives(&older)];
    assert_eq!(world.record(&key).await.unwrap(), older);
}

#[tokio::test]
async fn two_records_of_one_number_are_refused_also_where_both_come_at_once() {
    let key = IpnsKey::generate();
    let rivals = ["/ipns/a.b", "/ipns/c.d"].map(|value| record(&key, 4, value, NOW.0 + 10));
    // One that says the same for longer is no rival.
    let longer = record(&key, 4, "/ipns/a.b", NOW.0 + 20);
    let mut world = world(vec![gives(&rivals[0]), gives(&longer)]);
    assert_eq!(world.record(&key).await.unwrap(), longer);
    let unknown = IpnsKey::generate();
    let rivals = ["/ipns/a.b", "/ipns/c.d"].map(|value| record(&unknown, 4, value, NOW.0 + 10));
    world.names.givers = rivals.iter().map(gives).collect();
    let error = world.record(&unknown).await.unwrap_err();
    assert!(error.is_lie(), "{error}");
    assert_eq!(kept(&world, ".ipns-proof"), 2);
    let name = unknown.name();
    assert_eq!(world.names.seen.newest_record(&name).unwrap(), None);
    world.names.accept_rewrite = true;
    assert!(rivals.contains(&world.record(&unknown).await.unwrap()));
}

#[tokio::test]
async fn a_disk_that_remembers_nothing_keeps_nobody_from_reading() {
    let key = IpnsKey::generate();
    let given = newest(&key, 4);
    let world = world(vec![gives(&given)]);
    let seen = world.dir.path().join("seen");
    std::fs::create_dir_all(seen.join("lock")).unwrap();
    assert_eq!(world.record(&key).await.unwrap(), given);
    // What was seen cannot be told: nothing can be judged, and nobody lied.
    let file = seen.join(format!("{}.ipns", key.name()));
    std::fs::create_dir(file).unwrap();
    let error = world.record(&key).await.unwrap_err();
    assert!(matches!(error, ResolveError::Seen(SeenError::Io { .. })));
    assert!(!error.is_lie());
}

#[tokio::test]
async fn what_was_seen_counts_while_everybody_is_away_and_no_longer() {
    let key = IpnsKey::generate();
    let seen = newest(&key, 4);
    let mut world = world(vec![gives(&seen)]);
    world.record(&key).await.unwrap();
    world.names.givers = vec![is_away()];
    assert_eq!(world.record(&key).await.unwrap(), seen);
    let later = NOW.saturating_add(10);
    assert!(world.names.record(&key.name(), later).await.is_err());
}

#[tokio::test]
async fn the_last_resort_is_asked_where_nobody_else_knows() {
    let key = IpnsKey::generate();
    let (near, far) = (newest(&key, 3), newest(&key, 4));
    let mut asked = world(vec![gives(&near)]);
    asked.names.last = vec![gives(&far)];
    assert_eq!(asked.record(&key).await.unwrap(), near);
    asked.names.givers = vec![lacks()];
    assert_eq!(asked.record(&key).await.unwrap(), far);
    let mut own = world(vec![]);
    own.names.here = vec![near.clone()];
    assert_eq!(own.record(&key).await.unwrap(), near);
}

#[tokio::test]
async fn a_host_leads_by_dns_to_a_name_and_on_to_its_successor() {
    let (old, new) = (IpnsKey::generate(), IpnsKey::generate());
    let server = DnsServer::start().unwrap();
    let link = format!("dnslink=/ipns/{}", old.name());
    server.set("_dnslink.archive.example", &["other=1", &link]);
    server.set(
        "_dnslink.plain.example",
        &[&format!("dnslink=/ipfs/{CID}/state")],
    );
    server.set("_dnslink.none.example", &["v=spf1"]);
    server.set("_dnslink.loop.example", &["dnslink=/ipns/loop.example"]);
    let last = record(&old, 9, &format!("/ipns/{}/state", new.name()), NOW.0 + 10);

    struct Both(Record, Record);
    impl RecordGiver for Both {
        fn name(&self) -> &str {
            "both"
        }
        fn record<'a>(&'a self, name: &'a Name) -> Giving<'a> {
            let of = [&self.0, &self.1].into_iter().find(|r| r.name() == name);
            let bytes = of.map(|record| record.bytes().clone());
            Box::pin(async { Ok(bytes) })
        }
    }
    let mut world = world(vec![Arc::new(Both(last, newest(&new, 0)))]);
    world.names.dns = Arc::new(Dns::new(Some(server.address())));
    let resolve = async |host: &str| {
        let start = host.parse().unwrap();
        world.names.resolve(&start, NOW).await
    };
    let resolved = resolve("Archive.Example").await.unwrap();
    assert_eq!(resolved.cid.to_string(), CID);
    assert_eq!(resolved.path, ["state"]);
    let way: Vec<_> = resolved.way.iter().map(ToString::to_string).collect();
    let expected = [
        "archive.example",
        &*old.name().to_string(),
        &*new.name().to_string(),
    ];
    assert_eq!(way, expected);
    assert_eq!(resolve("plain.example").await.unwrap().path, ["state"]);
    for (host, lacks) in [("none.example", true), ("absent.example", true)] {
        let error = resolve(host).await.unwrap_err();
        assert_eq!(
            matches!(error, ResolveError::Dns(DnsError::NoLink { .. })),
            lacks
        );
    }
    let endless = resolve("loop.example").await.unwrap_err();
    assert!(matches!(endless, ResolveError::TooLong { .. }), "{endless}");
}
