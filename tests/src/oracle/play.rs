//! A program played by a host on a real kernel, with all that the host was told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crankcase::raw::Vat;
use crankcase::{
    ActivityHash, Clock, CommitOrder, Durability, Kernel, Outcome, Payload, Promise, Ref,
    Rejection, Retention, RunError, SendError, Seq, Slot, Target, Ticket, VatId, WaitError,
};

use super::program::{Deed, Program, Settings};
use super::puppet::{Call, DO, Newer, Older, Script, Value, Word, things_in};
use crate::disk::FailingDisk;
use crate::host::PATIENCE;
use crate::laws;
use crate::scratch::Scratch;

/// The key of all randomness.
pub const SEED: [u8; 32] = [7; 32];
/// How many things a host remembers.
const REMEMBERS: usize = 12;

/// What the host was told of one of its deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet.
    Nothing,
    /// What it came to.
    Outcome(Outcome),
    /// Whether it came about.
    Done(Result<(), Rejection>),
}

/// What became of a program.
#[derive(Debug)]
pub struct Played {
    /// Where the journal is.
    pub scratch: Scratch,
    /// What the host was told of its deliveries that stand in the journal, in their order.
    pub told: Vec<Told>,
    /// Where the order ends, and its hash.
    pub end: (Seq, ActivityHash),
    /// The vats that could be read at the end, with their encoded states.
    pub states: BTreeMap<VatId, Payload>,
    /// Whether nothing was left to run at the end.
    pub idle: bool,
    /// How often the kernel was lost.
    pub crashes: u64,
    /// How often it was opened again, lost or closed.
    pub reopenings: u64,
}

enum Ask {
    Outcome(Ticket<Outcome>),
    Spawn(Ticket<Result<VatId, Rejection>>),
    Done(Ticket<Result<(), Rejection>>),
    /// One of a batch.
    Part(Arc<Ticket<Vec<Outcome>>>, usize),
    /// Its ticket did not outlive the kernel.
    Gone,
}

/// The kernel stopped, as it was told to.
struct Lost;

impl From<SendError> for Lost {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Poisoned(_) => Self,
            other => panic!("a send is refused: {other}"),
        }
    }
}

struct Host<'a> {
    order: CommitOrder,
    settings: Settings,
    scratch: &'a Scratch,
    disk: Arc<FailingDisk>,
    kernel: Option<Kernel>,
    things: Vec<Promise>,
    asks: Vec<(Ask, Told)>,
    /// By request id that is known: which delivery it is, to what, with what.
    requests: BTreeMap<u8, (usize, Target, Call)>,
    /// Those that were to be forgotten. When the kernel is lost, that may be lost too.
    forgotten: Vec<(u8, (usize, Target, Call))>,
    /// Tickets for what was asked again, and of which delivery they are.
    echoes: Vec<(usize, Ticket<Outcome>)>,
    tag: u64,
    time: u64,
    crashes: u64,
    reopenings: u64,
}

/// Opens a kernel that knows puppets.
///
/// # Panics
///
/// When it does not open.
#[must_use]
#[track_caller]
pub fn open(order: CommitOrder, settings: &Settings, dir: &Path, disk: Arc<FailingDisk>) -> Kernel {
    let retention = match settings.drops {
        true => Retention::DropBelowCheckpoint,
        false => Retention::KeepAll,
    };
    let opened = Kernel::builder(dir)
        .order(order)
        .durability(Durability::Buffered)
        .clock(Clock::Manual)
        .seed(SEED)
        .audit_counts(true)
        .workers(settings.workers)
        .retention(retention)
        .checkpoint_every(settings.checkpoint_records, u64::MAX)
        .vats_in_memory(settings.vats_in_memory)
        .store_cache_bytes(settings.store_cache_bytes)
        .inbox_bytes(settings.inbox_bytes)
        .group_bytes(settings.group_bytes)
        .reorder_records(settings.reorder_records)
        .faults(disk)
        .kind::<Older>(())
        .kind::<Newer>(())
        .open();
    opened.unwrap_or_else(|error| panic!("the kernel does not open: {error}"))
}

