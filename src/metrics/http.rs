//! What the HTTP interface answers, by class of route and of status.

use std::time::Duration;

use super::{Counter, Histogram, Word};

/// Routes that an operator thinks of as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Blocks and CARs.
    Ipfs,
    /// Records of names.
    Ipns,
    /// The current head.
    Head,
    /// JSON for pages and programs.
    Api,
    /// JSON-RPC.
    Rpc,
    /// Whether all is well.
    Health,
    /// These figures.
    Metrics,
    /// The page for people.
    Explorer,
    /// None that there is.
    None,
}

impl Word for Route {
    const ALL: &'static [Self] = &[
        Self::Ipfs,
        Self::Ipns,
        Self::Head,
        Self::Api,
        Self::Rpc,
        Self::Health,
        Self::Metrics,
        Self::Explorer,
        Self::None,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Ipfs => "ipfs",
            Self::Ipns => "ipns",
            Self::Head => "head",
            Self::Api => "api",
            Self::Rpc => "rpc",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Explorer => "explorer",
            Self::None => "none",
        }
    }
}

impl Route {
    /// The class of a path. What is of no other is the explorer's, whose files stand at
    /// the root.
    pub fn of(path: &str) -> Self {
        let first = path.trim_start_matches('/').split('/').next();
        match first.unwrap_or_default() {
            "ipfs" => Self::Ipfs,
            "ipns" => Self::Ipns,
            "head" | ".well-known" => Self::Head,
            "api" => Self::Api,
            "rpc" => Self::Rpc,
            "health" => Self::Health,
            "metrics" => Self::Metrics,
            _ => Self::Explorer,
        }
    }
}

/// The first digit of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// Going on otherwise, as WebSocket does.
    Informational,
    /// It was done.
    Success,
    /// What the client has is still good, or is elsewhere.
    Redirection,
    /// The client asked for what it cannot have.
    Client,
    /// This side failed, or is busy.
    Server,
}

impl Word for StatusClass {
    const ALL: &'static [Self] = &[
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::Client,
        Self::Server,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::Client => "4xx",
            Self::Server => "5xx",
        }
    }
}

impl StatusClass {
    /// The class of a status.
    pub fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::Client,
            _ => Self::Server,
        }
    }
}

/// What the HTTP interface counts of itself.
#[derive(Debug)]
pub struct HttpMeters {
    /// Answers, by route and then by status.
    answers: Vec<Vec<Counter>>,
    /// Time until an answer began, by route.
    durations: Vec<Histogram>,
    /// Blocks given one by one.
    pub blocks: Counter,
    /// CARs begun.
    pub cars: Counter,
    /// Bytes of both.
    pub bytes: Counter,
}

impl Default for HttpMeters {
    fn default() -> Self {
        let of_route = || StatusClass::ALL.iter().map(|_| Counter::default());
        let routes = Route::ALL.iter();
        Self {
            answers: routes.clone().map(|_| of_route().collect()).collect(),
            durations: routes.map(|_| Histogram::of_wide_durations()).collect(),
            blocks: Counter::default(),
            cars: Counter::default(),
            bytes: Counter::default(),
        }
    }
}

impl HttpMeters {
    /// An answer began after so long.
    pub fn answered(&self, route: Route, status: StatusClass, took: Duration) {
        self.answers[route.place()][status.place()].count();
        self.durations[route.place()].took(took);
    }

    /// How many answers there were, by route and status.
    pub fn answers(&self) -> impl Iterator<Item = (Route, StatusClass, u64)> {
        let routes = Route::ALL.iter().zip(&self.answers);
        routes.flat_map(|(route, counters)| {
            let each = StatusClass::ALL.iter().zip(counters);
            each.map(|(status, counter)| (*route, *status, counter.get()))
        })
    }

    /// How long it took until answers began, by route.
    pub fn durations(&self) -> impl Iterator<Item = (Route, super::Distribution)> {
        let each = Route::ALL.iter().zip(&self.durations);
        each.map(|(route, durations)| (*route, durations.read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_known_by_their_first_part() {
        for (path, class) in [
            ("/ipfs/bafkqaaa/x", Route::Ipfs),
            ("/.well-known/gwa.json", Route::Head),
            ("/api/v1/days/2018-09-15", Route::Api),
            ("/metrics", Route::Metrics),
            ("/", Route::Explorer),
            ("/app.js", Route::Explorer),
        ] {
            assert_eq!(Route::of(path), class, "{path}");
        }
    }

    #[test]
    fn an_answer_is_counted_where_it_belongs() {
        let meters = HttpMeters::default();
        meters.answered(Route::Api, StatusClass::of(404), Duration::from_millis(2));
        let counted: Vec<_> = meters
            .answers()
            .filter(|(_, _, count)| *count > 0)
            .collect();
        assert_eq!(counted, [(Route::Api, StatusClass::Client, 1)]);
        let (_, durations) = meters
            .durations()
            .find(|(route, _)| *route == Route::Api)
            .unwrap();
        assert_eq!(durations.count, 1);
    }
}
