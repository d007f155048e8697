//! The ordered store of a vat, beside a model of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crankcase::{CloseError, CommitOrder, Durability, KernelBuilder, Poison, Ref, WaitError};
use crankcase_tests::disk::FailingDisk;
use crankcase_tests::host::{PLAIN, failed};
use crankcase_tests::luck::Luck;
use crankcase_tests::{Host, PATIENCE, Said, Scratch, Step, in_every_shape};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys with shared beginnings, and one whose last byte is the largest there is.
fn key(luck: &mut Luck) -> Vec<u8> {
    const KEYS: [&[u8]; 8] = [
        b"a",
        b"a\0",
        b"a/1",
        b"a/2",
        b"b",
        b"b\xff",
        b"b\xff\xff/x",
        b"\xff\xff",
    ];
    KEYS[luck.below(KEYS.len() as u64) as usize].to_vec()
}

/// A few steps that write and look, and what they must say.
fn steps(model: &mut Model, luck: &mut Luck) -> (Vec<Step>, Vec<Said>) {
    let (mut steps, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..=luck.below(8) {
        let (one, other) = (key(luck), key(luck));
        match luck.below(6) {
            0 | 1 => {
                let value = vec![luck.below(256) as u8; luck.below(40) as usize];
                steps.push(Step::Set(one.clone(), value.clone()));
                model.insert(one, value);
            }
            2 => {
                steps.push(Step::Delete(one.clone()));
                model.remove(&one);
            }
            3 => {
                steps.push(Step::Get(one.clone()));
                expected.push(Said::Row(model.get(&one).cloned()));
            }
            4 => {
                steps.push(Step::Range(one.clone(), other.clone()));
                let rows = model
                    .iter()
                    .filter(|(key, _)| **key >= one && **key < other);
                expected.push(Said::Rows(
                    rows.map(|(k, v)| (k.clone(), v.clone())).collect(),
                ));
            }
            _ => {
                let prefix = one[..luck.below(one.len() as u64 + 1) as usize].to_vec();
                let rows = model
                    .iter()
                    .rev()
                    .filter(|(key, _)| key.starts_with(&prefix));
                expected.push(Said::Rows(
                    rows.map(|(k, v)| (k.clone(), v.clone())).collect(),
                ));
                steps.push(Step::PrefixBackwards(prefix));
            }
        }
    }
    (steps, expected)
}

/// Many cranks on a few vats, some of them abandoned.
fn churn(host: &Host, vats: &[Ref], models: &mut [Model], luck: &mut Luck) {
    let mut asked = Vec::new();
    for _ in 0..60 {
        let at = luck.below(vats.len() as u64) as usize;
        let before = models[at].clone();
        let (mut steps, expected) = steps(&mut models[at], luck);
        let abandoned = luck.below(4) == 0;
        if abandoned {
            steps.push(Step::Refuse("no".to_owned()));
            models[at] = before;
        }
        let ticket = host.tell(vats[at], &steps).unwrap();
        asked.push((ticket, steps, (!abandoned).then_some(expected)));
    }
    for (ticket, steps, expected) in asked {
        let outcome = host.settled(&ticket);
        let said = outcome
            .ok()
            .map(|answer| answer.decode::<Vec<Said>>().unwrap());
        assert_eq!(said, expected, "{steps:?}");
    }
}

fn check_all(host: &Host, vats: &[Ref], models: &[Model]) {
    for (&vat, model) in vats.iter().zip(models) {
        let rows: Vec<_> = model
            .iter()
            .rev()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(
            host.said(vat, &[Step::PrefixBackwards(Vec::new())]),
            [Said::Rows(rows)]
        );
    }
}

#[test]
fn rows_are_what_a_model_says_over_reopening() {
    in_every_shape(|shape| {
        let (scratch, mut luck) = (Scratch::new(), Luck::new(shape.workers as u64));
        let mut host = shape.open(scratch.dir());
        let vats = host.actors(3);
        let mut models = vec![Model::new(); 3];
        for _ in 0..4 {
            churn(&host, &vats, &mut models, &mut luck);
            host.close();
            host = shape.open(scratch.dir());
        }
        check_all(&host, &vats, &models);
        host.close();
    });
}

#[test]
fn rows_are_what_a_model_says_when_vats_are_unloaded() {
    in_every_shape(|shape| {
        let (scratch, mut luck) = (Scratch::new(), Luck::new(50 + shape.workers as u64));
        let settings = |builder: crankcase::KernelBuilder| {
            builder.vats_in_memory(0).checkpoint_every(10, u64::MAX)
        };
        let mut host = shape.open_with(scratch.dir(), settings);
        let vats = host.actors(5);
        let mut models = vec![Model::new(); 5];
        for _ in 0..4 {
            churn(&host, &vats, &mut models, &mut luck);
            host.close();
            host = shape.open_with(scratch.dir(), settings);
        }
        check_all(&host, &vats, &models);
        host.close();
    });
}

#[test]
fn idle_vats_are_unloaded_and_answer_all_the_same() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| {
            builder.vats_in_memory(2).checkpoint_every(10, u64::MAX)
        });
        let vats = host.actors(30);
        for round in 1..=4 {
            for &vat in &vats {
                let row = Step::Set(b"round".to_vec(), vec![round]);
                let _ = host.tell(vat, &[Step::Add(1), row]).unwrap();
            }
            host.idle();
        }
        // Unloading follows a checkpoint, and so needs something that goes on happening.
        let busy = vats[0];
        while host.stats().vats_in_memory >= 30 {
            host.play(busy, &[Step::Add(0)]).unwrap();
        }
        for &vat in &vats {
            // By a look, which loads nothing, and by a crank, which does.
            assert_eq!(host.look(vat).count, 4);
            let said = host.said(vat, &[Step::Get(b"round".to_vec()), Step::Add(1)]);
            assert_eq!(said, [Said::Row(Some(vec![4])), Said::Number(5)]);
        }
        host.close();
        let host = shape.open(scratch.dir());
        for &vat in &vats {
            assert_eq!(host.look(vat).count, 5);
        }
        host.close();
    });
}

