//! The mailserver: archives envelopes, delivers history to peers that ask.
