//! The store beside a model of it: whatever stays in memory, whatever the tables hold, and whenever
//! they move on, a crank sees the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use proptest::prelude::*;

use super::*;
use crate::crank::{Crank, Gathered, Shared};
use crate::held::Held;
use crate::ids::{DeliveryId, ObjectId, Seq, Time, VatNumber};
use crate::{Kinds, Limits, Progress, rooms};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const VAT: VatId = VatId::new(VatNumber::HOST, 1);

/// Tables that hold one vat, as of the crank that the test says.
#[derive(Clone, Default)]
pub(crate) struct FakeTables(Arc<Mutex<Fake>>);

#[derive(Default)]
pub(crate) struct Fake {
    /// The vat after each of its cranks; before the first, it is empty.
    pub(crate) history: Vec<Model>,
    /// The crank that the tables hold.
    pub(crate) included: usize,
    generation: u64,
    /// Reads until one fails and every later one; nothing for none.
    pub(crate) reads_left: Option<u64>,
    /// What the read that fails does instead.
    pub(crate) panics: bool,
    reads: u64,
}

impl FakeTables {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Fake> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn budget(&self, budget_bytes: usize) -> Tables {
        Tables {
            backing: Box::new(self.clone()),
            budget_bytes,
        }
    }
}

impl Fake {
    fn rows(&self) -> Model {
        match self.included {
            0 => Model::new(),
            crank => self.history[crank - 1].clone(),
        }
    }

    /// Brings the tables up to some crank between the one they hold and the last.
    pub(crate) fn checkpoint(&mut self, choice: u8) {
        let ahead = self.history.len() - self.included;
        self.included += usize::from(choice) % (ahead + 1);
        self.generation += 1;
    }