#[test]
fn a_crank_sees_rows_that_it_writes_ahead_of_a_walk() {
    let scratch = Scratch::new();
    let host = crankcase_tests::Shape {
        order: CommitOrder::Completion,
        workers: 1,
    };
    let host = host.open(scratch.dir());
    let vat = host.actor();
    let set = |key: &[u8], value: &[u8]| Step::Set(key.to_vec(), value.to_vec());
    host.play(vat, &[set(b"a", b"1"), set(b"c", b"3")]).unwrap();
    let walk = Step::Range(b"a".to_vec(), b"z".to_vec());
    let steps = [
        set(b"b", b"2"),
        Step::Delete(b"a".to_vec()),
        set(b"c", b"4"),
        walk,
    ];
    let rows = vec![
        (b"b".to_vec(), b"2".to_vec()),
        (b"c".to_vec(), b"4".to_vec()),
    ];
    assert_eq!(host.said(vat, &steps), [Said::Rows(rows)]);
    host.close();
}

/// What may stay in memory of each store: nothing, a few rows, and for a while all of them.
const BUDGETS: [usize; 3] = [0, 300, 1500];

fn small(budget_bytes: usize) -> impl Fn(KernelBuilder) -> KernelBuilder {
    move |builder| {
        builder
            .store_cache_bytes(budget_bytes)
            .checkpoint_every(10, u64::MAX)
    }
}

#[test]
fn rows_are_what_a_model_says_when_stores_do_not_fit_in_memory() {
    in_every_shape(|shape| {
        for budget_bytes in BUDGETS {
            let scratch = Scratch::new();
            let mut luck = Luck::new(90 + shape.workers as u64 + budget_bytes as u64);
            let mut host = shape.open_with(scratch.dir(), small(budget_bytes));
            let vats = host.actors(3);
            let mut models = vec![Model::new(); 3];
            for _ in 0..3 {
                churn(&host, &vats, &mut models, &mut luck);
                churn(&host, &vats, &mut models, &mut luck);
                host.close();
                host = shape.open_with(scratch.dir(), small(budget_bytes));
            }
            check_all(&host, &vats, &models);
            host.close();
        }
    });
}

