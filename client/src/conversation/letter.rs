//! A letter: what a person wrote, before sealing and after opening ([LET-1] to [LET-4]).
//!
//! A letter fills its envelope's room with zeros, so that its length tells nothing within a class.
//! Letters are named by 16 random bytes of the writer; copies of one letter in several envelopes are one
//! letter.

use std::fmt;

use bytes::Bytes;
use swarm_proto::envelope::SizeClass;
use swarm_proto::id::hex;
use swarm_proto::time::UnixTime;
use swarm_proto::wire::codec::{Malformed, Reader, Writer};

use super::{first_contact, pair};
use crate::contacts::Reach;

/// A letter's name: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub [u8; 16]);

impl fmt::Debug for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LetterId({})", hex(&self.0))
    }
}

/// What a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its name.
    pub id: LetterId,
    /// The writer's clock; nothing is decided by it.
    pub sent: UnixTime,
    /// What it says.
    pub content: Content,
}

/// What a letter says. `Debug` shows sizes only, so that no log repeats a letter.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Text, at most [`TEXT_SMALL_BYTES_MAX`] or [`TEXT_LARGE_BYTES_MAX`] bytes of UTF-8.
    Text(String),
    /// A file of at most [`FILE_BYTES_MAX`] bytes, its name included.
    File {
        /// A plain name: [`is_plain_name`].
        name: String,
        /// What is in it.
        content: Bytes,
    },
    /// Letters that arrived: what makes them *delivered* for their writer ([LET-4]).
    Acknowledgement {
        /// Which; at most [`ACKNOWLEDGED_MAX`].
        letters: Vec<LetterId>,
        /// Where the writer of this wants letters, until it has seen that the other knows ([LET-8]).
        reach: Option<Reach>,
    },
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::File { content, .. } => write!(f, "File({} bytes)", content.len()),
            Self::Acknowledgement { letters, .. } => {
                write!(f, "Acknowledgement({} letters)", letters.len())
            }
        }
    }
}

impl Letter {
    /// The smallest class that it fits into ([LET-2]).
    ///
    /// # Errors
    /// [`BadLetter`] if it fits into none, or may not be written.
    pub fn size_class(&self) -> Result<SizeClass, BadLetter> {
        let bytes = self.encode()?.len();
        if bytes <= pair::room(SizeClass::Small) {
            Ok(SizeClass::Small)
        } else if bytes <= LETTER_BYTES_MAX {
            Ok(SizeClass::Large)
        } else {
            Err(BadLetter::TooLong {
                bytes: bytes.saturating_sub(HEAD_BYTES),
                bytes_max: LETTER_BYTES_MAX - HEAD_BYTES,
            })
        }
    }

    /// Writes it and fills `room` with zeros ([LET-1]).
    ///
    /// # Errors
    /// [`BadLetter`] if it does not fit, or may not be written.
    pub fn fill(&self, room: usize) -> Result<Vec<u8>, BadLetter> {
        let mut bytes = self.encode()?;
        if bytes.len() > room {
            return Err(BadLetter::TooLong {
                bytes: bytes.len().saturating_sub(HEAD_BYTES),
                bytes_max: room.saturating_sub(HEAD_BYTES),
            });
        }
        bytes.resize(room, 0);
        Ok(bytes)
    }

