//! What is told of a daemon while it runs: a line at the foot of a terminal, or now and
//! then a line in the log.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::cli::screen::{Foot, above};
use crate::cli::serve::line::StatusLine;
use crate::cli::serve::welcome::StatusAddress;
use crate::config::Password;
use crate::node::vitals::{Observer, Trend, Vitals};

/// How often the line is drawn.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// How often the log is told.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Draws the line, and tells above it what changes of who can dial in.
pub async fn keep_drawn(observer: Observer, password: Password) {
    let foot = Foot::begin();
    let mut trend = Trend::default();
    let mut before: Option<Vitals> = None;
    each(DRAW_EVERY, &observer, |vitals| {
        trend.add(&vitals);
        let news = before
            .as_ref()
            .map(|before| news(before, &vitals, &password));
        for line in news.into_iter().flatten() {
            above(|| eprintln!("{line}"));
        }
        let trend = &trend;
        let vitals_now = &vitals;
        foot.show(
            StatusLine {
                vitals: vitals_now,
                trend,
            }
            .to_string(),
        );
        before = Some(vitals);
    })
    .await;
}

/// What is worth a line of its own between two looks.
fn news(before: &Vitals, now: &Vitals, password: &Password) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(enode) = now.enode.filter(|_| now.enode != before.enode) {
        let status = StatusAddress { enode, password };
        lines.push(format!(
            "reach   others, at {}: a router lets them in",
            enode.ip
        ));
        lines.push(format!("status  {status}"));
    }
    if now.is_reached && !before.is_reached {
        lines.push("reach   somebody from beyond this network dialled in".to_owned());
    }
    lines
}

/// Tells the log.
pub async fn keep_logged(observer: Observer) {
    each(LOG_EVERY, &observer, |vitals| {
        tracing::info!(
            peers = vitals.peers,
            stored = vitals.stored,
            failed = vitals.failed,
            waiting = vitals.waiting,
            requests = vitals.requests,
            head = vitals.head.map(|(cid, _)| cid.to_string()),
            "status"
        );
    })
    .await;
}

/// Looks again and again, where waiting for the archive harms nobody.
async fn each(every: Duration, observer: &Observer, mut show: impl FnMut(Vitals)) {
    let mut cycle = tokio::time::interval(every);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        cycle.tick().await;
        let observer = observer.clone();
        if let Ok(vitals) = tokio::task::spawn_blocking(move || observer.look()).await {
            show(vitals);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve::line::tests::at_work;
    use crate::rlpx::{Enode, NodeKey};

    #[test]
    fn a_way_in_that_opens_is_told_once() {
        let id = NodeKey::from_secret_bytes(&[0x33; 32]).unwrap().id();
        let at = |address: &str| Vitals {
            enode: Some(Enode::new(id, address.parse().unwrap())),
            ..at_work()
        };
        let password = "open".parse().unwrap();
        let (inside, outside) = (at("0.0.0.0:1"), at("203.0.113.7:1"));
        assert!(news(&inside, &inside, &password).is_empty());
        let told = news(&inside, &outside, &password);
        assert_eq!(
            told[0],
            "reach   others, at 203.0.113.7: a router lets them in"
        );
        assert_eq!(told[1], format!("status  enode://{id}:open@203.0.113.7:1"));
        assert_eq!(told.len(), 2);
        let reached = Vitals {
            is_reached: true,
            ..outside.clone()
        };
        assert_eq!(news(&outside, &reached, &password).len(), 1);
        assert!(news(&reached, &reached, &password).is_empty());
    }
}
