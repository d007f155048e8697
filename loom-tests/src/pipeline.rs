//! The way of a record in small: sequenced under the role, gathered in a group, handed to the
//! committer, made durable, released.
//!
//! The sequencer and the committer of production know the state and the disk, so they cannot be
//! explored. What they do between threads is here in the same steps and in the same order, over
//! the production code of the role, the hand-over, the watermarks and the stall.

use std::sync::{Mutex, PoisonError};

use crankcase::model::{Duty, HandOver, Role, Stall, Watermarks};
use crankcase_vat::Seq;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// When groups are cut, and when nothing more is sequenced.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Records that will come until the kernel is idle; more than ever come, if it never is.
    pub until_idle: u64,
    /// Records in the forming group that ask for a commit.
    pub group: usize,
    /// Records sequenced and not durable above which nothing more is sequenced.
    pub undurable: usize,
    /// The last place that the disk takes: committing one behind it fails.
    pub disk_holds: u64,
}

impl Pace {
    /// Commits when idle or asked, on a disk without end, and is never full.
    #[must_use]
    pub fn idle_after(until_idle: u64) -> Self {
        Self {
            until_idle,
            group: usize::MAX,
            undurable: usize::MAX,
            disk_holds: u64::MAX,
        }
    }
}

enum Item {
    /// A record of an author, and the ticket that someone waits for, if there is one.
    Record(u8, Option<Arc<Ticket>>),
    /// Someone waits for what is sequenced.
    Demand,
    /// The committer has done a group, well or not.
    Committed { durable: bool },
}

/// What decides who asks for the commit: the one that waits, or the one that sequences.
struct Ticket(loom::sync::Mutex<Asked>);

#[derive(Default)]
struct Asked {
    waited: bool,
    sequenced: bool,
}

impl Ticket {
    fn with<R>(&self, act: impl FnOnce(&mut Asked) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place in the order, and whose ticket rests on it.
type Release = (u64, u8);

/// What became of one record's ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Settled(u8),
    Failed(u8),
}

struct Shared {
    pace: Pace,
    watermarks: Watermarks,
    commits: HandOver<Vec<Release>>,
    stall: Stall,
    stopping: AtomicBool,
    /// The last place on disk. Written and read without any order of its own, so that who relies
    /// on it must have its order from the watermarks.
    disk: AtomicU64,
    /// What tickets were told: to be waited for.
    told: HandOver<Told>,
    /// Sizes of the groups that were committed. No lock of loom's.
    groups: Mutex<Vec<usize>>,
}

impl Shared {
    fn tell(&self, told: Told) {
        // Nobody closes it.
        let _ = self.told.give(told);
    }
}

struct After {
    commit: Option<Vec<Release>>,
    announce: bool,
}

struct Sequencing {
    shared: Arc<Shared>,
    sequenced: u64,
    group: Vec<Release>,
    committing: Option<usize>,
    demanded: bool,
    failed: bool,
    was_full: bool,
    /// Groups done in this tenure.
    steps: u64,
}

impl Duty for Sequencing {
    type Item = Item;
    type After = After;

    fn accept(&mut self, item: Item) {
        match item {
            Item::Record(author, _) if self.failed => self.shared.tell(Told::Failed(author)),
            Item::Record(author, ticket) => {
                self.sequenced += 1;
                self.shared.watermarks.sequence(Seq::new(self.sequenced));
                self.group.push((self.sequenced, author));
                self.demanded |= ticket.is_some_and(|ticket| {
                    ticket.with(|asked| {
                        asked.sequenced = true;
                        asked.waited
                    })
                });
            }
            Item::Demand => self.demanded = true,
            Item::Committed { durable } => {
                assert!(
                    self.committing.take().is_some(),
                    "a group was reported twice"
                );
                self.steps += 1;
                if !durable {
                    self.failed = true;
                    for (_, author) in self.group.drain(..) {
                        self.shared.tell(Told::Failed(author));
                    }
                }
            }
        }
    }

    fn is_full(&self) -> bool {
        self.group.len() + self.committing.unwrap_or(0) > self.shared.pace.undurable
    }

    fn finish(&mut self) -> After {
        let pace = self.shared.pace;
        let idle = self.sequenced >= pace.until_idle;
        let mut commit = None;
        if self.committing.is_none()
            && !self.failed
            && !self.group.is_empty()
            && (idle || self.demanded || self.group.len() >= pace.group)
        {
            self.demanded = false;
            self.committing = Some(self.group.len());
            commit = Some(std::mem::take(&mut self.group));
        }
        let full = self.is_full();
        let steps = std::mem::take(&mut self.steps);
        let announce = self.was_full && !full || steps > 0;
        self.was_full = full;
        After { commit, announce }
    }
}

/// The parts of a kernel between a finished crank and a settled ticket.
pub struct Pipeline {
    shared: Arc<Shared>,
    role: Role<Sequencing>,
}

impl Pipeline {
    /// An empty order.
    #[must_use]
    pub fn new(pace: Pace) -> Arc<Self> {
        let shared = Arc::new(Shared {
            pace,
            watermarks: Watermarks::new(Seq::new(0)),
            commits: HandOver::new(),
            stall: Stall::new(),
            stopping: AtomicBool::new(false),
            disk: AtomicU64::new(0),
            told: HandOver::new(),
            groups: Mutex::new(Vec::new()),
        });
        let role = Role::new(Sequencing {
            shared: Arc::clone(&shared),
            sequenced: 0,
            group: Vec::new(),
            committing: None,
            demanded: false,
            failed: false,
            was_full: false,
            steps: 0,
        });
        Arc::new(Self { shared, role })
    }

