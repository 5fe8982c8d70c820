//! Why a command ended badly: what is wrong, where, and what to do; and the exit code a script reads.
//!
//! Each part has its own error; this one gathers them. Nothing of a letter or a key is ever repeated.

use std::io;
use std::path::PathBuf;

use poste_link::network_file::NetworkFileFailure;

use crate::account::{BadAccountId, BadWords};
use crate::conversation::CannotSeal;
use crate::conversation::letter::BadLetter;
use crate::home::HomeError;
use crate::invitation::BadInvitation;
use poste_link::courier::CourierFailure;

/// Why a command ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is wrong in a way that its parser does not see.
    #[error("{0}")]
    Usage(String),
    /// The home.
    #[error("{}", tell_home(.0))]
    Home(#[from] HomeError),
    /// Neither `--home` nor the environment says where the home is.
    #[error("no home: give --home DIR, or set XDG_DATA_HOME or HOME to an absolute path")]
    NoHome,
    /// The network file.
    #[error("{}: {source}", path.display())]
    Network {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: NetworkFileFailure,
    },
    /// The home's network file is not the one that the account was made in.
    #[error("{}: this is another network than the account's; put the file back that it was made with", .0.display())]
    ChangedNetwork(PathBuf),
    /// The invitation is for another network.
    #[error(
        "this invitation is for another network than this home's; make a home for that network with `poste --home DIR id new`"
    )]
    OtherNetwork,
    /// The words.
    #[error(transparent)]
    Words(#[from] BadWords),
    /// The invitation.
    #[error("{0}; ask for the whole text again")]
    Invitation(#[from] BadInvitation),
    /// The account id.
    #[error(transparent)]
    AccountId(#[from] BadAccountId),
    /// The letter cannot be written.
    #[error("{0}; nothing was queued")]
    Letter(#[from] CannotSeal),
    /// A name that no contact can have.
    #[error("a contact's name has 1 to 64 characters, none of them a control character")]
    Petname,
    /// A name that another contact has.
    #[error("{0} is the name of another contact; choose another name")]
    NameTaken(String),
    /// One's own invitation.
    #[error("this is your own invitation; hand it to somebody else")]
    OwnAccount,
    /// No contact has that name.
    #[error("no contact is called {0}; `poste contact list` shows all")]
    NoContact(String),
    /// No letter has that id.
    #[error("no letter in the inbox has the id {0}; `poste inbox --all` shows all")]
    NoLetter(String),
    /// Several letters have ids that begin so.
    #[error("several letters have ids that begin with {0}; give more of it")]
    ManyLetters(String),
    /// A text letter where a file is wanted.
    #[error("the letter {0} is no file; `poste read` shows it")]
    NotAFile(String),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// No link can be made.
    #[error(transparent)]
    Courier(#[from] CourierFailure),
    /// The network did not do what was asked; nothing is lost.
    #[error("{0}")]
    Unreached(String),
    /// Letters are in the outbox and not stored yet.
    #[error("{letters} queued: {reason}; tried again by `poste sync` and every later visit")]
    Queued {
        /// How many, in words.
        letters: String,
        /// What stands in the way of the last one.
        reason: String,
    },
    /// Relays declined a letter for a bound or quota.
    #[error("{0}")]
    Limited(String),
    /// Something that cannot happen did.
    #[error("this is a bug: {0}")]
    Bug(String),
}

impl Failure {
    /// The exit code of the program.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Home(HomeError::Full { .. })
            | Self::Limited(_)
            | Self::Letter(CannotSeal::Letter(BadLetter::TooLong { .. })) => EXIT_LIMITED,
            Self::ChangedNetwork(_) => EXIT_UNTRUSTED,
            Self::NoContact(_) | Self::NoLetter(_) => EXIT_NOT_FOUND,
            Self::Courier(_) | Self::Unreached(_) => EXIT_NETWORK,
            Self::Queued { .. } => EXIT_QUEUED,
            Self::Letter(CannotSeal::Envelope(_)) | Self::Bug(_) => EXIT_BUG,
            Self::Home(_)
            | Self::NoHome
            | Self::Network { .. }
            | Self::OtherNetwork
            | Self::Words(_)
            | Self::Invitation(_)
            | Self::AccountId(_)
            | Self::Letter(_)
            | Self::Petname
            | Self::NameTaken(_)
            | Self::OwnAccount
            | Self::ManyLetters(_)
            | Self::NotAFile(_)
            | Self::File { .. }
            | Self::System { .. } => EXIT_USER,
        }
    }
}

impl From<BadLetter> for Failure {
    fn from(bad: BadLetter) -> Self {
        Self::Letter(CannotSeal::Letter(bad))
    }
}

/// What a user can do about a home that does not open.
fn tell_home(error: &HomeError) -> String {
    let advice = match error {
        HomeError::Missing(_) => "; make one with `poste id new --network FILE`",
        HomeError::Exists(_) => "; choose another folder with --home DIR",
        HomeError::InUse => {
            return "another poste works on this home; wait for it or end it".into();
        }
        HomeError::NeedsPassphrase => "; leave --key-file out, or give --passphrase-fd N",
        HomeError::NeedsKeyFile => "; give --key-file FILE",
        HomeError::WrongPassphrase
        | HomeError::WrongKeyFile
        | HomeError::EmptyPassphrase
        | HomeError::BadKeyFile
        | HomeError::KeyRowDamaged
        | HomeError::Version(_)
        | HomeError::Work(_)
        | HomeError::RowDamaged { .. }
        | HomeError::RowMalformed { .. }
        | HomeError::Full { .. }
        | HomeError::Disk(_)
        | HomeError::File { .. }
        | HomeError::NoRandomness => "",
    };
    format!("{error}{advice}")
}

/// The caller can put it right: a wrong file, a wrong name, a wrong passphrase.
pub const EXIT_USER: u8 = 1;
/// The command line is wrong, or nothing says how to open the home.
pub const EXIT_USAGE: u8 = 2;
/// The network could not be reached.
pub const EXIT_NETWORK: u8 = 3;
/// A key or the network is not the one that it was.
pub const EXIT_UNTRUSTED: u8 = 4;
/// A bound or a quota.
pub const EXIT_LIMITED: u8 = 5;
/// No such contact or letter.
pub const EXIT_NOT_FOUND: u8 = 6;
/// Not stored in time; the letter is in the outbox.
pub const EXIT_QUEUED: u8 = 7;
/// A bug of this program.
pub const EXIT_BUG: u8 = 70;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_can_tell_failures_apart() {
        let queued = Failure::Queued {
            letters: "1 letter".into(),
            reason: "no holder answered".into(),
        };
        let too_long = BadLetter::TooLong {
            bytes: 3,
            bytes_max: 2,
        };
        let cases = [
            (Failure::NoHome, 1),
            (HomeError::InUse.into(), 1),
            (HomeError::WrongKeyFile.into(), 1),
            (BadWords::Checksum.into(), 1),
            (Failure::Usage(String::new()), 2),
            (Failure::Unreached(String::new()), 3),
            (Failure::ChangedNetwork(PathBuf::new()), 4),
            (Failure::Limited(String::new()), 5),
            (too_long.into(), 5),
            (BadLetter::FileName.into(), 1),
            (Failure::NoContact("bob".into()), 6),
            (Failure::NoLetter("ab".into()), 6),
            (queued, 7),
            (Failure::Bug(String::new()), 70),
        ];
        for (failure, code) in cases {
            assert_eq!(failure.code(), code, "{failure}");
        }
    }

    #[test]
    fn a_home_in_use_and_a_missing_home_say_what_to_do() {
        let text = Failure::from(HomeError::InUse).to_string();
        assert!(text.contains("another poste works on this home"), "{text}");
        let text = Failure::from(HomeError::Missing(PathBuf::from("/h"))).to_string();
        assert!(text.contains("/h") && text.contains("id new"), "{text}");
    }
}
