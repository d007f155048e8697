//! Has fjall's merges of the tables' files rest between pieces of work, as long as little waits behind them.
//!
//! A merge rewrites up to 256 MiB and more, for seconds of a core. Nothing needs it soon, while cranks and commits need the
//! core now, so it works a little and sleeps a little. But fjall has one worker, which flushes nothing meanwhile, and a
//! merge that takes too long would let files and memory pile up and in the end stop checkpoints. So the rests become
//! shorter with what checkpoints have written since the merge began, or just now and faster than [`SLOW_BYTES_PER_SECOND`],
//! and above [`HURRY_BYTES`] of either there are none, nor while a checkpoint is being put in, nor with many files on the
//! first level: then merges go on as fast as they would without.
//!
//! fjall has no setting for this. What it has is a filter that sees each value that a merge keeps; ours keeps them all.
//! It does not see deletions and what they delete, so a merge is not held back where it removes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

/// For how many times as long as a piece of work took a merge rests, when nothing waits behind it.
const REST: u32 = 3;
/// How long a piece of work is at least, and the longest rest.
const WORK: Duration = Duration::from_micros(500);
const LONGEST_REST: Duration = Duration::from_millis(10);
/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u32 = 16;
/// With so much written since it began or just now, a merge rests no more.
const HURRY_BYTES: u64 = 24 << 20;
/// What is written no faster than that does not pile up as written just now.
const SLOW_BYTES_PER_SECOND: u64 = 3 << 20;
/// What a batch counts for besides its bytes. Each may leave fjall's worker a message, of which it takes no more than a
/// thousand while it merges.
const BATCH_BYTES: u64 = 64 << 10;
/// With so many files on the first level, which every read looks into, a merge rests no more. At thirty fjall stops
/// writers.
const MANY_FILES: usize = 8;

/// The pace of the merges of one database.
#[derive(Debug)]
pub(crate) struct Pace {
    /// What checkpoints have written, in bytes.
    written: AtomicU64,
    /// What of it was written just now.
    recent: Mutex<Recent>,
    /// Whether a merge must not rest: someone may wait for it, or too much does.
    pressed: AtomicBool,
    /// How often merges have rested.
    rests: AtomicU64,
}

/// A bucket that leaks.
#[derive(Debug, Clone, Copy)]
struct Recent {
    bytes: u64,
    at: Instant,
}

impl Recent {
    /// What is left of it.
    fn left(self, now: Instant) -> u64 {
        let leaked = SLOW_BYTES_PER_SECOND as f64 * (now - self.at).as_secs_f64();
        self.bytes.saturating_sub(leaked as u64)
    }

    fn and(self, bytes: u64, now: Instant) -> Self {
        Self {
            bytes: (self.left(now) + bytes).min(2 * HURRY_BYTES),
            at: now,
        }
    }
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            written: AtomicU64::new(0),
            recent: Mutex::new(Recent {
                bytes: 0,
                at: Instant::now(),
            }),
            pressed: AtomicBool::new(false),
            rests: AtomicU64::new(0),
        }
    }

    /// A batch of so many bytes is about to be written to the tables, which may wait for a merge.
    pub(crate) fn begin_batch(&self, bytes: u64) {
        let bytes = bytes + BATCH_BYTES;
        self.pressed.store(true, Ordering::Relaxed);
        self.written.fetch_add(bytes, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        *recent = recent.and(bytes, Instant::now());
    }

    /// It was, and so many files are on the first level now.
    pub(crate) fn end_batch(&self, files: usize) {
        self.pressed.store(files >= MANY_FILES, Ordering::Relaxed);
    }

    /// How long a merge rests after a piece of work, when it began with so much written.
    fn rest(&self, worked: Duration, began_at: u64) -> Duration {
        if self.pressed.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let since = self.written.load(Ordering::Relaxed) - began_at;
        let recent = *self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        rest_after(worked, since.max(recent.left(Instant::now())))
    }
}

/// See the module's text.
fn rest_after(worked: Duration, waiting_bytes: u64) -> Duration {
    let left = HURRY_BYTES.saturating_sub(waiting_bytes);
    let part = left as f64 / HURRY_BYTES as f64;
    (worked * REST).mul_f64(part).min(LONGEST_REST)
}

/// Has merges rest no more when it is dropped, because whoever closes the database waits for them.
pub(crate) struct HurryAtEnd(pub(crate) Arc<Pace>);

impl Drop for HurryAtEnd {
    fn drop(&mut self) {
        self.0.pressed.store(true, Ordering::Relaxed);
    }
}

/// Gives each merge its [`Merge`].
pub(crate) struct Merges(pub(crate) Arc<Pace>);

impl Factory for Merges {
    fn name(&self) -> &'static str {
        "crankcase-pace"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Merge {
            began_at: self.0.written.load(Ordering::Relaxed),
            pace: Arc::clone(&self.0),
            since: Instant::now(),
            rows: 0,
        })
    }
}

/// A merge under way.
struct Merge {
    pace: Arc<Pace>,
    /// What was written before it.
    began_at: u64,
    /// When its last rest ended.
    since: Instant,
    /// Rows since it last looked at the clock.
    rows: u32,
}

