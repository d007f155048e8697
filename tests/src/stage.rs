//! A kernel with [`Player`]s, in a scratch directory of its own.

pub mod player;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crankcase::{
    Clock, CloseError, Durability, KernelBuilder, Outcome, Promise, Ref, Target, Ticket, VatId,
};

use self::player::{DROPPED, Data, PLAY, Play, Player, described};
use crate::host::{Host, Shape};
use crate::scratch::Scratch;
use crate::yard::Yard;

/// See the module's text.
#[derive(Debug)]
pub struct Stage {
    host: Host,
    shape: Shape,
    scratch: Scratch,
    yard: Arc<Yard>,
    players: RefCell<Vec<Ref>>,
}

impl Deref for Stage {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

fn open(
    shape: Shape,
    scratch: &Scratch,
    yard: &Arc<Yard>,
    settings: impl FnOnce(KernelBuilder) -> KernelBuilder,
) -> Host {
    shape.open_with(scratch.dir(), |builder| {
        // What is tested is what is kept over restarts, not over power cuts.
        let builder = builder.durability(Durability::Buffered);
        settings(
            builder
                .clock(Clock::Manual)
                .kind::<Player>(Arc::clone(yard)),
        )
    })
}

impl Stage {
    /// Opens an empty one.
    #[must_use]
    #[track_caller]
    pub fn open(shape: Shape) -> Self {
        Self::open_with(shape, |builder| builder)
    }

    /// Opens an empty one with more settings.
    #[must_use]
    #[track_caller]
    pub fn open_with(shape: Shape, settings: impl FnOnce(KernelBuilder) -> KernelBuilder) -> Self {
        let (scratch, yard) = (Scratch::new(), Yard::new());
        Self {
            host: open(shape, &scratch, &yard, settings),
            shape,
            scratch,
            yard,
            players: RefCell::default(),
        }
    }

    /// Closes it and opens it again.
    #[must_use]
    #[track_caller]
    pub fn reopen(self) -> Self {
        self.reopen_with(|builder| builder)
    }

    /// Closes it and opens it again with more settings.
    #[must_use]
    #[track_caller]
    pub fn reopen_with(self, settings: impl FnOnce(KernelBuilder) -> KernelBuilder) -> Self {
        self.host.close();
        Self {
            host: open(self.shape, &self.scratch, &self.yard, settings),
            ..self
        }
    }

    /// Closes it while a crank runs that does not end, and opens it again: the crank runs anew.
    ///
    /// # Panics
    ///
    /// When no crank runs.
    #[must_use]
    #[track_caller]
    pub fn reopen_in_a_crank(self) -> Self {
        match self.host.into_kernel().close(Duration::from_millis(1)) {
            Err(CloseError::Timeout { .. }) => {}
            other => panic!("a crank runs: {other:?}"),
        }
        Self {
            host: open(self.shape, &self.scratch, &self.yard, |builder| builder),
            ..self
        }
    }

    /// What the players can reach. Calls that were left there stay over a reopening.
    #[must_use]
    pub const fn yard(&self) -> &Arc<Yard> {
        &self.yard
    }

    /// Makes a player.
    ///
    /// # Panics
    ///
    /// When it is not made.
    #[must_use]
    #[track_caller]
    pub fn player(&self) -> Ref {
        let made = self
            .host
            .spawn(<Player as crankcase::raw::Vat>::KIND, &Play::default());
        let made = self.host.settled(&made.expect("the spawn is taken"));
        let made = Ref::to(made.expect("a player starts"));
        self.players.borrow_mut().push(made);
        made
    }

    /// Makes that many players.
    #[must_use]
    #[track_caller]
    pub fn players<const COUNT: usize>(&self) -> [Ref; COUNT] {
        std::array::from_fn(|_| self.player())
    }

    /// Sends a program to a player, with what its names stand for.
    ///
    /// # Panics
    ///
    /// When the kernel does not take it.
    #[track_caller]
    pub fn send(&self, to: impl Into<Target>, program: &str, with: &With) -> Ticket<Outcome> {
        self.host
            .send(to, PLAY, &play(program, with))
            .expect("the message is taken")
    }

    /// Sends a program and waits for its outcome.
    #[track_caller]
    pub fn outcome(&self, to: impl Into<Target>, program: &str, with: &With) -> Outcome {
        self.host.settled(&self.send(to, program, with))
    }

