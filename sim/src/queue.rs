//! The events to come, in their total order (time, sequence), and the slab that holds what is too large
//! for an event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events in the order of their times; of one time, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    sequence: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: u64,
    sequence: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn push(&mut self, at: u64, what: T) {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.heap.push(Reverse(Due { at, sequence, what }));
    }

    /// The next event, if it is not later than `until`.
    pub(crate) fn pop(&mut self, until: u64) -> Option<(u64, T)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        let Reverse(due) = self.heap.pop()?;
        Some((due.at, due.what))
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// Holds values under small numbers, which are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn put(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(index(at)) {
                *slot = Some(value);
            }
            return at;
        }
        self.slots.push(Some(value));
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn take(&mut self, at: u32) -> Option<T> {
        let value = self.slots.get_mut(index(at))?.take()?;
        self.free.push(at);
        Some(value)
    }
}

/// A number of ours as an index.
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A length of ours as a number.
pub(crate) fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_moment_come_in_the_order_in_which_they_were_added() {
        let mut queue = Queue::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(at, what);
        }
        let mut seen = Vec::new();
        while let Some((_, what)) = queue.pop(5) {
            seen.push(what);
        }
        assert_eq!(seen, ['a', 'b', 'c', 'd']);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_slab_gives_each_value_once() {
        let mut slab = Slab::new();
        let (first, second) = (slab.put('a'), slab.put('b'));
        assert_eq!(slab.take(first), Some('a'));
        assert_eq!(slab.take(first), None);
        assert_eq!(slab.put('c'), first);
        assert_eq!(slab.take(second), Some('b'));
    }
}
