//! Guards and second layer as the home keeps them: the choice of paths must outlive the program ([PTH-2]).

use swarm_proto::client::{Pin, Pinned};
use swarm_proto::id::NodeId;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

use crate::home::PathState;

/// The row of these pins.
pub(super) fn keep(pinned: &Pinned) -> PathState {
    let mut writer = Writer::with_capacity(512);
    writer.u8(VERSION);
    for pins in [&pinned.guards, &pinned.second] {
        let some = pins.len().min(PINS_MAX);
        writer.count(some);
        for pin in pins.iter().take(some) {
            writer.put(&pin.id.0).u64(pin.until.0);
        }
    }
    PathState {
        bytes: writer.finish().into(),
    }
}

/// The pins of a row.
///
/// # Errors
/// [`Malformed`]: another version wrote it.
pub(super) fn read(state: &PathState) -> Result<Pinned, Malformed> {
    let mut reader = Reader::new(state.bytes.clone());
    if reader.u8("pins version")? != VERSION {
        return Err(reader.wrong("pins version"));
    }
    let pinned = Pinned {
        guards: read_pins(&mut reader)?,
        second: read_pins(&mut reader)?,
    };
    reader.end()?;
    Ok(pinned)
}

fn read_pins(reader: &mut Reader) -> Result<Vec<Pin>, Malformed> {
    let count = reader.count("pins", PINS_MAX)?;
    let mut pins = Vec::with_capacity(count);
    for _ in 0..count {
        pins.push(Pin {
            id: NodeId(reader.array("pinned relay")?),
            until: UnixTime(reader.u64("pinned until")?),
        });
    }
    Ok(pins)
}

const VERSION: u8 = 1;
/// Relays of one layer: more than are ever pinned.
const PINS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// [PTH-2]: the same guards after a restart.
    #[test]
    fn pins_come_back() {
        let pin = |n: u8| Pin {
            id: NodeId([n; 32]),
            until: UnixTime(u64::from(n)),
        };
        let pinned = Pinned {
            guards: vec![pin(1), pin(2)],
            second: vec![pin(3), pin(4), pin(5)],
        };
        assert_eq!(read(&keep(&pinned)), Ok(pinned));
        assert_eq!(read(&keep(&Pinned::default())), Ok(Pinned::default()));
    }

    #[test]
    fn garbage_is_no_pins() {
        bolero::check!().with_iterations(1_000).for_each(|bytes| {
            let bytes = Bytes::copy_from_slice(bytes);
            let _ = read(&PathState { bytes });
        });
    }
}
