//! The items of one side, in order, with running sums of their keyed hashes: the fingerprint of any range
//! costs one hash.

use alloc::vec::Vec;
use core::ops::Range;

use super::range::Span;
use crate::hash;

/// Items in ascending order, without repeats; never changed during an exchange.
#[derive(Debug)]
pub(super) struct ItemSet {
    items: Vec<[u8; 32]>,
    /// The sum of the hashes of the first `n` items at place `n`; one longer than `items`.
    sums: Vec<Sum>,
}

impl ItemSet {
    pub(super) fn new(items: impl IntoIterator<Item = [u8; 32]>, key: &[u8; 32]) -> Self {
        let mut items: Vec<[u8; 32]> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        let mut sum = Sum::ZERO;
        let mut sums = Vec::with_capacity(items.len().saturating_add(1));
        sums.push(sum);
        for item in &items {
            sum = sum.plus(Sum::from_bytes(blake3::keyed_hash(key, item).as_bytes()));
            sums.push(sum);
        }
        Self { items, sums }
    }

    /// The places of the items within a span.
    pub(super) fn within(&self, span: Span) -> Range<usize> {
        let start = self.items.partition_point(|item| *item < span.first());
        let end = self.items.partition_point(|item| *item <= span.last());
        start..end
    }

    pub(super) fn at(&self, place: usize) -> Option<[u8; 32]> {
        self.items.get(place).copied()
    }

    pub(super) fn contains(&self, item: &[u8; 32]) -> bool {
        self.items.binary_search(item).is_ok()
    }

    /// `derive("poste range", count (4) | sum mod 2^256 of the keyed hashes)`, cut to 16 bytes ([RBR-2]).
    pub(super) fn fingerprint(&self, places: &Range<usize>) -> [u8; 16] {
        let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let sum = self.sum(places.end).minus(self.sum(places.start));
        let mut out = [0; 16];
        let parts: [&[u8]; 2] = [&count.to_be_bytes(), &sum.to_bytes()];
        hash::derive_into("poste range", &parts, &mut out);
        out
    }

    /// The first 8 bytes of an item's keyed hash: its name within one exchange ([RBR-5]).
    pub(super) fn tag(&self, place: usize) -> [u8; 8] {
        let next = self.sum(place.saturating_add(1));
        let hash = next.minus(self.sum(place)).to_bytes();
        *hash.first_chunk().unwrap_or(&[0; 8])
    }

    fn sum(&self, place: usize) -> Sum {
        self.sums.get(place).copied().unwrap_or(Sum::ZERO)
    }
}

/// The sum of numbers of 256 bits, mod 2^256.
pub(crate) fn sum_of<'a>(numbers: impl IntoIterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let numbers = numbers.into_iter().map(Sum::from_bytes);
    numbers.fold(Sum::ZERO, Sum::plus).to_bytes()
}

/// A number mod 2^256: high half, low half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum(u128, u128);

impl Sum {
    const ZERO: Self = Self(0, 0);

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let half = |half: &[u8]| half.iter().fold(0, |n, byte| (n << 8) | u128::from(*byte));
        let (high, low) = bytes.split_at(16);
        Self(half(high), half(low))
    }

    fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        let bytes = self.0.to_be_bytes().into_iter().chain(self.1.to_be_bytes());
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = from;
        }
        out
    }

    fn plus(self, other: Self) -> Self {
        let (low, carry) = self.1.overflowing_add(other.1);
        let high = self.0.wrapping_add(other.0).wrapping_add(u128::from(carry));
        Self(high, low)
    }

    fn minus(self, other: Self) -> Self {
        let (low, borrow) = self.1.overflowing_sub(other.1);
        let high = self.0.wrapping_sub(other.0);
        Self(high.wrapping_sub(u128::from(borrow)), low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_carry_between_their_halves_and_wrap_at_the_end() {
        let ones = Sum::from_bytes(&[0xff; 32]);
        let one = Sum(0, 1);
        assert_eq!(ones.plus(one), Sum::ZERO);
        assert_eq!(Sum::ZERO.minus(one), ones);
        assert_eq!(Sum(0, u128::MAX).plus(one), Sum(1, 0));
        assert_eq!(Sum(1, 0).minus(one), Sum(0, u128::MAX));
        assert_eq!(ones.to_bytes(), [0xff; 32]);
    }

    /// [RBR-2]
    #[test]
    fn a_range_has_the_fingerprint_of_a_set_of_just_its_items() {
        let items: Vec<[u8; 32]> = (0_u8..200).map(|n| hash::derive("test", &[&[n]])).collect();
        let all = ItemSet::new(items.iter().copied(), &[7; 32]);
        for span in Span::ALL.children() {
            let inside = items.iter().copied().filter(|item| span.contains(item));
            let part = ItemSet::new(inside, &[7; 32]);
            let places = all.within(span);
            assert!(!places.is_empty());
            assert_eq!(
                all.fingerprint(&places),
                part.fingerprint(&part.within(Span::ALL))
            );
            assert_eq!(all.tag(places.start), part.tag(0));
        }
    }
}
