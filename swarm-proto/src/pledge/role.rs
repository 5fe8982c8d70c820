//! Challenges between a watcher W and a relay P that has pledged disk, and what follows from the answers.
//!
//! As P this relay reads the pages that are asked for and signs what it says of them. As W it asks, waits ten
//! seconds, makes one of the sectors again and hands the verdict on. Who is to be asked when, and what a
//! verdict leads to, is decided elsewhere. Source: `docs/spec/pledge.md`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rand_core::Rng;

use super::{Evidence, PlotDone, PlotOp, Terms};
use crate::context::Context;
use crate::crypto::Signature;
use crate::effects::{Effects, PlotTicket, SignTicket};
use crate::id::{NodeId, NodeKey};
use crate::limits;
use crate::time::{Instant, Now};
use crate::wire::Message;
use crate::wire::pledge::{Challenge, ChallengeAnswer};

/// Challenges of one relay, both ways.
#[derive(Debug)]
pub(crate) struct Pledges {
    /// The class of which this relay has every sector.
    class: u8,
    /// As W: who was asked, and what is still to come.
    asked: BTreeMap<NodeId, Asked>,
    /// As P: who asked, and until when that counts against its share.
    asking: BTreeMap<NodeId, Instant>,
    counts: PledgeCounts,
}

/// What a challenge showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered for a class, and the sector that was made again agrees. The class may be lower than the
    /// one in its record, and 0.
    Shown {
        /// Who.
        subject: NodeId,
        /// Of which class.
        class: u8,
    },
    /// It signed something wrong.
    Wrong {
        /// Who.
        subject: NodeId,
        /// What everybody can check.
        evidence: Evidence,
    },
    /// It did not answer in time.
    Silent {
        /// Who.
        subject: NodeId,
    },
}

/// What challenges came to since the start, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PledgeCounts {
    /// Challenges that this relay answered.
    pub answered: u64,
    /// Challenges that it could not answer, because a page could not be read.
    pub failed: u64,
    /// Challenges that it did not take: too many at once, or of no member.
    pub declined: u64,
    /// Challenges to others.
    pub asked: u64,
    /// Of these, how many were answered right.
    pub shown: u64,
    /// How many were answered wrong.
    pub wrong: u64,
    /// How many were not answered in time.
    pub silent: u64,
}

#[derive(Debug)]
struct Asked {
    key: NodeKey,
    nonce: [u8; 32],
    class: u8,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// For the answer, until then.
    Waiting { ends: Instant },
    /// For the sector that is made again.
    Checking { answer: ChallengeAnswer, page: u16 },
}

impl Pledges {
    /// Nobody was asked.
    pub(crate) fn new(class: u8) -> Self {
        Self {
            class,
            asked: BTreeMap::new(),
            asking: BTreeMap::new(),
            counts: PledgeCounts::default(),
        }
    }

    /// What it came to.
    pub(crate) fn counts(&self) -> PledgeCounts {
        self.counts
    }

    /// The class that this relay answers for.
    pub(crate) fn class(&self) -> u8 {
        self.class
    }

    /// The driver has every sector of this class, and not of the next.
    pub(crate) fn plotted_up_to(&mut self, class: u8) {
        self.class = class;
    }

    /// As W: asks `subject` to show what it has pledged. `false` if nothing was asked: it is no member or has
    /// pledged nothing, a challenge to it is open, or too many are ([PLG-6]).
    pub(crate) fn challenge(
        &mut self,
        context: &Context,
        now: Now,
        subject: NodeId,
        out: &mut Effects,
    ) -> bool {
        let members = context.view.snapshot();
        let Some(record) = members.find(&subject).map(|member| member.record()) else {
            return false;
        };
        let is_open = self.asked.contains_key(&subject);
        let full = self.asked.len() >= limits::CHALLENGES_OPEN_MAX;
        if is_open || full || record.class == 0 || subject == context.me {
            return false;
        }
        let mut nonce = [0; 32];
        context.rng.borrow_mut().fill_bytes(&mut nonce);
        let class = record.class;
        let ends = now.mono.plus(limits::CHALLENGE_WAIT);
        let asked = Asked {
            key: record.key,
            nonce,
            class,
            stage: Stage::Waiting { ends },
        };
        self.asked.insert(subject, asked);
        self.counts.asked += 1;
        out.send(subject, Message::Challenge(Challenge { nonce, class }));
        true
    }

    /// As P: somebody asks ([PLG-5]).
    pub(crate) fn asked(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        challenge: &Challenge,
        out: &mut Effects,
    ) {
        self.asking.retain(|_, ends| *ends > now.mono);
        let full = self.asking.len() >= limits::CHALLENGES_ANSWERED_MAX;
        let is_member = context.view.snapshot().find(&from).is_some();
        if full || !is_member || self.asking.contains_key(&from) {
            self.counts.declined += 1;
            return;
        }
        let ends = now.mono.plus(limits::CHALLENGE_WAIT);
        self.asking.insert(from, ends);
        let (nonce, class) = (challenge.nonce, challenge.class.min(self.class));
        let terms = Terms {
            nonce,
            prover: context.me,
            watcher: from,
        };
        let ticket = PlotTicket::Pages {
            to: from,
            nonce,
            class,
        };
        let request = PlotOp::Pages {
            pages: terms.pages(&context.network.pledge, class),
            key: terms.key(),
        };
        out.plot(ticket, request);
    }

