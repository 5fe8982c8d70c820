//! What holders of one cell tell each other: a copy, what became of it, and what they have to compare.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::limits;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::place::Cell;
use crate::store::{MailboxKeys, Row};
use crate::time::{Epoch, Tick};
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::refusal::Refusal;

/// Keep this row too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Whether the envelope was deposited a moment ago.
    pub age: CopyAge,
    /// The mailbox.
    pub keys: MailboxKeys,
    /// The row.
    pub row: Row,
}

/// When a copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyAge {
    /// While the deposit waits for receipts: the arrival must be near the copier's own clock.
    First,
    /// At any later time.
    Later,
}

impl Copy {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let age = if reader.flag("copy purpose")? {
            CopyAge::Later
        } else {
            CopyAge::First
        };
        let keys = MailboxKeys::decode(reader)?;
        let row = Row::decode(reader)?;
        Ok(Self { age, keys, row })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.age == CopyAge::Later));
        self.keys.encode(writer);
        self.row.encode(writer);
    }
}

/// What became of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The arrival that the copier's row has.
    pub arrival: Tick,
    /// Which envelope, and what the copier promises if it kept it.
    pub promise: Promise,
    /// The copier's receipt, or why there is none.
    pub outcome: Result<Receipt, Refusal>,
}

impl Copied {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let mut start = reader.clone();
        let code = reader.u16("outcome")?;
        let refusal = if code == 0 {
            if reader.u64("outcome detail")? != 0 {
                return Err(reader.wrong("outcome detail"));
            }
            None
        } else {
            let refusal = Refusal::decode(&mut start)?;
            *reader = start;
            Some(refusal)
        };
        let arrival = Tick(reader.u32("arrival")?);
        let promise = Promise::decode(reader)?;
        let outcome = match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Receipt::decode(reader)?),
        };
        Ok(Self {
            arrival,
            promise,
            outcome,
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        match self.outcome {
            Ok(_) => {
                writer.put(&[0; 10]);
            }
            Err(refusal) => refusal.encode(writer),
        }
        writer.u32(self.arrival.0);
        self.promise.encode(writer);
        if let Ok(receipt) = &self.outcome {
            receipt.encode(writer);
        }
    }
}

/// One step of comparing what two siblings have of the cells that they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The opener's number of the exchange.
    pub exchange: u32,
    /// Odd steps are the opener's; the first is 1.
    pub step: u8,
    /// What is compared: in the first step, and only there.
    pub scope: Option<Scope>,
    /// The key, in the first step, and ranges: at most [`limits::RECONCILE_BYTES_MAX`].
    pub ranges: Bytes,
}

/// Cells of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The epoch.
    pub epoch: Epoch,
    /// The cells, ascending, each once; 1 to [`limits::CELLS_PER_EXCHANGE_MAX`].
    pub cells: Vec<Cell>,
}

impl Compare {
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let exchange = reader.u32("exchange")?;
        let step = reader.u8("step")?;
        let scope = if step == 1 {
            Some(Scope::decode(reader)?)
        } else {
            None
        };
        if reader.left() > limits::RECONCILE_KEY_BYTES + limits::RECONCILE_BYTES_MAX {
            return Err(reader.wrong("ranges"));
        }
        Ok(Self {
            exchange,
            step,
            scope,
            ranges: reader.rest(),
        })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.exchange).u8(self.step);
        if let Some(scope) = &self.scope {
            scope.encode(writer);
        }
        writer.put(&self.ranges);
    }
}

impl Scope {
    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let epoch = Epoch(reader.u32("epoch")?);
        let count = reader.count("cells", limits::CELLS_PER_EXCHANGE_MAX)?;
        let mut cells: Vec<Cell> = Vec::with_capacity(count);
        for _ in 0..count {
            let cell = Cell(reader.u16("cell")?);
            if cells.last().is_some_and(|last| *last >= cell) {
                return Err(reader.wrong("cell"));
            }
            cells.push(cell);
        }
        if cells.is_empty() {
            return Err(reader.wrong("cells"));
        }
        Ok(Self { epoch, cells })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u32(self.epoch.0).count(self.cells.len());
        for cell in &self.cells {
            writer.u16(cell.0);
        }
    }
}
