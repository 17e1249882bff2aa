//! The archive format and its algorithms: leaf, pack, segment, calendar, state, delta, head.
