//! Figures of the mailserver, by the names of status-go's and by our own.
//!
//! status-go's names, its spelling included, are those of its `mailserver/metrics.go`;
//! where we count otherwise under one of them, `docs/observability.md` says so.

use crate::api::Api;
use crate::metrics::{DeliveryFailure, Exposition, SyncFailure, Word};

pub(super) fn tell(told: &mut Exposition, api: &Api) {
    let counted = api.node.counters();
    own(told, api);
    let mail = &api.mail;
    told.counter(
        "mailserver_delivery_attempts_total",
        "Number of mail requests looked at, or refused for their rate; status-go's name.",
        mail.attempts.get() + counted.requests_limited,
    );
    let failures = mail.failures.each().map(|(failure, count)| {
        // Those that come too soon never reach the mailserver.
        let limited = match failure {
            DeliveryFailure::PeerLimit => counted.requests_limited,
            _ => 0,
        };
        (vec![("type", failure.word())], count + limited)
    });
    told.counters(
        "mailserver_delivery_failures_total",
        "Number of mail requests that failed, by type; status-go's name.",
        failures,
    );
    told.counter(
        "mailserver_requests_batched_total",
        "Number of mail requests for batches; status-go's name.",
        mail.batched.get(),
    );
    told.counter(
        "mailserver_sync_attempts_total",
        "Number of sync requests looked at, or refused for their rate; status-go's name.",
        mail.sync_attempts.get() + counted.syncs_limited,
    );
    let failures = mail.sync_failures.each().map(|(failure, count)| {
        let limited = match failure {
            SyncFailure::PeerLimit => counted.syncs_limited,
            _ => 0,
        };
        (vec![("type", failure.word())], count + limited)
    });
    told.counters(
        "mailserver_sync_failures_total",
        "Number of sync requests that failed, by type; status-go's name.",
        failures,
    );
    told.counter(
        "mailserver_envelopes_total",
        "Number of envelopes sent in answers; status-go's name.",
        mail.envelopes.get(),
    );
    told.histogram(
        "mailserver_sent_envelope_batch_size_bytes",
        "Bytes of the envelopes of an answer; status-go's name.",
        mail.answers.read(),
    );
    told.histogram(
        "mailserver_requests_bundle_process_duration_seconds",
        "Time in which the envelopes of an answer were read and sent; status-go's name.",
        mail.bundles.read(),
    );
    told.histogram(
        "mailserver_send_raw_envelope_duration_seconds",
        "Time in which the link took a packet of envelopes; status-go's name.",
        mail.sends.read(),
    );
    told.histogram(
        "mailserver_delivery_duration_seconds",
        "Time in which a mail request was dealt with; status-go's name.",
        mail.deliveries.read(),
    );
    told.counter(
        "mailserver_archived_envelopes_falures_total",
        "Number of envelopes that could not be stored; status-go's name, and spelling.",
        counted.failed,
    );
}

fn own(told: &mut Exposition, api: &Api) {
    let counted = api.node.counters();
    let outcomes = [
        ("served", counted.requests_served),
        ("refused", counted.requests_refused),
    ];
    told.counters(
        "gwa_mail_requests_total",
        "Requests of mail clients and of other mailservers that were answered, by how.",
        outcomes.map(|(outcome, count)| (vec![("outcome", outcome)], count)),
    );
    told.counter(
        "gwa_mail_envelopes_total",
        "Envelopes delivered in answers that came to their end.",
        counted.delivered,
    );
    told.counter(
        "gwa_mail_bytes_total",
        "Bytes of answers to mail requests.",
        api.node.carried().answered_bytes,
    );
    told.histogram(
        "gwa_mail_duration_seconds",
        "Time in which a mail request was dealt with.",
        api.mail.wide_deliveries.read(),
    );
}
