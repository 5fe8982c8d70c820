//! How answers look: for people, and as JSON for scripts, whose fields stay as they are.
//!
//! Times are milliseconds since 1970, hashes BLAKE3 in hexadecimal.

use std::path::Path;

use serde::Serialize;
use swarm_proto::id::hex;
use swarm_proto::time::UnixTime;
use zeroize::Zeroizing;

use super::say::{Voice, clean, count, date};
use crate::account;
use crate::app::visit::{Gathered, Outcome, Settled};
use crate::app::{App, Failure};
use crate::contacts::{Contact, State};
use crate::conversation::letter::{Content, LetterId};
use crate::inbox::Received;
use crate::outbox::{Posted, Progress};

#[derive(Serialize)]
struct AccountShape<'a> {
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<&'a str>,
    invitation: String,
}

/// Account id and invitation, and the words if they are fresh.
pub(super) fn account(
    app: &App,
    words: Option<Zeroizing<String>>,
    voice: Voice,
) -> Result<(), Failure> {
    let words = words.as_ref().map(|words| words.as_str());
    let shape = AccountShape {
        account: app.account(),
        words,
        invitation: app.invitation(),
    };
    if voice.json {
        return voice.object(&shape);
    }
    if let Some(words) = words {
        voice.line("These 24 words restore your account. They are shown once: write them down.\n");
        let words: Vec<&str> = words.split(' ').collect();
        for (row, six) in words.chunks(6).enumerate() {
            let numbered = six
                .iter()
                .enumerate()
                .map(|(at, word)| format!("{:>2} {word:<9}", row * 6 + at + 1));
            voice.line(numbered.collect::<Vec<_>>().join(" ").trim_end());
        }
        voice.line("");
    }
    voice.line(format_args!("account     {}", shape.account));
    voice.line(format_args!("invitation  {}", shape.invitation));
    if words.is_some() {
        let next = "\nHand the invitation to those who shall write to you, and `poste sync` once, so that \
                    they find you.";
        voice.line(next);
    }
    Ok(())
}

#[derive(Serialize)]
struct ContactShape {
    name: String,
    account: String,
    state: &'static str,
    accepted: bool,
}

impl ContactShape {
    fn of(contact: &Contact) -> Self {
        Self {
            name: contact.petname.clone(),
            account: account::id_of(&contact.account),
            state: match contact.state {
                State::Invited { .. } => "invited",
                State::Waiting { .. } => "waiting",
                State::Connected { .. } => "connected",
            },
            accepted: contact.is_accepted,
        }
    }
}

/// Somebody was added.
pub(super) fn contact_added(contact: &Contact, voice: Voice) -> Result<(), Failure> {
    let shape = ContactShape::of(contact);
    if voice.json {
        return voice.object(&shape);
    }
    let name = clean(&shape.name);
    voice.line(format_args!("{name} is {}", shape.account));
    Ok(())
}

/// All contacts.
pub(super) fn contacts(contacts: &[Contact], voice: Voice) -> Result<(), Failure> {
    let shapes: Vec<ContactShape> = contacts.iter().map(ContactShape::of).collect();
    if voice.json {
        return voice.object(&shapes);
    }
    if shapes.is_empty() {
        voice.line("No contacts. `poste contact add NAME INVITATION` adds one.");
    }
    for shape in shapes {
        let name = match shape.name.as_str() {
            "" => "(no name)".to_owned(),
            name => clean(name),
        };
        let told = match shape.state {
            "invited" => "not written to yet",
            "waiting" => "has not answered yet",
            _ => "connected",
        };
        let name = voice.strong(&format!("{name:<16}"));
        voice.line(format_args!("{name} {}  {told}", shape.account));
    }
    Ok(())
}

#[derive(Serialize)]
pub(super) struct SettledShape {
    id: String,
    state: &'static str,
    copies: usize,
    of: u8,
    until: Option<u64>,
    reason: Option<String>,
    next_try_ms: Option<u64>,
    ms: u64,
    envelope: Option<String>,
}

