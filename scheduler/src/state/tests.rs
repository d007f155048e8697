//! Random orders of records, with checkpoints at random places: what the tables hold and what
//! `apply` makes must be one and the same, whatever the epochs were.

use crankcase_journal::{Durability, Group, Identity, Opened, Settings};
use crankcase_vat::record::InputWriter;
use crankcase_vat::{
    Answer, Crank, Delivery, Exit, Kinds, Limits, LiveVat, Message, RecordBytes, Shared, Vat,
    Workspace,
};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::*;

/// Does what its message says: each byte is a small deed.
#[derive(serde::Serialize, serde::Deserialize)]
struct Puppet {
    heard: u64,
}

impl Vat for Puppet {
    const KIND: &'static str = "puppet";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_: &Crank<'_>, (): &(), start: &Message<'_>) -> Result<Self, Rejection> {
        match start.arg_bytes() {
            [9, ..] => Err(Rejection::new("unborn", "")),
            _ => Ok(Self { heard: 0 }),
        }
    }

    fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
        self.heard += 1;
        let deeds: Vec<(u8, u8)> = message.args()?;
        for (deed, detail) in deeds {
            let someone = VatId::new(VatNumber::new(u64::from(detail) % 3), u64::from(detail) % 5);
            match deed % 8 {
                0 => cx.send(someone, "do", &vec![(3u8, detail)]),
                1 => drop(cx.spawn("puppet", &detail)),
                2 => cx.send(cx.me(), "do", &vec![(3u8, detail), (4, detail)]),
                3 => cx.set(&[detail % 4 + 1], &[detail]),
                4 => cx.delete(&[detail % 4 + 1]),
                5 if detail > 200 => return Err(Rejection::new("no", "")),
                6 if detail > 240 => {
                    cx.exit(Exit::Success);
                    break;
                }
                7 if detail > 240 => {
                    cx.exit(Exit::Failure);
                    break;
                }
                _ => {}
            }
        }
        Ok(Payload::empty())
    }
}

/// A kernel without threads: the state, and vats that run when they are told to.
struct Toy {
    state: State,
    live: HashMap<Slot, (LiveVat, VecDeque<Delivery>)>,
    shared: Shared,
    space: Workspace,
    records: Vec<RecordBytes>,
}

impl Toy {
    fn new(order: CommitOrder) -> Self {
        let mut kinds = Kinds::new();
        kinds.add::<Puppet>(()).expect("one kind");
        let shared = Shared {
            kinds,
            limits: Limits::default(),
            seed: [0; 32],
            check_canonical: false,
        };
        Self {
            state: State::new(order),
            live: HashMap::new(),
            shared,
            space: Workspace::new(),
            records: Vec::new(),
        }
    }

    fn apply(&mut self, record: RecordBytes) {
        let mut effects = Vec::new();
        self.state
            .apply(&record, &mut effects)
            .expect("a record that can follow");
        for effect in effects {
            match effect {
                Effect::Born {
                    slot, id, number, ..
                } => {
                    let kind = Arc::clone(self.shared.kinds.get("puppet").expect("registered"));
                    let live = LiveVat::unborn(id, number, kind);
                    self.live.insert(slot, (live, VecDeque::new()));
                }
                Effect::Deliver {
                    slot,
                    delivery,
                    time,
                    offset,
                    from_host,
                } => {
                    let delivery =
                        Delivery::new(delivery, time, Arc::clone(&record), offset, from_host);
                    self.live
                        .get_mut(&slot)
                        .expect("it lives")
                        .1
                        .push_back(delivery);
                }
                Effect::Ended { slot } => drop(self.live.remove(&slot)),
                Effect::Answer { .. } => {}
            }
        }
        self.records.push(record);
    }

    fn input(&mut self, n: u8, deeds: &[(u8, u8)]) {
        let args = Payload::of(deeds).expect("encodes");
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
            let act = Act::Spawn {
                counter,
                kind,
                version: 1,
                args: &[n % 10],
                name,
            };
            writer.push_act(None, act);
        } else if n.is_multiple_of(7) && self.state.request(&request).is_some() {
            writer.push_act(None, Act::Forget { request: &request });
        } else {
            let to = VatId::new(VatNumber::HOST, u64::from(n) % 4 + 1);
            let reference = crankcase_vat::record::RequestRef {
                id: &request,
                digest: [n; 32],
            };
            let request = self.state.request(&request).is_none().then_some(reference);
            writer.push_act(
                request,
                Act::Send {
                    to,
                    method: "do",
                    args: args.bytes(),
                },
            );
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
        let finished = live.run(&delivery, &self.shared, &mut self.space);
        self.apply(finished.record);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Input(u8, Vec<(u8, u8)>),
    Crank(u8),
    Freeze,
    Thaw,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<u8>(), proptest::collection::vec(any::<(u8, u8)>(), 0..4))
            .prop_map(|(n, deeds)| Step::Input(n, deeds)),
        6 => any::<u8>().prop_map(Step::Crank),
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
    let mut toy = Toy::new(order);
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
            .write(at, &committer.durable(), rows)
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
    };
    for step in steps {
        match step {
            Step::Input(n, deeds) => toy.input(n, &deeds),
            Step::Crank(choice) => toy.crank(choice),
            Step::Freeze if frozen.is_none() && !toy.records.is_empty() => {
                frozen = Some(toy.state.freeze(true));
                // Retention drops groups by this, so it must be that of the frozen place.
                let oldest = toy.live.values().flat_map(|(_, inbox)| inbox);
                let oldest = oldest.map(|delivery| delivery.id().seq).min();
                let found = frozen.as_ref().and_then(|frozen| frozen.oldest_waiting);
                assert_eq!(found, oldest);
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
        args: &[9],
        name: "",
    };
    let to = VatId::new(VatNumber::HOST, 1);
    let mut acts = Vec::new();
    spawn.write(&mut acts);
    Act::Send {
        to,
        method: "do",
        args: &[],
    }
    .write(&mut acts);
    writer.push(None, 2, &acts);
    toy.apply(writer.finish(Time::ZERO, None).into());
    let slot = toy.state.find(to).expect("it waits for its start");
    let (live, inbox) = toy.live.get_mut(&slot).expect("in memory");
    let start = inbox.pop_front().expect("the start");
    let record = live.run(&start, &toy.shared, &mut toy.space).record;
    let mut effects = Vec::new();
    toy.state.apply(&record, &mut effects).expect("it follows");
    let causes: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer { outcome, .. } => Some(outcome.as_ref().expect_err("rejected").cause()),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [Cause::Refused, Cause::NotStarted]);
}
