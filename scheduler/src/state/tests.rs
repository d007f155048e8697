//! Random orders of records, with checkpoints at random places: what the tables hold and what
//! `apply` makes must be one and the same, whatever the epochs were.

use crankcase_journal::{Durability, Group, Identity, Opened, Settings};
use crankcase_vat::record::InputWriter;
use crankcase_vat::{
    ActAt, Answer, Body, Cause, Crank, Delivery, Exit, Kinds, Limits, LiveVat, Message, Notice,
    Object, Other, Promise, RecordBytes, Ref, Rejection, Shared, Slot as Reach, Vat, What,
    Workspace,
};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::*;

/// Does what its message says: each pair is a small deed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Puppet {
    heard: u64,
    /// What it may send to, pass on and watch.
    known: Vec<Promise>,
    /// Promises that it is to decide.
    mine: Vec<Promise>,
}

type Deeds = (Vec<(u8, u8)>, Vec<Promise>);

impl Puppet {
    fn learn(&mut self, more: impl IntoIterator<Item = Promise>) {
        self.known.extend(more);
        let surplus = self.known.len().saturating_sub(6);
        self.known.drain(..surplus);
    }

    fn pick(&self, detail: u8) -> Option<Promise> {
        let at = usize::from(detail) % self.known.len().max(1);
        self.known.get(at).cloned()
    }

    fn act(&mut self, cx: &Crank<'_>, (deeds, came): Deeds) -> Answer {
        self.heard += 1;
        self.learn(came);
        let mut answer = Payload::of(&self.heard)?;
        for (deed, detail) in deeds {
            let one = self.pick(detail);
            let other = self.pick(detail / 7);
            let few = || {
                let deeds = vec![
                    (detail / 3, detail.wrapping_mul(7)),
                    (detail / 5, detail),
                    (18, 0),
                ];
                (deeds, other.clone().into_iter().collect())
            };
            match (deed % 20, one) {
                (0, Some(to)) => {
                    let promise = cx.send(to, "do", &few() as &Deeds);
                    if detail % 2 == 0 {
                        self.learn([promise]);
                    }
                }
                (1, _) => self.learn([cx.spawn("puppet", &detail).into()]),
                (2, _) => drop(cx.send(cx.this(), "do", &few() as &Deeds)),
                (3, _) => cx.set(&[detail % 4 + 1], &[detail]),
                (4, _) => cx.delete(&[detail % 4 + 1]),
                (5, _) if detail > 235 => return Err(Rejection::new("no", "")),
                (6, _) if detail > 240 => {
                    cx.exit(Exit::Success);
                    break;
                }
                (7, _) if detail > 240 => {
                    cx.exit(Exit::Failure);
                    break;
                }
                (8, _) => {
                    let promise = cx.promise();
                    self.learn([promise.clone()]);
                    self.mine.push(promise);
                }
                (9, known) => {
                    // What was decided becomes what it came to, which is not to be decided again.
                    let at = self.mine.iter().position(|mine| mine.id().is_some());
                    let mine = at.map(|at| self.mine.remove(at));
                    match (mine, known, detail % 4) {
                        (Some(mine), _, 0) => cx.reject(&mine, Rejection::new("not", "")),
                        (Some(mine), _, 1) => cx.fulfil(&mine, &detail),
                        (Some(mine), _, 2) => cx.fulfil(&mine, &cx.this()),
                        (Some(mine), Some(known), _) => cx.fulfil(&mine, &known),
                        _ => {}
                    }
                }
                (10, Some(on)) => {
                    let promise = cx.watch(on, "seen", &few() as &Deeds);
                    if detail % 2 == 0 {
                        self.learn([promise]);
                    }
                }
                (11, _) => self.learn([cx.object("facet", &other).into()]),
                (12, Some(known)) => cx.set_holding(&[detail % 3 + 1], &(detail, known)),
                (13, _) => cx.delete_holding(&[detail % 3 + 1]),
                (14, _) => {
                    let row: Option<(u8, Promise)> = cx.get_holding(&[detail % 3 + 1])?;
                    self.learn(row.map(|(_, known)| known));
                }
                (15, Some(known)) => answer = known.into(),
                (16, _) => {
                    self.known.pop();
                }
                (17, _) => answer = cx.rejected(Rejection::new("kept", "")).into(),
                (18, _) => self.learn([cx.me().into()]),
                (19, Some(known)) => answer = Payload::of(&(detail, vec![known]))?,
                _ => {}
            }
        }
        Ok(answer)
    }
}