    /// Reads what [`Letter::fill`] wrote; every byte counts ([LET-1]).
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn read(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let letter = Self::decode(&mut reader)?;
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(reader.wrong("padding"));
        }
        Ok(letter)
    }

    /// Writes it without padding.
    ///
    /// # Errors
    /// [`BadLetter`] if it may not be written.
    pub fn encode(&self) -> Result<Vec<u8>, BadLetter> {
        let mut writer = Writer::with_capacity(64);
        writer.u8(VERSION);
        writer.u8(match &self.content {
            Content::Text(_) => TEXT,
            Content::File { .. } => FILE,
            Content::Acknowledgement { .. } => ACKNOWLEDGEMENT,
        });
        writer.put(&self.id.0).u64(self.sent.0);
        match &self.content {
            Content::Text(text) => {
                write_bytes(&mut writer, text.as_bytes())?;
            }
            Content::File { name, content } => {
                if !is_plain_name(name) {
                    return Err(BadLetter::FileName);
                }
                writer.count(name.len()).put(name.as_bytes());
                write_bytes(&mut writer, content)?;
            }
            Content::Acknowledgement { letters, reach } => {
                if letters.len() > ACKNOWLEDGED_MAX {
                    return Err(BadLetter::TooMany);
                }
                writer.count(letters.len());
                letters.iter().for_each(|id| {
                    writer.put(&id.0);
                });
                writer.u8(u8::from(reach.is_some()));
                if let Some(reach) = reach {
                    reach.encode(&mut writer);
                }
            }
        }
        Ok(writer.finish())
    }

    /// Reads what [`Letter::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] names the field.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        if reader.u8("letter version")? != VERSION {
            return Err(reader.wrong("letter version"));
        }
        let kind = reader.u8("letter kind")?;
        let id = LetterId(reader.array("letter id")?);
        let sent = UnixTime(reader.u64("sent")?);
        let content = match kind {
            TEXT => Content::Text(read_text(reader, "text")?),
            FILE => {
                let length = reader.count("file name", NAME_BYTES_MAX)?;
                let name = utf8(reader, "file name", length)?;
                if !is_plain_name(&name) {
                    return Err(reader.wrong("file name"));
                }
                let content = read_bytes(reader, "file")?;
                Content::File { name, content }
            }
            ACKNOWLEDGEMENT => {
                let count = reader.count("letters", ACKNOWLEDGED_MAX)?;
                let mut letters = Vec::with_capacity(count);
                for _ in 0..count {
                    letters.push(LetterId(reader.array("letter id")?));
                }
                let reach = match reader.flag("reach present")? {
                    true => Some(Reach::decode(reader)?),
                    false => None,
                };
                Content::Acknowledgement { letters, reach }
            }
            _ => return Err(reader.wrong("letter kind")),
        };
        Ok(Self { id, sent, content })
    }

    /// Whether a person wrote it, so that it is shown and acknowledged.
    pub fn is_from_a_person(&self) -> bool {
        match self.content {
            Content::Text(_) | Content::File { .. } => true,
            Content::Acknowledgement { .. } => false,
        }
    }
}

/// Whether a file may be written under this name in any folder without leaving it or hiding ([LET-3]): 1 to 255
/// bytes, no separator of any system, no control character, no leading or trailing dot or space.
pub fn is_plain_name(name: &str) -> bool {
    let is_bad = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.contains(is_bad)
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
}

/// Why a letter cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLetter {
    /// More than one envelope holds.
    #[error("the letter has {bytes} bytes; one letter holds {bytes_max}")]
    TooLong {
        /// What it has, lengths of text and file included.
        bytes: usize,
        /// What it may have.
        bytes_max: usize,
    },
    /// A name that could leave its folder.
    #[error("not a plain file name of 1 to 255 bytes")]
    FileName,
    /// Too many letters acknowledged at once.
    #[error("one acknowledgement names at most {ACKNOWLEDGED_MAX} letters")]
    TooMany,
}

fn write_bytes(writer: &mut Writer, bytes: &[u8]) -> Result<(), BadLetter> {
    let too_long = BadLetter::TooLong {
        bytes: bytes.len(),
        bytes_max: LETTER_BYTES_MAX - HEAD_BYTES,
    };
    // Checked here too, so that a huge file is not copied first.
    if bytes.len() > LETTER_BYTES_MAX {
        return Err(too_long);
    }
    let length = u32::try_from(bytes.len()).map_err(|_| too_long)?;
    writer.u32(length).put(bytes);
    Ok(())
}

fn read_bytes(reader: &mut Reader, field: &'static str) -> Result<Bytes, Malformed> {
    let length = usize::try_from(reader.u32(field)?).map_err(|_| reader.wrong(field))?;
    reader.take(field, length)
}

