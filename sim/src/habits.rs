//! What people do all day: they write to each other at random and read their mailboxes now and then.

use swarm_proto::envelope::ExpiryClass;

use crate::people::PersonNo;
use crate::world::{What, World};

/// How often everybody writes and reads; in minutes of the network's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// The mean time between two letters of one person; 0 for none.
    pub write_every_minutes: u64,
    /// The mean time between two looks into the mailbox; 0 for none.
    pub read_every_minutes: u64,
    /// How long letters are kept.
    pub expiry: ExpiryClass,
}

impl Default for Habits {
    /// Nobody does anything.
    fn default() -> Self {
        Self {
            write_every_minutes: 0,
            read_every_minutes: 0,
            expiry: ExpiryClass::Days7,
        }
    }
}

impl World {
    pub(crate) fn begin_habits(&mut self, person: u32) {
        let habits = self.scenario.habits;
        let means = [
            (habits.write_every_minutes, What::Write(person)),
            (habits.read_every_minutes, What::Poll(person)),
        ];
        for (mean, what) in means.into_iter().filter(|(mean, _)| *mean > 0) {
            let first = self.network.scale.minutes(SETTLING_MINUTES);
            let first_us = u64::try_from(first.as_micros()).unwrap_or(u64::MAX);
            let spread = self.pause(person, mean);
            self.after(first_us.max(SETTLING_US).saturating_add(spread), what);
        }
    }

    pub(crate) fn write_by_habit(&mut self, person: u32) {
        let habits = self.scenario.habits;
        let people = u64::from(self.scenario.people);
        if let Some(writer) = self.person_mut(person).filter(|_| people > 1) {
            let step = writer.chance.below(people - 1) + 1;
            let to = u32::try_from((u64::from(person) + step) % people).unwrap_or(0);
            self.write(PersonNo(person), PersonNo(to), habits.expiry);
        }
        self.again(person, habits.write_every_minutes, What::Write(person));
    }

    /// Reads today's mailbox, and those of all epochs since it was last there.
    pub(crate) fn poll_by_habit(&mut self, person: u32) {
        let today = self.network.scale.epoch_of(self.unix());
        if let Some(reader) = self.person_mut(person) {
            let back = today.0.saturating_sub(reader.polled.0).saturating_add(1);
            reader.polled = today;
            self.read(PersonNo(person), back.min(EPOCHS_BACK_MAX));
        }
        self.again(
            person,
            self.scenario.habits.read_every_minutes,
            What::Poll(person),
        );
    }

    fn again(&mut self, person: u32, mean_minutes: u64, what: What) {
        let pause = self.pause(person, mean_minutes);
        self.after(pause, what);
    }

    /// An exponential pause of this mean, in microseconds.
    fn pause(&mut self, person: u32, mean_minutes: u64) -> u64 {
        let mean = self.network.scale.minutes(mean_minutes);
        let mean_us = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
        self.person_mut(person)
            .map_or(mean_us, |person| person.chance.exponential_us(mean_us))
    }
}

/// As long as mail lives.
const EPOCHS_BACK_MAX: u32 = 30;
/// Minutes after the start in which the relays find each other and nobody writes.
const SETTLING_MINUTES: u64 = 90;
/// The same where minutes are short, in microseconds.
const SETTLING_US: u64 = 20_000_000;