impl Vat for Puppet {
    const KIND: &'static str = "puppet";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_: &Crank<'_>, (): &(), start: &Message<'_>) -> Result<Self, Rejection> {
        match start.arg_bytes() {
            [9, ..] => Err(Rejection::new("unborn", "")),
            _ => Ok(Self {
                heard: 0,
                known: Vec::new(),
                mine: Vec::new(),
            }),
        }
    }

    fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
        self.act(cx, message.args()?)
    }

    fn receive_at(
        &mut self,
        cx: &Crank<'_>,
        (): &(),
        object: &Object,
        message: &Message<'_>,
    ) -> Answer {
        let inside: Option<Promise> = object.state()?;
        self.learn(inside);
        cx.set_object(object.number(), &self.pick(1));
        self.act(cx, message.args()?)
    }

    fn notified(&mut self, cx: &Crank<'_>, (): &(), notice: &Notice<'_>) -> Answer {
        if let Ok(value) = notice.outcome() {
            self.learn(value.decode::<Promise>().ok());
            self.learn(
                value
                    .decode::<(u8, Vec<Promise>)>()
                    .map(|(_, v)| v)
                    .unwrap_or_default(),
            );
        }
        self.act(cx, notice.context()?)
    }
}

/// A kernel without threads: the state, and vats that run when they are told to.
struct Toy {
    state: State,
    live: HashMap<Slot, (LiveVat, VecDeque<Delivery>)>,
    shared: Shared,
    space: Workspace,
    records: Vec<RecordBytes>,
    parked: HashMap<DeliveryId, (ActAt, Time)>,
    audit: Audit,
    /// Records of cranks that ran and have no places yet, by vat.
    ahead: BTreeMap<Slot, VecDeque<RecordBytes>>,
}

impl Toy {
    fn new(order: CommitOrder) -> Self {
        let mut kinds = Kinds::new();
        kinds.add::<Puppet>(()).expect("one kind");
        let shared = Shared {
            kinds,
            limits: Limits::default(),
            seed: [0; 32],
            check_canonical: true,
        };
        Self {
            state: State::new(order),
            live: HashMap::new(),
            shared,
            space: Workspace::new(),
            records: Vec::new(),
            parked: HashMap::new(),
            audit: Audit::default(),
            ahead: BTreeMap::new(),
        }
    }

    /// A kernel in which three vats were made that have yet to start.
    fn populated(order: CommitOrder) -> Self {
        let mut toy = Self::new(order);
        for n in [0, 10, 20] {
            toy.input(n, &[]);
        }
        toy
    }

    fn apply(&mut self, record: RecordBytes) {
        let mut effects = Vec::new();
        self.state
            .apply(&record, &mut effects)
            .expect("a record that can follow");
        let (seq, state) = (self.state.last(), &self.state);
        self.audit
            .check(seq, &record, state)
            .expect("counted as held");
        for effect in effects {
            match effect {
                Effect::Born {
                    slot, id, number, ..
                } => {
                    let kind = Arc::clone(self.shared.kinds.get("puppet").expect("registered"));
                    let live = LiveVat::unborn(id, number, kind);
                    self.live.insert(slot, (live, VecDeque::new()));
                }
                Effect::Deliver { slot, head, what } => {
                    let (delivery, time) = (head.id(), head.time());
                    let here = |at: Span| (at.of(&record), time);
                    let mut body = |at| match at {
                        BodyAt::Here(at) => here(at),
                        BodyAt::Parked => self.parked.remove(&delivery).expect("it was parked"),
                    };
                    let other = |other| What::Other(Box::new(other));
                    let (what, time) = match what {
                        Delivered::Message { at } => (What::Act(here(at).0), time),
                        Delivered::Via { body: at, object } => {
                            let (act, time) = body(at);
                            (other(Other::Via { act, object }), time)
                        }
                        Delivered::Outcome {
                            body: at,
                            resolution,
                        } => {
                            let (act, _) = body(at);
                            (other(Other::Outcome { act, resolution }), time)
                        }
                        Delivered::Settled {
                            promise,
                            resolution,
                        } => (
                            other(Other::Settled {
                                promise,
                                resolution,
                            }),
                            time,
                        ),
                        Delivered::Dropped { object, counted } => {
                            (other(Other::Dropped { object, counted }), time)
                        }
                        Delivered::Clean => (other(Other::Clean), time),
                    };
                    let delivery = Delivery::new(
                        DeliveryHead::new(delivery, time, head.answer_wanted()),
                        what,
                    );
                    let (_, inbox) = self.live.get_mut(&slot).expect("it lives");
                    inbox.push_back(delivery);
                }
                Effect::Park { delivery, time, at } => {
                    self.parked.insert(delivery, (at.of(&record), time));
                }
                Effect::Unpark { delivery } => {
                    self.parked.remove(&delivery).expect("it was parked");
                }
                Effect::Ended { slot } => drop(self.live.remove(&slot)),
                Effect::Answer { .. } => {}
            }
        }
        self.records.push(record);
        let parked: std::collections::BTreeSet<DeliveryId> = self.state.parked().collect();
        let kept: std::collections::BTreeSet<DeliveryId> = self.parked.keys().copied().collect();
        assert_eq!(parked, kept, "what waits in promises has its body");
    }

