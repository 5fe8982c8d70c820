//! The steps of the demo, in the order of a letter's road.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use poste_node::status::{Repair, Standing};
use tempfile::TempDir;

use super::people::{Answer, Person};
use super::swarm::{LIAR, RELAYS, Swarm};
use super::tell::{Report, Voice, percentile};
use super::{Arguments, DemoFailure};
use crate::correspondent::unix_now;

/// Everything that the demo has and found out.
pub(super) struct Story {
    voice: Voice,
    texts: Vec<String>,
    file: PathBuf,
    dir: PathBuf,
    folder: Option<TempDir>,
    swarm: Option<Swarm>,
    ada: Person,
    bob: Person,
    started: Instant,
    stored: Vec<String>,
    short_lived: Vec<String>,
    deposits_ms: Vec<u64>,
    held: bool,
    report: Report,
}

impl Story {
    /// Chooses the folder and what will be sent.
    pub(super) fn new(arguments: &Arguments, voice: Voice) -> Result<Self, DemoFailure> {
        let folder = match arguments.dir {
            Some(_) => None,
            // Short, since a socket's path is.
            None => Some(tempfile::Builder::new().prefix("poste-").tempdir()?),
        };
        let dir = match (&arguments.dir, &folder) {
            (Some(dir), _) => std::path::absolute(dir)?,
            (None, Some(folder)) => folder.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        };
        std::fs::create_dir_all(&dir)?;
        let file = match &arguments.file {
            Some(path) => path.clone(),
            None => {
                let path = dir.join("README.md");
                write(&path, README)?;
                path
            }
        };
        let texts = (1..=arguments.letters).map(text).collect();
        Ok(Self {
            voice,
            texts,
            file,
            ada: Person::new("Ada", &dir, Ipv4Addr::new(127, 0, 1, 1))?,
            bob: Person::new("Bob", &dir, Ipv4Addr::new(127, 0, 2, 1))?,
            dir,
            folder,
            swarm: None,
            started: Instant::now(),
            stored: Vec::new(),
            short_lived: Vec::new(),
            deposits_ms: Vec::new(),
            held: true,
            report: Report::default(),
        })
    }

    /// All steps; the report says whether everything held.
    pub(super) async fn play(&mut self) -> Result<Report, DemoFailure> {
        self.relays_start().await?;
        self.people_meet().await?;
        self.ada_writes().await?;
        self.a_relay_looks().await?;
        self.a_short_letter().await?;
        self.relays_die().await?;
        self.the_short_letter_expires().await?;
        self.the_dead_one_is_replaced().await?;
        self.bob_reads().await?;
        self.the_liar_is_found_out().await?;
        self.report.ok = self.held && self.report.lost == 0;
        self.report.table(self.voice, self.started.elapsed());
        Ok(self.report.clone())
    }

    /// Stops the relays and removes the folder.
    pub(super) async fn end(&mut self) {
        if let Some(swarm) = &mut self.swarm {
            swarm.stop().await;
        }
        drop(self.folder.take());
    }

    /// What to type while the relays are left running.
    pub(super) fn tell_how_to_talk(&self) {
        let line = |text: &str| self.voice.line(text);
        line("\nThe relays go on. In another terminal, as Ada and as Bob:\n");
        line(&self.ada.command_line("send bob 'one more'"));
        line(&self.bob.command_line("inbox"));
        line(&self.bob.command_line("contact list"));
        line(&self.ada.command_line("outbox"));
        line("\nAs a relay's operator:\n");
        if let Some(row) = self
            .swarm
            .as_ref()
            .and_then(|swarm| swarm.rows().first().cloned())
        {
            let exe = std::env::current_exe().unwrap_or_default();
            let (exe, role) = (exe.display(), super::RELAY_ROLE);
            line(&format!(
                "{exe} {role} --home {} status",
                row.home.display()
            ));
        }
        let dir = self.dir.display();
        line(&format!("\nEverything is in {dir}. Ctrl-C stops all."));
    }