fn read_text(reader: &mut Reader, field: &'static str) -> Result<String, Malformed> {
    let bytes = read_bytes(reader, field)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| reader.wrong(field))
}

fn utf8(reader: &mut Reader, field: &'static str, length: usize) -> Result<String, Malformed> {
    let bytes = reader.take(field, length)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| reader.wrong(field))
}

/// version, kind, id, sent
const HEAD_BYTES: usize = 1 + 1 + 16 + 8;
/// Bytes of a letter without padding: what a first contact has room for, so that no letter depends on how far
/// the two have got.
pub const LETTER_BYTES_MAX: usize = first_contact::ROOM_BYTES;
/// Bytes of text that a small envelope holds ([LET-2]).
pub const TEXT_SMALL_BYTES_MAX: usize = pair::room(SizeClass::Small) - HEAD_BYTES - 4;
/// Bytes of text that a letter holds ([LET-2]).
pub const TEXT_LARGE_BYTES_MAX: usize = LETTER_BYTES_MAX - HEAD_BYTES - 4;
/// Bytes of a file and its name together that a letter holds ([LET-2]).
pub const FILE_BYTES_MAX: usize = LETTER_BYTES_MAX - HEAD_BYTES - 4 - 2;
/// Bytes of a file's name: what file systems allow.
pub const NAME_BYTES_MAX: usize = 255;
/// Letters in one acknowledgement: it stays small with a reach inside.
pub const ACKNOWLEDGED_MAX: usize = 64;

const VERSION: u8 = 1;
const TEXT: u8 = 0;
const FILE: u8 = 1;
const ACKNOWLEDGEMENT: u8 = 2;

