//! Patterns of messages between alice, bob and carol, who are the same wherever they live.

pub mod players;

use std::collections::BTreeMap;

use crankcase::{ActivityHash, Batch, Clock, CommitOrder, Durability, Payload, Ref};

use self::players::{ENTER, LEAVE, MEET, Part, Player, Scribe, Thing, on, say};
use crate::host::{Host, Shape, in_each_order_with_one_and_four_workers};
use crate::scratch::Scratch;

/// Which vats the players are in. Amy is with alice; bert and bill are with bob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homes {
    /// All are objects of one vat.
    One,
    /// Alice's are objects of one vat, and the others are objects of another.
    Two,
    /// Alice, bob and carol are the roots of three vats.
    Three,
}

impl Homes {
    const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];

    /// The number of the vat that a player is in.
    fn of(self, player: &str) -> usize {
        match (self, player) {
            (Self::One, _) | (_, "alice" | "amy") => 0,
            (Self::Two, _) | (_, "bob" | "bert" | "bill") => 1,
            (Self::Three, _) => 2,
        }
    }

    const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// What the players do, and what is left of it.
///
/// Alice begins, with the part `start`. She knows amy, bob, bert and carol; bob knows bert and bill;
/// carol knows nobody. Bert and bill say what they are given with `log`.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    parts: BTreeMap<&'static str, Vec<Part>>,
    refusals: u64,
    promises_left: u64,
    over_restarts: bool,
}

impl Pattern {
    /// One in which alice does that.
    #[must_use]
    pub fn new(alice: impl Into<Vec<Part>>) -> Self {
        let mut pattern = Self::default();
        pattern.parts.insert("alice", alice.into());
        pattern
    }

    /// What bob does.
    #[must_use]
    pub fn bob(mut self, parts: impl Into<Vec<Part>>) -> Self {
        self.parts.insert("bob", parts.into());
        self
    }

    /// What carol does.
    #[must_use]
    pub fn carol(mut self, parts: impl Into<Vec<Part>>) -> Self {
        self.parts.insert("carol", parts.into());
        self
    }

    /// How many cranks are abandoned in it. All others must commit.
    #[must_use]
    pub const fn refusals(mut self, count: u64) -> Self {
        self.refusals = count;
        self
    }

    /// How many promises stay when all players have forgotten everything.
    #[must_use]
    pub const fn promises_left(mut self, count: u64) -> Self {
        self.promises_left = count;
        self
    }

    /// Has it played once more, with a restart after every crank.
    #[must_use]
    pub const fn over_restarts(mut self) -> Self {
        self.over_restarts = true;
        self
    }

    /// Checks that the players say exactly that, in that order, wherever they live: each line is
    /// caused by the one before it, or comes from the same vat.
    #[track_caller]
    pub fn says(&self, lines: &[&str]) {
        self.check(lines, None);
    }

    /// Checks that the players say exactly that. In dispatch order, and where there is one vat, they
    /// say it in that order. Otherwise each vat says its own lines in that order, and of each of
    /// those pairs the first comes before the second.
    #[track_caller]
    pub fn says_with_causes(&self, lines: &[&str], causes: &[(&str, &str)]) {
        self.check(lines, Some(causes));
    }

    #[track_caller]
    fn check(&self, lines: &[&str], causes: Option<&[(&str, &str)]>) {
        if self.over_restarts {
            self.check_over_restarts(lines);
        }
        for homes in Homes::ALL {
            let mut hashes = Vec::new();
            in_each_order_with_one_and_four_workers(|shape| {
                let (said, hash) = self.run(homes, shape, lines.len());
                match (shape.order, causes) {
                    (CommitOrder::Completion, Some(causes)) => {
                        check_loosely(homes, &said, lines, causes);
                    }
                    _ => assert_eq!(said, lines, "homes: {homes:?}"),
                }
                if shape.order == CommitOrder::Dispatch {
                    hashes.push(hash);
                }
            });
            assert_eq!(
                hashes[0], hashes[1],
                "in dispatch order four workers make the records that one makes; homes: {homes:?}"
            );
        }
    }

    /// Goes through the pattern with a restart after every crank from when it starts.
    #[track_caller]
    fn check_over_restarts(&self, lines: &[&str]) {
        let shape = Shape {
            order: CommitOrder::Dispatch,
            workers: 1,
        };
        let scratch = Scratch::new();
        let mut host = open(shape, &scratch, Durability::Buffered);
        let stage = Stage::new(&host, Homes::Two, &self.parts);
        let started = host.send(stage.cast["alice"], "start", &Vec::<Thing>::new());
        drop(started.expect("the message is taken"));
        loop {
            host.run(1).expect("the run ends well");
            if host.stats().waiting == 0 {
                break;
            }
            host.close();
            host = open(shape, &scratch, Durability::Buffered);
        }
        let said = host.read(stage.scribe, |scribe: &Scribe| scribe.said.clone());
        assert_eq!(said.expect("the scribe can be read"), lines);
        stage.leave(&host);
        self.check_what_is_left(&host);
        host.close();
        let builder = shape.builder(scratch.dir(), &crate::Yard::new());
        let report = builder.kind::<Player>(()).kind::<Scribe>(()).replay();
        let report = report.expect("the journal can be run again");
        assert_eq!(report.difference, None, "{report}");
    }