    async fn relays_start(&mut self) -> Result<(), DemoFailure> {
        let title = "Twelve relays start, each a process with a folder and address of its own";
        let why = "Volunteers run them; nobody has to trust one of them alone.";
        let mut step = self.voice.step(1, title, why);
        step.progress(RELAYS, "relays know all others");
        let swarm = self.swarm.insert(Swarm::start(&self.dir).await?);
        swarm.meet(|met| step.at(met)).await?;
        self.report.relays = RELAYS;
        let rows = swarm.rows();
        let pids: Vec<String> = rows
            .iter()
            .filter_map(|row| row.pid)
            .map(|pid| pid.to_string())
            .collect();
        for some in pids.chunks(6) {
            step.say(format_args!("processes {}", some.join(" ")));
        }
        step.end(true, "every relay knows every other, from signed records");
        Ok(())
    }

    async fn people_meet(&mut self) -> Result<(), DemoFailure> {
        let title = "Bob makes an account, leaves his card with the relays and goes offline";
        let why = "No phone number, no server; Ada needs his invitation and nothing else.";
        let mut step = self.voice.step(2, title, why);
        step.wait("Bob publishes his card");
        let network = self.swarm()?.network_path().display().to_string();
        let new = ["id", "new", "--network", &network];
        let invitation = self.bob.must(&new, "").await?.text("invitation")?;
        // On a busy machine the first visit may find nobody in time.
        let mut visited = self.bob.run(&["sync"], "").await?;
        for _ in 1..VISITS_MAX {
            if visited.code == 0 {
                break;
            }
            visited = self.bob.run(&["sync"], "").await?;
        }
        visited.must()?;
        self.ada.must(&new, "").await?;
        self.ada
            .must(&["contact", "add", "bob", &invitation], "")
            .await?;
        let start: String = invitation.chars().take(30).collect();
        step.say(format_args!("invitation {start}..."));
        step.end(true, "the card is stored; Bob is gone");
        Ok(())
    }

    async fn ada_writes(&mut self) -> Result<(), DemoFailure> {
        let count = self.texts.len();
        let title = format!("Ada writes {count} texts and sends a file while Bob is away");
        let why = "Stored means: three relays in different networks have it on their disks.";
        let mut step = self.voice.step(3, &title, why);
        step.wait("four layers around each letter, four relays on each way");
        let lines = self.texts.join("\n");
        let sent = self.ada.run(&["send", "bob", "--lines"], &lines).await?;
        let mut stored = self.take_in(sent).await?;
        let path = self.file.display().to_string();
        let sent = self.ada.run(&["send", "bob", "--file", &path], "").await?;
        stored += self.take_in(sent).await?;
        self.report.deposited += stored;
        self.report.deposit_ms_p50 = percentile(&mut self.deposits_ms, 50);
        self.report.deposit_ms_p99 = percentile(&mut self.deposits_ms, 99);
        let (p50, p99) = (self.report.deposit_ms_p50, self.report.deposit_ms_p99);
        let all = stored == count + 1;
        self.held &= step.end(
            all,
            format_args!(
                "{stored} of {} stored; median {p50} ms, 99 % {p99} ms",
                count + 1
            ),
        );
        Ok(())
    }

    async fn a_relay_looks(&mut self) -> Result<(), DemoFailure> {
        let title = "What one relay sees of it";
        let why = "A curious volunteer, or a thief of the disk, learns no more than this.";
        let mut step = self.voice.step(4, title, why);
        step.wait("copies reach all holders");
        let swarm = self.swarm()?;
        let copies = swarm
            .copies_until(&self.stored, COPIES_WAIT, |copies| copies.min() >= COPIES)
            .await?;
        let curious = busiest(copies.by_relay()).first().copied().unwrap_or(0);
        let statuses = swarm.statuses().await;
        if let Some((_, status)) = statuses.iter().find(|(index, _)| *index == curious) {
            let held = &status.held;
            step.say(format_args!(
                "relay {curious} holds {} envelopes, {} bytes, addresses of today: {}",
                held.envelopes, held.bytes, held.mailboxes
            ));
            if let (Some(id), Some(bytes)) =
                (self.stored.first(), held.bytes.checked_div(held.envelopes))
            {
                let id: String = id.chars().take(24).collect();
                step.say(format_args!(
                    "one of them: id {id}..., {bytes} sealed bytes on average"
                ));
            }
        }
        step.say("readable of each: an address that is another one tomorrow, one of two");
        step.say("sizes, the ten minutes in which it came, the hour in which it goes. No name,");
        step.say("no sender, no network address: it came from a relay, and so will the fetch.");
        let (min, max) = (copies.min(), copies.max());
        let held = min >= 3;
        self.report.copies_min = min;
        self.report.copies_max = max;
        self.held &= step.end(
            held,
            format_args!("each envelope has {min} to {max} copies, as the holders themselves say"),
        );
        Ok(())
    }