impl CompactionFilter for Merge {
    #[inline]
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        self.rows += 1;
        if self.rows == ROWS_PER_LOOK {
            self.rows = 0;
            let worked = self.since.elapsed();
            if worked >= WORK {
                let rest = self.pace.rest(worked, self.began_at);
                if !rest.is_zero() {
                    self.pace.rests.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(rest);
                }
                self.since = Instant::now();
            }
        }
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{DatabaseOptions, TablesDatabase};
    use crate::settings::Guards;

    #[test]
    fn the_more_waits_the_shorter_it_rests_and_in_the_end_not_at_all() {
        let worked = Duration::from_micros(600);
        let rests = (0..=30).map(|mib| rest_after(worked, mib << 20));
        let rests: Vec<_> = rests.collect();
        assert_eq!(rests[0], worked * REST);
        assert!(rests[..25].windows(2).all(|two| two[1] < two[0]));
        assert!(rests[24..].iter().all(Duration::is_zero));
        assert_eq!(rest_after(Duration::from_secs(1), 0), LONGEST_REST);
    }

    #[test]
    fn what_is_written_slowly_leaks_away_and_what_is_written_fast_piles_up() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let empty = Recent {
            bytes: 0,
            at: begun,
        };
        let (mut slow, mut fast, mut now) = (empty, empty, begun);
        for _ in 0..1000 {
            now += second;
            slow = slow.and(SLOW_BYTES_PER_SECOND, now);
            fast = fast.and(SLOW_BYTES_PER_SECOND + (1 << 20), now);
        }
        assert_eq!(slow.left(now), SLOW_BYTES_PER_SECOND);
        assert_eq!(fast.left(now), 2 * HURRY_BYTES);
        assert_eq!(fast.left(now + second * 1000), 0);
    }

    #[test]
    fn a_merge_hurries_for_what_was_written_since_it_began_or_just_now_and_for_who_waits() {
        let nothing = Recent {
            bytes: 0,
            at: Instant::now(),
        };
        let pace = Arc::new(Pace::new());
        assert_eq!(pace.rest(WORK, 0), WORK * REST);
        pace.begin_batch(2 * HURRY_BYTES);
        let written = pace.written.load(Ordering::Relaxed);
        *pace.recent.lock().unwrap() = nothing;
        // The batch itself may wait.
        assert!(pace.rest(WORK, written).is_zero());
        pace.end_batch(MANY_FILES - 1);
        assert_eq!(pace.rest(WORK, written), WORK * REST);
        assert!(pace.rest(WORK, 0).is_zero());
        *pace.recent.lock().unwrap() = nothing.and(written, Instant::now() + 60 * LONGEST_REST);
        assert!(pace.rest(WORK, written).is_zero());
        *pace.recent.lock().unwrap() = nothing;
        pace.end_batch(MANY_FILES);
        assert!(pace.rest(WORK, written).is_zero());
        pace.end_batch(0);
        drop(HurryAtEnd(Arc::clone(&pace)));
        assert!(pace.rest(WORK, written).is_zero());
    }

    /// Tables that fjall merged when the fourth file came to the first level; `press` is called before
    /// that.
    fn merged(press: impl FnOnce(&Pace)) -> (tempfile::TempDir, TablesDatabase) {
        const FILES: u64 = 6;
        const ROWS: u64 = 2_000;
        let scratch = tempfile::tempdir().unwrap();
        let mut options = DatabaseOptions {
            cache_bytes: 1 << 20,
            guards: Guards::default(),
            idle: false,
            create: true,
        };
        // As recovery finds them.
        drop(TablesDatabase::open(scratch.path(), &options, None).unwrap());
        options.create = false;
        let tables = TablesDatabase::open(scratch.path(), &options, None).unwrap();
        let mut press = Some(press);
        for file in 0..FILES {
            for row in 0..ROWS {
                let key = (row * FILES + file).to_be_bytes();
                tables.rows.insert(key, key).unwrap();
            }
            if file == 4 {
                press.take().expect("once")(&tables.pace);
            }
            tables.rows.rotate_memtable_and_wait().unwrap();
        }
        // The first went to the last level as it is; when there are four others, fjall merges all.
        while tables.rows.l0_table_count() >= 4 {
            std::thread::yield_now();
        }
        for number in 0..ROWS * FILES {
            let key = number.to_be_bytes();
            assert_eq!(tables.rows.get(key).unwrap().as_deref(), Some(&key[..]));
        }
        (scratch, tables)
    }

    #[test]
    fn what_is_committed_to_the_tables_counts_and_presses_no_longer_than_that() {
        let (_scratch, tables) = merged(|_| {});
        let pace = &tables.pace;
        let before = pace.written.load(Ordering::Relaxed);
        let mut batch = tables.db.batch();
        batch.insert(&tables.rows, [1], [2]);
        tables.commit(batch, HURRY_BYTES).unwrap();
        let counted = pace.written.load(Ordering::Relaxed) - before;
        assert_eq!(counted, HURRY_BYTES + BATCH_BYTES);
        assert!(!pace.pressed.load(Ordering::Relaxed));
        assert!(pace.rest(WORK, before).is_zero());
    }

    #[test]
    fn merges_of_the_tables_rest_and_keep_all_rows() {
        let (_scratch, tables) = merged(|_| {});
        assert!(tables.pace.rests.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn merges_of_the_tables_rest_not_while_a_batch_is_under_way() {
        let (_scratch, tables) = merged(|pace| pace.begin_batch(0));
        assert_eq!(tables.pace.rests.load(Ordering::Relaxed), 0);
    }
}
