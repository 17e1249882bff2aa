//! Nodes that find each other.

use super::*;
use crate::discovery::DiscoveryConfig;

async fn finding(bootnodes: Vec<Enode>) -> Rig {
    Rig::with(|config| config.discovery = Some(DiscoveryConfig { bootnodes })).await
}

#[tokio::test]
async fn nodes_that_know_one_node_connect_with_each_other() {
    let boot = finding(Vec::new()).await;
    let first = finding(vec![boot.enode()]).await;
    let second = finding(vec![boot.enode()]).await;
    for rig in [&boot, &first, &second] {
        eventually("all are connected", || rig.node.peers().len() == 2).await;
        assert_eq!(rig.node.discovered(), Some(2));
    }
    for rig in [second, first, boot] {
        soon(rig.node.shutdown()).await;
    }
}

#[tokio::test]
async fn half_of_the_seats_stay_for_those_who_dial_us() {
    let boot = finding(Vec::new()).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(finding(vec![boot.enode()]).await);
    }
    let searching = Rig::with(|config| {
        config.limits.max_peers = std::num::NonZeroUsize::new(4).unwrap();
        config.discovery = Some(DiscoveryConfig {
            bootnodes: vec![boot.enode()],
        });
    })
    .await;
    eventually("it knows them", || searching.node.discovered() >= Some(3)).await;
    let dialled = |rig: &Rig| rig.node.peers().iter().filter(|p| !p.inbound).count();
    // However fast the others are to dial it, one seat is kept for those it finds.
    eventually("it dialled one", || dialled(&searching) >= 1).await;
    assert!(dialled(&searching) <= 2);
}

#[tokio::test]
async fn the_address_known_outside_is_the_one_that_is_told() {
    let rig = Rig::start().await;
    let inside = rig.node.local_addr().unwrap();
    assert_eq!(rig.enode().tcp_address(), inside);
    let outside = std::net::IpAddr::from([8, 8, 8, 8]);
    rig.node.set_external_ip(outside);
    let told = rig.enode().tcp_address();
    assert_eq!((told.ip(), told.port()), (outside, inside.port()));
}
