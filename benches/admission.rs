//! What judging an envelope costs, beside the Keccak-256 of its bytes: its
//! identity is one hash, and each definition of work one or two more.

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use gwa::keccak::keccak256;
use gwa::time::{Expiry, Ttl, UnixSeconds};
use gwa::whisper::admission::AdmissionPolicy;
use gwa::whisper::packet::{Packet, code};
use gwa::whisper::sift::sift;
use gwa::whisper::{Envelope, Pow, Topic, Work};

fn main() {
    divan::main();
}

/// Bytes of data: the usual message, and a long one.
const SIZES: [usize; 3] = [284, 1_052, 16_412];

/// Envelopes in a batch.
const BATCH: usize = 100;

const NOW: UnixSeconds = UnixSeconds(1_600_000_000);

fn envelopes(size: usize) -> Vec<Envelope> {
    (0..BATCH as u64)
        .map(|nonce| {
            Envelope::new(
                Expiry::of(NOW, Ttl(50)),
                Ttl(50),
                Topic([1, 2, 3, 4]),
                &vec![7; size],
                nonce,
            )
        })
        .collect()
}

fn policy() -> AdmissionPolicy {
    AdmissionPolicy {
        min_pow: Pow::ZERO,
        ..AdmissionPolicy::default()
    }
}

/// The baseline: each envelope's bytes hashed once.
#[divan::bench(args = SIZES)]
fn keccak_alone(bencher: Bencher<'_, '_>, size: usize) {
    let envelopes = envelopes(size);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        envelopes
            .iter()
            .fold(0, |sum, envelope| sum ^ keccak256(envelope.rlp())[0])
    });
}

/// Both definitions of work.
#[divan::bench(args = SIZES)]
fn work(bencher: Bencher<'_, '_>, size: usize) {
    let envelopes = envelopes(size);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        envelopes
            .iter()
            .map(|envelope| Work::of(envelope).most())
            .max()
    });
}

/// From a packet's payload to admitted envelopes: decoding, identity, time,
/// size, work, topic.
#[divan::bench(args = SIZES)]
fn packet_to_admitted(bencher: Bencher<'_, '_>, size: usize) {
    let payload: Bytes = Packet::Messages(envelopes(size)).encode();
    let policy = policy();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let Ok(Packet::Messages(envelopes)) = Packet::decode(code::MESSAGES, &payload) else {
            panic!("it was just encoded");
        };
        let sifted = sift(envelopes, &policy, NOW, |_| false);
        assert_eq!(sifted.new.len(), BATCH);
        sifted
    });
}
