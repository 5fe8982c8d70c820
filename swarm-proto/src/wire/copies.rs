//! What holders of one cell tell each other: a copy, and what became of it.

use crate::crypto::Signature;
use crate::mailbox::receipt::{Promise, Receipt};
use crate::store::{MailboxKeys, Row};
use crate::time::Tick;
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::mailbox::envelope;
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
        let write_signature = Signature(reader.array("write signature")?);
        let arrival = Tick(reader.u32("arrival")?);
        let row = Row {
            write_signature,
            arrival,
            envelope: envelope(reader)?,
        };
        Ok(Self { age, keys, row })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.age == CopyAge::Later));
        self.keys.encode(writer);
        writer
            .put(&self.row.write_signature.0)
            .u32(self.row.arrival.0);
        writer.put(self.row.envelope.bytes());
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