    #[track_caller]
    fn check_what_is_left(&self, host: &Host) {
        let stats = host.stats();
        assert_eq!(
            (stats.promises, stats.objects, stats.waiting),
            (self.promises_left, 0, 0),
            "promises, objects and deliveries that are left"
        );
    }

    /// Goes through the pattern; gives what was said, and the hash of all that happened.
    fn run(&self, homes: Homes, shape: Shape, lines: usize) -> (Vec<String>, ActivityHash) {
        let scratch = Scratch::new();
        // Nothing here is about the disk.
        let host = open(shape, &scratch, Durability::None);
        let stage = Stage::new(&host, homes, &self.parts);
        let started = host.send(stage.cast["alice"], "start", &Vec::<Thing>::new());
        let started = host.settled(&started.expect("the message is taken"));
        host.idle();
        let said = host.read(stage.scribe, |scribe: &Scribe| scribe.said.clone());
        let said = said.expect("the scribe can be read");
        assert!(started.is_ok() || said.len() == lines, "{started:?}");

        stage.leave(&host);
        let stats = host.stats();
        assert_eq!(stats.abandoned, self.refusals, "abandoned; said: {said:#?}");
        self.check_what_is_left(&host);
        host.close();
        (said, stats.activity_hash)
    }
}

fn open(shape: Shape, scratch: &Scratch, durability: Durability) -> Host {
    shape.open_with(scratch.dir(), |builder| {
        let builder = builder.kind::<Player>(()).kind::<Scribe>(());
        builder.clock(Clock::Manual).durability(durability)
    })
}

/// The vats and the players in them.
struct Stage {
    scribe: Ref,
    vats: Vec<Ref>,
    cast: BTreeMap<&'static str, Ref>,
}

impl Stage {
    fn new(host: &Host, homes: Homes, parts: &BTreeMap<&'static str, Vec<Part>>) -> Self {
        let taken = "the batch takes it";
        let mut batch = host.batch();
        let scribe = Ref::to(batch.spawn("scribe", &()).expect(taken));
        let mut stage = Self {
            scribe,
            vats: Vec::new(),
            cast: BTreeMap::new(),
        };
        let mut roots = ["alice", "bob", "carol"].into_iter();
        for _ in 0..homes.count() {
            let root = roots.next().filter(|_| homes == Homes::Three);
            let of_root = root.and_then(|name| parts.get(name));
            let of_root = of_root.map(Vec::as_slice).unwrap_or_default();
            let start = (scribe, root.unwrap_or("nobody"), of_root);
            let vat = Ref::to(batch.spawn("player", &start).expect(taken));
            stage.vats.push(vat);
            stage.cast.extend(root.map(|name| (name, vat)));
        }
        outcomes(host, batch);

        let mut batch = host.batch();
        let mut entering = Vec::new();
        for name in ["alice", "amy", "bob", "bert", "bill", "carol"] {
            if stage.cast.contains_key(name) {
                continue;
            }
            let own = match name {
                "bert" | "bill" => vec![on("log", "text", [say("{text}")])],
                name => parts.get(name).cloned().unwrap_or_default(),
            };
            let vat = stage.vats[homes.of(name)];
            batch.send(vat, ENTER, &(name, own)).expect(taken);
            entering.push(name);
        }
        let entered = outcomes(host, batch);
        for (name, player) in entering.into_iter().zip(entered) {
            let player = player.decode().expect("it is a reference");
            stage.cast.insert(name, player);
        }

        let mut batch = host.batch();
        let known = [
            ("alice", vec!["alice", "amy", "bob", "bert", "carol"]),
            ("bob", vec!["bob", "bert", "bill"]),
            ("carol", vec!["carol"]),
        ];
        for (who, known) in known {
            for name in known {
                let met = (name, stage.cast[name]);
                batch.send(stage.cast[who], MEET, &met).expect(taken);
            }
        }
        outcomes(host, batch);
        host.idle();
        stage
    }

    /// Has all players forget everything.
    fn leave(&self, host: &Host) {
        let mut batch = host.batch();
        for vat in &self.vats {
            batch.send(*vat, LEAVE, &()).expect("the batch takes it");
        }
        outcomes(host, batch);
        host.idle();
    }
}

/// What a batch of messages that must succeed comes to.
#[track_caller]
fn outcomes(host: &Host, batch: Batch<'_>) -> Vec<Payload> {
    let outcomes = host.settled(&batch.submit().expect("the batch is taken"));
    let outcomes = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("it succeeds"));
    outcomes.collect()
}

/// Checks what was said where only a part of the order is determined.
#[track_caller]
fn check_loosely(homes: Homes, said: &[String], lines: &[&str], causes: &[(&str, &str)]) {
    let player = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    for vat in 0..homes.count() {
        let in_vat = |line: &&str| homes.of(&player(line)) == vat;
        let said: Vec<&str> = said.iter().map(String::as_str).filter(in_vat).collect();
        let lines: Vec<&str> = lines.iter().copied().filter(in_vat).collect();
        assert_eq!(said, lines, "vat {vat}, homes: {homes:?}");
    }
    let place = |line: &str| said.iter().position(|said| said == line);
    for (cause, effect) in causes {
        assert!(
            place(cause).expect("it was said") < place(effect).expect("it was said"),
            "{cause:?} before {effect:?}: {said:#?}, homes: {homes:?}"
        );
    }
}
