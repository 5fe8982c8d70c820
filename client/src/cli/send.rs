//! `poste send`: letters into the outbox first, then into the network, then the truth about each.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use super::say::{Spinner, Voice, count};
use super::{Common, SendArgs, Wait, on_runtime, shape, stdin_is_terminal};
use crate::app::Failure;
use crate::app::road::Road;
use crate::app::visit::{Outcome, Settled, Stage, Visit, Witness};
use crate::conversation::letter::{Content, FILE_BYTES_MAX, LetterId, TEXT_LARGE_BYTES_MAX};
use crate::inbox::Received;

/// Sends what the arguments say. The exit code tells whether all of it is stored.
pub(super) fn send(common: &Common, args: SendArgs, voice: Voice) -> Result<(), Failure> {
    let mut app = common.open()?;
    let contact = app.contact(&args.name)?;
    let contents = contents(&args)?;
    let posted = app.post(&contact, contents, args.ttl.into())?;
    let of = app.network().holders;
    if args.wait == Wait::None {
        return posted
            .iter()
            .try_for_each(|posted| shape::queued(posted, of, voice));
    }
    let ids: Vec<LetterId> = posted.iter().map(|posted| posted.letter.id).collect();
    let mut teller = Teller::new(ids.iter().copied().collect(), of, voice);
    let bind = common.bind;
    let visited = on_runtime(async {
        let mut road = Road::open(&app, bind)?;
        let mut visit = Visit::new(&mut app, &mut road, &mut teller);
        let others = visit.due(true)?;
        let sent = visit.send(ids, others).await;
        road.close().await;
        sent
    });
    teller.end(visited)
}

/// Reads what is to be sent; every letter of it fits, or nothing is queued.
fn contents(args: &SendArgs) -> Result<Vec<Content>, Failure> {
    if let Some(path) = &args.file {
        return Ok(vec![file(path)?]);
    }
    if args.lines {
        let text = standard_input(LINES_BYTES_MAX)?;
        let lines = text.lines().filter(|line| !line.is_empty());
        let letters: Vec<Content> = lines.map(|line| Content::Text(line.to_owned())).collect();
        if letters.len() > LINES_MAX {
            let text = format!("one call sends at most {LINES_MAX} lines; nothing was queued");
            return Err(Failure::Limited(text));
        }
        return Ok(letters);
    }
    let text = match args.text.as_slice() {
        [] if stdin_is_terminal() => {
            let text = "nothing to send: give TEXT, - for standard input, or --file PATH";
            return Err(Failure::Usage(text.to_owned()));
        }
        [] => standard_input(TEXT_LARGE_BYTES_MAX)?,
        [dash] if dash == "-" => standard_input(TEXT_LARGE_BYTES_MAX)?,
        words => words.join(" "),
    };
    if text.is_empty() {
        return Err(Failure::Usage("an empty letter is not sent".to_owned()));
    }
    Ok(vec![Content::Text(text)])
}

fn file(path: &Path) -> Result<Content, Failure> {
    let failed = |source| Failure::File {
        path: path.to_owned(),
        source,
    };
    let opened = std::fs::File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    // One byte too many is refused with both figures; more need not be read.
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let length = opened.metadata().map_err(failed)?.len();
    if length > most {
        let text = format!(
            "{} has {length} bytes; one letter holds {most}, its name included; nothing was queued",
            path.display()
        );
        return Err(Failure::Limited(text));
    }
    opened
        .take(most.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(failed)?;
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(Content::File {
        name: name.unwrap_or_default().to_owned(),
        content: Bytes::from(content),
    })
}

fn standard_input(bytes_max: usize) -> Result<String, Failure> {
    let failed = |source| Failure::System {
        what: "reading standard input",
        source,
    };
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().take(most.saturating_add(1));
    input.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        let text = format!("standard input has more than {bytes_max} bytes; nothing was queued");
        return Err(Failure::Limited(text));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::Usage("standard input is no UTF-8 text; use --file".to_owned()))
}

/// Tells about the letters of this call and counts the others.
struct Teller {
    own: BTreeSet<LetterId>,
    of: u8,
    voice: Voice,
    spinner: Spinner,
    queued: usize,
    failed: usize,
    reason: String,
    broken: Option<Failure>,
}

impl Teller {
    fn new(own: BTreeSet<LetterId>, of: u8, voice: Voice) -> Self {
        Self {
            own,
            of,
            voice,
            spinner: Spinner::new(voice),
            queued: 0,
            failed: 0,
            reason: String::new(),
            broken: None,
        }
    }

    fn end(self, visited: Result<(), Failure>) -> Result<(), Failure> {
        let Self {
            spinner,
            queued,
            failed,
            reason,
            broken,
            ..
        } = self;
        drop(spinner);
        visited?;
        if let Some(failure) = broken {
            return Err(failure);
        }
        match (failed, queued) {
            (0, 0) => Ok(()),
            (0, queued) => Err(Failure::Queued {
                letters: count(queued, "letter"),
                reason,
            }),
            (failed, _) => Err(Failure::Limited(format!(
                "{} declined: {reason}; it stays in the outbox and is tried again later",
                count(failed, "letter")
            ))),
        }
    }
}

impl Witness for Teller {
    fn stage(&mut self, stage: Stage<'_>) {
        self.spinner.stage(stage);
    }

    fn settled(&mut self, settled: &Settled) {
        if !self.own.contains(&settled.letter) {
            return;
        }
        match &settled.outcome {
            Outcome::Stored { .. } => {}
            Outcome::Queued { reason, .. } => {
                self.queued += 1;
                self.reason.clone_from(reason);
            }
            Outcome::Failed { reason, .. } => {
                self.failed += 1;
                self.reason.clone_from(reason);
            }
        }
        let (of, voice) = (self.of, self.voice);
        let told = self.spinner.aside(|| shape::settled(settled, of, voice));
        self.broken = self.broken.take().or(told.err());
    }

    fn came(&mut self, _received: &Received) {}
}

/// The whole outbox is ten times as long.
const LINES_MAX: usize = 1_000;
/// What that many short lines may have together.
const LINES_BYTES_MAX: usize = 4 * 1024 * 1024;