impl SettledShape {
    /// `of`: the network's R.
    pub(super) fn of(settled: &Settled, of: u8) -> Self {
        let mut shape = Self {
            id: hex(&settled.letter.0),
            state: "stored",
            copies: 0,
            of,
            until: None,
            reason: None,
            next_try_ms: None,
            ms: u64::try_from(settled.took.as_millis()).unwrap_or(u64::MAX),
            envelope: settled.envelope.map(|id| id.to_hex()),
        };
        match &settled.outcome {
            Outcome::Stored { copies, until } => {
                shape.copies = usize::from(*copies);
                shape.until = Some(until.0);
            }
            Outcome::Queued {
                copies,
                reason,
                next,
            } => {
                shape.state = "queued";
                shape.copies = *copies;
                shape.reason = Some(reason.clone());
                shape.next_try_ms = Some(next.0);
            }
            Outcome::Failed { reason, next } => {
                shape.state = "failed";
                shape.reason = Some(reason.clone());
                shape.next_try_ms = Some(next.0);
            }
        }
        shape
    }
}

/// How far a letter got.
pub(super) fn settled(settled: &Settled, of: u8, voice: Voice) -> Result<(), Failure> {
    if voice.json {
        return voice.object(&SettledShape::of(settled, of));
    }
    let id = voice.quiet(&short(settled.letter));
    match &settled.outcome {
        Outcome::Stored { copies, until } => {
            let ms = settled.took.as_millis();
            let state = voice.good("stored");
            let until = date(*until);
            voice.line(format_args!(
                "{id}  {state} ({copies} of {of}, until {until}) in {ms} ms"
            ));
        }
        Outcome::Queued { reason, .. } => {
            voice.line(format_args!("{id}  {}: {reason}", voice.warn("queued")));
        }
        Outcome::Failed { reason, .. } => {
            voice.line(format_args!("{id}  {}: {reason}", voice.warn("failed")));
        }
    }
    Ok(())
}

/// A letter queued without a visit.
pub(super) fn queued(posted: &Posted, of: u8, voice: Voice) -> Result<(), Failure> {
    if !voice.json {
        let id = voice.quiet(&short(posted.letter.id));
        voice.line(format_args!("{id}  queued for the next visit"));
        return Ok(());
    }
    let shape = SettledShape {
        id: hex(&posted.letter.id.0),
        state: "queued",
        copies: 0,
        of,
        until: None,
        reason: None,
        next_try_ms: None,
        ms: 0,
        envelope: None,
    };
    voice.object(&shape)
}

#[derive(Serialize)]
struct ReceivedShape<'a> {
    id: String,
    from: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    bytes: usize,
    blake3: String,
    sent: u64,
    arrived: u64,
}

impl<'a> ReceivedShape<'a> {
    fn of(received: &'a Received, from: String) -> Self {
        let (kind, text, name, content): (_, _, _, &[u8]) = match &received.letter.content {
            Content::Text(text) => ("text", Some(text.as_str()), None, text.as_bytes()),
            Content::File { name, content } => ("file", None, Some(name.as_str()), content),
            Content::Acknowledgement { .. } => ("acknowledgement", None, None, &[]),
        };
        Self {
            id: hex(&received.letter.id.0),
            from,
            kind,
            text,
            name,
            bytes: content.len(),
            blake3: blake3::hash(content).to_hex().to_string(),
            sent: received.letter.sent.0,
            arrived: received.arrived.0,
        }
    }
}

/// A letter that came; `from`: what its writer is called here.
pub(super) fn received(received: &Received, from: String, voice: Voice) -> Result<(), Failure> {
    if voice.json {
        return voice.object(&ReceivedShape::of(received, from));
    }
    let id = voice.quiet(&short(received.letter.id));
    let from = voice.strong(&clean(&from));
    let sent = voice.quiet(&date(received.letter.sent));
    voice.line(format_args!("{id}  {from}  {sent}"));
    match &received.letter.content {
        Content::Text(text) => {
            for line in clean(text).lines() {
                voice.line(format_args!("    {line}"));
            }
        }
        Content::File { name, content } => {
            let (name, bytes) = (clean(name), content.len());
            let id = short(received.letter.id);
            voice.line(format_args!(
                "    file {name}, {bytes} bytes; `poste save {id} PATH` writes it"
            ));
        }
        Content::Acknowledgement { .. } => {}
    }
    Ok(())
}

#[derive(Serialize)]
struct SavedShape {
    path: String,
    bytes: usize,
    blake3: String,
}

