//! The ordered store of a vat, beside a model of it.

use std::collections::BTreeMap;

use crankcase::{CommitOrder, Ref};
use crankcase_tests::luck::Luck;
use crankcase_tests::{Host, Said, Scratch, Step, in_every_shape};

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
