use super::*;
use crate::blocks::{Block, Codec};

fn cid(text: &str) -> Cid {
    *Block::new(Codec::Raw, text.as_bytes().to_vec()).cid()
}

fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    let added = rules.add(text.as_bytes()).unwrap();
    assert_eq!(added.unknown, [0; 0], "{text}");
    rules
}

fn denies(rules: &Rules, cid: &Cid) -> bool {
    rules.check(cid).is_err()
}

fn denies_path(rules: &Rules, cid: &Cid, path: &str) -> bool {
    let names: Vec<_> = path.split('/').map(str::to_owned).collect();
    rules.check_path(cid, &names).is_err()
}

fn base58(cid: &Cid) -> String {
    Base::Base58Btc.encode(cid.hash().to_bytes())
}

#[test]
fn a_block_is_denied_whatever_its_codec_and_the_base_of_its_cid() {
    let leaf = cid("bad");
    let node = Cid::new_v1(0x71, *leaf.hash());
    let spellings = [
        leaf.to_string(),
        node.to_string(),
        base58(&leaf),
        leaf.to_string_of_base(Base::Base36Lower).unwrap(),
    ];
    for spelling in spellings {
        let rules = rules(&format!("/ipfs/{spelling}\n"));
        assert!(denies(&rules, &leaf) && denies(&rules, &node), "{spelling}");
        assert!(!denies(&rules, &cid("good")));
        assert!(
            !denies_path(&rules, &leaf, "a"),
            "its paths are blocks of their own"
        );
    }
}

#[test]
fn paths_are_denied_exactly_or_by_their_start() {
    let root = cid("root");
    let exact = rules(&format!("/ipfs/{root}/a%20b/c/"));
    assert!(denies_path(&exact, &root, "a b/c"));
    assert!(!denies_path(&exact, &root, "a b"));
    assert!(!denies_path(&exact, &root, "a b/c/d"));
    assert!(!denies(&exact, &root));
    for prefix in ["/ab*", "/ab/*"] {
        let rules = rules(&format!("/ipfs/{root}{prefix}"));
        assert!(denies_path(&rules, &root, "ab"));
        assert!(denies_path(&rules, &root, "abc/d"));
        assert!(!denies_path(&rules, &root, "a"));
        assert!(!denies(&rules, &root));
    }
    let all = rules(&format!("/ipfs/{root}/*"));
    assert!(denies(&all, &root) && denies_path(&all, &root, "x/y"));
}

#[test]
fn hashes_of_names_deny_what_they_do_not_tell() {
    let bad = cid("bad");
    let hash_of = |text: String| Block::new(Codec::Raw, text.into_bytes());
    let hashed = hash_of(base58(&bad));
    let by_hash = rules(&format!("//{}", base58(hashed.cid())));
    assert!(denies(&by_hash, &bad) && !denies(&by_hash, &cid("good")));
    let hashed = hash_of(format!("{}/my/path", base58(&bad)));
    let by_path = rules(&format!("//{}", base58(hashed.cid())));
    assert!(denies_path(&by_path, &bad, "my/path"));
    assert!(!denies_path(&by_path, &bad, "my") && !denies(&by_path, &bad));
    // The older form: by CID, in hex.
    let legacy = |text: String| rules(&format!("//{}", hex::encode(Sha256::digest(text))));
    let by_cid = legacy(format!("{bad}/"));
    assert!(denies(&by_cid, &bad));
    assert!(!denies(&by_cid, &Cid::new_v1(0x71, *bad.hash())));
    let by_path = legacy(format!("{bad}/path"));
    assert!(denies_path(&by_path, &bad, "path") && !denies(&by_path, &bad));
}

#[test]
fn the_examples_of_the_specification_mean_what_it_says() {
    let text = "
version: 1
name: Example IPFSCorp blocking list
hints:
  hint: value
---
# Blocking by CID is codec-agnostic.
/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq

/ipns/domain.example
/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf
//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM hint:value
//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7
//3f8b9febd851873b3774b937cce126910699ceac56e72e64b866f8e258d09572
";
    let rules = rules(text);
    assert_eq!(rules.count(), 6);
    let one = |text: &str| text.parse::<Cid>().unwrap();
    assert!(denies(
        &rules,
        &one("bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq")
    ));
    assert!(denies(
        &rules,
        &one("bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja")
    ));
    assert!(denies(
        &rules,
        &one("QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR")
    ));
    let old = one("bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e");
    assert!(denies(&rules, &old) && denies_path(&rules, &old, "path"));
    assert!(!denies_path(&rules, &old, "path2"));
}

#[test]
fn the_last_rule_that_matches_decides() {
    let root = cid("root");
    let text = format!(
        "/ipfs/{root}/blocked*\n!/ipfs/{root}/blockednot\n!/ipfs/{root}/blocked/exceptions*\n\
         /ipfs/{root}\n!/ipfs/{root}\n"
    );
    let rules = rules(&text);
    assert!(denies_path(&rules, &root, "blocked/x"));
    assert!(!denies_path(&rules, &root, "blockednot"));
    assert!(!denies_path(&rules, &root, "blocked/exceptions/y"));
    assert!(!denies(&rules, &root));
    // A later file overrides, also what an earlier rule of another kind said.
    let mut rules = rules;
    let hash = Sha256::digest(format!("{root}/"));
    rules
        .add(format!("//{}", hex::encode(hash)).as_bytes())
        .unwrap();
    assert!(denies(&rules, &root));
}

#[test]
fn lines_that_are_no_rules_are_numbered() {
    let text = format!(
        "---\n# fine\n\n/ipfs/notacid\nhello\n//xyz!\n/ipfs/{}\n/ipns/\n",
        cid("a")
    );
    let mut rules = Rules::default();
    let added = rules.add(text.as_bytes()).unwrap();
    assert_eq!((added.rules, added.unknown), (1, vec![4, 5, 6, 8]));
    let added = rules.add(b"\xff\xfe\n/ipfs/%ff").unwrap();
    assert_eq!(added.unknown, [1, 2]);
}

#[test]
fn a_header_of_another_version_or_none_of_a_header_refuses_the_file() {
    let refused = |text: &str| Rules::default().add(text.as_bytes()).unwrap_err();
    assert_eq!(
        refused("version: 2\n---\n"),
        RulesError::Version {
            version: "2".into()
        }
    );
    assert_eq!(
        refused("name: x\nnonsense\n---\n"),
        RulesError::Header { line: 2 }
    );
    let long = format!("/ipfs/{}", "a".repeat(MAX_LINE));
    assert_eq!(refused(&long), RulesError::Line { line: 1 });
    assert!(Rules::default().add(b"version: '1' # first\n---\n").is_ok());
}