const _: () = {
    assert!(HEAD_BYTES + 2 + 16 * ACKNOWLEDGED_MAX + 1 + 64 <= pair::room(SizeClass::Small));
    assert!(LETTER_BYTES_MAX <= pair::room(SizeClass::Large));
    assert!(TEXT_SMALL_BYTES_MAX == 1_746);
    assert!(TEXT_LARGE_BYTES_MAX == 29_961);
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_content() -> impl Strategy<Value = Content> {
        let ids = prop::collection::vec(any::<[u8; 16]>(), 0..=ACKNOWLEDGED_MAX);
        let reach = prop::option::of(any::<([u8; 32], [u8; 32])>());
        prop_oneof![
            ".{0,400}".prop_map(Content::Text),
            (
                "[a-zé ]{0,20}x",
                prop::collection::vec(any::<u8>(), 0..3_000)
            )
                .prop_filter_map("plain names", |(name, content)| is_plain_name(&name)
                    .then(|| Content::File {
                        name,
                        content: content.into()
                    })),
            (ids, reach).prop_map(|(ids, reach)| Content::Acknowledgement {
                letters: ids.into_iter().map(LetterId).collect(),
                reach: reach.map(|(s, p)| Reach { s, p }),
            }),
        ]
    }

    fn letter(content: Content) -> Letter {
        Letter {
            id: LetterId([1; 16]),
            sent: UnixTime(1_790_000_000_000),
            content,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// [LET-1].
        #[test]
        fn every_kind_of_letter_comes_back(content in any_content(), id: [u8; 16], sent: u64) {
            let letter = Letter { id: LetterId(id), sent: UnixTime(sent), content };
            let bytes = letter.fill(LETTER_BYTES_MAX).unwrap();
            prop_assert_eq!(bytes.len(), LETTER_BYTES_MAX);
            prop_assert_eq!(Letter::read(bytes.into()).unwrap(), letter);
        }

        /// [LET-1]: a letter bent by a contact is the one encoding of another letter, or none.
        #[test]
        fn a_bent_letter_is_another_one_or_none(
            content in any_content(), bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = letter(content).fill(4_000).unwrap();
            for (at, byte) in bends {
                // Half of them in the fields before the content, where the layout is.
                let until = if byte % 2 == 0 { 64 } else { bytes.len() };
                let at = at.index(until);
                bytes[at] = byte;
            }
            if let Ok(read) = Letter::read(Bytes::from(bytes.to_vec())) {
                let again = read.fill(bytes.len()).unwrap();
                prop_assert_eq!(&again[..], &bytes[..]);
            }
        }
    }

    /// [LET-2].
    #[test]
    fn the_stated_maxima_are_exact() {
        let text = |bytes| letter(Content::Text("x".repeat(bytes)));
        assert_eq!(text(1_746).size_class(), Ok(SizeClass::Small));
        assert_eq!(text(1_747).size_class(), Ok(SizeClass::Large));
        assert_eq!(text(29_961).size_class(), Ok(SizeClass::Large));
        let error = text(29_962).size_class().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the letter has 29966 bytes; one letter holds 29965"
        );
        let file = |bytes: usize| {
            letter(Content::File {
                name: "n".into(),
                content: vec![0; bytes - 1].into(),
            })
        };
        assert_eq!(file(FILE_BYTES_MAX).size_class(), Ok(SizeClass::Large));
        assert!(matches!(
            file(FILE_BYTES_MAX + 1).size_class(),
            Err(BadLetter::TooLong { .. })
        ));
        assert!(matches!(
            file(100_000_000).size_class(),
            Err(BadLetter::TooLong {
                bytes: 99_999_999,
                ..
            })
        ));
    }

    /// [LET-4].
    #[test]
    fn an_acknowledgement_is_small_and_bounded() {
        let ack = |count| {
            letter(Content::Acknowledgement {
                letters: vec![LetterId([2; 16]); count],
                reach: Some(Reach {
                    s: [3; 32],
                    p: [4; 32],
                }),
            })
        };
        assert_eq!(ack(ACKNOWLEDGED_MAX).size_class(), Ok(SizeClass::Small));
        assert_eq!(
            ack(ACKNOWLEDGED_MAX + 1).size_class(),
            Err(BadLetter::TooMany)
        );
    }

    /// [LET-3].
    #[test]
    fn a_file_name_cannot_leave_its_folder() {
        let long = "n".repeat(256);
        for name in [
            "", ".", "..", "../x", "a/b", "a\\b", "C:x", "a\0b", "a\nb", ".hidden", "x.", " x",
            &long,
        ] {
            assert!(!is_plain_name(name), "{name:?}");
            let content = Content::File {
                name: name.into(),
                content: Bytes::new(),
            };
            assert_eq!(letter(content).encode(), Err(BadLetter::FileName));
        }
        // A writer that does not check: the reader refuses.
        let good = letter(Content::File {
            name: "axb".into(),
            content: Bytes::new(),
        });
        let mut bytes = good.encode().unwrap();
        bytes[HEAD_BYTES + 3] = b'/';
        assert_eq!(Letter::read(bytes.into()).unwrap_err().field, "file name");
        assert!(is_plain_name("Übersicht 2026.tar.gz"));
    }

    #[test]
    fn a_log_line_repeats_no_letter() {
        let written = format!("{:?}", letter(Content::Text("meet at noon".into())));
        assert!(written.contains("12 bytes") && !written.contains("noon"));
    }

    /// [LET-1].
    #[test]
    fn hidden_bytes_behind_a_letter_are_refused() {
        let mut bytes = letter(Content::Text("hi".into())).fill(100).unwrap();
        bytes[99] = 1;
        assert_eq!(Letter::read(bytes.into()).unwrap_err().field, "padding");
    }

    #[test]
    fn garbage_is_no_letter_and_whatever_is_read_is_written_the_same() {
        bolero::check!().with_iterations(4_000).for_each(|bytes| {
            if let Ok(letter) = Letter::read(Bytes::copy_from_slice(bytes)) {
                assert_eq!(letter.fill(bytes.len()).unwrap(), bytes);
            }
        });
    }
}
