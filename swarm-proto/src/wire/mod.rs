//! Every message, byte by byte (`docs/spec/formats.md`).

pub mod codec;
pub mod frames;
