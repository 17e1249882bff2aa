//! Discovery's packets against what go-ethereum makes of them.

use std::net::IpAddr;

use gwa::discovery::packet::{Endpoint, MAX_PACKET, Packet, PacketError};
use gwa::discovery::relay;
use gwa::discovery::table::log_distance;
use gwa::rlpx::{Enode, NodeId, NodeKey};
use serde_json::Value;

fn fixture() -> Value {
    let text = std::fs::read("fixtures/wire/discv4.json").expect("a fixture");
    serde_json::from_slice(&text).expect("JSON")
}

fn list<'a>(file: &'a Value, name: &str) -> &'a [Value] {
    let list = file[name].as_array().expect("a list");
    assert!(!list.is_empty());
    list
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    hex::decode(text.strip_prefix("0x").expect("0x")).expect("hex")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn ip(value: &Value) -> Option<IpAddr> {
    match bytes(value).as_slice() {
        ip if ip.len() == 4 => <[u8; 4]>::try_from(ip).ok().map(IpAddr::from),
        ip => <[u8; 16]>::try_from(ip).ok().map(IpAddr::from),
    }
    .map(|ip| ip.to_canonical())
}

fn endpoint(value: &Value) -> Endpoint {
    Endpoint {
        ip: ip(&value["ip"]),
        udp: u16::try_from(number(&value["udp"])).expect("a port"),
        tcp: u16::try_from(number(&value["tcp"])).expect("a port"),
    }
}

/// Checks that a packet decodes to what geth says of it.
fn check(vector: &Value) {
    let decoded = &vector["decoded"];
    let received = Packet::decode(&bytes(&vector["packet"])).expect("a packet");
    assert_eq!(received.sender.0.to_vec(), bytes(&decoded["public_key"]));
    assert_eq!(received.sender.hash().to_vec(), bytes(&decoded["node_id"]));
    assert_eq!(received.hash.to_vec(), bytes(&decoded["hash"]));
    let expiration = number(&decoded["expiration"]);
    assert_eq!(received.packet.expiration(), expiration);
    match (&received.packet, decoded["type"].as_str()) {
        (Packet::Ping { from, to, .. }, Some("PING/v4")) => {
            assert_eq!(*from, endpoint(&decoded["from"]));
            assert_eq!(*to, endpoint(&decoded["to"]));
        }
        (Packet::Pong { to, ping, .. }, Some("PONG/v4")) => {
            assert_eq!(*to, endpoint(&decoded["to"]));
            assert_eq!(ping.to_vec(), bytes(&decoded["reply_token"]));
        }
        (Packet::FindNode { target, .. }, Some("FINDNODE/v4")) => {
            assert_eq!(target.0.to_vec(), bytes(&decoded["target"]));
        }
        (Packet::Neighbors { nodes, .. }, Some("NEIGHBORS/v4")) => {
            let expected = decoded["nodes"].as_array().expect("nodes");
            assert_eq!(nodes.len(), expected.len());
            for (node, expected) in nodes.iter().zip(expected) {
                assert_eq!(node.endpoint, endpoint(expected));
                assert_eq!(node.id.0.to_vec(), bytes(&expected["public_key"]));
            }
        }
        (packet, kind) => panic!("{kind:?} is read as {packet:?}"),
    }
}

#[test]
fn every_packet_geth_makes_is_read() {
    let file = fixture();
    for vector in list(&file, "vectors") {
        check(vector);
    }
    for vector in list(&file, "odd") {
        check(vector);
    }
}

#[test]
fn a_packet_without_extras_is_written_as_geth_writes_it() {
    let file = fixture();
    let mut written = 0;
    for vector in list(&file, "vectors") {
        let packet = bytes(&vector["packet"]);
        let received = Packet::decode(&packet).expect("a packet");
        let secret = bytes(&vector["private_key"]).try_into().expect("32 bytes");
        let key = NodeKey::from_secret_bytes(&secret).expect("a key");
        let (again, hash) = received.packet.encode(key.secret());
        let plain = vector["decoded"]["extra_fields"].as_u64().unwrap_or(0) == 0
            && vector["decoded"]["version"].as_u64().unwrap_or(4) == 4
            && again.len() == packet.len();
        if plain {
            assert_eq!(again, packet, "{}", vector["name"]);
            assert_eq!(hash, received.hash);
            written += 1;
        }
    }
    assert!(written >= 10, "{written}");
}

#[test]
fn every_packet_geth_refuses_is_refused() {
    let file = fixture();
    for vector in list(&file, "invalid") {
        let packet = bytes(&vector["packet"]);
        let refused = Packet::decode(&packet).expect_err("no packet");
        let told = vector["error"].as_str().expect("a text");
        let fits = match &refused {
            PacketError::TooSmall => told == "too small",
            PacketError::TooLarge(_) => packet.len() > MAX_PACKET,
            PacketError::Hash => told == "bad hash",
            PacketError::Signature => told == "recovery failed" || told.contains("recovery id"),
            PacketError::Type(kind) => told == format!("unknown type: {kind}"),
            PacketError::Rlp { .. } => told.starts_with("rlp: ") || told == "EOF",
        };
        assert!(fits, "{}: {refused} where geth says {told}", vector["name"]);
    }
}

#[test]
fn ids_places_and_distances_are_geths() {
    let file = fixture();
    let ping = Packet::decode(&bytes(&list(&file, "vectors")[0]["packet"])).expect("a packet");
    for vector in list(&file, "node_ids") {
        let id = NodeId(bytes(&vector["public_key"]).try_into().expect("64 bytes"));
        assert_eq!(id.hash().to_vec(), bytes(&vector["node_id"]));
        let url = vector["enode_url"].as_str().expect("a URL");
        let enode: Enode = url.parse().expect("an enode");
        assert_eq!((enode.id, enode.to_string().as_str()), (id, url));
        let distance = log_distance(&ping.sender.hash(), &id.hash());
        assert_eq!(u64::from(distance), number(&vector["log_distance_to_a"]));
    }
}

#[test]
fn addresses_are_taken_from_whom_geth_takes_them() {
    let file = fixture();
    for vector in list(&file, "relay_ip") {
        let [sender, address] = ["sender", "address"].map(|field| {
            let text = vector[field].as_str().expect("a text");
            text.parse::<IpAddr>().expect("an address")
        });
        let told = relay::check(sender, address).err().map(|e| e.to_string());
        assert_eq!(told.as_deref(), vector["error"].as_str(), "{vector}");
    }
}
