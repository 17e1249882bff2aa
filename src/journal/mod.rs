//! What was acknowledged and is not sealed yet: an append-only, checksummed log.
