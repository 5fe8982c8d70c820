//! How a relay declines: few fixed codes, no detail that helps an attacker ([REF-1]).

use crate::time::UnixTime;
use crate::wire::codec::{Malformed, Reader, Writer};

/// A relay declines; nothing changed there, and it may be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a holder of this cell.
    #[error("not a holder of this mailbox")]
    WrongHolder,
    /// The signature does not open this mailbox.
    #[error("no capability for this mailbox")]
    NoCapability,
    /// Too old to be kept.
    #[error("expired by the relay's clock")]
    Expired {
        /// The relay's clock.
        time: UnixTime,
    },
    /// Larger than allowed here.
    #[error("too large")]
    TooLarge,
    /// The mailbox has its quota.
    #[error("the mailbox is full")]
    MailboxFull,
    /// Strangers have their quota.
    #[error("the lane for strangers is full")]
    OpenLaneFull,
    /// Work is asked for first.
    #[error("a stamp is needed")]
    StampNeeded {
        /// Its price.
        price: u64,
    },
    /// No room on the relay's disk.
    #[error("the relay's disk is full")]
    DiskFull,
    /// Not now.
    #[error("the relay is too busy")]
    TooBusy {
        /// Milliseconds to wait.
        retry_after_ms: u64,
    },
    /// The clocks differ too much.
    #[error("the relay's clock differs too much")]
    Clock {
        /// The relay's clock.
        time: UnixTime,
    },
    /// There is none.
    #[error("not found")]
    NotFound,
    /// A message type that the relay does not know.
    #[error("message type {kind:#06x} is unknown to the relay")]
    UnknownMessage {
        /// The type.
        kind: u16,
    },
    /// Another network.
    #[error("the relay is in another network")]
    WrongNetwork,
    /// No version in common.
    #[error("the relay speaks up to version {highest}")]
    WrongVersion {
        /// The highest that it speaks.
        highest: u16,
    },
    /// The relay cannot yet tell old onions from new ones.
    #[error("the relay restarted a moment ago")]
    Restarted {
        /// Milliseconds to wait.
        retry_after_ms: u64,
    },
    /// The next relay did not answer.
    #[error("the next relay did not answer")]
    HopUnreachable,
}

impl Refusal {
    /// The code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::WrongHolder => 1,
            Self::NoCapability => 2,
            Self::Expired { .. } => 3,
            Self::TooLarge => 4,
            Self::MailboxFull => 5,
            Self::OpenLaneFull => 6,
            Self::StampNeeded { .. } => 7,
            Self::DiskFull => 8,
            Self::TooBusy { .. } => 9,
            Self::Clock { .. } => 10,
            Self::NotFound => 11,
            Self::UnknownMessage { .. } => 12,
            Self::WrongNetwork => 13,
            Self::WrongVersion { .. } => 14,
            Self::Restarted { .. } => 15,
            Self::HopUnreachable => 16,
        }
    }

    /// Writes 10 bytes.
    pub fn encode(self, writer: &mut Writer) {
        writer.u16(self.code()).u64(self.detail());
    }

    /// Reads 10 bytes.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown code, or a detail where the code has none.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let code = reader.u16("refusal code")?;
        let detail = reader.u64("refusal detail")?;
        let short = u16::try_from(detail).map_err(|_| reader.wrong("refusal detail"));
        let refusal = match code {
            1 => Self::WrongHolder,
            2 => Self::NoCapability,
            3 => Self::Expired {
                time: UnixTime(detail),
            },
            4 => Self::TooLarge,
            5 => Self::MailboxFull,
            6 => Self::OpenLaneFull,
            7 => Self::StampNeeded { price: detail },
            8 => Self::DiskFull,
            9 => Self::TooBusy {
                retry_after_ms: detail,
            },
            10 => Self::Clock {
                time: UnixTime(detail),
            },
            11 => Self::NotFound,
            12 => Self::UnknownMessage { kind: short? },
            13 => Self::WrongNetwork,
            14 => Self::WrongVersion { highest: short? },
            15 => Self::Restarted {
                retry_after_ms: detail,
            },
            16 => Self::HopUnreachable,
            _ => return Err(reader.wrong("refusal code")),
        };
        if refusal.detail() == detail {
            Ok(refusal)
        } else {
            Err(reader.wrong("refusal detail"))
        }
    }

    /// The detail on the wire; 0 where a code has none.
    pub const fn detail(self) -> u64 {
        match self {
            Self::Expired { time } | Self::Clock { time } => time.0,
            Self::StampNeeded { price } => price,
            Self::TooBusy { retry_after_ms } | Self::Restarted { retry_after_ms } => retry_after_ms,
            Self::UnknownMessage { kind } => kind as u64,
            Self::WrongVersion { highest } => highest as u64,
            Self::WrongHolder
            | Self::NoCapability
            | Self::TooLarge
            | Self::MailboxFull
            | Self::OpenLaneFull
            | Self::DiskFull
            | Self::NotFound
            | Self::WrongNetwork
            | Self::HopUnreachable => 0,
        }
    }
}

/// A refusal's name for people and metrics, by its code.
pub fn name_of(code: u16) -> &'static str {
    match code {
        1 => "wrong holder",
        2 => "no capability",
        3 => "expired",
        4 => "too large",
        5 => "mailbox full",
        6 => "open lane full",
        7 => "stamp needed",
        8 => "disk full",
        9 => "too busy",
        10 => "clock",
        11 => "not found",
        12 => "unknown message",
        13 => "wrong network",
        14 => "wrong version",
        15 => "restarted",
        16 => "hop unreachable",
        _ => "unknown",
    }
}