/// Plays a program from an empty journal to its end, and closes it.
///
/// # Panics
///
/// When the kernel does what it must not do whatever the program is.
#[must_use]
#[track_caller]
pub fn play(order: CommitOrder, settings: Settings, program: &Program) -> Played {
    crate::host::keep_planned_panics_quiet();
    let scratch = Scratch::new();
    let disk = FailingDisk::new();
    let kernel = open(order, &settings, &scratch.dir(), Arc::clone(&disk));
    let mut host = Host {
        order,
        settings,
        scratch: &scratch,
        disk,
        kernel: Some(kernel),
        things: Vec::new(),
        asks: Vec::new(),
        requests: BTreeMap::new(),
        forgotten: Vec::new(),
        echoes: Vec::new(),
        tag: 0,
        time: 0,
        crashes: 0,
        reopenings: 0,
    };
    for deed in &program.deeds {
        if let Err(Lost) = host.perform(deed) {
            host.lose();
        }
    }
    let idle = match host.idle() {
        Ok(()) => true,
        Err(Lost) => {
            host.lose();
            host.idle().is_ok()
        }
    };
    host.end(idle, scratch.dir().as_path());
    let Host {
        asks,
        crashes,
        reopenings,
        ..
    } = host;
    let told = asks.into_iter().map(|(_, told)| told).collect();
    let disk = FailingDisk::new();
    let kernel = open(order, &settings, &scratch.dir(), disk);
    let stats = kernel.stats();
    let end = (stats.sequenced, stats.activity_hash);
    let vats = kernel.vats_of("puppet").expect("the vats are listed");
    let states = vats.into_iter().filter_map(|(vat, version)| {
        let state = match version {
            1 => kernel.read(vat, |puppet: &Older| Payload::of(puppet)),
            _ => kernel.read(vat, |puppet: &Newer| Payload::of(puppet)),
        };
        Some((vat, state.ok()?.expect("a state encodes")))
    });
    let states = states.collect();
    kernel.close(PATIENCE).expect("the kernel closes");
    Played {
        told,
        end,
        states,
        idle,
        crashes,
        reopenings,
        scratch,
    }
}

