//! An account on paper: the 24 words that restore it and the id that others know it by ([ACC-1] to
//! [ACC-3]).
//!
//! Errors say which word or which part is wrong and never repeat a word: they end up in logs and on
//! screens of helpers.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use bip39::{Language, Mnemonic};
use swarm_proto::address::{AccountKey, BadAccountKey};
use zeroize::Zeroizing;

/// How many words stand for an account ([ACC-2]).
pub const WORDS: usize = 24;

/// The 24 English words of BIP 39 that stand for `seed`, separated by spaces ([ACC-2]).
///
/// # Errors
/// [`BadWords::Count`] never: 32 bytes always have 24 words.
pub fn words_of(seed: &[u8; 32]) -> Result<Zeroizing<String>, BadWords> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, seed)
        .map_err(|_| BadWords::Count { found: 0 })?;
    let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
    for word in mnemonic.words() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
    Ok(text)
}

/// The seed that 24 words stand for, in either case and separated by any white space ([ACC-2]).
///
/// # Errors
/// [`BadWords`] says what is wrong, by position.
pub fn seed_of(words: &str) -> Result<Zeroizing<[u8; 32]>, BadWords> {
    let found = words.split_whitespace().count();
    if found != WORDS {
        return Err(BadWords::Count { found });
    }
    let lower = Zeroizing::new(words.to_lowercase());
    let mnemonic =
        Mnemonic::parse_in_normalized(Language::English, &lower).map_err(|error| match error {
            bip39::Error::UnknownWord(at) => BadWords::Unknown {
                position: at.saturating_add(1),
            },
            bip39::Error::BadWordCount(found) => BadWords::Count { found },
            bip39::Error::BadEntropyBitCount(_)
            | bip39::Error::InvalidChecksum
            | bip39::Error::AmbiguousLanguages(_) => BadWords::Checksum,
        })?;
    let (entropy, length) = mnemonic.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    let seed = entropy.first_chunk::<32>().filter(|_| length == 32);
    seed.map(|seed| Zeroizing::new(*seed))
        .ok_or(BadWords::Checksum)
}

/// `poste1...`: how an account is written ([ACC-1]).
pub fn id_of(account: &AccountKey) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(account.as_bytes());
    // Encoding fails for more than 1,023 characters only; this text has 65.
    bech32::encode::<Bech32m>(prefix(), &bytes).unwrap_or_default()
}

/// Reads an account id, all lower or all upper case ([ACC-1]).
///
/// # Errors
/// [`BadAccountId`] says which part is wrong.
pub fn account_of(id: &str) -> Result<AccountKey, BadAccountId> {
    let id = id.trim();
    let has_prefix = id
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("poste1"));
    if !has_prefix {
        return Err(BadAccountId::Prefix);
    }
    let text = CheckedHrpstring::new::<Bech32m>(id).map_err(|_| BadAccountId::Checksum)?;
    let bytes: Vec<u8> = text.byte_iter().collect();
    let [version, key @ ..] = bytes.as_slice() else {
        return Err(BadAccountId::Length);
    };
    if *version != VERSION {
        return Err(BadAccountId::Version(*version));
    }
    let key = <[u8; 32]>::try_from(key).map_err(|_| BadAccountId::Length)?;
    let account = AccountKey::from_bytes(&key)?;
    // One account has one text: left-over bits must be zero.
    if id_of(&account).eq_ignore_ascii_case(id) {
        Ok(account)
    } else {
        Err(BadAccountId::Length)
    }
}

fn prefix() -> Hrp {
    Hrp::parse_unchecked("poste")
}

/// Why words are no account ([ACC-2]). Positions count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// Not 24.
    #[error("an account has 24 words; here are {found}")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// A word that is not on the list.
    #[error("word {position} is not on the list of words; check its spelling")]
    Unknown {
        /// Which word, from 1.
        position: usize,
    },
    /// Words of the list that do not belong together.
    #[error(
        "all 24 words are known, but they do not belong together: one is wrong or two are swapped"
    )]
    Checksum,
}