/// A letter's file was written to `path`.
pub(super) fn saved(path: &Path, content: &[u8], voice: Voice) -> Result<(), Failure> {
    let (path, bytes) = (path.display().to_string(), content.len());
    if voice.json {
        let blake3 = blake3::hash(content).to_hex().to_string();
        return voice.object(&SavedShape {
            path,
            bytes,
            blake3,
        });
    }
    voice.line(format_args!("{path}: {bytes} bytes"));
    Ok(())
}

/// Every letter in the inbox.
pub(super) fn all_letters(app: &App, voice: Voice) -> Result<(), Failure> {
    let (letters, contacts) = (app.inbox()?, app.contacts()?);
    if letters.is_empty() && !voice.json {
        voice.line("No letters yet.");
    }
    for letter in &letters {
        received(letter, app.name_of(&contacts, &letter.from), voice)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct VisitShape {
    polled: usize,
    new: usize,
    complete: bool,
    fetch_ms: u64,
    holders: usize,
    delivered: usize,
    card: bool,
    stored: usize,
    queued: usize,
}

/// What a visit came to.
pub(super) fn visit(
    gathered: &Gathered,
    stored: usize,
    queued: usize,
    voice: Voice,
) -> Result<(), Failure> {
    if voice.json {
        return voice.object(&VisitShape {
            polled: gathered.polled,
            new: gathered.new,
            complete: gathered.complete,
            fetch_ms: u64::try_from(gathered.took.as_millis()).unwrap_or(u64::MAX),
            holders: gathered.holders,
            delivered: gathered.delivered,
            card: gathered.card,
            stored,
            queued,
        });
    }
    let mut parts = vec![match gathered.new {
        0 => "nothing new".to_owned(),
        new => count(new, "new letter"),
    }];
    if gathered.delivered > 0 {
        parts.push(format!("{} delivered", count(gathered.delivered, "letter")));
    }
    if queued > 0 {
        parts.push(format!("{} still queued", count(queued, "letter")));
    }
    let ms = gathered.took.as_millis();
    parts.push(format!("{} in {ms} ms", count(gathered.polled, "mailbox")));
    voice.line(voice.quiet(&parts.join(", ")));
    if !gathered.complete {
        voice.complain("not every mailbox was read from enough holders; look again later");
    }
    if !gathered.card {
        voice.complain("the card could not be renewed; strangers may not find you until it is");
    }
    Ok(())
}

#[derive(Serialize)]
struct PostedShape {
    id: String,
    to: String,
    kind: &'static str,
    bytes: usize,
    sent: u64,
    state: &'static str,
    copies: Option<u8>,
    of: u8,
    until: Option<u64>,
    reason: Option<String>,
    next_try_ms: Option<u64>,
}

impl PostedShape {
    fn of(posted: &Posted, app: &App, contacts: &[Contact]) -> Self {
        let (kind, bytes) = match &posted.letter.content {
            Content::Text(text) => ("text", text.len()),
            Content::File { content, .. } => ("file", content.len()),
            Content::Acknowledgement { letters, .. } => ("acknowledgement", letters.len()),
        };
        let setback = posted.setback.as_ref();
        let mut shape = Self {
            id: hex(&posted.letter.id.0),
            to: app.name_of(contacts, &posted.to),
            kind,
            bytes,
            sent: posted.letter.sent.0,
            state: "queued",
            copies: None,
            of: app.network().holders,
            until: None,
            reason: setback.map(|setback| setback.reason.clone()),
            next_try_ms: setback.map(|setback| setback.next.0),
        };
        match &posted.progress {
            Progress::Queued => {}
            Progress::Sealed(_) => shape.state = "sent",
            Progress::Stored { copies, until } => {
                shape.state = "stored";
                shape.copies = Some(*copies);
                shape.until = Some(app.scale().hour_start(*until).0);
            }
            Progress::Delivered => shape.state = "delivered",
            Progress::Expired => {
                shape.state = "failed";
                shape.reason = Some("its time ended before it was acknowledged".to_owned());
            }
        }
        shape
    }

    fn told(&self, voice: Voice) -> String {
        let of = self.of;
        let why = self.reason.as_deref().unwrap_or("not tried yet");
        match self.state {
            "delivered" => voice.good("delivered"),
            "stored" => {
                let copies = self.copies.unwrap_or(0);
                let until = date(UnixTime(self.until.unwrap_or(0)));
                format!("{} ({copies} of {of}, until {until})", voice.good("stored"))
            }
            "sent" if self.reason.is_none() => "sent, not confirmed yet".to_owned(),
            state => {
                let next = self.next_try_ms.map(|next| date(UnixTime(next)));
                let next = next.map_or_else(String::new, |next| {
                    format!("; next try by itself after {next}")
                });
                format!("{}: {why}{next}", voice.warn(state))
            }
        }
    }
}

/// The outbox.
pub(super) fn outbox(app: &App, all: bool, voice: Voice) -> Result<(), Failure> {
    let contacts = app.contacts()?;
    let letters = app.outbox()?;
    let shapes: Vec<PostedShape> = letters
        .iter()
        .filter(|posted| all || posted.letter.is_from_a_person())
        .map(|posted| PostedShape::of(posted, app, &contacts))
        .collect();
    if voice.json {
        return voice.object(&shapes);
    }
    if shapes.is_empty() {
        voice.line("The outbox is empty.");
    }
    for shape in shapes {
        let id = voice.quiet(shape.id.get(..SHORT).unwrap_or_default());
        let to = voice.strong(&clean(&shape.to));
        let (kind, bytes, told) = (shape.kind, shape.bytes, shape.told(voice));
        voice.line(format_args!("{id}  {to}  {kind}, {bytes} bytes  {told}"));
    }
    Ok(())
}

/// The beginning of an id, enough to name a letter in a command.
fn short(id: LetterId) -> String {
    let mut text = hex(&id.0);
    text.truncate(SHORT);
    text
}

/// Digits of a short id: two of 10,000 letters share them once in a hundred homes.
const SHORT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json, to_value};
    use std::time::Duration;

    fn shape_of(outcome: Outcome) -> Value {
        let settled = Settled {
            letter: LetterId([0xab; 16]),
            outcome,
            took: Duration::from_millis(412),
            envelope: Some(swarm_proto::id::EnvelopeId([0xcd; 32])),
        };
        to_value(SettledShape::of(&settled, 5)).unwrap()
    }

    #[test]
    fn a_stored_letter_has_the_fields_that_scripts_read() {
        let stored = shape_of(Outcome::Stored {
            copies: 3,
            until: UnixTime(1_796_565_600_000),
        });
        let expected = json!({
            "id": "abababababababababababababababab", "state": "stored", "copies": 3, "of": 5,
            "until": 1_796_565_600_000_u64, "reason": null, "next_try_ms": null, "ms": 412,
            "envelope": "cd".repeat(32),
        });
        assert_eq!(stored, expected);
    }

    #[test]
    fn a_letter_that_is_not_stored_says_why_and_when_next() {
        let queued = shape_of(Outcome::Queued {
            copies: 1,
            reason: "no holder answered".to_owned(),
            next: UnixTime(9),
        });
        assert_eq!(queued["state"], "queued");
        assert_eq!(queued["copies"], 1);
        assert_eq!(queued["reason"], "no holder answered");
        assert_eq!(queued["next_try_ms"], 9);
        let failed = shape_of(Outcome::Failed {
            reason: "full".to_owned(),
            next: UnixTime(9),
        });
        assert_eq!(failed["state"], "failed");
        assert_eq!(failed["until"], Value::Null);
    }

    #[test]
    fn a_letter_that_came_carries_the_hash_of_its_text_or_file() {
        let account = swarm_proto::address::Account::from_seed(&[1; 32]);
        let mut letter = Received {
            from: *account.key(),
            arrived: UnixTime(2),
            is_read: false,
            letter: crate::conversation::letter::Letter {
                id: LetterId([1; 16]),
                sent: UnixTime(1),
                content: Content::Text("hello".to_owned()),
            },
        };
        let text = to_value(ReceivedShape::of(&letter, "ada".to_owned())).unwrap();
        let expected = json!({
            "id": "01010101010101010101010101010101", "from": "ada", "kind": "text",
            "text": "hello", "bytes": 5,
            "blake3": "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
            "sent": 1, "arrived": 2,
        });
        assert_eq!(text, expected);
        letter.letter.content = Content::File {
            name: "a.txt".to_owned(),
            content: bytes::Bytes::from_static(b"hello"),
        };
        let file = to_value(ReceivedShape::of(&letter, "ada".to_owned())).unwrap();
        assert_eq!(file["kind"], "file");
        assert_eq!(file["name"], "a.txt");
        assert_eq!(file["blake3"], text["blake3"]);
        assert_eq!(file.get("text"), None);
    }
}
