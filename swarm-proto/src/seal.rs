//! XChaCha20-Poly1305 with the nonce in front: what letters, cards and rows at home are sealed with.
//!
//! Nonces are 24 random bytes of the caller, so that no counter has to survive a crash. What is sealed is the
//! caller's; a letter of people and one of a relay's persona go through the same two functions.

use alloc::vec::Vec;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::hash;
use crate::store::MailboxKeys;

/// Bytes that sealing adds: nonce (24) in front, tag (16) behind.
pub const OVERHEAD_BYTES: usize = 24 + 16;

/// `nonce | ciphertext | tag`; `None` only for more than 256 GiB.
pub fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let payload = Payload { msg: plain, aad };
    let sealed = cipher.encrypt(&XNonce::from(*nonce), payload).ok()?;
    let mut bytes = Vec::with_capacity(plain.len().saturating_add(OVERHEAD_BYTES));
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(&sealed);
    Some(bytes)
}

/// The plain text, if key, associated data and every byte are those of the seal.
pub fn open(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = sealed.split_first_chunk::<24>()?;
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let opened = cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad });
    opened.ok().map(Zeroizing::new)
}

/// The key between two contacts ([LET-6]): `p` is the secret of the pair, `direction` 0 if the writer's account
/// key is not the greater one, `keys` the reader's mailbox of the envelope's epoch.
pub fn pair_key(p: &[u8; 32], direction: u8, keys: &MailboxKeys) -> Zeroizing<[u8; 32]> {
    let parts: [&[u8]; 3] = [p, &[direction], &keys.read];
    Zeroizing::new(hash::derive("poste pair letter 1", &parts))
}