    fn input(&mut self, n: u8, deeds: &[(u8, u8)]) {
        let known: Vec<Promise> = (1..4)
            .map(|counter| VatId::new(VatNumber::HOST, counter))
            .filter(|id| self.state.find(*id).is_some() && !n.is_multiple_of(3))
            .map(|id| Ref::to(id).into())
            .collect();
        let args = Payload::of(&(deeds, known)).expect("encodes");
        let mut body = Vec::new();
        Body::put(&mut body, args.slots(), args.bytes());
        let body = Body::read(&body).expect("a body");
        let mut writer = InputWriter::new();
        let request = format!("request {n}");
        if n.is_multiple_of(5) {
            let counter = self.state.host_spawned() + 1;
            let name = if n.is_multiple_of(2) {
                request.as_str()
            } else {
                ""
            };
            let kind = "puppet";
            let start = [0, n % 10];
            let act = Act::Spawn {
                counter,
                kind,
                version: 1,
                args: Body::read(&start).expect("a body"),
                name,
            };
            writer.push_act(None, &act);
        } else if n.is_multiple_of(7) && self.state.request(&request).is_some() {
            writer.push_act(None, &Act::Forget { request: &request });
        } else {
            let to = VatId::new(VatNumber::HOST, u64::from(n) % 4 + 1);
            let reference = crankcase_vat::record::RequestRef {
                id: &request,
                digest: [n; 32],
            };
            let request = self.state.request(&request).is_none().then_some(reference);
            writer.push_act(
                request,
                &Act::Send {
                    to: Reach::Object(to.into()),
                    method: "do",
                    args: body,
                    kept: false,
                },
            );
            // Now and then the host holds, releases and waits for what it has heard of.
            let someone = self.state.promises().iter().map(|(id, _)| id);
            if let Some(promise) = someone.max().filter(|_| n.is_multiple_of(2)) {
                let what = Reach::Promise(promise);
                writer.push_act(None, &Act::Hold { what: what.clone() });
                writer.push_act(None, &Act::Await { on: what.clone() });
                if n.is_multiple_of(4) {
                    writer.push_act(None, &Act::Release { what });
                }
            }
        }
        let run = (self.state.order() == CommitOrder::Dispatch).then_some(None);
        self.apply(writer.finish(Time::new(u64::from(n)), run).into());
    }

    /// Runs the crank that may come next: any, or the one whose turn it is.
    fn crank(&mut self, choice: u8) {
        let slot = match self.state.order() {
            CommitOrder::Dispatch => self.state.turn().map(|(_, slot)| slot),
            CommitOrder::Completion => {
                let mut ready: Vec<Slot> = self
                    .live
                    .iter()
                    .filter(|(_, (_, inbox))| !inbox.is_empty())
                    .map(|(&slot, _)| slot)
                    .collect();
                ready.sort_unstable();
                (!ready.is_empty()).then(|| ready[usize::from(choice) % ready.len()])
            }
        };
        let Some(slot) = slot else { return };
        let (live, inbox) = self.live.get_mut(&slot).expect("it lives");
        let delivery = inbox.pop_front().expect("it has a delivery");
        let ran = live.run(&delivery, &self.shared, &mut self.space);
        let finished = ran.expect("a store in memory can be read");
        self.ahead
            .entry(slot)
            .or_default()
            .push_back(finished.record);
        // In dispatch order a record has its turn when it is there; in completion order other
        // vats' cranks may overtake it.
        if self.state.order() == CommitOrder::Dispatch || choice < 120 {
            self.sequence(0);
            while self.ahead.contains_key(&slot) {
                self.sequence(choice);
            }
        }
    }

