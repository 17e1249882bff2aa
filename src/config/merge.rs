//! Settings of two places as one.

use super::{HttpPartial, P2pPartial, Partial, StorePartial};

impl Partial {
    /// What this says, and where it is silent what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            password: self.password.or(other.password),
            node_key: self.node_key.or(other.node_key),
            peers: self.peers.or(other.peers),
            bootnodes: self.bootnodes.or(other.bootnodes),
            discovery: self.discovery.or(other.discovery),
            archivers: self.archivers.or(other.archivers),
            sources: self.sources.or(other.sources),
            reconcile_every: self.reconcile_every.or(other.reconcile_every),
            nat: self.nat.or(other.nat),
            min_pow: self.min_pow.or(other.min_pow),
            seal_every: self.seal_every.or(other.seal_every),
            retention: self.retention.or(other.retention),
            limits: self.limits.or(other.limits),
            follow: self.follow.or(other.follow),
            follow_every: self.follow_every.or(other.follow_every),
            lazy: self.lazy.or(other.lazy),
            announce: self.announce.or(other.announce),
            publish: self.publish.or(other.publish),
            publish_to: self.publish_to.or(other.publish_to),
            public_urls: self.public_urls.or(other.public_urls),
            store: StorePartial {
                address: self.store.address.or(other.store.address),
                keep: self.store.keep.or(other.store.keep),
                auth: self.store.auth.or(other.store.auth),
            },
            http: HttpPartial {
                address: self.http.address.or(other.http.address),
                hosts: self.http.hosts.or(other.http.hosts),
                origins: self.http.origins.or(other.http.origins),
                open: self.http.open.or(other.http.open),
                public: self.http.public.or(other.http.public),
                denylists: self.http.denylists.or(other.http.denylists),
            },
            p2p: P2pPartial {
                listen: self.p2p.listen.or(other.p2p.listen),
                bootstrap: self.p2p.bootstrap.or(other.p2p.bootstrap),
                dht: self.p2p.dht.or(other.p2p.dht),
                public: self.p2p.public.or(other.p2p.public),
            },
        }
    }
}
