//! Networks of machines in memory.

use super::*;
use crate::rlpx::NodeKey;

const UNIX: UnixSeconds = UnixSeconds(1_600_000_000);

fn moment(millis: u64) -> Moment {
    Moment {
        since_start: Duration::from_millis(millis),
        unix: UnixSeconds(UNIX.0 + u32::try_from(millis / 1_000).unwrap()),
    }
}

fn key(n: u16) -> NodeKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    NodeKey::from_secret_bytes(&bytes).unwrap()
}

/// Each node has an address of its own in a private network.
fn address(n: u16) -> SocketAddr {
    let [a, b] = n.to_be_bytes();
    SocketAddr::from(([10, 0, a, b], 30_303))
}

fn machine(n: u16, bootnodes: &[Enode]) -> Machine {
    let at = address(n);
    let endpoint = Endpoint {
        ip: Some(at.ip()),
        udp: at.port(),
        tcp: at.port(),
    };
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    Machine::new(*key(n).secret(), endpoint, bootnodes, seed)
}

/// A network that delivers what is sent at once, or loses it.
struct Network {
    machines: Vec<Machine>,
    /// One datagram of so many is lost.
    loses: Option<u32>,
    sent: u32,
}

impl Network {
    fn of(machines: Vec<Machine>) -> Self {
        Self {
            machines,
            loses: None,
            sent: 0,
        }
    }

    /// Lets so much time pass.
    fn run(&mut self, from_millis: u64, to_millis: u64) {
        for millis in (from_millis..to_millis).step_by(100) {
            let mut waiting = VecDeque::new();
            for (n, machine) in self.machines.iter_mut().enumerate() {
                let from = address(u16::try_from(n).unwrap());
                waiting.extend(machine.tick(moment(millis)).into_iter().map(|d| (from, d)));
            }
            while let Some((from, (to, datagram))) = waiting.pop_front() {
                self.sent += 1;
                if self
                    .loses
                    .is_some_and(|one_of| self.sent.is_multiple_of(one_of))
                {
                    continue;
                }
                let Some(n) =
                    (0..self.machines.len()).find(|n| address(u16::try_from(*n).unwrap()) == to)
                else {
                    continue;
                };
                let answers = self.machines[n].receive(from, &datagram, moment(millis));
                waiting.extend(answers.into_iter().map(|d| (to, d)));
            }
        }
    }
}

fn enode_of(n: u16) -> Enode {
    Enode::new(key(n).id(), address(n))
}

#[test]
fn nodes_that_know_one_node_find_all_others() {
    for loses in [None, Some(10)] {
        let mut machines = vec![machine(0, &[])];
        machines.extend((1..14).map(|n| machine(n, &[enode_of(0)])));
        let mut network = Network::of(machines);
        network.loses = loses;
        network.run(0, 150_000);
        for machine in &mut network.machines {
            assert!(machine.known() >= 11, "{loses:?}: {}", machine.known());
            assert!(machine.candidates(100).len() >= 11);
        }
    }
}

#[test]
fn a_node_that_is_gone_is_forgotten() {
    let machines = (0..3).map(|n| machine(n, &[enode_of(0)])).collect();
    let mut network = Network::of(machines);
    network.run(0, 60_000);
    assert_eq!(network.machines[0].known(), 2);
    network.machines.pop();
    network.run(60_000, 300_000);
    assert_eq!(network.machines[0].known(), 1);
}

/// A stranger that speaks packet by packet.
fn say(machine: &mut Machine, from: SocketAddr, key: &NodeKey, packet: &Packet) -> Vec<Packet> {
    let (datagram, _) = packet.encode(key.secret());
    let answers = machine.receive(from, &datagram, moment(0));
    answers
        .into_iter()
        .map(|(to, datagram)| {
            assert_eq!(to, from);
            Packet::decode(&datagram).unwrap().packet
        })
        .collect()
}

fn ping(tcp: u16, expiration: u64) -> Packet {
    let endpoint = Endpoint {
        ip: Some(address(9).ip()),
        udp: 30_303,
        tcp,
    };
    Packet::Ping {
        from: endpoint,
        to: endpoint,
        expiration,
    }
}

const SOON: u64 = UNIX.0 as u64 + 20;