    async fn a_short_letter(&mut self) -> Result<(), DemoFailure> {
        let title = "Ada sends one letter that lives an hour (six seconds in this network)";
        let why = "Mail that nobody fetched must not lie around for ever.";
        let mut step = self.voice.step(5, title, why);
        step.wait("storing it");
        let before = self.stored.len();
        let args = ["send", "bob", "--ttl", "1h", "gone in an hour"];
        let sent = self.ada.run(&args, "").await?;
        let until = sent.lines.first().and_then(|line| line["until"].as_u64());
        let count = self.take_in(sent).await?;
        self.report.deposited += count;
        self.short_lived = self.stored.split_off(before);
        let copies = self.swarm()?.copies(&self.short_lived).await?;
        // On a slow machine its hour may be over before anybody looks.
        let over = until.is_some_and(|until| until <= unix_now().0);
        let seen = count == 1 && (copies.sum() > 0 || over);
        self.held &= step.end(seen, format_args!("{} relays have it", copies.sum()));
        Ok(())
    }

    async fn relays_die(&mut self) -> Result<(), DemoFailure> {
        let title = "Two holders are killed without warning; one of them comes back";
        let why = "Volunteers' machines fail. What was acknowledged must not.";
        let mut step = self.voice.step(6, title, why);
        step.wait("killing");
        let ids = self.stored.clone();
        let swarm = self.swarm.as_mut().ok_or(DemoFailure::Late("no relays"))?;
        let before = swarm.copies(&ids).await?;
        let busiest = busiest(before.by_relay()).into_iter();
        let victims: Vec<usize> = busiest.filter(|one| *one != LIAR).take(2).collect();
        for victim in &victims {
            swarm.kill(*victim).await?;
            self.report.killed += 1;
        }
        let after = swarm.copies(&ids).await?;
        self.report.copies_after_kill = after.min();
        step.say(format_args!(
            "relays {victims:?} are dead: {} of {} copies left, at least {} of each",
            after.sum(),
            before.sum(),
            after.min()
        ));
        step.wait("one comes back");
        let mut back = after.clone();
        if let Some(first) = victims.first() {
            swarm.restart(*first).await?;
            let had = before.by_relay().get(*first).copied().unwrap_or(0);
            back = swarm
                .copies_until(&ids, COPIES_WAIT, |copies| {
                    copies.by_relay().get(*first).is_some_and(|has| *has >= had)
                })
                .await?;
            let has = back.by_relay().get(*first).copied().unwrap_or(0);
            self.held &= has >= had;
            step.say(format_args!(
                "relay {first} is back with {has} of the {had} it had"
            ));
        }
        step.say("The other stays dead; others will have to take its place.");
        let held = after.min() >= 1;
        self.held &= step.end(
            held,
            format_args!("at least {} copies of each envelope", back.min()),
        );
        Ok(())
    }

    async fn the_short_letter_expires(&mut self) -> Result<(), DemoFailure> {
        let title = "The short letter's hour is over";
        let why = "Counted as expired only when no relay has its row any more.";
        let mut step = self.voice.step(7, title, why);
        step.wait("waiting for the end of its hour");
        let swarm = self.swarm()?;
        let left = swarm
            .copies_until(&self.short_lived, EXPIRY_WAIT, |copies| copies.sum() == 0)
            .await?;
        let dropped: u64 = swarm
            .statuses()
            .await
            .iter()
            .map(|(_, s)| s.held.expired)
            .sum();
        step.say(format_args!(
            "rows that relays dropped at their hour since they started: {dropped}"
        ));
        let gone = left.sum() == 0 && !self.short_lived.is_empty();
        self.report.expired = usize::from(gone);
        self.held &= step.end(gone, format_args!("{} relays have it", left.sum()));
        Ok(())
    }

