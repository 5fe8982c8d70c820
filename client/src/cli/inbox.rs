//! `poste inbox`, `sync`, `read` and `save`: visits that fetch, and what is done with what came.

use std::path::Path;
use std::time::Duration;

use super::say::{Spinner, Voice};
use super::{Common, FOLLOW_MIN, InboxArgs, on_runtime, shape};
use crate::app::road::Road;
use crate::app::visit::{Gathered, Outcome, Settled, Stage, Visit, Witness};
use crate::app::{App, Failure, write_new};
use crate::conversation::letter::Content;
use crate::inbox::Received;

/// Fetches and shows what is new, once or again and again.
pub(super) fn inbox(common: &Common, args: &InboxArgs, voice: Voice) -> Result<(), Failure> {
    let secret = common.secret()?;
    let app = common.open_with(&secret)?;
    let scale = app.scale();
    on_runtime(async {
        let mut road = Road::open(&app, common.bind)?;
        let mut app = Some(app);
        loop {
            let open = match app.take() {
                Some(app) => Ok(app),
                None => common.open_with(&secret),
            };
            let visited = match open {
                // The home is closed between two looks, so that other commands can use it.
                Ok(mut app) => visit(&mut app, &mut road, true, !args.follow, voice).await,
                Err(failure) => Err(failure),
            };
            if !args.follow {
                road.close().await;
                return visited;
            }
            if let Err(failure) = visited {
                if !passes(&failure) {
                    return Err(failure);
                }
                voice.complain(&failure);
            }
            let every = args.every.map_or_else(
                || scale.minutes(FOLLOW_MINUTES).max(FOLLOW_MIN),
                Duration::from_secs,
            );
            tokio::time::sleep(every).await;
        }
    })
}

/// Does what a visit does without showing letters.
pub(super) fn sync(common: &Common, voice: Voice) -> Result<(), Failure> {
    let mut app = common.open()?;
    on_runtime(async {
        let mut road = Road::open(&app, common.bind)?;
        let visited = visit(&mut app, &mut road, false, true, voice).await;
        road.close().await;
        visited
    })
}

/// Shows one letter.
pub(super) fn read(app: &App, id: &str, voice: Voice) -> Result<(), Failure> {
    let letter = app.received(id)?;
    let contacts = app.contacts()?;
    shape::received(&letter, app.name_of(&contacts, &letter.from), voice)?;
    app.mark_read(&letter)
}

/// Writes a letter's file to the disk.
pub(super) fn save(app: &App, id: &str, path: &Path, voice: Voice) -> Result<(), Failure> {
    let letter = app.received(id)?;
    match &letter.letter.content {
        Content::File { name: _, content } => {
            write_new(path, content)?;
            shape::saved(path, content, voice)?;
            app.mark_read(&letter)
        }
        Content::Text(_) | Content::Acknowledgement { .. } => Err(Failure::NotAFile(id.to_owned())),
    }
}

/// One visit. `show`: every letter that nobody has seen is shown, also one that an earlier command fetched, and
/// whether or not the network answers; `all`: everything that is not stored is tried, due or not.
async fn visit(
    app: &mut App,
    road: &mut Road,
    show: bool,
    all: bool,
    voice: Voice,
) -> Result<(), Failure> {
    let mut teller = Teller {
        spinner: Spinner::new(voice),
        stored: 0,
        queued: 0,
    };
    let gathered = go(app, road, all, &mut teller).await;
    let Teller {
        spinner,
        stored,
        queued,
    } = teller;
    drop(spinner);
    if show {
        show_unread(app, voice)?;
    }
    shape::visit(&gathered?, stored, queued, voice)
}

/// Shows what nobody has seen, as written first. A letter counts as seen once it was printed, so that a command
/// that is killed before that leaves it to the next one.
fn show_unread(app: &App, voice: Voice) -> Result<(), Failure> {
    let mut unread = app.inbox()?;
    unread.retain(|one| !one.is_read);
    unread.sort_by_key(|one| (one.letter.sent, one.letter.id));
    // Strangers among their writers are contacts by now.
    let contacts = app.contacts()?;
    for received in &unread {
        shape::received(received, app.name_of(&contacts, &received.from), voice)?;
        app.mark_read(received)?;
    }
    Ok(())
}

async fn go(
    app: &mut App,
    road: &mut Road,
    all: bool,
    teller: &mut Teller,
) -> Result<Gathered, Failure> {
    let mut visit = Visit::new(app, road, teller);
    visit.tidy()?;
    let gathered = visit.collect().await?;
    let due = visit.due(all)?;
    visit.send(Vec::new(), due).await?;
    Ok(gathered)
}

/// Whether following goes on after it.
fn passes(failure: &Failure) -> bool {
    matches!(failure, Failure::Unreached(_)) || super::is_in_use(failure)
}

/// Counts what was sent; what came is in the inbox.
struct Teller {
    spinner: Spinner,
    stored: usize,
    queued: usize,
}

impl Witness for Teller {
    fn stage(&mut self, stage: Stage<'_>) {
        self.spinner.stage(stage);
    }

    fn settled(&mut self, settled: &Settled) {
        match settled.outcome {
            Outcome::Stored { .. } => self.stored += 1,
            Outcome::Queued { .. } | Outcome::Failed { .. } => self.queued += 1,
        }
    }

    fn came(&mut self, _received: &Received) {}
}

/// Network minutes between two looks of `inbox --follow`.
const FOLLOW_MINUTES: u64 = 5;