#[test]
fn nobody_is_told_of_nodes_before_proving_where_it_is() {
    let mut machine = machine(0, &[]);
    let stranger = key(9);
    let ask = Packet::FindNode {
        target: NodeId([1; 64]),
        expiration: SOON,
    };
    assert_eq!(say(&mut machine, address(9), &stranger, &ask), []);
    // A pong to nothing proves nothing.
    let pong = Packet::Pong {
        to: Endpoint {
            ip: None,
            udp: 0,
            tcp: 0,
        },
        ping: Bytes::from_static(&[1; 32]),
        expiration: SOON,
    };
    assert_eq!(say(&mut machine, address(9), &stranger, &pong), []);
    assert_eq!(say(&mut machine, address(9), &stranger, &ask), []);
    assert_eq!(machine.known(), 0);

    // It is answered and asked in its turn; its answer proves it.
    let (datagram, _) = ping(30_303, SOON).encode(stranger.secret());
    let answers = machine.receive(address(9), &datagram, moment(0));
    assert_eq!(answers.len(), 2);
    let asked = Packet::decode(&answers[1].1).unwrap();
    assert!(matches!(asked.packet, Packet::Ping { .. }));
    let pong = Packet::Pong {
        to: Endpoint {
            ip: None,
            udp: 0,
            tcp: 0,
        },
        ping: Bytes::copy_from_slice(&asked.hash),
        expiration: SOON,
    };
    // Not from elsewhere, though.
    say(&mut machine, address(8), &stranger, &pong);
    assert_eq!(machine.known(), 0);
    say(&mut machine, address(9), &stranger, &pong);
    assert_eq!(machine.known(), 1);
    let told = say(&mut machine, address(9), &stranger, &ask);
    assert!(matches!(&told[..], [Packet::Neighbors { .. }]), "{told:?}");
}

#[test]
fn what_has_expired_or_was_not_asked_for_is_dropped() {
    let mut machine = machine(0, &[]);
    let stranger = key(9);
    let late = ping(1, u64::from(UNIX.0) - 1);
    assert_eq!(say(&mut machine, address(9), &stranger, &late), []);
    let lie = Packet::Neighbors {
        nodes: vec![Neighbor {
            id: key(3).id(),
            endpoint: Endpoint {
                ip: Some(address(3).ip()),
                udp: 30_303,
                tcp: 30_303,
            },
        }],
        expiration: SOON,
    };
    assert_eq!(say(&mut machine, address(9), &stranger, &lie), []);
    assert_eq!(machine.tick(moment(100)), []);
}

#[test]
fn a_flood_is_answered_within_bounds() {
    let mut machine = machine(0, &[]);
    let mut answers = 0;
    for n in 0..2_000u16 {
        let stranger = key(n + 1_000);
        answers += say(&mut machine, address(9), &stranger, &ping(1, SOON)).len();
    }
    // Fifty datagrams of one address in a second, two answers each.
    assert_eq!(answers, 100);
    assert!(machine.pings.len() <= MAX_PINGS);
}

#[test]
fn a_flood_of_strangers_stops_neither_walks_nor_checks() {
    let mut machine = machine(0, &[enode_of(1)]);
    for n in 0..2 * u16::try_from(MAX_PINGS).unwrap() {
        let from = address(1_000 + n);
        say(&mut machine, from, &key(1_000 + n), &ping(1, SOON));
    }
    assert_eq!(machine.pings.len(), MAX_PINGS);
    // The first walk begins with the one node that is known.
    let sent = machine.tick(moment(0));
    assert!(sent.iter().any(|(to, _)| *to == address(1)), "{sent:?}");
}

#[test]
fn lies_about_private_and_privileged_addresses_lead_nowhere() {
    let public = SocketAddr::from(([8, 8, 8, 8], 30_303));
    let liar = key(9);
    let mut machine = machine(0, &[Enode::new(liar.id(), public)]);
    let deliver = |machine: &mut Machine, packet: &Packet, millis| {
        let (datagram, _) = packet.encode(liar.secret());
        machine.receive(public, &datagram, moment(millis))
    };
    let asked = machine.tick(moment(0));
    let ping_hash = Packet::decode(&asked[0].1).unwrap().hash;
    let pong = Packet::Pong {
        to: Endpoint {
            ip: None,
            udp: 0,
            tcp: 0,
        },
        ping: Bytes::copy_from_slice(&ping_hash),
        expiration: SOON,
    };
    deliver(&mut machine, &ping(1, SOON), 0);
    let asked = deliver(&mut machine, &pong, 0);
    assert!(matches!(
        Packet::decode(&asked[0].1).unwrap().packet,
        Packet::FindNode { .. }
    ));
    let node = |n: u16, ip: [u8; 4], udp| Neighbor {
        id: key(n).id(),
        endpoint: Endpoint {
            ip: Some(IpAddr::from(ip)),
            udp,
            tcp: 22,
        },
    };
    let nodes = vec![
        node(1, [127, 0, 0, 1], 30_303),
        node(2, [192, 168, 1, 1], 30_303),
        node(3, [8, 8, 4, 4], 53),
        node(4, [8, 8, 4, 4], 30_303),
    ];
    let lies = Packet::Neighbors {
        nodes,
        expiration: SOON,
    };
    let asked = deliver(&mut machine, &lies, 0);
    let to: Vec<_> = asked.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [SocketAddr::from(([8, 8, 4, 4], 30_303))]);
}