    async fn the_dead_one_is_replaced(&mut self) -> Result<(), DemoFailure> {
        let title = "The next in line take what the dead relay had";
        let why = "Five relays are to have each envelope, whoever dies; nobody tells them to.";
        let mut step = self.voice.step(8, title, why);
        step.wait("holders compare what they have and send what is lacking");
        let swarm = self.swarm()?;
        let copies = swarm
            .copies_until(&self.stored, REPAIR_WAIT, |copies| copies.min() >= COPIES)
            .await?;
        let statuses = swarm.statuses().await;
        let sum = |of: fn(&Repair) -> u64| statuses.iter().map(|(_, s)| of(&s.repair)).sum::<u64>();
        let (compared, sent) = (sum(|repair| repair.compared), sum(|repair| repair.pushed));
        let bytes = sum(|repair| repair.bytes) / 1024;
        step.say(format_args!(
            "{compared} comparisons, {bytes} KiB; {sent} envelopes and cards sent to relays that lacked them"
        ));
        let repaired = copies.min() >= COPIES;
        self.report.copies_after_repair = copies.min();
        self.held &= step.end(
            repaired,
            format_args!(
                "at least {} copies of each envelope at living relays",
                copies.min()
            ),
        );
        Ok(())
    }

    async fn bob_reads(&mut self) -> Result<(), DemoFailure> {
        let title = "Bob comes back, on another network address, and fetches";
        let why = "He asks several holders, so that no single one can keep a letter from him.";
        let mut step = self.voice.step(9, title, why);
        let mut missing = self.expected()?;
        let expected: usize = missing.values().sum();
        let mut fetches_ms = Vec::new();
        let (mut strange, mut delivered, mut complete) = (0, 0, false);
        step.progress(expected, "letters equal to those that Ada wrote");
        for visit in 0..VISITS_MAX {
            let inbox = self.bob.run(&["inbox"], "").await?;
            for (_, hash) in inbox.with("blake3") {
                match missing.get_mut(hash) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        delivered += 1;
                    }
                    _ => strange += 1,
                }
            }
            step.at(delivered);
            let last = inbox.lines.last();
            fetches_ms.extend(last.and_then(|last| last["fetch_ms"].as_u64()));
            complete |= last.is_some_and(|last| last["complete"] == true);
            if delivered == expected && complete && visit + 1 >= VISITS_MIN {
                break;
            }
        }
        self.report.delivered = delivered;
        self.report.lost = expected - delivered;
        self.report.fetch_ms_p50 = percentile(&mut fetches_ms, 50);
        step.say(format_args!(
            "{} visits while relays are dead: median {} ms, slowest {} ms to read all",
            fetches_ms.len(),
            self.report.fetch_ms_p50,
            fetches_ms.last().copied().unwrap_or(0)
        ));
        if strange > 0 {
            step.say(format_args!(
                "{strange} letters that Ada did not write, or twice, or expired"
            ));
        }
        let held = delivered == expected && complete && strange == 0;
        self.held &= step.end(
            held,
            format_args!(
                "{delivered} of {expected} letters, equal by BLAKE3, and not the short one"
            ),
        );
        Ok(())
    }

    async fn the_liar_is_found_out(&mut self) -> Result<(), DemoFailure> {
        let title =
            format!("Relay {LIAR} has lost every byte since the start, and says it has all");
        let why = "No chain, no coin: siblings have it prove its copies, watchers put it out.";
        let mut step = self.voice.step(10, &title, why);
        step.wait("sweeps, reports to its watchers, and their votes");
        self.report.liars = 1;
        let swarm = self.swarm()?;
        let until = Instant::now() + VERDICT_WAIT;
        let mut seen = swarm.liar_seen().await;
        let is_out = |one: &Standing| {
            let network = &one.network;
            let votes = network.watchers > 0 && network.suspend >= network.majority;
            votes || network.suspended_epochs > 0
        };
        while !(seen.len() > 1 && seen.iter().all(|(_, one)| is_out(one))) {
            if Instant::now() > until {
                break;
            }
            tokio::time::sleep(VERDICT_LOOK).await;
            seen = swarm.liar_seen().await;
        }
        let agree = seen.iter().filter(|(_, one)| is_out(one)).count();
        let best = seen.iter().max_by_key(|(_, one)| one.network.suspend);
        if let Some((index, one)) = best {
            let network = &one.network;
            step.say(format_args!(
                "relay {index}: {} of its {} watchers want it suspended, {} suffice",
                network.suspend, network.watchers, network.majority
            ));
            if let Some(share) = one.share {
                step.say(format_args!(
                    "by its own {} sweeps: {} letters missing that it had had, score {share:.2}",
                    one.ranges, one.missing
                ));
            }
        }
        let held = agree > 1 && agree == seen.len();
        self.report.suspended = usize::from(held);
        self.held &= step.end(
            held,
            format_args!(
                "{agree} of {} honest relays know; what it had is copied elsewhere",
                seen.len()
            ),
        );
        Ok(())
    }

    /// The hashes of all that Bob must get, and how often.
    fn expected(&self) -> Result<BTreeMap<String, usize>, DemoFailure> {
        let file = std::fs::read(&self.file).map_err(|source| DemoFailure::File {
            path: self.file.clone(),
            source,
        })?;
        let texts = self.texts.iter().map(|text| blake3::hash(text.as_bytes()));
        let mut expected = BTreeMap::new();
        for hash in texts.chain([blake3::hash(&file)]) {
            *expected.entry(hash.to_hex().to_string()).or_default() += 1;
        }
        Ok(expected)
    }

    /// Counts what is stored of a `send`; what is queued gets further visits.
    async fn take_in(&mut self, sent: Answer) -> Result<usize, DemoFailure> {
        let mut count = 0;
        for (line, state) in sent.with("state") {
            if state == "stored" {
                count += 1;
                self.stored
                    .extend(line["envelope"].as_str().map(str::to_owned));
                self.deposits_ms.extend(line["ms"].as_u64());
            }
        }
        let queued = sent.lines.len().saturating_sub(count);
        if sent.code != QUEUED {
            sent.must()?;
            return Ok(count);
        }
        for _ in 0..VISITS_MAX {
            self.ada.run(&["sync"], "").await?;
            let outbox = self.ada.must(&["outbox"], "").await?;
            let waits = |state| state == "queued" || state == "sent";
            if !outbox.with("state").any(|(_, state)| waits(state)) {
                return Ok(count + queued);
            }
        }
        Ok(count)
    }

    fn swarm(&self) -> Result<&Swarm, DemoFailure> {
        self.swarm.as_ref().ok_or(DemoFailure::Late("no relays"))
    }
}

