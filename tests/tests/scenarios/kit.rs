//! The test kit for users: that it is the kernel, and that it finds what it is for.
//!
//! Each fault here is one that some runs show and others do not. A kit that no longer finds it within
//! so many seeds has lost its power.

use std::collections::BTreeSet;

use crankcase::testing::{Checked, Failure, Options, SEED_VARIABLE, Simulation};
use crankcase::{
    Answer, Clock, CommitOrder, Crank, Durability, Kernel, Outcome, Promise, Ref, Rejection, Seq,
    WaitError,
};
use serde::{Deserialize, Serialize};

/// Hands out what it has, and trusts those who ask to have looked first.
#[derive(Serialize, Deserialize)]
struct Shelf {
    left: i64,
}

#[crankcase::vat(kind = "shelf", version = 1)]
impl Shelf {
    #[create]
    fn fill(_cx: &Crank<Self>, left: i64) -> Answer<Self> {
        Ok(Shelf { left })
    }

    pub fn left(&self, _cx: &Crank<Self>) -> Answer<i64> {
        Ok(self.left)
    }

    pub fn take(&mut self, _cx: &Crank<Self>, count: i64) -> Answer<i64> {
        self.left -= count;
        Ok(self.left)
    }

    pub fn time(&self, cx: &Crank<Self>) -> Answer<u64> {
        Ok(cx.now().get())
    }
}

/// Looks, and then takes: in between another may have taken.
#[derive(Serialize, Deserialize)]
struct Clerk {
    sold: i64,
}

#[crankcase::vat(kind = "clerk", version = 1)]
impl Clerk {
    #[create]
    fn hire(_cx: &Crank<Self>) -> Answer<Self> {
        Ok(Clerk { sold: 0 })
    }

    pub fn sell(&self, cx: &Crank<Self>, shelf: Ref<Shelf>, count: i64) -> Answer<Promise<i64>> {
        Ok(cx.watch(&shelf.left(cx), Self::LOOKED, (shelf, count)))
    }

    #[watcher]
    fn looked(
        &mut self,
        cx: &Crank<Self>,
        shelf: Ref<Shelf>,
        count: i64,
        left: Outcome<i64>,
    ) -> Answer<Promise<i64>> {
        if left? < count {
            return Err(Rejection::new("sold_out", "too few are left"));
        }
        self.sold += count;
        Ok(shelf.take(cx, count))
    }
}

/// Remembers what its bytes do not say.
#[derive(Serialize, Deserialize)]
struct Forgetful {
    total: u64,
    #[serde(skip)]
    since: u64,
}

#[crankcase::vat(kind = "forgetful", version = 1)]
impl Forgetful {
    #[create]
    fn new(_cx: &Crank<Self>) -> Answer<Self> {
        Ok(Forgetful { total: 0, since: 0 })
    }

    pub fn add(&mut self, _cx: &Crank<Self>, count: u64) -> Answer<u64> {
        self.since += count;
        self.total += count;
        Ok(self.since)
    }

    pub fn add_well(&mut self, _cx: &Crank<Self>, count: u64) -> Answer<u64> {
        self.total += count;
        Ok(self.total)
    }
}

fn options() -> Options {
    Options::new()
        .kind::<Shelf>(())
        .kind::<Clerk>(())
        .kind::<Forgetful>(())
}

/// The failures of so many seeds.
fn failures(options: &Options, seeds: u64, body: impl Fn(&Simulation) -> Checked) -> Vec<Failure> {
    (0..seeds)
        .filter_map(|seed| options.run(seed, &body).err().map(|failure| *failure))
        .collect()
}

/// Two clerks sell the last item.
fn sell_the_last(sim: &Simulation) -> Checked {
    sim.law("nothing is sold that is not there", |look| {
        let mut least = 0;
        look.each::<Shelf>(|_, shelf| least = least.min(shelf.left))?;
        match least {
            0 => Ok(()),
            owed => Err(format!("{owed} are on a shelf").into()),
        }
    });
    let shelf = Shelf::spawn(sim, 1)?.wait()??;
    let clerks = [Clerk::spawn(sim)?.wait()??, Clerk::spawn(sim)?.wait()??];
    let sold = clerks.map(|clerk| clerk.sell(sim, shelf, 1));
    for sold in sold {
        let _ = sold?.wait()?;
    }
    Ok(())
}

#[test]
fn a_race_of_two_vats_is_found_and_not_by_every_seed() {
    let found = failures(&options(), 60, sell_the_last).len();
    assert!((3..=57).contains(&found), "{found} of 60 seeds");
}