    fn after(&self, after: After) {
        if let Some(group) = after.commit
            && let Err(group) = self.shared.commits.give(group)
        {
            for (_, author) in group {
                self.shared.tell(Told::Failed(author));
            }
        }
        if after.announce {
            self.shared.stall.announce();
        }
    }

    /// Hands over a record.
    pub fn submit(&self, author: u8) {
        self.role
            .submit(Item::Record(author, None), &mut |after| self.after(after));
    }

    /// Hands over a record and begins to wait for its ticket, as a blocking host does: it asks for
    /// a commit if the record has its place already, and leaves that to the holder of the role if
    /// not. Says which.
    pub fn submit_and_ask(&self, author: u8) -> bool {
        let ticket = Arc::new(Ticket(loom::sync::Mutex::default()));
        let item = Item::Record(author, Some(Arc::clone(&ticket)));
        self.role.submit(item, &mut |after| self.after(after));
        let must_demand = ticket.with(|asked| {
            asked.waited = true;
            asked.sequenced
        });
        if must_demand {
            self.demand();
        }
        must_demand
    }

    /// Asks for a commit of what is sequenced.
    pub fn demand(&self) {
        self.role
            .submit_urgent(Item::Demand, &mut |after| self.after(after));
    }

    /// What a worker does between two cranks: sleeps while the role is full. Says whether it was.
    pub fn pause_if_full(&self) -> bool {
        if !self.role.is_full() {
            return false;
        }
        self.shared
            .stall
            .sleep_while(|| self.role.is_full() && !self.is_stopping());
        true
    }

    /// The committer: until the hand-over is closed.
    pub fn commit_all(&self) {
        let shared = &self.shared;
        while let Some(group) = shared.commits.take() {
            let (last, _) = *group.last().expect("an empty group is never cut");
            shared
                .groups
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(group.len());
            let durable = last <= shared.pace.disk_holds && !self.is_stopping_for_a_failure();
            if durable {
                shared.disk.store(last, Ordering::Relaxed);
                shared.watermarks.make_durable(Seq::new(last));
                shared.watermarks.release(Seq::new(last));
            } else {
                self.stop();
            }
            for (place, author) in group {
                assert!(
                    !durable || shared.watermarks.released() >= Seq::new(place),
                    "a ticket is settled before its record is released",
                );
                shared.tell(if durable {
                    Told::Settled(author)
                } else {
                    Told::Failed(author)
                });
            }
            let item = Item::Committed { durable };
            self.role
                .submit_urgent(item, &mut |after| self.after(after));
        }
    }

    /// After a failed commit no other is tried.
    fn is_stopping_for_a_failure(&self) -> bool {
        self.shared.pace.disk_holds != u64::MAX && self.is_stopping()
    }

    /// Has the workers leave.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.stall.announce();
    }

    /// Whether the workers are to leave.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst)
    }

    /// Waits until all that is sequenced is released.
    pub fn wait_until_released(&self) {
        let watermarks = &self.shared.watermarks;
        self.shared
            .stall
            .sleep_while(|| watermarks.released() < watermarks.sequenced());
    }

    /// Ends the committer, when it has done what it was given.
    pub fn close(&self) {
        self.shared.commits.close();
    }

    /// Waits for the next ticket to be told something: its author, and whether it is settled.
    pub fn wait_for_one(&self) -> (u8, bool) {
        match self.shared.told.take().expect("nobody closes it") {
            Told::Settled(author) => (author, true),
            Told::Failed(author) => (author, false),
        }
    }

    /// Looks at the order from outside.
    ///
    /// # Panics
    ///
    /// When released ≤ durable ≤ sequenced does not hold, or what is said to be durable or
    /// released is not on disk.
    pub fn look(&self) -> [u64; 3] {
        let watermarks = &self.shared.watermarks;
        // The lowest first: the others may only have grown since.
        let released = watermarks.released().get();
        let at_release = self.shared.disk.load(Ordering::Relaxed);
        let durable = watermarks.durable().get();
        let on_disk = self.shared.disk.load(Ordering::Relaxed);
        let sequenced = watermarks.sequenced().get();
        assert!(
            released <= durable,
            "released {released} has passed durable {durable}"
        );
        assert!(
            durable <= sequenced,
            "durable {durable} has passed sequenced {sequenced}"
        );
        assert!(
            at_release >= released,
            "released {released}, but on disk is {at_release}"
        );
        assert!(
            on_disk >= durable,
            "durable {durable}, but on disk is {on_disk}"
        );
        [released, durable, sequenced]
    }

    /// Sizes of the groups that the committer was given, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<usize> {
        self.shared
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("groups", &self.groups())
            .finish_non_exhaustive()
    }
}
