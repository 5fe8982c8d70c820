//! Every bound of the protocol in one place: the number, its unit, why it is that, and how it is tied
//! to its neighbours. A bound of one program (links, disk, queues) lives in that program's config.

use core::time::Duration;

/// Bytes of a small envelope ([ENV-1]): its row and key stay under [`ROW_SMALL_BYTES_MAX`].
pub const ENVELOPE_SMALL_BYTES: usize = 1_856;
/// Bytes of a large envelope ([ENV-1]): its row fills eight 4 KiB pages and no more.
pub const ENVELOPE_LARGE_BYTES: usize = 32_512;
/// Bytes of an envelope's header.
pub const ENVELOPE_HEADER_BYTES: usize = 40;
/// Bytes a small row may take with its key, so that two share a 4 KiB page ([ROW-1]): a page of two rows
/// has 20 bytes of its own.
pub const ROW_SMALL_BYTES_MAX: usize = 2_038;
/// Bytes a large row may take with its key ([ROW-1]).
pub const ROW_LARGE_BYTES_MAX: usize = 32_704;
/// Bytes a row adds to its envelope: write signature and arrival.
pub const ROW_HEADER_BYTES: usize = 68;
/// Bytes that the owner's leave adds to a row of the longest expiry class.
pub const LONG_STAY_BYTES: usize = 64;

/// Bytes of a sealed card: an inbox key, a key package and a policy with room to grow.
pub const CARD_BYTES: usize = 8_192;

/// Layers of an onion in every network of version 1: guard, second layer, middle, holder.
pub const ONION_LAYERS: usize = 4;
/// Bytes of one slot of an onion's header.
pub const ONION_SLOT_BYTES: usize = 1_174;
/// Bytes of the last slot: command, flags, delay, expiry, next id.
pub const ONION_LAST_SLOT_BYTES: usize = 38;
/// Bytes of an onion before its payload: head, KEM ciphertext, MAC and slots.
pub const ONION_HEADER_BYTES: usize =
    2 + 1_120 + 16 + (ONION_LAYERS - 1) * ONION_SLOT_BYTES + ONION_LAST_SLOT_BYTES;
/// Bytes of a small onion: header and a small deposit.
pub const ONION_SMALL_BYTES: usize = 7_168;
/// Bytes of a large onion: header and a large deposit.
pub const ONION_LARGE_BYTES: usize = 37_888;
/// Bytes of a small answer: two small envelopes and a page's fields.
pub const ANSWER_SMALL_BYTES: usize = 4_096;
/// Bytes of a large answer: one large envelope, or 20 small ones ([FET-2]).
pub const ANSWER_LARGE_BYTES: usize = 37_888;
/// Bytes that an answer's nonce, seal and inner header take ([ONI-9]).
pub const ANSWER_OVERHEAD_BYTES: usize = 12 + 16 + 6;

/// Bytes of a page before its first row.
pub const PAGE_HEADER_BYTES: usize = 4 + 16 + 1 + 2;

/// Ticks that an onion lives, if they last [`REPLAY_WINDOW_MIN`]; one length for all, so that it marks
/// nobody ([ONI-7]).
pub const ONION_LIFE_TICKS: u32 = 3;
/// Minutes by which a sender's clock may be ahead of a relay's ([ONI-7]): relays further off stop
/// holding, and correspondents follow the relays.
pub const ONION_SKEW_MINUTES: u64 = 1;
/// An onion's life and its replay window are never shorter than this, however fast a network's calendar
/// runs ([ONI-7]).
pub const REPLAY_WINDOW_MIN: Duration = Duration::from_secs(30);
/// Replay tags held per tick and relay: 2,000 onions a second for ten minutes; then onions are refused.
pub const REPLAY_TAGS_PER_TICK_MAX: usize = 1_200_000;
/// How long a reply key lives with its stream.
pub const REPLY_LIFE: Duration = Duration::from_secs(60);

/// How long the first holder waits for W receipts before it tells how far it got.
pub const RECEIPTS_WAIT: Duration = Duration::from_secs(5);
/// First pause before an unfinished copy is tried again; doubles up to [`COPY_RETRY_MAX`].
pub const COPY_RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause between tries of one copy.
pub const COPY_RETRY_MAX: Duration = Duration::from_secs(60);
/// Deposits one relay has under way at once; the next is told *too busy*.
pub const DEPOSITS_UNDER_WAY_MAX: usize = 4_096;
/// Bytes of envelopes in deposits under way: part of a relay's memory budget.
pub const DEPOSITS_UNDER_WAY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Envelopes whose copies one relay keeps trying to finish; more are left to repair ([CPY-5]).
pub const COPIES_UNFINISHED_MAX: usize = 16_384;

/// Live envelopes of one mailbox and epoch ([DEP-7]).
pub const MAILBOX_ENVELOPES_MAX: u32 = 2_000;
/// Live bytes of one mailbox and epoch ([DEP-7]).
pub const MAILBOX_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Live envelopes of one open-lane mailbox and epoch.
pub const OPEN_LANE_ENVELOPES_MAX: u32 = 100;
/// How far a replica goes beyond a mailbox's quota before it refuses a copy.
pub const REPLICA_QUOTA_FACTOR: u32 = 2;

