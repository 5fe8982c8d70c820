//! The history of a run as one hash: what happened when to whom, by numbers in the order of appearance.
//!
//! No bytes of ids or signatures enter it, so that real and null cryptography give the same.

/// A running hash.
#[derive(Debug)]
pub(crate) struct History(blake3::Hasher);

impl History {
    pub(crate) fn new() -> Self {
        Self(blake3::Hasher::new_derive_key("poste sim history"))
    }

    /// Something of `kind` happened.
    pub(crate) fn note(&mut self, at: u64, kind: u8, one: u32, other: u32) {
        let mut entry = [0; 17];
        let fields = at
            .to_be_bytes()
            .into_iter()
            .chain([kind])
            .chain(one.to_be_bytes())
            .chain(other.to_be_bytes());
        for (to, from) in entry.iter_mut().zip(fields) {
            *to = from;
        }
        self.0.update(&entry);
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