    /// Sends a program and waits for its outcome and for all that follows from it.
    #[track_caller]
    pub fn play(&self, to: impl Into<Target>, program: &str, with: &With) -> String {
        let outcome = self.outcome(to, program, with);
        self.host.idle();
        described(&outcome)
    }

    /// Has a player answer with a list, and gives what stands in it.
    ///
    /// # Panics
    ///
    /// When it answers with something else.
    #[must_use]
    #[track_caller]
    pub fn given(&self, to: impl Into<Target>, program: &str, with: &With) -> Vec<Promise> {
        let outcome = self.outcome(to, program, with);
        let answer = outcome.unwrap_or_else(|why| panic!("{program}: {why}"));
        let answer = answer.decode::<Data>();
        answer.expect("a player answers with a list").things
    }

    /// Has a player do what must succeed, and all that follows from it.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    #[track_caller]
    pub fn go(&self, to: impl Into<Target>, program: &str, with: &With) {
        let outcome = self.play(to, program, with);
        assert_eq!(outcome, "'done", "{program}");
    }

    /// What a player has written down, but for the objects that it was told are dropped.
    #[must_use]
    #[track_caller]
    pub fn log(&self, at: impl Into<VatId>) -> Vec<String> {
        let mut log = self.player_at(at).log;
        log.retain(|line| !line.starts_with(DROPPED));
        log
    }

    /// The objects of a player that it was told are dropped, in the order of the news.
    #[must_use]
    #[track_caller]
    pub fn dropped(&self, at: impl Into<VatId>) -> Vec<u64> {
        let log = self.player_at(at).log;
        let dropped = log.iter().filter_map(|line| line.strip_prefix(DROPPED));
        dropped.filter_map(|number| number.parse().ok()).collect()
    }

    /// A player as it is.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    #[track_caller]
    pub fn player_at(&self, at: impl Into<VatId>) -> Player {
        self.host
            .read(at.into(), Player::clone)
            .expect("the player can be read")
    }

    /// What a player keeps under a name.
    ///
    /// # Panics
    ///
    /// When it keeps nothing there.
    #[must_use]
    #[track_caller]
    pub fn kept(&self, at: impl Into<VatId>, name: &str) -> Promise {
        let kept = self.player_at(at).kept;
        let kept = kept.get(name);
        kept.unwrap_or_else(|| panic!("nothing is kept as {name}"))
            .clone()
    }

    /// The players that live, as they are.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Ref, Player> {
        let players = self.players.borrow();
        let living = players.iter().filter_map(|&player| {
            let state = self.host.read(player, Player::clone).ok()?;
            Some((player, state))
        });
        living.collect()
    }

    /// Checks how many promises and objects are known.
    ///
    /// # Panics
    ///
    /// When others are.
    #[track_caller]
    pub fn check_known(&self, promises: u64, objects: u64) {
        let stats = self.host.stats();
        assert_eq!((stats.promises, stats.objects), (promises, objects));
    }

    /// Closes it.
    #[track_caller]
    pub fn close(self) {
        self.host.close();
    }

    /// Lets everything come to its end, and checks that a restart changes nothing of it and that its
    /// cranks, run again one after the other, leave the same records.
    ///
    /// # Panics
    ///
    /// When it does.
    #[track_caller]
    pub fn end(self) {
        self.host.idle();
        let before = (self.all(), standing(&self.host));
        let again = self.reopen();
        again.host.idle();
        assert_eq!(before, (again.all(), standing(&again.host)), "a restart");
        let (shape, scratch, yard) = (again.shape, again.scratch, again.yard);
        again.host.close();
        let builder = shape.builder(scratch.dir(), &yard);
        let builder = builder.kind::<Player>(Arc::clone(&yard));
        let report = builder.replay().expect("the journal can be run again");
        assert_eq!(report.difference, None, "{report}");
    }
}

/// Where an order stands, and what is known then.
#[must_use]
pub fn standing(host: &Host) -> (crankcase::Seq, crankcase::ActivityHash, u64, u64) {
    let stats = host.stats();
    (
        stats.sequenced,
        stats.activity_hash,
        stats.promises,
        stats.objects,
    )
}

/// What the names in a program stand for.
pub type With = [(&'static str, Promise)];

/// A program with what its names stand for.
#[must_use]
pub fn play(program: &str, with: &With) -> Play {
    Play {
        program: program.to_owned(),
        with: with
            .iter()
            .map(|(name, thing)| ((*name).to_owned(), thing.clone()))
            .collect(),
    }
}