/// Ranks beyond R at which a relay still takes a copy ([PLC-5]).
pub const COPY_RANK_SLACK: usize = 2;
/// Ranks beyond R whose receipts are kept and whose redirects are followed ([PLC-5]).
pub const RECEIPT_RANK_SLACK: usize = 4;

/// Minutes by which clocks and midnights may differ ([ENV-4], [SIG-2]).
pub const CLOCK_GRACE_MINUTES: u64 = 30;
/// How far a relay's clock may be off the median of its peers' before it holds nothing ([CLK-2]): what onions
/// allow, so that whoever holds can also be reached; not beyond the grace of a faster calendar.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);
/// Clocks of other relays that a relay must know before it judges its own ([CLK-1]): one that lies is outvoted.
pub const CLOCKS_COMPARED_MIN: usize = 3;
/// Hours a member record is valid ([REC-1]).
pub const RECORD_LIFE_HOURS: u64 = 24;
/// Hours after which a relay issues its record again.
pub const RECORD_RENEW_HOURS: u64 = 6;
/// Days of an onion key generation ([ONI-8]).
pub const ONION_GENERATION_DAYS: u64 = 7;
/// Members in a list; beyond this districts are needed.
pub const MEMBERS_MAX: usize = 20_000;
/// Ticks that a record may take to reach every list: one hour, six rounds of reconciliation ([LST-2]).
pub const NEWS_TICKS: u32 = 6;
/// Minutes between two reconciliations of the member list.
pub const MEMBERS_RECONCILE_MINUTES: u64 = 10;
/// Members asked in one round of reconciliation.
pub const MEMBERS_RECONCILE_PARTNERS: usize = 3;
/// Comparisons that one relay has open at once.
pub const EXCHANGES_MAX: usize = 64;
/// Placements that one machine remembers: the cells of a relay's holdings over a few epochs.
pub const PLACEMENTS_REMEMBERED: usize = 2_048;
/// Epochs whose eligible lists are remembered: as long as mail lives, and today.
pub const EPOCHS_REMEMBERED: u32 = 31;
/// Records in one message.
pub const RECORDS_PER_MESSAGE_MAX: usize = 12;
/// Ids in one message.
pub const IDS_PER_MESSAGE_MAX: usize = 1_024;
/// Bytes of one reconcile message's ranges.
pub const RECONCILE_BYTES_MAX: usize = 32 * 1024;
/// Bytes of the key that the first message of a comparison carries before its ranges.
pub const RECONCILE_KEY_BYTES: usize = 32;
/// Items of a differing range that are named one by one instead of splitting it: their tags take no more
/// bytes than sixteen fingerprints ([RBR-4]).
pub const RECONCILE_TAGS_MAX: usize = 32;
/// Items that settle one range; a range with more is split, so that one answer always fits ([RBR-5]).
pub const RECONCILE_SETTLE_MAX: usize = 64;
/// Messages of one side in an exchange: two full lists without a common member take 34 ([RBR-7]).
pub const RECONCILE_STEPS_MAX: usize = 96;
/// Items that one exchange may bring, two full member lists; more is a fault ([RBR-7]).
pub const RECONCILE_ITEMS_MAX: usize = 2 * MEMBERS_MAX;

/// Minutes between two failed tries after which a relay counts as away ([REP-1]).
pub const ABSENT_AFTER_MINUTES: u64 = 15;
/// Cells in one comparison between siblings: 2 KiB of its first message ([REP-3]).
pub const CELLS_PER_EXCHANGE_MAX: usize = 1_024;
/// What one side may have of the cells of one comparison, about 1 MiB in memory; more is compared in
/// parts ([REP-3]).
pub const HELD_PER_EXCHANGE_MAX: usize = 16_384;
/// Comparisons between siblings that one relay has opened at once.
pub const COMPARES_OPENED_MAX: usize = 4;
/// What waits to be sent to siblings that lack it; more is found again by the next comparison ([REP-6]).
pub const PUSHES_MAX: usize = 65_536;
/// Comparisons that wait for their turn; more are found again by the next pass.
pub const COMPARES_WAITING_MAX: usize = 16_384;

/// Items in a sweep that this relay opens: 2 MiB to read for small envelopes ([SWP-1]).
pub const SWEEP_ITEMS_OPENED_MAX: usize = 1_024;
/// Items in a sweep that this relay takes part in; a prover may have more than its opener ([SWP-1]).
pub const SWEEP_ITEMS_READ_MAX: usize = 1_280;
/// Items up to which an opener goes on to listings when proofs differ; what is more it sweeps in parts ([SWP-3]).
pub const SWEEP_ITEMS_LISTED_MAX: usize = 256;
/// Items in a listing ([SWP-3]).
pub const SWEEP_ITEMS_MAX: usize = 512;
/// Sweeps that this relay has opened at once.
pub const SWEEPS_OPENED_MAX: usize = 8;
/// Swept ranges before a relay is judged by them ([SWP-6]).
pub const SWEEPS_BEFORE_JUDGED: u32 = 20;
/// Sweeps that are to be opened; more wait for the next period.
pub const SWEEPS_WAITING_MAX: usize = 16_384;
/// Cells in which siblings are known to have had all, and receipts of theirs that are younger than that.
pub const VOUCHED_MAX: usize = 65_536;

