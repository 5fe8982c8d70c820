//! One address is enough: a newcomer finds the whole swarm, and has the same list as everybody.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use poste_node::home::Home;
use poste_node::status;
use poste_tests::net::{Net, until};

use crate::RELAY;

struct Newcomer(Child);

impl Drop for Newcomer {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// [DIS-7] [LST-2]
#[tokio::test]
async fn a_relay_with_one_address_finds_all_twelve_and_has_their_list() {
    let net = Net::start(RELAY, 12).await;
    let mut file = net.file().clone();
    // The founders' keys are the network's name and stay; nobody answers at the others' addresses.
    for founder in file.founders.iter_mut().skip(1) {
        founder.addr = "127.99.0.1:9".parse().unwrap();
    }
    let path = net.dir().join("one.toml");
    file.write(&path).unwrap();
    let home = Home::at(net.dir().join("newcomer"));
    let run = |verb: &[&str]| {
        let mut command = Command::new(RELAY);
        command.arg("--home").arg(home.dir()).args(verb);
        command
    };
    let made = run(&["init", "--network", path.to_str().unwrap()]).output();
    assert!(made.unwrap().status.success());
    let config = "listen = \"127.60.0.1\"\nport = 0\n";
    std::fs::write(home.config_path(), config).unwrap();
    let parent = std::process::id().to_string();
    let child = run(&["run", "--parent", &parent])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _newcomer = Newcomer(child);
    until("it finds twelve", async || {
        let told = status::ask(&home.socket_path()).await;
        told.is_ok_and(|status| status.discovery.known == 12)
    })
    .await;
    // Records are renewed all the time, so the lists are compared until one look finds them equal.
    let homes = (0..net.nodes()).map(|index| net.home(index)).chain([&home]);
    let homes: Vec<&Home> = homes.collect();
    until("all thirteen have one list", async || {
        let mut lists = BTreeSet::new();
        for home in &homes {
            let Ok(status) = status::ask(&home.socket_path()).await else {
                return false;
            };
            lists.insert((status.members.known, status.members.hash));
        }
        println!("{lists:?}");
        lists.len() == 1 && lists.iter().all(|(known, _)| *known == 13)
    })
    .await;
}