/// Why a text is no account id ([ACC-1]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAccountId {
    /// It does not start with `poste1`.
    #[error("an account id starts with poste1")]
    Prefix,
    /// A character is wrong, missing or of the other case.
    #[error("the account id has a typing error: its checksum is wrong")]
    Checksum,
    /// A version that this program does not know.
    #[error("the account id has version {0}; this program knows version 1")]
    Version(u8),
    /// Too short or too long.
    #[error("the account id has the wrong length")]
    Length,
    /// The key in it is unusable.
    #[error(transparent)]
    Key(#[from] BadAccountKey),
}

/// The version byte of account ids.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use swarm_proto::address::Account;

    /// BIP 39's own vectors for 256 bits (trezor/python-mnemonic, vectors.json).
    #[test]
    fn the_words_are_those_of_bip_39() {
        let zero = words_of(&[0; 32]).unwrap();
        assert_eq!(*zero, format!("{}art", "abandon ".repeat(23)));
        let ones = words_of(&[0xff; 32]).unwrap();
        assert_eq!(*ones, format!("{}vote", "zoo ".repeat(23)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// [ACC-1] and [ACC-2].
        #[test]
        fn words_and_id_come_back(seed: [u8; 32]) {
            let words = words_of(&seed).unwrap();
            prop_assert_eq!(*seed_of(&words).unwrap(), seed);
            let shouted = words.to_uppercase().replace(' ', " \n ");
            prop_assert_eq!(*seed_of(&shouted).unwrap(), seed);

            let account = *Account::from_seed(&seed).key();
            let id = id_of(&account);
            prop_assert_eq!(id.len(), 65);
            prop_assert_eq!(account_of(&id).unwrap(), account);
            prop_assert_eq!(account_of(&id.to_uppercase()).unwrap(), account);
        }

        /// [ACC-1]: the checksum finds every single wrong character.
        #[test]
        fn a_wrong_character_is_noticed(seed: [u8; 32], at in 6_usize..65, letter in "[a-z0-9]") {
            let id = id_of(Account::from_seed(&seed).key());
            let mut wrong = id.clone();
            wrong.replace_range(at..=at, &letter);
            prop_assume!(wrong != id);
            prop_assert_eq!(account_of(&wrong), Err(BadAccountId::Checksum));
        }
    }

    /// [ACC-2].
    #[test]
    fn wrong_words_are_named_by_position_and_never_repeated() {
        let words = words_of(&[7; 32]).unwrap();
        let mut list: Vec<&str> = words.split(' ').collect();
        list[16] = "mistypedsecret";
        let error = seed_of(&list.join(" ")).unwrap_err();
        assert_eq!(error, BadWords::Unknown { position: 17 });
        assert!(!error.to_string().contains("mistypedsecret"));

        let short = list[..23].join(" ");
        assert_eq!(seed_of(&short), Err(BadWords::Count { found: 23 }));
        assert_eq!(seed_of(""), Err(BadWords::Count { found: 0 }));

        let wrong = "abandon ".repeat(24);
        assert_eq!(seed_of(&wrong), Err(BadWords::Checksum));
    }

    /// [ACC-1].
    #[test]
    fn each_wrong_part_of_an_id_is_named() {
        let encode = |bytes: &[u8]| bech32::encode::<Bech32m>(prefix(), bytes).unwrap();
        let key = *Account::from_seed(&[1; 32]).key().as_bytes();
        let with = |version: u8, key: &[u8]| encode(&[&[version], key].concat());
        assert_eq!(account_of("bc1qqqq"), Err(BadAccountId::Prefix));
        assert_eq!(account_of(""), Err(BadAccountId::Prefix));
        assert_eq!(account_of("poste1"), Err(BadAccountId::Checksum));
        assert_eq!(account_of(&encode(&[])), Err(BadAccountId::Length));
        assert_eq!(account_of(&with(2, &key)), Err(BadAccountId::Version(2)));
        assert_eq!(account_of(&with(1, &key[1..])), Err(BadAccountId::Length));
        let mut weak = [0; 32];
        weak[0] = 1;
        assert_eq!(
            account_of(&with(1, &weak)),
            Err(BadAccountId::Key(BadAccountKey::SmallOrder))
        );
        let older = bech32::encode::<bech32::Bech32>(prefix(), &[&[1], &key[..]].concat());
        assert_eq!(account_of(&older.unwrap()), Err(BadAccountId::Checksum));
    }
}
