//! Promises of a home.

use bytes::Bytes;
use redb::{ReadableTable, ReadableTableMetadata};
use tempfile::TempDir;

use super::*;

/// Enough to run the code, too little to protect anything.
const QUICK: Work = Work {
    memory_kib: 8,
    passes: 1,
};
const PASSPHRASE: Unlock<'static> = Unlock::Passphrase("correct horse");

fn home() -> (TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path(), &PASSPHRASE, QUICK).unwrap();
    (folder, home)
}

fn setting(name: &str, value: &str) -> Setting {
    Setting {
        name: name.into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn put(home: &Home, rows: &[Setting]) {
    let change = home.change(|change| {
        for row in rows {
            change.put(row)?;
        }
        Ok::<_, HomeError>(())
    });
    change.unwrap();
}

fn load(home: &Home, name: &str) -> Result<Option<Setting>, HomeError> {
    home.view().unwrap().load(name.as_bytes())
}

/// The sealed rows of a table as they lie in the file.
fn raw(home: &Home, table: Table) -> Vec<([u8; 32], Vec<u8>)> {
    let snapshot = home.db.begin_read().unwrap();
    let table = snapshot.open_table(table.definition()).unwrap();
    let rows = table.iter().unwrap().map(|row| {
        let (name, sealed) = row.unwrap();
        (*name.value(), sealed.value().to_vec())
    });
    rows.collect()
}

fn overwrite(home: &Home, table: Table, name: &[u8; 32], sealed: &[u8]) {
    let change = home.db.begin_write().unwrap();
    {
        let mut table = change.open_table(table.definition()).unwrap();
        table.insert(name, sealed).unwrap();
    }
    change.commit().unwrap();
}

/// [HOME-1] and [HOME-2].
#[test]
fn what_was_told_is_there_after_reopening() {
    let (folder, home) = home();
    put(&home, &[setting("profile", "fast"), setting("ttl", "14")]);
    drop(home);
    let home = Home::open(folder.path(), &PASSPHRASE).unwrap();
    assert_eq!(
        load(&home, "profile").unwrap(),
        Some(setting("profile", "fast"))
    );
    assert_eq!(load(&home, "nothing").unwrap(), None);
    let listing = home.view().unwrap().list::<Setting>().unwrap();
    assert_eq!(
        listing.rows,
        [setting("profile", "fast"), setting("ttl", "14")]
    );
    assert!(
        home.view()
            .unwrap()
            .list::<PathState>()
            .unwrap()
            .rows
            .is_empty()
    );
}

/// [HOME-2].
#[test]
fn a_change_that_fails_changes_nothing() {
    let (folder, home) = home();
    put(&home, &[setting("a", "1")]);
    let failed: Result<(), HomeError> = home.change(|change| {
        change.put(&setting("a", "2"))?;
        change.put(&setting("b", "2"))?;
        assert_eq!(change.load::<Setting>(b"a")?, Some(setting("a", "2")));
        change.remove::<Setting>(b"a")?;
        Err(HomeError::NoRandomness)
    });
    assert!(matches!(failed, Err(HomeError::NoRandomness)));
    let check = |home: &Home| {
        assert_eq!(load(home, "a").unwrap(), Some(setting("a", "1")));
        assert_eq!(load(home, "b").unwrap(), None);
    };
    check(&home);
    drop(home);
    check(&Home::open(folder.path(), &PASSPHRASE).unwrap());
}

/// [HOME-2]: a copy of the file taken at any moment between two changes opens with the first of them.
#[test]
fn a_copy_of_the_file_after_a_change_has_that_change() {
    let (folder, home) = home();
    put(&home, &[setting("a", "1")]);
    let copy = tempfile::tempdir().unwrap();
    fs::copy(file_of(folder.path()), file_of(copy.path())).unwrap();
    put(&home, &[setting("a", "2")]);
    let copied = Home::open(copy.path(), &PASSPHRASE).unwrap();
    assert_eq!(load(&copied, "a").unwrap(), Some(setting("a", "1")));
}

/// [HOME-3].
#[test]
fn the_file_shows_neither_keys_nor_content() {
    let (folder, home) = home();
    put(&home, &[setting("visible-name", "visible-content")]);
    let (name, sealed) = raw(&home, Table::Settings).remove(0);
    drop(home);
    let file = fs::read(file_of(folder.path())).unwrap();
    let has = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    assert!(has(&sealed) && has(&name));
    assert!(!has(b"visible-name") && !has(b"visible-content") && !has(b"correct horse"));
}

/// [HOME-3]: two homes name the same row differently.
#[test]
fn row_names_of_two_homes_have_nothing_in_common() {
    let ((_one, first), (_two, second)) = (home(), home());
    put(&first, &[setting("a", "1")]);
    put(&second, &[setting("a", "1")]);
    let name = |home: &Home| raw(home, Table::Settings).remove(0).0;
    assert_ne!(name(&first), name(&second));
}

/// [HOME-6].
#[test]
fn a_flipped_bit_in_a_row_is_named_and_costs_that_row_alone() {
    let (_folder, home) = home();
    put(&home, &[setting("a", "1"), setting("b", "2")]);
    let rows = raw(&home, Table::Settings);
    let (name, sealed) = &rows[0];
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone();
        bytes[at] ^= 1 << (at % 8);
        overwrite(&home, Table::Settings, name, &bytes);
        let listing = home.view().unwrap().list::<Setting>().unwrap();
        assert_eq!((listing.rows.len(), listing.damaged.len()), (1, 1));
        let error = listing.damaged[0].to_string();
        let start = swarm_proto::id::hex(&name[..4]);
        assert_eq!(error, format!("settings: row {start} is damaged"));
    }
    // It can be written again.
    put(&home, &[setting("a", "1"), setting("b", "2")]);
    let listing = home.view().unwrap().list::<Setting>().unwrap();
    assert_eq!((listing.rows.len(), listing.damaged.len()), (2, 0));
}

/// [HOME-1].
#[test]
fn a_row_moved_to_another_name_or_table_does_not_open() {
    let (_folder, home) = home();
    put(&home, &[setting("a", "1"), setting("b", "2")]);
    let rows = raw(&home, Table::Settings);
    overwrite(&home, Table::Settings, &rows[0].0, &rows[1].1);
    let listing = home.view().unwrap().list::<Setting>().unwrap();
    assert_eq!((listing.rows.len(), listing.damaged.len()), (1, 1));

    // Written into another table under the name it would have there.
    let name = home.keys.name_for_test(Table::Path, PathState::KEY);
    overwrite(&home, Table::Path, &name, &rows[1].1);
    let path = home.view().unwrap().load::<PathState>(PathState::KEY);
    assert!(matches!(
        path,
        Err(HomeError::RowDamaged { table: "path", .. })
    ));
}

/// [HOME-4].
#[test]
fn a_wrong_passphrase_is_said_and_a_damaged_key_row_is_not_mistaken_for_one() {
    let (folder, home) = home();
    let row = read_key_row(&home.db).unwrap().unwrap();
    for at in 0..row.len() {
        let mut bytes = row.clone();
        bytes[at] ^= 1;
        let error = wrap::unwrap(&bytes, &PASSPHRASE).unwrap_err();
        assert!(
            matches!(error, HomeError::KeyRowDamaged),
            "byte {at}: {error}"
        );
    }
    drop(home);
    let open = |unlock: &Unlock<'_>| Home::open(folder.path(), unlock).unwrap_err();
    for wrong in ["Correct horse", "correct horse ", ""] {
        let error = open(&Unlock::Passphrase(wrong));
        assert!(matches!(error, HomeError::WrongPassphrase), "{error}");
    }
    let error = open(&Unlock::KeyFile(&[1; 32]));
    assert!(matches!(error, HomeError::NeedsPassphrase), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Home::create(empty.path(), &Unlock::Passphrase(""), QUICK).unwrap_err();
    assert!(matches!(error, HomeError::EmptyPassphrase));
}

/// [HOME-5].
#[test]
fn a_key_file_opens_its_home_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = create_key_file(&path).unwrap();
    assert_eq!(*read_key_file(&path).unwrap(), *key);
    assert!(matches!(
        create_key_file(&path),
        Err(HomeError::File { .. })
    ));
    let unlock = Unlock::KeyFile(&key);
    drop(Home::create(folder.path(), &unlock, Work::DEFAULT).unwrap());
    assert!(Home::open(folder.path(), &unlock).is_ok());
    let error = Home::open(folder.path(), &Unlock::KeyFile(&[1; 32])).unwrap_err();
    assert!(matches!(error, HomeError::WrongKeyFile));
    let error = Home::open(folder.path(), &PASSPHRASE).unwrap_err();
    assert!(matches!(error, HomeError::NeedsKeyFile));
    for garbage in ["", "xyz", &"0".repeat(63), &"0".repeat(300)] {
        fs::write(&path, garbage).unwrap();
        assert!(matches!(read_key_file(&path), Err(HomeError::BadKeyFile)));
    }
    fs::write(&path, [0xff; 10]).unwrap();
    assert!(matches!(read_key_file(&path), Err(HomeError::BadKeyFile)));
}

#[cfg(unix)]
#[test]
fn home_and_key_file_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("home");
    drop(Home::create(&folder, &PASSPHRASE, QUICK).unwrap());
    let key = folder.join("key");
    create_key_file(&key).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&file_of(&folder)), 0o600);
    assert_eq!(mode(&key), 0o600);
}

