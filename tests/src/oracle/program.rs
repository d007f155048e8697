//! What a host does with its puppets, made up at random.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::puppet::{Script, Value, Word};

/// One thing that a host does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Makes a puppet.
    Spawn {
        /// Whether of the newer version.
        newer: bool,
        /// What it does at its start.
        script: Script,
    },
    /// Sends a script, to something that the host knows.
    Send {
        /// To what.
        to: u8,
        /// The script.
        script: Script,
        /// What comes with it.
        with: Vec<u8>,
        /// Under which request id, if under one.
        request: Option<u8>,
    },
    /// Sends what was sent under a request id once more.
    Again(u8),
    /// Needs a request id no longer.
    Forget(u8),
    /// Sends several scripts as one input.
    Batch(Vec<(u8, Script)>),
    /// Has a vat go on with the newer version.
    Upgrade(u8),
    /// Wants to know what a promise comes to.
    Watch(u8),
    /// Holds something that it knows.
    Hold(u8),
    /// Holds it no longer.
    Release(u8),
    /// Lets time pass.
    Tick(u8),
    /// Runs that many cranks at most, where the order needs runs.
    Run(u8),
    /// Waits until nothing is left to run, and hears of what has settled.
    Idle,
    /// Closes the kernel and opens it again.
    Reopen,
    /// Loses the kernel at that group, counted from now, before or after its bytes are written; and
    /// opens the journal again.
    Crash {
        /// Which group.
        group: u8,
        /// Whether its bytes reach the disk.
        written: bool,
    },
}

/// How a kernel is set up; none of it may be seen in what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The workers.
    pub workers: usize,
    /// Records between checkpoints.
    pub checkpoint_records: u64,
    /// Vats that may stay in memory.
    pub vats_in_memory: usize,
    /// Bytes of one store that may stay in memory.
    pub store_cache_bytes: usize,
    /// Bytes of waiting bodies that may stay in memory.
    pub inbox_bytes: usize,
    /// Bytes after which a group is written without being asked for.
    pub group_bytes: usize,
    /// Records that may wait for their turn.
    pub reorder_records: usize,
    /// Whether groups below the checkpoint are dropped.
    pub drops: bool,
}

impl Settings {
    /// What a kernel that is opened again has instead: what was scarce is plenty, and the other way
    /// round.
    #[must_use]
    pub const fn turned(self) -> Self {
        const fn turn(what: usize, scarce: usize, plenty: usize) -> usize {
            if what <= scarce { plenty } else { scarce }
        }
        Self {
            workers: self.workers,
            checkpoint_records: turn(self.checkpoint_records as usize, 3, 1_000_000) as u64,
            vats_in_memory: turn(self.vats_in_memory, 3, 1_000_000),
            store_cache_bytes: turn(self.store_cache_bytes, 0, 1 << 20),
            inbox_bytes: turn(self.inbox_bytes, 300, 1 << 20),
            group_bytes: turn(self.group_bytes, 1, 1 << 17),
            reorder_records: turn(self.reorder_records, 4, 4096),
            drops: self.drops,
        }
    }
}

/// A program.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// What the host does, in order.
    pub deeds: Vec<Deed>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.deeds).finish()
    }
}

/// What came to hand last, more often than anything else.
fn thing() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![1 => 0u8..3, 1 => any::<u8>()]
}

fn things() -> impl Strategy<Value = Vec<u8>> + Clone {
    vec(thing(), 0..3)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => any::<u8>().prop_map(Value::Number),
        3 => thing().prop_map(Value::Thing),
        2 => things().prop_map(Value::Things),
    ]
}

/// What a crank does that makes no other cranks do something.
fn alone() -> impl Strategy<Value = Word> {
    let few = 0u8..8;
    // Above what one step of a clean-up takes, below it, and at its edge.
    let many = prop_oneof![Just(31u8), Just(32), Just(33), Just(70), 0u8..5];
    prop_oneof![
        8 => Just(Word::Promise),
        1 => many.clone().prop_map(Word::Promises),
        8 => (any::<u8>(), value()).prop_map(|(own, value)| Word::Fulfil(own, value)),
        2 => any::<u8>().prop_map(Word::Reject),
        1 => (1u8..4).prop_map(Word::Circle),
        1 => (any::<u8>(), value()).prop_map(|(which, value)| Word::Usurp(which, value)),
        2 => things().prop_map(Word::Join),
        2 => things().prop_map(Word::Race),
        8 => thing().prop_map(Word::Keep),
        4 => any::<u8>().prop_map(Word::Forget),
        5 => (few.clone(), things()).prop_map(|(key, things)| Word::Store(key, things)),
        1 => (many.clone(), thing()).prop_map(|(count, thing)| Word::StoreMany(count, thing)),
        4 => few.clone().prop_map(Word::Load),
        3 => few.clone().prop_map(Word::Erase),
        1 => Just(Word::LoadAll),
        3 => (few.clone(), any::<u16>()).prop_map(|(key, value)| Word::Put(key, value)),
        2 => few.clone().prop_map(Word::Delete),
        2 => (few, any::<bool>()).prop_map(|(from, back)| Word::Scan(from, back)),
        5 => things().prop_map(Word::Object),
        1 => many.prop_map(Word::Objects),
        2 => (thing(), things()).prop_map(|(which, things)| Word::SetObject(which, things)),
        2 => thing().prop_map(Word::Remove),
        6 => value().prop_map(Word::Answer),
        1 => Just(Word::Refuse),
        1 => Just(Word::Decline),
        1 => Just(Word::Panic),
        2 => Just(Word::Exit),
        1 => Just(Word::Fail),
        1 => any::<u8>().prop_map(Word::Forge),
        2 => Just(Word::Chance),
    ]
}

