//! What the keys of a mailbox cost, which a correspondent derives for every contact and epoch.

use std::time::Duration;

use swarm_proto::address::{Account, Context};
use swarm_proto::time::Epoch;

use crate::cpu::{take_turns, time_each};
use crate::failure::BenchFailure;
use crate::row::Row;

/// A writer's and an owner's derivation.
///
/// # Errors
/// [`BenchFailure`] if the clock cannot be read.
pub fn measure(most: Duration) -> Result<Vec<Row>, BenchFailure> {
    let account = Account::from_seed(&[1; 32]);
    let key = *account.key();
    let epochs = || (0..32).map(Epoch).collect::<Vec<_>>();
    let results = take_turns(
        &mut [
            &mut || {
                time_each(epochs(), |epoch| {
                    key.mailbox(Context::Pair, &[2; 32], epoch).is_ok()
                })
            },
            &mut || {
                time_each(epochs(), |epoch| {
                    account.mailbox(Context::Pair, &[2; 32], epoch).is_ok()
                })
            },
        ],
        101,
        most,
    )?;
    let [writer, owner] = results.as_slice() else {
        return Err(BenchFailure::Wrong("no address"));
    };
    Ok(vec![
        Row::alone("address/writer", "us of CPU", writer),
        Row::alone("address/owner", "us of CPU", owner),
    ])
}