#[test]
fn a_failure_comes_again_by_its_seed_and_not_a_step_earlier() {
    let found = failures(&options(), 60, sell_the_last);
    let failure = found.first().expect("the race is found");
    let again = options().run(failure.seed, sell_the_last);
    assert_eq!(again.err().as_deref(), Some(failure));
    let at = options().most_steps(failure.step);
    assert!(at.run(failure.seed, sell_the_last).is_err());
    let before = options().most_steps(failure.step - 1);
    assert_eq!(before.run(failure.seed, sell_the_last).err(), None);
    let text = failure.to_string();
    let words = format!("CRANKCASE_SEED={} cargo test", failure.seed);
    assert!(text.contains(&words), "{text}");
    assert!(text.contains("nothing is sold that is not there"), "{text}");
    assert!(text.contains("the last record:\nrecord "), "{text}");
}

#[test]
fn check_says_what_to_run_and_one_variable_runs_that_alone() {
    const NAME: &str = "kit::check_says_what_to_run_and_one_variable_runs_that_alone";
    if std::env::var_os(SEED_VARIABLE).is_some() {
        options().seeds(0).check(sell_the_last);
        return;
    }
    let checked = std::panic::catch_unwind(|| options().seeds(60).check(sell_the_last));
    let said = checked.expect_err("the race is found");
    let said = said.downcast_ref::<String>().expect("a text");
    assert!(said.contains("a shorter run that fails"), "{said}");
    // The last command in it is the one of the shortest run.
    let again = said.rsplit(&format!("{SEED_VARIABLE}=")).next();
    let again = again.and_then(|again| again.split(' ').next());
    let again = again.expect("a command");
    let alone = |again: &str| {
        let program = std::env::current_exe().expect("this program");
        let mut child = std::process::Command::new(program);
        child.args(["--exact", NAME, "--nocapture"]);
        child.env(SEED_VARIABLE, again);
        child.output().expect("it runs")
    };
    let output = alone(again);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing is sold that is not there"), "{said}");
    let seed = again.split(',').next().expect("a seed");
    let output = alone(&format!("{seed},steps=1"));
    assert!(output.status.success(), "{output:?}");
}

/// A host that asks again after a crash as if nothing of the first time could have happened.
fn take_without_an_id(sim: &Simulation) -> Checked {
    let shelf = sim.insist("shelf", |request| Shelf::spawn(request, 100))??;
    for taken in 1..=5 {
        let left = loop {
            if let Ok(left) = shelf.take(sim, 1)?.wait() {
                break left?;
            }
        };
        if left != 100 - taken {
            return Err(format!("{left} are left behind {taken} that were taken").into());
        }
    }
    Ok(())
}

/// The same with ids.
fn take_by_id(sim: &Simulation) -> Checked {
    let shelf = sim.insist("shelf", |request| Shelf::spawn(request, 100))??;
    for taken in 1..=5 {
        let id = format!("take {taken}");
        let left = sim.insist(&id, |request| shelf.take(request, 1))??;
        if left != 100 - taken {
            return Err(format!("{left} are left behind {taken} that were taken").into());
        }
    }
    Ok(())
}

#[test]
fn a_host_that_asks_twice_after_a_crash_is_found_by_crashes_alone() {
    assert_eq!(failures(&options(), 60, take_without_an_id), []);
    let crashing = options().crash_every(20);
    let found = failures(&crashing, 60, take_without_an_id);
    assert!(found.len() > 5, "{} of 60 seeds", found.len());
    assert_eq!(failures(&crashing, 60, take_by_id), []);
    // And the crash that matters can be looked for.
    let failure = &found[0];
    let none = crashing.clone().most_crashes(0);
    assert_eq!(none.run(failure.seed, take_without_an_id).err(), None);
    let all = crashing.clone().most_crashes(failure.crashes);
    let same = all.run(failure.seed, take_without_an_id);
    assert_eq!(same.err().map(|same| same.step), Some(failure.step));
}

#[test]
fn a_state_that_does_not_come_back_whole_is_found() {
    let add = |sim: &Simulation| {
        let vat = Forgetful::spawn(sim)?.wait()??;
        for _ in 0..20 {
            vat.add(sim, 1)?.wait()??;
        }
        Ok(())
    };
    let add_well = |sim: &Simulation| {
        let vat = Forgetful::spawn(sim)?.wait()??;
        for _ in 0..20 {
            vat.add_well(sim, 1)?.wait()??;
        }
        Ok(())
    };
    // There is no crash and no law: it is found because the vat left memory and what it answered
    // then is not answered again by one that stayed.
    let found = failures(&options(), 60, add);
    assert!(found.len() > 5, "{} of 60 seeds", found.len());
    assert!(found[0].what.contains("not left again"), "{}", found[0]);
    assert_eq!(failures(&options(), 60, add_well), []);
}

