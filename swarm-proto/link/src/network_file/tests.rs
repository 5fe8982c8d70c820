//! What a network file says comes back, and what is wrong in it is named with its line.

use super::*;
use proptest::prelude::*;
use swarm_proto::time::TimeScale;

fn founder(seed: u8, port: u16) -> Founder {
    Founder {
        key: NodeKey([seed; 32]),
        addr: SocketAddr::from(([127, 16, 0, 1], port)),
    }
}

fn wrong(text: &str) -> (usize, String) {
    match NetworkFile::parse(text) {
        Err(NetworkFileFailure::Wrong { line, why }) => (line, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_file_leaves_out_is_what_a_public_network_has() {
    let file = NetworkFile::parse("name = \"post\"").unwrap();
    assert_eq!(file, NetworkFile::public("post", Vec::new()));
}

/// [NET-1]
#[test]
fn addresses_and_parameters_leave_the_network_id_alone() {
    let key = NodeKey([1; 32]).to_hex();
    let text = |rest: &str, addr: &str| {
        format!("name = \"post\"\n{rest}\n[[founder]]\nkey = \"{key}\"\naddr = \"{addr}\"\n")
    };
    let one = NetworkFile::parse(&text("", "192.0.2.1:1")).unwrap();
    let two = NetworkFile::parse(&text("minute_ms = 100", "[2001:db8::1]:2")).unwrap();
    assert_eq!(two.network.scale, TimeScale { minute_ms: 100 });
    assert_ne!(one, two);
    assert_eq!(one.network.id(), two.network.id());
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let (line, why) = wrong("name = \"post\"\nminute = 3\n");
    assert_eq!(line, 2);
    assert!(
        why.contains("`minute`") && why.contains("minute_ms"),
        "{why}"
    );
    let (line, why) = wrong("name = \"post\"\n[caps]\nv4_24 = 1\nv4_8 = 1\n");
    assert_eq!(line, 4);
    assert!(why.contains("`v4_8`"), "{why}");
}

#[test]
fn a_wrong_value_says_what_and_where() {
    for (text, line, part) in [
        ("name = \"\"", 1, "name is 0"),
        ("\nname = \"p\"\nminute_ms = 49", 3, "from 50 to 60000"),
        ("name = \"p\"\nminute_ms = 60001", 2, "from 50 to 60000"),
        ("name = \"p\"\ncell_bits = 17", 2, "cell_bits is 17"),
        ("name = \"p\"\nholders = 0", 2, "holders is 0"),
        ("name = \"p\"\nholders = -1", 2, "holders is -1"),
        ("name = \"p\"\nreceipts = 6", 2, "more than holders (5)"),
        ("name = \"p\"\nholders = 2", 2, "receipts (3) cannot"),
        (
            "name = \"p\"\n[pledge]\nlabels = 200",
            3,
            "pledge.labels is 200: no multiple of 128",
        ),
        (
            "name = \"p\"\n[verdicts]\nsuspend_epochs = 6",
            3,
            "from 1 to 5",
        ),
        (
            "name = \"p\"\n[verdicts]\nforget_epochs = 0",
            3,
            "from 1 to 191",
        ),
        (
            "name = \"p\"\n[verdicts]\nreplaced_below = 91",
            3,
            "from 0 to 90",
        ),
        (
            "name = \"p\"\n[caps]\nper_set = 70000",
            3,
            "caps.per_set is 70000",
        ),
        ("name = \"p\"\nreachability = \"maybe\"", 2, "\"assume\""),
        ("name = \"p\"\nminute_ms = \"x\"", 2, "invalid type"),
        (
            "name = \"p\"\n[[founder]]\nkey = \"00\"\naddr = \"1.2.3.4:5\"",
            3,
            "64 hex",
        ),
        ("minute_ms = 100", 1, "missing field `name`"),
        ("name = ", 1, ""),
    ] {
        let (found, why) = wrong(text);
        assert!(why.contains(part), "{text:?}: {why}");
        assert_eq!(found, line, "{text:?}: {why}");
    }
    let key = NodeKey([1; 32]).to_hex();
    let entry = format!("[[founder]]\nkey = \"{key}\"\naddr = \"192.0.2.1:1\"\n");
    let (line, why) = wrong(&format!("name = \"p\"\n{entry}{entry}"));
    assert_eq!((line, why.contains("twice")), (6, true));
    let (line, _) = wrong(&format!(
        "name = \"p\"\n[[founder]]\nkey = \"{key}\"\naddr = \"x\""
    ));
    assert_eq!(line, 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_written_file_is_read_as_the_same_network(
        name in "\\PC{1,60}",
        minute_ms in 50..=60_000_u32,
        receipts in 1..=5_u8,
        cell_bits in 0..=16_u8,
        cap: u16,
        pages in 1..=2_048_u32,
        readings in 0..=10_000_u16,
        shares in (0..=100_u8, 0..=100_u8),
        ports in proptest::collection::btree_set(1..=250_u8, 0..4),
        assume: bool,
    ) {
        let founders = ports.iter().map(|seed| founder(*seed, 7_000 + u16::from(*seed)));
        let mut file = NetworkFile::public(&name, founders.collect());
        file.network.scale.minute_ms = minute_ms;
        file.network.receipts = receipts;
        file.network.cell_bits = cell_bits;
        file.network.caps.v6_48 = cap;
        file.network.pledge.labels = 128 * pages;
        file.network.verdicts.readings = readings;
        file.network.verdicts.forget_epochs = shares.0 + 1;
        file.network.verdicts.available_min = shares.0.max(shares.1);
        file.network.verdicts.replaced_below = shares.0.min(shares.1);
        if assume {
            file.network.reachability = Reachability::Assume;
        }
        prop_assert_eq!(NetworkFile::parse(&file.text()).unwrap(), file);
    }
}