impl Host<'_> {
    fn kernel(&self) -> &Kernel {
        self.kernel.as_ref().expect("it is open")
    }

    fn thing(&self, number: u8) -> Option<Promise> {
        let count = self.things.len();
        (count > 0).then(|| self.things[count - 1 - usize::from(number) % count].clone())
    }

    fn call(&mut self, script: &Script, with: &[u8]) -> Call {
        self.tag += 1;
        let with = with.iter().filter_map(|number| self.thing(*number));
        Call {
            with: with.collect(),
            tag: self.tag,
            script: script.clone(),
        }
    }

    fn asks(&mut self, ask: Ask) {
        self.asks.push((ask, Told::Nothing));
    }

    fn perform(&mut self, deed: &Deed) -> Result<(), Lost> {
        match deed {
            Deed::Spawn { newer, script } => self.spawn(*newer, script)?,
            Deed::Send {
                to,
                script,
                with,
                request,
            } => {
                let Some(to) = self.thing(*to) else {
                    return self.spawn(true, script);
                };
                let call = self.call(script, with);
                self.send(Target::from(&to), call, *request)?;
            }
            Deed::Again(request) => {
                if let Some((first, to, call)) = self.requests.get(request).cloned() {
                    let id = format!("request {request}");
                    let again = self.kernel().request(id).send(to, DO, &call)?;
                    self.echoes.push((first, again));
                }
            }
            Deed::Forget(request) => {
                // Before it is asked for: a kernel that is lost may have forgotten all the same.
                let removed = self.requests.remove(request);
                self.forgotten.extend(removed.map(|had| (*request, had)));
                let _ = self.kernel().forget(&format!("request {request}"))?;
                if self.order == CommitOrder::Dispatch {
                    // The id is free once that has its place.
                    self.run(Some(0))?;
                }
            }
            Deed::Batch(parts) => {
                if self.things.is_empty() || parts.is_empty() {
                    return Ok(());
                }
                let parts: Vec<_> = parts
                    .iter()
                    .filter_map(|(to, script)| Some((self.thing(*to)?, self.call(script, &[]))))
                    .collect();
                let mut batch = self.kernel().batch();
                for (to, call) in &parts {
                    batch.send(to, DO, call)?;
                }
                let ticket = Arc::new(batch.submit()?);
                for part in 0..parts.len() {
                    self.asks(Ask::Part(Arc::clone(&ticket), part));
                }
            }
            Deed::Upgrade(vat) => {
                if let Some(vat) = self.thing(*vat).and_then(|thing| thing.object()) {
                    let ticket = self.kernel().upgrade::<Newer>(vat.vat())?;
                    self.asks(Ask::Done(ticket));
                }
            }
            Deed::Watch(promise) => {
                if let Some(promise) = self.thing(*promise) {
                    let ticket = self.kernel().watch(&promise)?;
                    self.asks(Ask::Outcome(ticket));
                }
            }
            Deed::Hold(what) => {
                if let Some(what) = self.thing(*what) {
                    let ticket = self.kernel().hold(&what)?;
                    self.asks(Ask::Done(ticket));
                }
            }
            Deed::Release(what) => {
                if let Some(what) = self.thing(*what) {
                    drop(self.kernel().release(&what)?);
                }
            }
            Deed::Tick(by) => {
                self.time += u64::from(*by);
                let set = self.kernel().set_time(self.time);
                set.expect("the clock is the host's");
            }
            Deed::Run(budget) => {
                if self.order == CommitOrder::Dispatch {
                    self.run(Some(u64::from(*budget)))?;
                }
            }
            Deed::Idle => self.idle()?,
            Deed::Reopen => self.reopen()?,
            Deed::Crash { group, written } => {
                let number = self.disk.groups() + 1 + u64::from(*group);
                let failing = match written {
                    true => &self.disk.group_sync,
                    false => &self.disk.group_write,
                };
                failing.store(number, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    fn spawn(&mut self, newer: bool, script: &Script) -> Result<(), Lost> {
        let maker = self.things.iter().find(|thing| thing.object().is_some());
        if let (false, Some(maker)) = (newer, maker) {
            // The host's own are of the newest version, so a vat is asked for an older one.
            let maker = Target::from(maker);
            let spawn = Word::Spawn {
                newer: false,
                script: script.clone(),
                with: Vec::new(),
            };
            let answer = Word::Answer(Value::Thing(0));
            let call = self.call(&vec![spawn, answer], &[]);
            return self.send(maker, call, None);
        }
        let call = self.call(script, &[]);
        let ticket = self.kernel().spawn(Newer::KIND, &call)?;
        self.asks(Ask::Spawn(ticket));
        Ok(())
    }

    fn send(&mut self, to: Target, call: Call, request: Option<u8>) -> Result<(), Lost> {
        let Some(request) = request else {
            let ticket = self.kernel().send(to, DO, &call)?;
            self.asks(Ask::Outcome(ticket));
            return Ok(());
        };
        let id = format!("request {request}");
        let sent = self.kernel().request(id).send(to.clone(), DO, &call);
        if self.requests.contains_key(&request) {
            match sent {
                Err(SendError::Conflict { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
                Ok(_) => panic!("request {request} was taken twice, with two bodies"),
            }
        }
        let ticket = sent?;
        self.requests.insert(request, (self.asks.len(), to, call));
        self.asks(Ask::Outcome(ticket));
        Ok(())
    }

    fn run(&mut self, budget: Option<u64>) -> Result<(), Lost> {
        let ran = match budget {
            Some(budget) => self.kernel().run(budget),
            None => self.kernel().run_until_idle(),
        };
        match ran {
            Ok(()) => Ok(()),
            Err(RunError::Poisoned(_) | RunError::Wait(WaitError::Indeterminate(_))) => Err(Lost),
            Err(error) => panic!("a run fails: {error}"),
        }
    }

    fn idle(&mut self) -> Result<(), Lost> {
        self.run(None)?;
        self.hear();
        Ok(())
    }

    /// Takes note of all that has settled.
    fn hear(&mut self) {
        let mut news = Vec::new();
        for (ask, told) in &mut self.asks {
            if *told != Told::Nothing {
                continue;
            }
            match ask {
                Ask::Outcome(ticket) => {
                    if let Some(outcome) = settled(ticket) {
                        if let Ok(payload) = &outcome {
                            news.extend(things_in(payload));
                        }
                        *told = Told::Outcome(outcome);
                    }
                }
                Ask::Spawn(ticket) => {
                    if let Some(made) = settled(ticket) {
                        if let Ok(vat) = &made {
                            news.push(Ref::to(*vat).into());
                        }
                        *told = Told::Done(made.map(drop));
                    }
                }
                Ask::Done(ticket) => {
                    if let Some(done) = settled(ticket) {
                        *told = Told::Done(done);
                    }
                }
                Ask::Part(ticket, part) => {
                    if let Some(outcomes) = settled(ticket) {
                        *told = Told::Outcome(outcomes[*part].clone());
                    }
                }
                Ask::Gone => {}
            }
        }
        for thing in news {
            // What has come to its end in a vat's hand is nothing that a host can name.
            let can_be_named = !matches!(thing.slot(), Slot::Settled(_));
            if can_be_named && !self.things.contains(&thing) {
                self.things.push(thing);
            }
        }
        if self.things.len() > REMEMBERS {
            self.things.drain(..self.things.len() - REMEMBERS);
        }
        for (first, echo) in std::mem::take(&mut self.echoes) {
            match (settled(&echo), &self.asks[first].1) {
                (None, _) => self.echoes.push((first, echo)),
                (Some(outcome), Told::Outcome(before)) => {
                    assert_eq!(outcome, *before, "what was asked again has one outcome");
                }
                (Some(outcome), _) => self.asks[first].1 = Told::Outcome(outcome),
            }
        }
    }

    fn reopen(&mut self) -> Result<(), Lost> {
        if self.order == CommitOrder::Dispatch {
            // What no run has taken would be gone.
            self.run(Some(0))?;
        }
        self.hear();
        let kernel = self.kernel.take().expect("it is open");
        if kernel.close(PATIENCE).is_err() {
            assert!(self.is_armed(), "the kernel closes");
            self.crashes += 1;
        }
        self.open_again();
        Ok(())
    }

    fn is_armed(&self) -> bool {
        let disk = &self.disk;
        [&disk.group_sync, &disk.group_write]
            .iter()
            .any(|at| at.load(Ordering::SeqCst) > 0)
    }

    /// The kernel has stopped, as it was told to.
    fn lose(&mut self) {
        assert!(
            self.is_armed(),
            "the kernel stops: {:?}",
            self.kernel().stats().poison
        );
        self.crashes += 1;
        self.hear();
        let kernel = self.kernel.take().expect("it is open");
        // It says that it was poisoned.
        drop(kernel.close(PATIENCE));
        self.open_again();
    }

    fn open_again(&mut self) {
        self.reopenings += 1;
        let dir = self.scratch.dir();
        if !self.settings.drops {
            self.forget_what_is_lost(&dir);
        }
        for (ask, _) in &mut self.asks {
            *ask = Ask::Gone;
        }
        self.echoes.clear();
        self.settings = self.settings.turned();
        self.disk = FailingDisk::new();
        let disk = Arc::clone(&self.disk);
        self.kernel = Some(open(self.order, &self.settings, &dir, disk));
        // Another incarnation's time goes on from the journal's.
        self.kernel()
            .set_time(self.time)
            .expect("the clock is the host's");
    }

    /// Of what the host asked, a prefix stands in the journal.
    fn forget_what_is_lost(&mut self, dir: &Path) {
        let records = laws::records_of(dir).expect("it keeps all records");
        let there = super::asked_in(&records);
        assert!(
            there <= self.asks.len(),
            "nobody asked for {there} deliveries"
        );
        for (_, told) in self.asks.drain(there..) {
            assert_eq!(told, Told::Nothing, "what was told is lost");
        }
        let known = super::requests_in(&records);
        let before = std::mem::take(&mut self.requests).into_iter();
        let all = before.chain(std::mem::take(&mut self.forgotten));
        self.requests = all
            .filter(|(request, (ask, ..))| known.get(&format!("request {request}")) == Some(ask))
            .collect();
        assert_eq!(
            self.requests.len(),
            known.len(),
            "a request nobody made is known: {known:?}"
        );
    }

    fn end(&mut self, idle: bool, dir: &Path) {
        self.hear();
        if idle {
            for (ask, told) in &self.asks {
                // What waits for a promise that nobody decides stays open, and nothing else does.
                if let (Ask::Done(ticket), Told::Nothing) = (ask, told) {
                    panic!("nothing runs, and {ticket:?} is open");
                }
            }
        }
        let kernel = self.kernel.take().expect("it is open");
        if kernel.close(PATIENCE).is_err() {
            assert!(self.is_armed(), "the kernel closes");
            self.crashes += 1;
            if !self.settings.drops {
                self.forget_what_is_lost(dir);
            }
        }
    }
}

fn settled<T: Clone>(ticket: &Ticket<T>) -> Option<T> {
    match ticket.wait_timeout(Duration::ZERO) {
        Ok(settled) => settled,
        Err(WaitError::NotTaken | WaitError::Indeterminate(_) | WaitError::Closed) => None,
        Err(error) => panic!("a ticket fails: {error}"),
    }
}