    /// As P: what it says is signed and goes out.
    pub(crate) fn signed(
        &mut self,
        to: NodeId,
        mut answer: ChallengeAnswer,
        signature: Signature,
        out: &mut Effects,
    ) {
        answer.signature = signature;
        self.counts.answered += 1;
        out.send(to, Message::ChallengeAnswer(answer));
    }

    /// As W: an answer, its signature checked. Answers to another nonce, of a higher class than was asked for,
    /// of another length, or too late count as none ([PLG-6]).
    pub(crate) fn answered(
        &mut self,
        context: &Context,
        now: Now,
        from: NodeId,
        answer: ChallengeAnswer,
        out: &mut Effects,
    ) -> Option<Verdict> {
        let asked = self.asked.get_mut(&from)?;
        let Stage::Waiting { ends } = asked.stage else {
            return None;
        };
        if answer.nonce != asked.nonce || answer.class > asked.class || ends <= now.mono {
            return None;
        }
        let terms = Terms {
            nonce: asked.nonce,
            prover: from,
            watcher: context.me,
        };
        let pages = terms.pages(&context.network.pledge, answer.class);
        if pages.len() != answer.tags.len() {
            return None;
        }
        let count = u64::try_from(pages.len()).unwrap_or(0);
        // One that nobody can foresee is made again.
        let drawn = context.rng.borrow_mut().next_u64().checked_rem(count);
        let page = u16::try_from(drawn.unwrap_or(0)).unwrap_or(0);
        let Some(at) = pages.get(usize::from(page)).copied() else {
            // It has nothing, and says so.
            return self.shown(from, answer.class);
        };
        let (node, key) = (asked.key, terms.key());
        asked.stage = Stage::Checking { answer, page };
        let nonce = asked.nonce;
        let ticket = PlotTicket::Sector {
            subject: from,
            nonce,
        };
        out.plot(ticket, PlotOp::Sector { node, at, key });
        None
    }

    /// Pages were read, or a sector made again.
    pub(crate) fn plotted(
        &mut self,
        context: &Context,
        ticket: PlotTicket,
        done: PlotDone,
        out: &mut Effects,
    ) -> Option<Verdict> {
        match ticket {
            PlotTicket::Pages { to, nonce, class } => {
                let PlotDone::Tags(tags) = done else {
                    self.counts.failed += 1;
                    return None;
                };
                let answer = ChallengeAnswer {
                    nonce,
                    class,
                    tags,
                    signature: Signature([0; 64]),
                };
                let bytes = answer.statement(&context.network_id, &to);
                out.sign(SignTicket::Challenge { to, answer }, bytes);
                None
            }
            PlotTicket::Sector { subject, nonce } => {
                self.compared(context.me, subject, nonce, &done)
            }
            PlotTicket::Proof { .. } => None,
        }
    }

    /// Gives up on those that did not answer in time.
    pub(crate) fn wake(&mut self, now: Now) -> Vec<Verdict> {
        let is_late =
            |asked: &Asked| matches!(asked.stage, Stage::Waiting { ends } if ends <= now.mono);
        let late = self.asked.extract_if(.., |_, asked| is_late(asked));
        let silent: Vec<Verdict> = late
            .map(|(subject, _)| Verdict::Silent { subject })
            .collect();
        self.counts.silent += silent.len() as u64;
        silent
    }

    /// When the first one's time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ends = |asked: &Asked| match asked.stage {
            Stage::Waiting { ends } => Some(ends),
            Stage::Checking { .. } => None,
        };
        self.asked.values().filter_map(ends).min()
    }

    /// What the subject said beside what it had to say. If this machine could not make the sector, nobody is
    /// judged.
    fn compared(
        &mut self,
        me: NodeId,
        subject: NodeId,
        nonce: [u8; 32],
        done: &PlotDone,
    ) -> Option<Verdict> {
        let asked = self.asked.get(&subject)?;
        if asked.nonce != nonce {
            return None;
        }
        let asked = self.asked.remove(&subject)?;
        let Stage::Checking { answer, page } = asked.stage else {
            return None;
        };
        let PlotDone::Tags(tags) = done else {
            return None;
        };
        let class = answer.class;
        let evidence = Evidence {
            subject: asked.key,
            watcher: me,
            answer,
            page,
        };
        if evidence.convicts(tags.first()?) {
            self.counts.wrong += 1;
            return Some(Verdict::Wrong { subject, evidence });
        }
        self.shown(subject, class)
    }

    fn shown(&mut self, subject: NodeId, class: u8) -> Option<Verdict> {
        self.asked.remove(&subject);
        self.counts.shown += 1;
        Some(Verdict::Shown { subject, class })
    }
}