    /// Goes on with a state that is the same and was made in another way.
    fn go_on_with(&mut self, state: State) {
        let moved = |slot: Slot, before: &State| {
            let id = before.vat(slot).id;
            state.vats().find(id).expect("it is the same state")
        };
        let live = std::mem::take(&mut self.live).into_iter();
        let live = live.map(|(slot, vat)| (moved(slot, &self.state), vat));
        self.live = live.collect();
        let ahead = std::mem::take(&mut self.ahead).into_iter();
        let ahead = ahead.map(|(slot, records)| (moved(slot, &self.state), records));
        self.ahead = ahead.collect();
        self.state = state;
    }

    /// Gives one of the records that wait for it a place.
    fn sequence(&mut self, choice: u8) {
        let slots: Vec<Slot> = self.ahead.keys().copied().collect();
        if slots.is_empty() {
            return;
        }
        let slot = slots[usize::from(choice) % slots.len()];
        let records = self.ahead.get_mut(&slot).expect("it has records");
        let record = records.pop_front().expect("it has records");
        if records.is_empty() {
            self.ahead.remove(&slot);
        }
        self.apply(record);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Input(u8, Vec<(u8, u8)>),
    Crank(u8),
    Sequence(u8),
    Freeze,
    Thaw,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<u8>(), proptest::collection::vec(any::<(u8, u8)>(), 0..8))
            .prop_map(|(n, deeds)| Step::Input(n, deeds)),
        9 => any::<u8>().prop_map(Step::Crank),
        4 => any::<u8>().prop_map(Step::Sequence),
        1 => Just(Step::Freeze),
        1 => Just(Step::Thaw),
    ]
}

