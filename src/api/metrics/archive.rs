//! Figures of the archive: what it took in, what is sealed, what waits.

use crate::archive::disk::Archive;
use crate::metrics::Exposition;

pub(super) fn tell(told: &mut Exposition, archive: &Archive) {
    taken_in(told, archive);
    head(told, archive);
    seals(told, archive);
}

fn taken_in(told: &mut Exposition, archive: &Archive) {
    let meters = archive.meters();
    let appended = meters.appended.read();
    told.gauge(
        "gwa_archive_takes_in",
        "1 where envelopes are taken in; 0 at a mirror, which holds what heads of others name.",
        u64::from(!archive.is_mirror()),
    );
    told.counter(
        "gwa_archive_appended_total",
        "Envelopes that were new, in whatever way they came: peers, posts, other archivers.",
        appended.count,
    );
    told.amount(
        "gwa_archive_appended_bytes_total",
        "Bytes of those.",
        appended.sum,
    );
    told.counter(
        "gwa_archive_merged_total",
        "Envelopes that merging with the heads of others brought.",
        meters.merged.get(),
    );
    told.counter(
        "gwa_archive_duplicate_total",
        "Envelopes that the archive held already.",
        meters.duplicate.get(),
    );
    told.counters(
        "gwa_archive_refused_total",
        "Envelopes that the archive refused, by reason.",
        [
            (vec![("reason", "too-large")], meters.too_large.get()),
            (vec![("reason", "day-dropped")], meters.too_old.get()),
        ],
    );
    told.histogram(
        "mailserver_archived_envelope_size_bytes",
        "Size of envelopes saved; status-go's name.",
        appended.clone(),
    );
    told.counter(
        "mailserver_archived_envelopes_total",
        "Number of envelopes saved; status-go's name.",
        appended.count,
    );
}

fn head(told: &mut Exposition, archive: &Archive) {
    let head = archive.head();
    let body = head.as_ref().map(|head| head.body());
    told.gauge(
        "gwa_head_seq",
        "The number of the current head; 0 before the first.",
        body.map_or(0, |body| body.sequence.0),
    );
    told.gauge_if(
        "gwa_head_timestamp_seconds",
        "When the current head was signed; absent before the first.",
        body.map(|body| body.signed_at.0.into()),
    );
    told.gauge_if(
        "gwa_head_watermark_timestamp_seconds",
        "Envelopes sent before this instant are sealed; absent before the first head.",
        body.map(|body| body.watermark.at().0.into()),
    );
    told.gauge(
        "gwa_sealed_envelopes",
        "Envelopes under the current head.",
        body.map_or(0, |body| body.totals.count),
    );
    told.gauge(
        "gwa_sealed_bytes",
        "Bytes of those.",
        body.map_or(0, |body| body.totals.bytes),
    );
    told.gauge(
        "gwa_waiting_envelopes",
        "Envelopes that are durable in the journal, and not sealed yet.",
        archive.waiting(),
    );
    told.gauge(
        "gwa_waiting_bytes",
        "Bytes of those.",
        archive.waiting_bytes(),
    );
}

fn seals(told: &mut Exposition, archive: &Archive) {
    let meters = archive.meters();
    told.histogram(
        "gwa_seal_duration_seconds",
        "Time of the seals that gave a new head.",
        meters.seals.read(),
    );
    told.counter(
        "gwa_seal_failures_total",
        "Seals that failed; what waits is tried again with the next one.",
        meters.failed_seals.get(),
    );
    told.counter(
        "gwa_seal_envelopes_total",
        "Envelopes that seals put under a head.",
        meters.sealed.get(),
    );
    told.counter(
        "gwa_seal_written_bytes_total",
        "Bytes of blocks that seals wrote.",
        meters.written.get(),
    );
}
