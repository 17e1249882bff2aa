//! The way through a router, against routers on loopback.

mod router;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gwa::nat::{NatConfig, NatMethod, Places, keep_open};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use router::{Behaviour, PmpRouter, State, UpnpRouter};

const OUTSIDE: &str = "203.0.113.7";

/// Where the node would listen; nothing does.
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 30303);

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Keeper {
    told: watch::Receiver<Option<IpAddr>>,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    fn start(method: NatMethod, places: Places) -> Self {
        Self::start_with(method, places, |_| {})
    }

    fn start_with(method: NatMethod, places: Places, change: impl FnOnce(&mut NatConfig)) -> Self {
        let mut config = NatConfig::new(method, SocketAddr::from(LISTEN), true);
        config.places = places;
        change(&mut config);
        let (tell, told) = watch::channel(None);
        let stopping = CancellationToken::new();
        let task = tokio::spawn(keep_open(config, tell, stopping.clone()));
        Self {
            told,
            stopping,
            task,
        }
    }

    async fn is_told(&mut self) -> IpAddr {
        let told = tokio::time::timeout(PATIENCE, self.told.wait_for(Option::is_some));
        let told = *told.await.expect("in time").expect("it runs");
        told.expect("waited for")
    }

    /// Ends it, and says what it had told.
    async fn end(self) -> Option<IpAddr> {
        self.stopping.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task);
        ended.await.expect("it ends").expect("without a panic");
        *self.told.borrow()
    }
}

async fn reaches(state: &mut watch::Receiver<State>, is_there: impl FnMut(&State) -> bool) {
    let reached = tokio::time::timeout(PATIENCE, state.wait_for(is_there)).await;
    reached.expect("the router is asked").expect("it runs");
}

fn nowhere() -> SocketAddr {
    // The discard port: nobody answers there.
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[tokio::test]
async fn an_address_that_is_given_is_told_and_nobody_is_asked() {
    let ip: IpAddr = OUTSIDE.parse().unwrap();
    let mut keeper = Keeper::start(NatMethod::ExternalIp(ip), Places::default());
    assert_eq!(keeper.is_told().await, ip);
    keeper.end().await;
}

#[tokio::test]
async fn a_pmp_router_forwards_both_ports_until_the_end() {
    let mut router = PmpRouter::start(Behaviour::default()).await;
    let mut keeper = Keeper::start(NatMethod::Pmp(None), router.places());
    assert_eq!(keeper.is_told().await.to_string(), OUTSIDE);
    let forwards = router.state.borrow().forwards();
    assert_eq!(forwards, ["TCP 30303 1200", "UDP 30303 1200"]);
    keeper.end().await;
    reaches(&mut router.state, |state| state.forwards().is_empty()).await;
}

#[tokio::test]
async fn without_discovery_the_udp_port_stays_closed() {
    let router = PmpRouter::start(Behaviour::default()).await;
    let mut keeper = Keeper::start_with(NatMethod::Pmp(None), router.places(), |config| {
        config.with_udp = false;
    });
    keeper.is_told().await;
    assert_eq!(router.state.borrow().forwards(), ["TCP 30303 1200"]);
    keeper.end().await;
}

#[tokio::test]
async fn forwarding_is_asked_for_again_before_its_lease_ends() {
    let mut router = PmpRouter::start(Behaviour::default()).await;
    let keeper = Keeper::start_with(NatMethod::Pmp(None), router.places(), |config| {
        config.lease = Duration::from_millis(200);
    });
    reaches(&mut router.state, |state| state.asked >= 6).await;
    keeper.end().await;
}

#[tokio::test]
async fn a_router_that_opens_another_port_is_made_to_close_it() {
    let mut router = PmpRouter::start(Behaviour {
        other_port: true,
        ..Behaviour::default()
    })
    .await;
    let keeper = Keeper::start(NatMethod::Pmp(None), router.places());
    reaches(&mut router.state, |state| {
        state.asked > 0 && state.forwards().is_empty()
    })
    .await;
    assert_eq!(keeper.end().await, None);
}

#[tokio::test]
async fn a_router_behind_another_leads_nowhere() {
    let mut router = PmpRouter::start(Behaviour {
        outside: "100.64.1.1".parse().unwrap(),
        ..Behaviour::default()
    })
    .await;
    let keeper = Keeper::start(NatMethod::Pmp(None), router.places());
    // Given back before anybody stops it.
    reaches(&mut router.state, |state| {
        state.asked > 1 && state.forwards().is_empty()
    })
    .await;
    assert_eq!(keeper.end().await, None);
}

#[tokio::test]
async fn a_upnp_router_forwards_both_ports_until_the_end() {
    for permanent_only in [false, true] {
        let mut router = UpnpRouter::start(Behaviour {
            permanent_only,
            ..Behaviour::default()
        })
        .await;
        let mut keeper = Keeper::start(NatMethod::Upnp, router.places());
        assert_eq!(keeper.is_told().await.to_string(), OUTSIDE);
        let lease = if permanent_only { 0 } else { 1200 };
        assert_eq!(
            router.state.borrow().forwards(),
            [format!("TCP 30303 {lease}"), format!("UDP 30303 {lease}")]
        );
        keeper.end().await;
        reaches(&mut router.state, |state| state.forwards().is_empty()).await;
    }
}

#[tokio::test]
async fn a_port_that_is_another_machines_is_left_to_it() {
    let mut router = UpnpRouter::start(Behaviour {
        taken: true,
        ..Behaviour::default()
    })
    .await;
    let keeper = Keeper::start_with(NatMethod::Upnp, router.places(), |config| {
        config.retry = Duration::from_millis(10);
    });
    // Once it asks again, it has done with the refusal: what is cut off on its
    // way is given back, for it may have been granted.
    reaches(&mut router.state, |state| state.asked > 1).await;
    assert_eq!(router.state.borrow().given_back, 0);
    assert_eq!(keeper.end().await, None);
}

#[tokio::test]
async fn what_failed_is_tried_again() {
    let mut router = UpnpRouter::start(Behaviour {
        taken: true,
        ..Behaviour::default()
    })
    .await;
    let keeper = Keeper::start_with(NatMethod::Upnp, router.places(), |config| {
        config.retry = Duration::from_millis(10);
    });
    reaches(&mut router.state, |state| state.asked > 2).await;
    keeper.end().await;
}

#[tokio::test]
async fn of_both_ways_the_one_that_is_there_is_taken() {
    let pmp = PmpRouter::start(Behaviour::default()).await;
    let mut keeper = Keeper::start(
        NatMethod::Any,
        Places {
            ssdp: nowhere(),
            ..pmp.places()
        },
    );
    assert_eq!(keeper.is_told().await.to_string(), OUTSIDE);
    keeper.end().await;

    let upnp = UpnpRouter::start(Behaviour::default()).await;
    let mut keeper = Keeper::start(NatMethod::Any, upnp.places());
    assert_eq!(keeper.is_told().await.to_string(), OUTSIDE);
    keeper.end().await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_router_that_is_silent() {
    let router = PmpRouter::start(Behaviour {
        silent: true,
        ..Behaviour::default()
    })
    .await;
    let mut state = router.state.clone();
    let keeper = Keeper::start(NatMethod::Pmp(None), router.places());
    reaches(&mut state, |state| state.heard > 0).await;
    assert_eq!(keeper.end().await, None);
}