#[test]
fn rows_are_what_a_model_says_when_stores_do_not_fit_and_vats_are_unloaded() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let mut luck = Luck::new(120 + shape.workers as u64);
        let settings = |builder: KernelBuilder| small(200)(builder).vats_in_memory(0);
        let host = shape.open_with(scratch.dir(), settings);
        let vats = host.actors(5);
        let mut models = vec![Model::new(); 5];
        for _ in 0..4 {
            churn(&host, &vats, &mut models, &mut luck);
        }
        check_all(&host, &vats, &models);
        host.close();
    });
}

#[test]
fn rows_are_what_a_model_says_over_tables_in_memory() {
    in_every_shape(|shape| {
        for budget_bytes in BUDGETS {
            let mut luck = Luck::new(150 + shape.workers as u64);
            let host = shape.open_with("", |builder| {
                small(budget_bytes)(builder)
                    .durability(Durability::None)
                    .vats_in_memory(budget_bytes % 7)
            });
            let vats = host.actors(4);
            let mut models = vec![Model::new(); 4];
            for _ in 0..4 {
                churn(&host, &vats, &mut models, &mut luck);
            }
            check_all(&host, &vats, &models);
            host.close();
        }
    });
}

/// Keys in the order of their numbers.
fn numbered(number: u64) -> Vec<u8> {
    [b"row/", &number.to_be_bytes()[..]].concat()
}

/// An actor with that many rows, of which none stays in memory once the tables hold them.
fn with_rows(host: &Host, count: u64, value: impl Fn(u64) -> Vec<u8>) -> Ref {
    let vat = host.actor();
    let numbers: Vec<u64> = (0..count).collect();
    for part in numbers.chunks(50) {
        let steps = part.iter().map(|&n| Step::Set(numbered(n), value(n)));
        host.play(vat, &steps.collect::<Vec<_>>()).unwrap();
    }
    // A store is looked at when its vat has something to do, and so is whether a checkpoint is due.
    while host.stats().store_bytes > 0 {
        host.play(vat, &[Step::Add(0)]).unwrap();
    }
    vat
}

#[test]
fn a_walk_goes_over_the_tables_and_what_is_newer_in_both_directions() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| small(0)(builder));
        let vat = with_rows(&host, 700, |number| number.to_be_bytes().to_vec());
        let mut model: Model = (0..700u64)
            .map(|number| (numbered(number), number.to_be_bytes().to_vec()))
            .collect();
        let mut steps = Vec::new();
        for number in (0..700).step_by(3) {
            steps.push(Step::Delete(numbered(number)));
            model.remove(&numbered(number));
        }
        for number in (0..900).step_by(7) {
            steps.push(Step::Set(numbered(number), b"newer".to_vec()));
            model.insert(numbered(number), b"newer".to_vec());
        }
        let rows: Vec<_> = model.into_iter().collect();
        let backwards = rows.iter().rev().cloned().collect();
        let walks = [
            Step::Range(b"row/".to_vec(), b"row0".to_vec()),
            Step::PrefixBackwards(b"row/".to_vec()),
        ];
        let seen = [Said::Rows(rows), Said::Rows(backwards)];
        // In the crank that writes, in the next one, and when the tables have caught up.
        steps.extend(walks.clone());
        assert_eq!(host.said(vat, &steps), seen);
        for _ in 0..15 {
            assert_eq!(host.said(vat, &walks), seen);
        }
        host.close();
    });
}