fn script(depth: u32) -> BoxedStrategy<Script> {
    if depth == 0 {
        return vec(alone(), 0..4).boxed();
    }
    let inner = || script(depth - 1);
    let send = (thing(), inner(), things());
    let watch = (thing(), inner(), things());
    let spawn = (any::<bool>(), inner(), things());
    let word = prop_oneof![
        6 => alone(),
        4 => send.prop_map(|(to, script, with)| Word::Send { to, script, with }),
        2 => watch.prop_map(|(on, script, with)| Word::Watch { on, script, with }),
        1 => spawn.prop_map(|(newer, script, with)| Word::Spawn { newer, script, with }),
    ];
    vec(word, 0..5).boxed()
}

/// What may happen to a kernel beside what its host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is closed and opened again.
    Reopenings,
    /// It is lost as well.
    Crashes,
}

fn deed(trouble: Trouble) -> impl Strategy<Value = Deed> {
    // What cannot be chosen has no place among what can.
    let (crash, crashes) = match trouble {
        Trouble::Crashes => (0u8..3, 3),
        Trouble::Reopenings => (0u8..1, 1),
    };
    let request = prop_oneof![3 => Just(None), 1 => (0u8..4).prop_map(Some)];
    let send = (thing(), script(2), things(), request);
    prop_oneof![
        3 => (any::<bool>(), script(1)).prop_map(|(newer, script)| Deed::Spawn { newer, script }),
        12 => send.prop_map(|(to, script, with, request)| Deed::Send { to, script, with, request }),
        1 => (0u8..4).prop_map(Deed::Again),
        1 => (0u8..4).prop_map(Deed::Forget),
        2 => vec((any::<u8>(), script(1)), 0..3).prop_map(Deed::Batch),
        2 => any::<u8>().prop_map(Deed::Upgrade),
        2 => any::<u8>().prop_map(Deed::Watch),
        1 => any::<u8>().prop_map(Deed::Hold),
        1 => any::<u8>().prop_map(Deed::Release),
        1 => any::<u8>().prop_map(Deed::Tick),
        4 => prop_oneof![3 => 0u8..6, 1 => any::<u8>()].prop_map(Deed::Run),
        4 => Just(Deed::Idle),
        2 => Just(Deed::Reopen),
        crashes => (crash, any::<bool>()).prop_map(move |(group, written)| match trouble {
            Trouble::Crashes => Deed::Crash { group, written },
            Trouble::Reopenings => Deed::Reopen,
        }),
    ]
}

/// Programs of up to that many deeds, after some puppets were made.
pub fn program(trouble: Trouble, deeds: usize) -> impl Strategy<Value = Program> {
    let spawn = script(1).prop_map(|script| Deed::Spawn {
        newer: true,
        script,
    });
    let parts = (vec(spawn, 2..5), vec(deed(trouble), 1..deeds));
    parts.prop_map(|(mut deeds, more)| {
        deeds.push(Deed::Idle);
        deeds.extend(more);
        Program { deeds }
    })
}

/// Settings at which much goes to the disk and comes back, and such at which nothing does.
pub fn settings(workers: impl Strategy<Value = usize>) -> impl Strategy<Value = Settings> {
    let parts = (
        workers,
        prop_oneof![1u64..4, Just(1_000_000)],
        prop_oneof![Just(1usize), Just(3), Just(1_000_000)],
        prop_oneof![Just(0usize), Just(1 << 20)],
        prop_oneof![Just(0usize), Just(300), Just(1 << 20)],
        prop_oneof![Just(1usize), Just(1 << 17)],
        prop_oneof![Just(1usize), Just(4), Just(4096)],
        any::<bool>(),
    );
    parts.prop_map(
        |(workers, checkpoint_records, vats_in_memory, cache, inbox, group, reorder, drops)| {
            Settings {
                workers,
                checkpoint_records,
                vats_in_memory,
                store_cache_bytes: cache,
                inbox_bytes: inbox,
                group_bytes: group,
                reorder_records: reorder,
                drops,
            }
        },
    )
}