/// Relays by how much they hold, the fullest first.
fn busiest(by_relay: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..by_relay.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(by_relay.get(*index).copied()));
    order
}

fn text(number: u16) -> String {
    format!("Letter {number}: the post office keeps this until you call for it.")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoFailure> {
    std::fs::write(path, bytes).map_err(|source| DemoFailure::File {
        path: path.to_owned(),
        source,
    })
}

/// What Ada sends if nothing else is asked for.
const README: &[u8] = include_bytes!("../../../README.md");
/// The exit code of `poste send` when letters are queued and not stored in time.
const QUEUED: i32 = 7;
/// How often somebody tries again.
const VISITS_MAX: usize = 8;
/// The first brings the letters, the others nothing twice; enough for a median.
const VISITS_MIN: usize = 3;
/// Relays that are to have each envelope; spares that stood in for slow ones may have it, too.
const COPIES: u64 = 5;
/// How long late copies may take; retries double their pauses.
const COPIES_WAIT: Duration = Duration::from_secs(30);
/// A relay counts as away after two failed tries of five seconds each; then a comparison and the sending. On two busy
/// cores it takes less than a minute, and on a machine that is many times slower longer.
const REPAIR_WAIT: Duration = Duration::from_secs(180);
/// Two hours for a comparison and a sweep, one for reports, some seconds for votes; all of it again with the watchers of
/// another epoch if one ends, which lasts 144 s; and a slow machine needs longer.
const VERDICT_WAIT: Duration = Duration::from_secs(300);
const VERDICT_LOOK: Duration = Duration::from_millis(500);
/// An hour and the rounding to the next full one are 12 s; a busy machine may need more.
const EXPIRY_WAIT: Duration = Duration::from_secs(120);