#[test]
fn seeds_give_different_orders_and_one_seed_one_order() {
    let hashes = |seed| {
        let hash = std::cell::Cell::new(None);
        let run = options().run(seed, |sim| {
            let shelf = Shelf::spawn(sim, 100)?.wait()??;
            let clerk = || Ok::<_, Box<dyn std::error::Error>>(Clerk::spawn(sim)?.wait()??);
            for clerk in [clerk()?, clerk()?, clerk()?] {
                drop(clerk.sell(sim, shelf, 1)?);
            }
            sim.run_until_idle()?;
            hash.set(Some(sim.activity_hash().to_string()));
            Ok(())
        });
        run.expect("no law is broken");
        hash.take().expect("it ran to its end")
    };
    let all: BTreeSet<String> = (0..50).map(hashes).collect();
    assert!(all.len() > 20, "{} orders by 50 seeds", all.len());
    assert_eq!(hashes(7), hashes(7));
}

/// The same calls of a host, for whatever takes them.
macro_rules! calls {
    ($host:expr) => {{
        let host = $host;
        let shelf = Shelf::spawn(host, 5)?;
        let clerks = [
            Clerk::spawn(host)?,
            Clerk::spawn(host)?,
            Clerk::spawn(host)?,
        ];
        host.run_until_idle()?;
        let shelf = shelf.wait()??;
        for (n, clerk) in (1..).zip(clerks) {
            host.set_time(n * 10)?;
            let clerk = clerk.wait()??;
            let id = format!("sell {n}");
            drop(clerk.sell(host.request(id.clone()), shelf, n as i64)?);
            drop(clerk.sell(host.request(id), shelf, n as i64)?);
            drop(clerk.sell(host, shelf, 1)?);
            let mut batch = host.batch();
            let inside = Shelf::spawn(&mut batch, 3)?;
            let _ = inside.take(&mut batch, 1)?;
            drop(batch.submit()?);
            host.run(3)?;
        }
        drop(Shelf::spawn_named(host, "root", 1)?);
        host.run_until_idle()?;
        (
            host.activity_hash(),
            host.read(shelf, |shelf: &Shelf| shelf.left)?,
        )
    }};
}

fn on_a_kernel() -> Result<(crankcase::ActivityHash, i64), Box<dyn std::error::Error>> {
    let kernel = Kernel::builder("in memory, so no directory is made")
        .durability(Durability::None)
        .order(CommitOrder::Dispatch)
        .clock(Clock::Manual)
        .workers(2)
        .kind::<Shelf>(())
        .kind::<Clerk>(())
        .open()?;
    Ok(calls!(&kernel))
}

#[test]
fn in_dispatch_order_it_leaves_what_the_kernel_leaves() {
    let kernel = on_a_kernel().expect("a kernel in memory");
    for seed in 0..30 {
        let dispatch = options().order(CommitOrder::Dispatch);
        let run = dispatch.run(seed, |sim| {
            let found = calls!(sim);
            match found == kernel {
                true => Ok(()),
                false => Err(format!("{found:?}, and the kernel has {kernel:?}").into()),
            }
        });
        assert_eq!(run.err(), None);
    }
}

#[test]
fn a_crash_loses_what_nobody_was_told_and_nothing_else() {
    for seed in 0..40 {
        let run = options().run(seed, |sim| {
            let shelf = Shelf::spawn(sim, 10)?.wait()??;
            assert_eq!(shelf.take(sim, 1)?.wait()??, 9);
            let told = sim.released();
            let untold = shelf.take(sim, 1)?;
            while sim.look(|look| !look.is_idle()) {
                sim.step();
            }
            if untold.outcome().is_none() {
                sim.crash_behind(Seq::ZERO);
                assert!(sim.sequenced() >= told, "what was told is there");
                assert!(matches!(untold.wait(), Err(WaitError::Indeterminate(_))));
            } else {
                sim.crash_behind(Seq::ZERO);
                let left = sim.look(|look| look.read(shelf, |shelf: &Shelf| shelf.left))?;
                assert_eq!(left, 8, "it was told");
            }
            Ok(())
        });
        assert_eq!(run.err(), None);
    }
}

#[test]
fn the_clock_stands_still_until_it_is_moved() {
    options().seeds(10).check(|sim| {
        let shelf = Shelf::spawn(sim, 0)?.wait()??;
        assert_eq!(shelf.time(sim)?.wait()??, 0);
        sim.advance(5);
        assert_eq!(shelf.time(sim)?.wait()??, 5);
        sim.crash();
        assert_eq!(shelf.time(sim)?.wait()??, 5);
        sim.set_time(9)?;
        assert!(sim.set_time(8).is_err());
        assert_eq!(shelf.time(sim)?.wait()??, 9);
        Ok(())
    });
}

#[test]
fn rounds_break_no_law() {
    let figures = crankcase_tests::kit::round(1);
    assert_eq!(figures.programs, 12);
    assert!(figures.crashes_survived > 12, "{figures:?}");
}