fn check_tables_follow_the_records(order: CommitOrder, steps: Vec<Step>) {
    let settings = Settings {
        durability: Durability::None,
        ..Settings::default()
    };
    let identity = Identity {
        kernel_id: [0; 16],
        timeline: 1,
        order: order.code(),
        seed: [0; 32],
    };
    let Opened {
        mut committer,
        mut checkpointer,
        tables,
        ..
    } = crankcase_journal::open(None, &settings, &identity).expect("in memory");
    let mut toy = Toy::populated(order);
    let mut committed = 0;
    let mut frozen: Option<Frozen> = None;
    let mut check = |toy: &mut Toy, frozen: Option<Frozen>| {
        let Some(frozen) = frozen else { return };
        let mut group = Group::new();
        group.reset(Seq::new(committed as u64 + 1));
        for record in &toy.records[committed..] {
            group.push(record);
        }
        if !group.is_empty() {
            committer.commit(&mut group).expect("in memory");
            committed = toy.records.len();
        }
        let (at, rows, thaw) = frozen.split();
        checkpointer
            .write(at, &committer.durable(), rows.into_batch())
            .expect("in memory");
        toy.state.thaw(&thaw);

        let snapshot = tables.snapshot().expect("in memory");
        let loaded = State::load(order, &snapshot).expect("what was written");
        let mut applied = State::new(order);
        let mut effects = Vec::new();
        for record in &toy.records[..at.get() as usize] {
            applied.apply(record, &mut effects).expect("applied before");
        }
        assert_eq!(
            first_difference(&loaded, &applied),
            None,
            "the tables at {at}"
        );
        let rows = first_row_difference(&applied, &snapshot).expect("in memory");
        assert_eq!(rows, None, "the rows at {at}");
        // And what follows from the tables is what followed without them.
        let mut resumed = loaded;
        for record in &toy.records[at.get() as usize..] {
            resumed.apply(record, &mut effects).expect("applied before");
        }
        assert_eq!(
            first_difference(&resumed, &toy.state),
            None,
            "resumed at {at}"
        );
        // Slots are a matter of memory; whose turn it is, is not.
        let turn = |state: &mut State| state.turn().map(|(delivery, _)| delivery);
        assert_eq!(turn(&mut resumed), turn(&mut toy.state));
        // Every other time it goes on as after a restart.
        if toy.records.len().is_multiple_of(2) {
            toy.go_on_with(resumed);
        }
    };
    for step in steps {
        match step {
            Step::Input(n, deeds) => toy.input(n, &deeds),
            Step::Crank(choice) => toy.crank(choice),
            Step::Sequence(choice) => toy.sequence(choice),
            Step::Freeze if frozen.is_none() && !toy.records.is_empty() => {
                frozen = Some(toy.state.freeze(true));
                // Retention drops groups by this, so it must be that of the frozen place.
                let oldest = toy.live.values().flat_map(|(_, inbox)| inbox);
                let bodies = oldest.filter(|delivery| match delivery.what() {
                    What::Act(_) => true,
                    What::Other(other) => {
                        matches!(**other, Other::Via { .. } | Other::Outcome { .. })
                    }
                    _ => false,
                });
                let parked = toy.parked.keys().map(|delivery| delivery.seq);
                let oldest = bodies.map(|delivery| delivery.id().seq).chain(parked).min();
                let found = frozen.as_ref().and_then(|frozen| frozen.oldest_waiting);
                if toy.ahead.is_empty() {
                    assert_eq!(found, oldest);
                }
            }
            Step::Freeze => {}
            Step::Thaw => check(&mut toy, frozen.take()),
        }
    }
    check(&mut toy, frozen.take());
    if !toy.records.is_empty() {
        let last = toy.state.freeze(true);
        check(&mut toy, Some(last));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn tables_completion_are_what_the_records_make(steps in proptest::collection::vec(step(), 1..120)) {
        check_tables_follow_the_records(CommitOrder::Completion, steps);
    }

    #[test]
    fn tables_dispatch_are_what_the_records_make(steps in proptest::collection::vec(step(), 1..120)) {
        check_tables_follow_the_records(CommitOrder::Dispatch, steps);
    }
}

#[test]
fn a_record_that_skips_a_crank_is_a_contradiction() {
    let mut toy = Toy::new(CommitOrder::Completion);
    toy.input(0, &[]);
    toy.crank(0);
    toy.input(4, &[]);
    let again = Arc::clone(&toy.records[1]);
    let applied = toy.state.apply(&again, &mut Vec::new());
    assert!(
        matches!(applied, Err(Contradiction::Overtaken { .. })),
        "{applied:?}"
    );
}

#[test]
fn a_record_of_nobody_is_a_contradiction() {
    let mut toy = Toy::new(CommitOrder::Completion);
    toy.input(0, &[]);
    toy.crank(0);
    let stray = Arc::clone(&toy.records[1]);
    let mut other = State::new(CommitOrder::Completion);
    let applied = other.apply(&stray, &mut Vec::new());
    assert!(
        matches!(applied, Err(Contradiction::NoSuchVat { .. })),
        "{applied:?}"
    );
}

#[test]
fn what_waits_for_a_vat_that_never_started_is_told_so() {
    let mut toy = Toy::new(CommitOrder::Completion);
    let mut writer = InputWriter::new();
    let spawn = Act::Spawn {
        counter: 1,
        kind: "puppet",
        version: 1,
        args: Body::read(&[0, 9]).expect("a body"),
        name: "",
    };
    let to = VatId::new(VatNumber::HOST, 1);
    let mut acts = Vec::new();
    spawn.write(&mut acts);
    Act::Send {
        to: Reach::Object(to.into()),
        method: "do",
        args: Body::empty(),
        kept: false,
    }
    .write(&mut acts);
    writer.push(None, 2, &acts);
    toy.apply(writer.finish(Time::ZERO, None).into());
    let slot = toy.state.find(to).expect("it waits for its start");
    let mut causes = Vec::new();
    while toy.state.waiting() > 0 {
        let (live, inbox) = toy.live.get_mut(&slot).expect("in memory");
        let next = inbox.pop_front().expect("a delivery");
        let ran = live.run(&next, &toy.shared, &mut toy.space);
        let record = ran.expect("a store in memory can be read").record;
        let mut effects = Vec::new();
        toy.state.apply(&record, &mut effects).expect("it follows");
        for effect in effects {
            match effect {
                Effect::Answer { outcome, .. } => {
                    causes.push(outcome.expect_err("rejected").cause());
                }
                Effect::Deliver { head, .. } => {
                    let clean = What::Other(Box::new(Other::Clean));
                    let clean = Delivery::new(head, clean);
                    let (_, inbox) = toy.live.get_mut(&slot).expect("in memory");
                    inbox.push_back(clean);
                }
                _ => {}
            }
        }
    }
    assert_eq!(causes, [Cause::Refused, Cause::NotStarted]);
    assert!(toy.state.find(to).is_none(), "it never lived");
}