/// [HOME-8].
#[test]
fn a_new_passphrase_keeps_the_rows() {
    let (folder, home) = home();
    put(&home, &[setting("a", "1")]);
    let new = Unlock::Passphrase("battery staple");
    let error = home.rewrap(&new, &new, QUICK).unwrap_err();
    assert!(matches!(error, HomeError::WrongPassphrase));
    home.rewrap(&PASSPHRASE, &new, QUICK).unwrap();
    drop(home);
    let error = Home::open(folder.path(), &PASSPHRASE).unwrap_err();
    assert!(matches!(error, HomeError::WrongPassphrase));
    let home = Home::open(folder.path(), &new).unwrap();
    assert_eq!(load(&home, "a").unwrap(), Some(setting("a", "1")));
}

#[test]
fn a_home_is_made_once_opened_once_and_found_or_said_to_be_missing() {
    let (folder, home) = home();
    let error = Home::open(folder.path(), &PASSPHRASE).unwrap_err();
    assert!(matches!(error, HomeError::InUse), "{error}");
    drop(home);
    let error = Home::create(folder.path(), &PASSPHRASE, QUICK).unwrap_err();
    assert!(matches!(error, HomeError::Exists(_)), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Home::open(empty.path(), &PASSPHRASE).unwrap_err();
    assert!(matches!(error, HomeError::Missing(_)), "{error}");
    // A creation that stopped before its first change was durable is no home, and can be taken up.
    drop(Database::create(file_of(empty.path())).unwrap());
    let error = Home::open(empty.path(), &PASSPHRASE).unwrap_err();
    assert!(matches!(error, HomeError::Missing(_)), "{error}");
    assert!(Home::create(empty.path(), &PASSPHRASE, QUICK).is_ok());
}

/// [HOME-7].
#[test]
fn a_full_table_says_so_and_keeps_what_it_has() {
    let (_folder, home) = home();
    let rows_max = Table::Settings.rows_max();
    let rows: Vec<_> = (0..rows_max)
        .map(|at| setting(&at.to_string(), "x"))
        .collect();
    put(&home, &rows);
    let one_more = home.change(|change| change.put(&setting("more", "x")));
    assert!(matches!(
        one_more,
        Err(HomeError::Full {
            table: "settings",
            ..
        })
    ));
    // Replacing a row is no more rows.
    put(&home, &[setting("0", "y")]);
    assert_eq!(load(&home, "0").unwrap(), Some(setting("0", "y")));
    let snapshot = home.db.begin_read().unwrap();
    let table = snapshot.open_table(Table::Settings.definition()).unwrap();
    assert_eq!(table.len().unwrap(), rows_max);
}

#[test]
fn every_table_has_its_own_name_and_a_bound() {
    let mut names: Vec<_> = Table::ALL.iter().map(|table| table.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Table::ALL.len());
    assert!(Table::ALL.iter().all(|table| table.rows_max() > 0));
}
