//! What a devnet's folder holds; whole devnets of real processes are in `tests/devnet.rs`.

use super::*;
use std::collections::BTreeSet;

fn plan(dir: &Path, nodes: usize, one_address: bool) -> DevnetPlan {
    DevnetPlan {
        nodes,
        dir: dir.to_owned(),
        one_address,
        minute_ms: 100,
        readings: READINGS,
    }
}

/// [DEV-2]
#[test]
fn each_relay_has_its_own_subnet_and_a_port_free_in_both() {
    let dir = tempfile::tempdir().unwrap();
    let relays = prepare(&plan(dir.path(), 12, false)).unwrap();
    for (index, relay) in relays.iter().enumerate() {
        let wanted = Ipv4Addr::new(127, 16 + u8::try_from(index).unwrap(), 0, 1);
        assert_eq!(relay.addr.ip(), IpAddr::V4(wanted));
        TcpListener::bind(relay.addr).unwrap();
        UdpSocket::bind(relay.addr).unwrap();
    }
    let file = NetworkFile::read(&dir.path().join("network.toml")).unwrap();
    assert_eq!(file.founders.len(), 12);
    assert_eq!(file.network.caps.v4_24, 2);
    assert_eq!(file.network.reachability, Reachability::Assume);
    assert_eq!((file.network.hold_age_h, file.network.guard_age_h), (0, 0));
    assert_eq!(file.network.scale.minute_ms, 100);
}

/// [DEV-1]
#[test]
fn a_devnet_taken_up_again_keeps_its_keys_and_ports() {
    let dir = tempfile::tempdir().unwrap();
    let names = |relays: &[DevnetRelay]| -> Vec<_> {
        relays.iter().map(|relay| (relay.key, relay.addr)).collect()
    };
    let first = names(&prepare(&plan(dir.path(), 3, false)).unwrap());
    let again = names(&prepare(&plan(dir.path(), 3, false)).unwrap());
    assert_eq!(first, again);
    let other = prepare(&plan(dir.path(), 4, false));
    assert!(matches!(other, Err(DevnetFailure::Differs { has: 3, .. })));
}

/// [DEV-2]
#[test]
fn one_address_lifts_the_caps_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let relays = prepare(&plan(dir.path(), 5, true)).unwrap();
    let ports: BTreeSet<u16> = relays.iter().map(|relay| relay.addr.port()).collect();
    assert_eq!(ports.len(), 5);
    let caps = network_file(&plan(dir.path(), 5, true), &relays)
        .network
        .caps;
    assert_eq!(
        (caps.v4_24, caps.v4_16, caps.per_set, caps.per_path),
        (0, 0, 0, 0)
    );
    assert_eq!(caps.v6_48, 2);
}

#[tokio::test]
async fn a_relay_that_ends_at_once_is_told_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let launcher = DevnetLauncher {
        exe: "/bin/sh".into(),
        relay_args_prefix: vec!["-c".into(), "echo no room left >&2; exit 3".into()],
    };
    let error = Devnet::start(&plan(dir.path(), 1, false), launcher)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("no room left") && text.contains('3'),
        "{text}"
    );
}

#[tokio::test]
async fn too_many_relays_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for nodes in [0, NODES_MAX + 1] {
        let refused = prepare(&plan(dir.path(), nodes, false));
        assert!(matches!(refused, Err(DevnetFailure::Nodes)));
    }
}