/// Testimonies in one message.
pub const TESTIMONIES_PER_MESSAGE_MAX: usize = 12;
/// Reports in one message.
pub const TALLIES_PER_MESSAGE_MAX: usize = 512;
/// Reports that wait until there is a link with the watcher ([STD-6]).
pub const TALLIES_WAITING_MAX: usize = 65_536;
/// Testimonies that wait to be passed on; more are found by the next comparison.
pub const NEWS_MAX: usize = 4_096;
/// Reports that a watcher keeps in an epoch: of 2,000 reporters about each of 15 subjects, and some.
pub const REPORTS_MAX: usize = 65_536;
/// Proofs against relays that are kept, each 2 KiB at most; more are not taken ([EVD-5]).
pub const PROOFS_MAX: usize = 4_096;
/// Proofs that are known not to be worth another look; more are looked at again.
pub const PROOFS_JUDGED_MAX: usize = 16_384;
/// Proofs for which a sector is being made at once, a third of a second each: others come again ([EVD-3]).
pub const PROOFS_REMADE_MAX: usize = 4;
/// Losses that one sweep is told of to watchers, 35 KiB each: more than 1 % of what it covers ([EVD-4]).
pub const LOSSES_PER_SWEEP_MAX: usize = 8;
/// Lost envelopes that a watcher counts of one relay; more change nothing ([EVD-4]).
pub const LOSSES_COUNTED_MAX: usize = 4_096;
/// The highest class of a pledge: 128 times the disk of the lowest ([PLG-2]).
pub const PLEDGE_CLASS_MAX: u8 = 8;
/// Pages that one challenge asks for, each of another sector: a disk with heads reads them in 3 s ([PLG-3]).
pub const CHALLENGE_PAGES_MAX: u32 = 256;
/// How long a relay may take to answer a challenge ([PLG-5]).
pub const CHALLENGE_WAIT: Duration = Duration::from_secs(10);
/// Challenges that this relay has open at once; more than its subjects in an epoch ([PLG-6]).
pub const CHALLENGES_OPEN_MAX: usize = 64;
/// Challenges that this relay takes within [`CHALLENGE_WAIT`], one of each watcher: about 16 MiB to read ([PLG-5]).
pub const CHALLENGES_ANSWERED_MAX: usize = 16;

/// Commands that one correspondent has under way; further ones wait in its outbox.
pub const ERRANDS_MAX: usize = 256;
/// Questions that one correspondent has under way: under the streams that a guard allows a client.
pub const ASKS_IN_FLIGHT_MAX: usize = 12;

/// Letters that a relay's persona will read again, about 400 bytes each; while there are more it writes none ([CAN-2]).
pub const PERSONA_LETTERS_MAX: usize = 1_024;

/// Effects that one step may emit; more is a bug.
pub const EFFECTS_PER_STEP: usize = 4_096;

/// Bytes of the largest frame that is no onion.
pub const FRAME_BYTES_MAX: usize = 40 * 1024;

const _: () = {
    assert!(RECONCILE_TAGS_MAX <= RECONCILE_SETTLE_MAX && RECONCILE_SETTLE_MAX <= 255);
    assert!(32 + RECONCILE_BYTES_MAX + 5 <= FRAME_BYTES_MAX);
    assert!(11 + 2 * CELLS_PER_EXCHANGE_MAX + 32 + RECONCILE_BYTES_MAX <= FRAME_BYTES_MAX);
    assert!(HELD_PER_EXCHANGE_MAX <= RECONCILE_ITEMS_MAX);
    assert!(8 + ROW_HEADER_BYTES + ENVELOPE_SMALL_BYTES + LONG_STAY_BYTES <= ROW_SMALL_BYTES_MAX);
    assert!(8 + ROW_HEADER_BYTES + ENVELOPE_LARGE_BYTES + LONG_STAY_BYTES <= ROW_LARGE_BYTES_MAX);
    assert!(ONION_HEADER_BYTES == 4_698);
    assert!(ONION_HEADER_BYTES + 6 + 65 + 128 + ENVELOPE_SMALL_BYTES <= ONION_SMALL_BYTES);
    assert!(ONION_HEADER_BYTES + 6 + 65 + 128 + ENVELOPE_LARGE_BYTES <= ONION_LARGE_BYTES);
    assert!(
        ANSWER_OVERHEAD_BYTES + PAGE_HEADER_BYTES + 2 * (8 + ENVELOPE_SMALL_BYTES)
            <= ANSWER_SMALL_BYTES
    );
    assert!(
        ANSWER_OVERHEAD_BYTES + PAGE_HEADER_BYTES + 8 + ENVELOPE_LARGE_BYTES <= ANSWER_LARGE_BYTES
    );
    assert!(1 + 65 + ROW_HEADER_BYTES + ENVELOPE_LARGE_BYTES + LONG_STAY_BYTES <= FRAME_BYTES_MAX);
};
