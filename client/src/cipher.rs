//! XChaCha20-Poly1305 with the nonce in front: what letters, cards and rows at home are sealed with.
//!
//! Nonces are 24 random bytes of the caller, so that no counter has to survive a crash.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes that sealing adds: nonce (24) in front, tag (16) behind.
pub(crate) const OVERHEAD_BYTES: usize = 24 + 16;

/// `nonce | ciphertext | tag`; `None` only for more than 256 GiB.
pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let payload = Payload { msg: plain, aad };
    let sealed = cipher.encrypt(&XNonce::from(*nonce), payload).ok()?;
    let mut bytes = Vec::with_capacity(plain.len().saturating_add(OVERHEAD_BYTES));
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(&sealed);
    Some(bytes)
}

/// The plain text, if key, associated data and every byte are those of the seal.
pub(crate) fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = sealed.split_first_chunk::<24>()?;
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let opened = cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad });
    opened.ok().map(Zeroizing::new)
}
