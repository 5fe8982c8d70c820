//! Eligible lists as the home keeps them: who held mail of the epochs that mail may still be of ([ELI-11]).

use swarm_proto::limits::EPOCHS_REMEMBERED;
use swarm_proto::time::Epoch;

use crate::home::{Change, HomeError, KnownRoster, Record};

/// Keeps what was learned, over what was known of the same epochs, and removes what no mail needs any more.
pub(super) fn keep(
    change: &mut Change<'_>,
    fresh: &[KnownRoster],
    today: Epoch,
) -> Result<(), HomeError> {
    let oldest = today.minus(EPOCHS_REMEMBERED);
    let is_of_use = |known: &KnownRoster| known.roster.epoch() >= oldest;
    for old in change.list::<KnownRoster>()?.rows {
        if !is_of_use(&old) {
            change.remove::<KnownRoster>(&old.key())?;
        }
    }
    let mut fresh = fresh.iter().filter(|known| is_of_use(known));
    fresh.try_for_each(|known| change.put(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Home, Unlock, Work};
    use swarm_proto::members::Roster;
    use swarm_proto::time::UnixTime;

    fn known(epoch: u32, last: u8) -> KnownRoster {
        let names = vec![[0; 16], [last; 16]];
        KnownRoster {
            roster: Roster::new(Epoch(epoch), names).unwrap(),
            at: UnixTime(u64::from(last)),
        }
    }

    /// [ELI-11]
    #[test]
    fn lists_are_there_after_a_restart_and_no_more_than_mail_needs() {
        let folder = tempfile::tempdir().unwrap();
        let (memory_kib, passes) = (8, 1);
        let work = Work { memory_kib, passes };
        let unlock = Unlock::Passphrase("x");
        let home = Home::create(folder.path(), &unlock, work).unwrap();
        for day in 100..160 {
            let fresh = [known(day, 1), known(day - 1, 2), known(day - 50, 3)];
            home.change(|change| keep(change, &fresh, Epoch(day)))
                .unwrap();
        }
        drop(home);
        let home = Home::open(folder.path(), &unlock).unwrap();
        let kept = home.view().unwrap().list::<KnownRoster>().unwrap().rows;
        let expected: Vec<KnownRoster> = (128..159).map(|day| known(day, 2)).collect();
        assert_eq!(kept[..31], expected);
        assert_eq!(kept[31..], [known(159, 1)]);
    }
}