    fn read(&mut self) -> Result<(), String> {
        self.reads += 1;
        match &mut self.reads_left {
            Some(0) if self.panics => panic!("the disk panics on purpose"),
            Some(0) => Err("the disk fails on purpose".to_owned()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Backing for FakeTables {
    fn get(&self, _vat: VatId, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut fake = self.lock();
        fake.read()?;
        Ok(fake.rows().get(key).cloned())
    }

    fn rows(
        &self,
        _vat: VatId,
        bounds: KeyBounds<'_>,
        forward: bool,
        limit: ChunkLimit,
    ) -> Result<Chunk, String> {
        let mut fake = self.lock();
        fake.read()?;
        let all = fake.rows();
        let mut rows: Vec<Row> = all
            .range::<[u8], _>(bounds)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !forward {
            rows.reverse();
        }
        let more = rows.len() > limit.rows;
        rows.truncate(limit.rows);
        Ok(Chunk { rows, more })
    }

    fn included(&self, _vat: VatId) -> Result<CrankNumber, String> {
        let mut fake = self.lock();
        fake.read()?;
        Ok(CrankNumber::new(fake.included as u64))
    }

    fn generation(&self) -> u64 {
        self.lock().generation
    }
}

/// One thing within a crank.
#[derive(Debug, Clone)]
enum Deed {
    Write(u8, Option<u8>),
    Get(u8),
    /// From a key up to another, forward or not; after so many steps the walk turns around; and
    /// while it goes on, a row is written after each step, as long as there are some.
    Walk(u8, u8, bool, Option<u8>, Vec<(u8, Option<u8>)>),
    /// The tables move on in the middle of the crank.
    Checkpoint(u8),
}

#[derive(Debug, Clone)]
enum Step {
    /// A crank, which is abandoned or not.
    Crank(Vec<Deed>, bool),
    Checkpoint(u8),
    /// The vat leaves memory and comes back; the numbers choose how far the tables are, and how
    /// much of what they hold is still handed over as newer.
    Reload(u8, u8),
}

/// Keys of one to three bytes that begin alike.
fn key(number: u8) -> Vec<u8> {
    let number = number % 48;
    match number % 3 {
        0 => vec![number / 3],
        1 => vec![number / 3, 0],
        _ => vec![number / 3, 255, 255],
    }
}

/// The key under which a row of the vat's own stands in its store.
fn stored(number: u8) -> Vec<u8> {
    rooms::in_room(rooms::PLAIN, &key(number))
}

/// Values from nothing to some hundred bytes.
fn value(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) * usize::from(number % 3)]
}

fn deed() -> impl Strategy<Value = Deed> {
    let writes = proptest::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..12);
    prop_oneof![
        6 => any::<(u8, Option<u8>)>().prop_map(|(key, value)| Deed::Write(key, value)),
        4 => any::<u8>().prop_map(Deed::Get),
        2 => (any::<(u8, u8, bool)>(), proptest::option::of(0u8..20), writes)
            .prop_map(|((low, high, forward), turn, writes)| {
                Deed::Walk(low, high, forward, turn, writes)
            }),
        1 => any::<u8>().prop_map(Deed::Checkpoint),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let deeds = || proptest::collection::vec(deed(), 0..12);
    prop_oneof![
        8 => deeds().prop_map(|deeds| Step::Crank(deeds, false)),
        1 => deeds().prop_map(|deeds| Step::Crank(deeds, true)),
        3 => any::<u8>().prop_map(Step::Checkpoint),
        1 => any::<(u8, u8)>().prop_map(|(at, thawed)| Step::Reload(at, thawed)),
    ]
}

fn shared() -> Shared {
    Shared {
        kinds: Kinds::new(),
        limits: Limits::default(),
        seed: [0; 32],
        check_canonical: false,
    }
}

/// A vat's store beside its model.
struct Bench {
    store: Store,
    fake: FakeTables,
    tables: Tables,
    model: Model,
    /// The keys that each crank wrote.
    written: Vec<Vec<Vec<u8>>>,
    shared: Shared,
}

impl Bench {
    fn new(budget_bytes: usize) -> Self {
        let fake = FakeTables::default();
        Self {
            store: Store::default(),
            tables: fake.budget(budget_bytes),
            fake,
            model: Model::new(),
            written: Vec::new(),
            shared: shared(),
        }
    }

    fn last(&self) -> CrankNumber {
        CrankNumber::new(self.written.len() as u64)
    }

    /// Runs a crank; gives what it read.
    fn crank(&mut self, deeds: &[Deed], abandoned: bool) {
        let (last, number) = (self.last(), self.last().next());
        if self.store.wants_room(&self.tables) {
            let made = self.store.make_room(VAT, last, &self.tables);
            made.expect("the tables can be read");
        }
        let mut gathered = Gathered::default();
        let committed = Committed::new(&self.store, Some(&self.tables));
        let (before, nothing, none) = (Progress::default(), Held::default(), BTreeSet::new());
        let cx = Crank {
            id: VAT,
            vat_number: VatNumber::new(1),
            number,
            delivery: DeliveryId::new(Seq::new(1), 0),
            now: Time::ZERO,
            shared: &self.shared,
            store: committed,
            before: &before,
            held: &nothing,
            came: &nothing,
            object: ObjectId::ROOT,
            to_decide: &none,
            gathered: RefCell::new(&mut gathered),
            doom: RefCell::new(None),
            doomed: Cell::new(false),
            exit: Cell::new(None),
            state_left: Cell::new(false),
            random: RefCell::new(None),
            stays_on_its_thread: PhantomData,
        };
        let mut model = self.model.clone();
        for deed in deeds {
            perform(&cx, deed, &mut model, &self.fake);
        }
        assert_eq!(committed.take_failure(), None);
        drop(cx);
        let writes = std::mem::take(&mut gathered.writes);
        if abandoned {
            self.written.push(Vec::new());
        } else {
            self.model = model;
            self.written
                .push(writes.keys().map(|key| key.to_vec()).collect());
            self.store.commit(number, writes, true);
        }
        self.fake.lock().history.push(self.model.clone());
    }

    fn reload(&mut self, at: u8, thawed: u8) {
        let (included, stored) = {
            let mut fake = self.fake.lock();
            fake.checkpoint(at);
            (fake.included, fake.rows())
        };
        let thawed = usize::from(thawed) % (included + 1);
        let newer: BTreeMap<_, _> = self.written[thawed..]
            .iter()
            .flatten()
            .map(|key| {
                let value = self.model.get(key).map(|value| (&value[..]).into());
                (key.as_slice().into(), value)
            })
            .collect();
        let stored = stored.into_iter().map(Ok::<_, ()>);
        self.store = Store::load(newer, self.last(), stored, self.tables.budget_bytes)
            .expect("no row fails");
        let rows: usize = self
            .model
            .iter()
            .map(|(k, v)| row_bytes(k.len(), v.len()))
            .sum();
        assert_eq!(
            self.store.is_complete(),
            rows <= self.tables.budget_bytes,
            "a store is whole in memory if it fits"
        );
    }
}

fn perform(cx: &Crank<'_>, deed: &Deed, model: &mut Model, fake: &FakeTables) {
    let write = |model: &mut Model, at: u8, new: Option<u8>| match new {
        Some(new) => {
            cx.set(&key(at), &value(new));
            model.insert(stored(at), value(new));
        }
        None => {
            cx.delete(&key(at));
            model.remove(&stored(at));
        }
    };
    match deed {
        Deed::Write(at, new) => write(model, *at, *new),
        Deed::Get(at) => assert_eq!(cx.get(&key(*at)), model.get(&stored(*at)).cloned()),
        Deed::Checkpoint(choice) => fake.lock().checkpoint(*choice),
        Deed::Walk(low, high, forward, turn, writes) => {
            let mut forward = *forward;
            let asked = (Bound::Included(key(*low)), Bound::Excluded(key(*high)));
            let mut walk = cx.range(asked);
            let (mut low, mut high) = (
                Bound::Included(stored(*low)),
                Bound::Excluded(stored(*high)),
            );
            if !forward {
                walk = walk.rev();
            }
            let mut writes = writes.iter();
            for step in 0u32.. {
                if turn.map(u32::from) == Some(step) {
                    forward = !forward;
                    walk = walk.rev();
                }
                let bounds = (
                    low.as_ref().map(|key| &key[..]),
                    high.as_ref().map(|key| &key[..]),
                );
                let mut rest = (!is_empty(bounds))
                    .then(|| model.range::<[u8], _>(bounds))
                    .into_iter()
                    .flatten();
                let expected = if forward {
                    rest.next()
                } else {
                    rest.next_back()
                };
                let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
                let own = expected.as_ref();
                let own = own.map(|(key, value)| (key[1..].to_vec(), value.clone()));
                assert_eq!(walk.next(), own, "step {step}");
                let Some((passed, _)) = expected else { break };
                if forward {
                    low = Bound::Excluded(passed);
                } else {
                    high = Bound::Excluded(passed);
                }
                if let Some((at, new)) = writes.next() {
                    write(model, *at, *new);
                }
            }
        }
    }
}

fn check(budget_bytes: usize, steps: &[Step]) {
    let mut bench = Bench::new(budget_bytes);
    for step in steps {
        match step {
            Step::Crank(deeds, abandoned) => bench.crank(deeds, *abandoned),
            Step::Checkpoint(choice) => bench.fake.lock().checkpoint(*choice),
            Step::Reload(at, thawed) => bench.reload(*at, *thawed),
        }
    }
    // And everything once more, in both directions.
    let all = |forward| Deed::Walk(0, 47, forward, None, Vec::new());
    bench.crank(&[all(true), all(false)], false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_crank_sees_the_same_with_any_budget(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        for budget_bytes in [0, 150, 500, 2000, usize::MAX] {
            check(budget_bytes, &steps);
        }
    }
}

/// Writes `count` rows and has the tables hold them.
fn filled(budget_bytes: usize, count: u16) -> Bench {
    let mut bench = Bench::new(budget_bytes);
    let (mut writes, mut rows) = (Writes::new(), Model::new());
    for number in 0..count {
        writes.insert(
            RowKey::from(&number.to_be_bytes()[..]),
            Some([7; 10].into()),
        );
        rows.insert(number.to_be_bytes().to_vec(), vec![7; 10]);
    }
    bench.store.commit(CrankNumber::new(1), writes, true);
    bench.written.push(rows.keys().cloned().collect());
    bench.model = rows.clone();
    let mut fake = bench.fake.lock();
    fake.history.push(rows);
    fake.included = 1;
    fake.generation = 1;
    drop(fake);
    bench
}

#[test]
fn a_store_above_its_budget_lets_go_of_what_the_tables_hold() {
    let mut bench = filled(1000, 500);
    assert!(bench.store.is_complete());
    let above = bench.store.bytes();
    bench.crank(&[], false);
    assert!(!bench.store.is_complete() && above > 30_000);
    assert!(bench.store.bytes() <= 1000, "{:?}", bench.store);
    // Walks leave nothing behind, and single reads no more than the budget.
    let committed = Committed::new(&bench.store, Some(&bench.tables));
    for number in 0..500u16 {
        assert_eq!(
            committed.get(VAT, &number.to_be_bytes()),
            Ok(Some(vec![7; 10]))
        );
        assert!(bench.store.bytes() <= 1000);
    }
}

#[test]
fn a_store_keeps_what_the_tables_do_not_hold() {
    let mut bench = filled(0, 20);
    bench.fake.lock().included = 0;
    let all = bench.store.bytes();
    bench.crank(&[], false);
    assert_eq!(bench.store.bytes(), all);
    bench.fake.lock().checkpoint(1);
    while bench.store.bytes() > 0 {
        let before = bench.store.bytes();
        bench.crank(&[], false);
        assert!(bench.store.bytes() < before);
    }
}

#[test]
fn a_crank_lets_go_of_a_few_of_many_rows_and_of_more_than_were_written() {
    // A store of which everything was looked at before it is written to.
    let mut bench = filled(0, 10);
    bench.crank(&[], false);
    assert!(!bench.store.is_complete() && bench.store.bytes() == 0);
    let write = |number| Deed::Write(number, Some(1));
    for crank in 0..4 {
        let writes: Vec<_> = (0..10).map(|number| write(10 * crank + number)).collect();
        bench.crank(&writes, false);
    }
    assert_eq!(bench.store.rows_in_memory().len(), 40);
    bench.fake.lock().checkpoint(5);
    // Room was last made before the last ten: four are looked at, and four for each of the ten.
    bench.crank(&[], false);
    assert_eq!(bench.store.rows_in_memory().len(), 0);
    for number in 0..40 {
        bench.crank(&[write(number)], false);
    }
    bench.crank(&[], false);
    bench.fake.lock().checkpoint(41);
    for left in (0..40).step_by(4).rev() {
        bench.crank(&[], false);
        assert_eq!(bench.store.rows_in_memory().len(), left);
    }
}

#[test]
fn a_store_within_its_budget_never_reads_the_tables() {
    let mut bench = filled(1 << 20, 500);
    let walk = Deed::Walk(0, 47, true, None, vec![(3, None), (4, Some(9))]);
    for _ in 0..20 {
        bench.crank(&[walk.clone(), Deed::Get(7), Deed::Write(5, None)], false);
    }
    assert!(bench.store.is_complete());
    assert_eq!(bench.fake.lock().reads, 0);
}

#[test]
fn a_row_that_is_read_twice_is_read_from_the_tables_once() {
    let mut bench = filled(4000, 500);
    bench.crank(&[], false);
    let before = bench.fake.lock().reads;
    let committed = Committed::new(&bench.store, Some(&bench.tables));
    for key in [&[0u8, 3][..], b"not there"] {
        let first = committed.get(VAT, key).expect("readable");
        assert_eq!(committed.get(VAT, key), Ok(first));
    }
    assert_eq!(bench.fake.lock().reads, before + 2);
}

#[test]
fn a_walk_reads_the_tables_by_the_chunk() {
    let mut bench = filled(0, 1000);
    bench.crank(&[], false);
    let before = bench.fake.lock().reads;
    let committed = Committed::new(&bench.store, Some(&bench.tables));
    let (mut walk, writes) = (Walk::default(), Writes::new());
    let (mut low, mut found) = (Bound::Unbounded, 0u16);
    loop {
        let bounds = (low.as_ref().map(|key: &Vec<u8>| &key[..]), Bound::Unbounded);
        let next = walk.next(committed, VAT, &writes, bounds, true);
        let Some((key, _)) = next.expect("readable") else {
            break;
        };
        assert_eq!(key, found.to_be_bytes());
        found += 1;
        low = Bound::Excluded(key);
    }
    assert_eq!(found, 1000);
    assert!(bench.fake.lock().reads - before <= 10);
}

#[test]
fn rows_that_come_and_go_leave_nothing_behind_for_ever() {
    let mut bench = Bench::new(1 << 20);
    for round in 0..4000u64 {
        let number = bench.last().next();
        let mut writes = Writes::new();
        writes.insert(RowKey::from(&round.to_be_bytes()[..]), Some([1; 8].into()));
        if let Some(before) = round.checked_sub(1) {
            writes.insert(RowKey::from(&before.to_be_bytes()[..]), None);
        }
        bench.store.commit(number, writes, true);
        bench.written.push(Vec::new());
        let mut fake = bench.fake.lock();
        fake.history.push(Model::new());
        if round % 100 == 0 {
            fake.checkpoint(99);
        }
        drop(fake);
        if bench.store.wants_room(&bench.tables) {
            let made = bench.store.make_room(VAT, number, &bench.tables);
            made.expect("readable");
        }
        assert!(bench.store.bytes() < 2 * FEW_DELETED_BYTES + 100 * 100);
    }
    assert!(bench.store.is_complete());
}

#[test]
fn after_a_failed_read_nothing_more_is_read() {
    let mut bench = filled(0, 20);
    bench.crank(&[], false);
    bench.fake.lock().reads_left = Some(1);
    let committed = Committed::new(&bench.store, Some(&bench.tables));
    assert_eq!(committed.get(VAT, &[0, 1]), Ok(Some(vec![7; 10])));
    assert_eq!(committed.get(VAT, &[0, 2]), Err(Unread));
    bench.fake.lock().reads_left = None;
    assert_eq!(committed.get(VAT, &[0, 3]), Err(Unread));
    let failure = committed.take_failure();
    assert_eq!(failure.as_deref(), Some("the disk fails on purpose"));
}

#[test]
fn a_store_that_outgrows_its_budget_knows_what_it_deleted_before_it_was_loaded() {
    let mut bench = filled(1000, 10);
    let number = CrankNumber::new(2);
    let all = (0..10u16).map(|number| (number.to_be_bytes().into(), None));
    let stored = bench.model.clone().into_iter().map(Ok::<_, ()>);
    bench.store = Store::load(all, number, stored, 1000).expect("no row fails");
    assert!(bench.store.is_complete());
    let writes = [(RowKey::from(&b"large"[..]), Some([1; 2000].into()))];
    let number = number.next();
    bench.store.commit(number, writes.into(), true);
    let made = bench.store.make_room(VAT, number, &bench.tables);
    made.expect("readable");
    assert!(!bench.store.is_complete());
    let committed = Committed::new(&bench.store, Some(&bench.tables));
    assert_eq!(committed.get(VAT, &[0, 3]), Ok(None));
}

#[test]
fn a_walk_passes_over_what_was_deleted_in_reads_of_whole_chunks() {
    let mut bench = filled(0, 2000);
    let writes = (0..1900u16).map(|number| (RowKey::from(&number.to_be_bytes()[..]), None));
    let number = CrankNumber::new(2);
    bench.store.commit(number, writes.collect(), true);
    let made = bench.store.make_room(VAT, number, &bench.tables);
    made.expect("readable");
    for (forward, first) in [(true, 1900u16), (false, 1999)] {
        let before = bench.fake.lock().reads;
        let committed = Committed::new(&bench.store, Some(&bench.tables));
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        let row = Walk::default().next(committed, VAT, &Writes::new(), bounds, forward);
        let (key, _) = row.expect("readable").expect("rows are left");
        assert_eq!(key, first.to_be_bytes());
        assert!(bench.fake.lock().reads - before <= 14);
    }
}

/// Runs deeds in a crank over an empty store.
pub(crate) fn in_a_crank<R>(deeds: impl FnOnce(&Crank<'_>) -> Result<R, crate::Rejection>) -> R {
    let (store, shared, mut gathered) = (Store::default(), shared(), Gathered::default());
    let (before, nothing, none) = (Progress::default(), Held::default(), BTreeSet::new());
    let cx = Crank {
        id: VAT,
        vat_number: VatNumber::new(1),
        number: CrankNumber::new(1),
        delivery: DeliveryId::new(Seq::new(1), 0),
        now: Time::ZERO,
        shared: &shared,
        store: Committed::new(&store, None),
        before: &before,
        held: &nothing,
        came: &nothing,
        object: ObjectId::ROOT,
        to_decide: &none,
        gathered: RefCell::new(&mut gathered),
        doom: RefCell::new(None),
        doomed: Cell::new(false),
        exit: Cell::new(None),
        state_left: Cell::new(false),
        random: RefCell::new(None),
        stays_on_its_thread: PhantomData,
    };
    let done = deeds(&cx).expect("no deed is rejected");
    assert!(!cx.doomed.get(), "{:?}", cx.doom.take());
    done
}
