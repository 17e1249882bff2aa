# One door for checks. `just` alone lists what there is.

[private]
default:
    @just --list --unsorted

# Everything the gate checks, as it checks it.
check:
    CI=true bash .ci/run </dev/null

# The explorer's files, built anew from web/; what changed is to be committed.
web:
    cd web && npm ci --ignore-scripts --no-audit --no-fund && npm run check && npm test && npm run build

# The documentation as a book, in target/book; needs mdbook.
book:
    mdbook build

# Every page of the explorer in Chromium, over a daemon with the real corpus.
explore: web
    cargo build
    cd web && npm run explore

# The Debian package of a release build; asks for cargo-deb and dpkg-dev.
deb:
    cargo build --release --locked
    packaging/debian/build target/release/gwa target/deb

# One file that needs nothing of the system; asks for musl-tools.
musl:
    packaging/musl/build --release

# Format all sources.
fmt:
    cargo fmt

# Random runs: archives that must converge, writers that are killed.
sim runs="1000":
    GWA_CONVERGENCE_RUNS={{ runs }} cargo test --release --test convergence
    GWA_CRASH_RUNS={{ runs }} cargo test --release --test crash --test crash_copies --test crash_store

# The laws of comparing and merging, over many random archives.
laws cases="10000":
    GWA_LAW_CASES={{ cases }} cargo test --release --test laws

# Write the vectors of the archive format anew; their diff is to be read.
vectors:
    cargo run --release --example vectors
    git diff --stat -- fixtures/archive

# Figures, each beside the baseline it is held to. One bench by name, or all.
bench *name:
    cargo bench {{ if name == "" { "--benches" } else { "--bench " + name } }}

# Archiving and asking beside status-go's LevelDB, in turn on one disk; needs Go.
figures runs="5":
    #!/usr/bin/env bash
    set -euo pipefail
    export GWA_BENCH_STREAM=$PWD/target/figures
    mkdir -p "$GWA_BENCH_STREAM"
    (cd benches/baseline && go build -o "$GWA_BENCH_STREAM/baseline" .)
    cargo bench --bench durable --no-run
    for _ in $(seq {{ runs }}); do
        cargo bench -q --bench durable
        "$GWA_BENCH_STREAM/baseline" "$GWA_BENCH_STREAM"
    done | tee "$GWA_BENCH_STREAM/figures.jsonl"

# Mail delivered beside status-go's LevelDB, in turn on one disk; needs Go.
delivery runs="3":
    #!/usr/bin/env bash
    set -euo pipefail
    export GWA_BENCH_STREAM=$PWD/target/figures GWA_BENCH_KEEP=1
    mkdir -p "$GWA_BENCH_STREAM"
    (cd benches/baseline && go build -o "$GWA_BENCH_STREAM/baseline" .)
    cargo bench --bench deliver --no-run
    export GWA_BENCH_BASELINE=$GWA_BENCH_STREAM/baseline
    for _ in $(seq {{ runs }}); do
        cargo bench -q --bench deliver
    done | tee "$GWA_BENCH_STREAM/delivery.jsonl"

# One fuzz target under libFuzzer, for some seconds; needs nightly and cargo-fuzz.
fuzz target seconds="60":
    cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}

# Security advisories; fetches their database.
audit:
    cargo deny --all-features check advisories
