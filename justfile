# One door for checks. `just` alone lists what there is.

default:
    @just --list --unsorted

# Everything the gate checks, as it checks it.
check:
    CI=true bash .ci/run </dev/null

# Format all sources.
fmt:
    cargo fmt

# Security advisories; fetches their database.
audit:
    cargo deny --all-features check advisories

# Write the vectors of the archive format anew; read the diff.
vectors:
    cargo run --example vectors
    git diff --stat -- fixtures/archive
