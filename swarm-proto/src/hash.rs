//! The one hash of the protocol: BLAKE3 in `derive_key` mode, so that no two uses can meet.
//!
//! Every use names its context (`docs/spec/formats.md`, table of contexts). Plain BLAKE3 appears once,
//! in the id of an envelope.

/// Hashes the concatenation of `parts` under `context` into 32 bytes.
pub fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    *absorb(context, parts).finalize().as_bytes()
}

/// Hashes the concatenation of `parts` under `context` into as many bytes as `out` holds.
pub fn derive_into(context: &str, parts: &[&[u8]], out: &mut [u8]) {
    absorb(context, parts).finalize_xof().fill(out);
}

/// Hashes the concatenation of `parts` under `context` into a stream, from which keys are read one
/// after the other.
pub(crate) fn derive_stream(context: &str, parts: &[&[u8]]) -> blake3::OutputReader {
    absorb(context, parts).finalize_xof()
}

fn absorb(context: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    hasher
}