#[test]
fn a_row_that_cannot_be_read_stops_the_kernel_and_not_the_vat() {
    in_every_shape(|shape| {
        // The first read of a row, and one in the middle of a walk.
        let walk = Step::Range(b"row/".to_vec(), b"row0".to_vec());
        for (fails_at, step) in [(1, Step::Get(numbered(7))), (150, walk)] {
            let (scratch, disk) = (Scratch::new(), FailingDisk::new());
            let faults: Arc<dyn crankcase_journal::Faults> = Arc::<FailingDisk>::clone(&disk);
            let host = shape.open_with(scratch.dir(), |b| small(0)(b).faults(faults));
            let vat = with_rows(&host, 200, |number| number.to_be_bytes().to_vec());
            host.play(vat, &[Step::Add(1)]).unwrap();
            host.idle();
            disk.store_read.store(fails_at, Ordering::SeqCst);
            let asked = host.request("asked");
            let steps = vec![step.clone(), Step::Add(1)];
            let ticket = asked.send(vat, "play", &steps).unwrap();
            let _ = host.run_if_needed();
            match failed(&ticket) {
                WaitError::Indeterminate(Poison::Store { vat: named, why }) => {
                    assert_eq!(named, vat.vat());
                    assert!(why.contains("on purpose"), "{why}");
                }
                other => panic!("the vat is named: {other}"),
            }
            let closed = host.into_kernel().close(PATIENCE);
            let known = matches!(closed, Err(CloseError::Poisoned(Poison::Store { .. })));
            assert!(known, "{closed:?}");

            // The crank had no effect, and happens once when the row can be read.
            let host = shape.open_with(scratch.dir(), small(0));
            let again = host.request("asked").send(vat, "play", &steps).unwrap();
            let outcome = host.settled(&again);
            let said = crankcase_tests::host::said(&outcome);
            assert_eq!(said[1], Said::Number(2));
            match &said[0] {
                Said::Row(row) => assert_eq!(row.as_deref(), Some(&7u64.to_be_bytes()[..])),
                Said::Rows(rows) => assert_eq!(rows.len(), 200),
                other => panic!("{other:?}"),
            }
            host.close();
        }
    });
}

#[test]
fn a_damaged_row_that_a_crank_asks_for_stops_the_kernel() {
    let scratch = Scratch::new();
    // Enough for the tables to have it in files that an open does not read through.
    let value = |number: u64| {
        let mut luck = Luck::new(number);
        (0..40_000)
            .map(|_| luck.below(256) as u8)
            .collect::<Vec<u8>>()
    };
    let mut host = PLAIN.open_with(scratch.dir(), small(0));
    let vat = with_rows(&host, 300, value);
    let needle = &value(100)[..64];
    // The log of the tables' database has the row as well, and every open checks that.
    let holders = || {
        let files = scratch.files("").into_iter().filter(|file| {
            file.starts_with(scratch.dir().join("tables")) && file.extension().is_none()
        });
        let holding = files.filter_map(|file| {
            let bytes = std::fs::read(&file).unwrap();
            let mut places = bytes.windows(needle.len());
            Some((places.position(|window| window == needle)?, bytes, file))
        });
        holding.collect::<Vec<_>>()
    };
    host.close();
    // fjall writes them there when it comes to it.
    for number in 300.. {
        if !holders().is_empty() {
            break;
        }
        host = PLAIN.open_with(scratch.dir(), small(0));
        let row = Step::Set(numbered(number), value(number));
        host.play(vat, &[row]).unwrap();
        host.close();
    }
    for (at, mut bytes, file) in holders() {
        bytes[at + 10] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let host = PLAIN.open_with(scratch.dir(), small(0));
    let undamaged = host.said(vat, &[Step::Get(numbered(3))]);
    assert_eq!(undamaged, [Said::Row(Some(value(3)))]);
    let ticket = host.tell(vat, &[Step::Get(numbered(100))]).unwrap();
    let why = failed(&ticket);
    assert!(
        matches!(&why, WaitError::Indeterminate(Poison::Store { vat: named, .. }) if *named == vat.vat()),
        "{why}"
    );
    assert!(host.into_kernel().close(PATIENCE).is_err());
}

#[test]
fn idle_vats_with_large_stores_leave_memory() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| {
            builder
                .stores_in_memory_bytes(20_000)
                .checkpoint_every(10, u64::MAX)
        });
        let vats = host.actors(20);
        for (number, &vat) in vats.iter().enumerate() {
            let row = Step::Set(b"row".to_vec(), vec![number as u8; 5000]);
            host.play(vat, &[row]).unwrap();
        }
        let busy = vats[0];
        while host.stats().store_bytes > 20_000 {
            host.play(busy, &[Step::Add(0)]).unwrap();
        }
        for (number, &vat) in vats.iter().enumerate() {
            let said = host.said(vat, &[Step::Get(b"row".to_vec())]);
            assert_eq!(said, [Said::Row(Some(vec![number as u8; 5000]))]);
        }
        // What has ended is counted no more.
        for &vat in &vats {
            host.play(vat, &[Step::Exit]).unwrap();
        }
        host.idle();
        assert_eq!(host.stats().store_bytes, 0);
        host.close();
    });
}
