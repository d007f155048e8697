//! The role and its hand-over: submitters that do each other's items.
#![cfg(crankcase_loom)]

use crankcase::model::{Duty, HandOver, Role};
use crankcase_loom_tests::{Seen, explore, explore_preempted};
use loom::sync::Arc;
use loom::thread;

/// Items that one tenure takes from the queue in a model.
const STRETCH: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// (submitter, number of the item of that submitter)
    Of(u8, u8),
    /// Ends being full.
    Clear,
}

/// A duty that notes what it does.
struct Ledger {
    done: Vec<Item>,
    full: bool,
    this_tenure: usize,
}

impl Ledger {
    fn role(full: bool) -> Arc<Role<Self>> {
        Arc::new(Role::new(Self {
            done: Vec::new(),
            full,
            this_tenure: 0,
        }))
    }
}

impl Duty for Ledger {
    type Item = Item;
    /// How many items the tenure did.
    type After = usize;

    fn accept(&mut self, item: Item) {
        match item {
            Item::Of(..) => assert!(!self.full, "an ordinary item was done while full"),
            Item::Clear => self.full = false,
        }
        self.done.push(item);
        self.this_tenure += 1;
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn finish(&mut self) -> usize {
        std::mem::take(&mut self.this_tenure)
    }
}

/// Submits, and notes whether others' items were done here or one's own by another.
fn submit(role: &Role<Ledger>, item: Item, seen: &Seen) {
    let mut here = 0;
    let mut tenures = 0;
    role.submit(item, &mut |count| {
        assert!(count <= STRETCH + 1, "a tenure went on for {count} items");
        here += count;
        tenures += 1;
    });
    seen.note_if(tenures == 0, "left to the holder");
    seen.note_if(here > 1, "did an item of another");
}

/// What was done, without giving the role a chance to catch up first.
fn done(role: &Role<Ledger>) -> Vec<Item> {
    role.with(|ledger| ledger.done.clone(), &mut |_| {})
}

#[track_caller]
fn check_done(role: &Role<Ledger>, expected: &[(u8, u8)]) {
    let done = done(role);
    let total: usize = expected.iter().map(|(_, count)| usize::from(*count)).sum();
    let ordinary = done.iter().filter(|item| **item != Item::Clear).count();
    assert_eq!(
        ordinary, total,
        "lost or done twice, of {expected:?}: {done:?}"
    );
    for (submitter, count) in expected {
        let order: Vec<u8> = done
            .iter()
            .filter_map(|item| match item {
                Item::Of(of, number) if of == submitter => Some(*number),
                _ => None,
            })
            .collect();
        assert_eq!(
            order,
            (0..*count).collect::<Vec<_>>(),
            "out of order: {done:?}"
        );
    }
}

fn spawn_submitter(
    role: &Arc<Role<Ledger>>,
    seen: &Seen,
    submitter: u8,
    count: u8,
) -> thread::JoinHandle<()> {
    let (role, seen) = (Arc::clone(role), seen.clone());
    thread::spawn(move || {
        for number in 0..count {
            submit(&role, Item::Of(submitter, number), &seen);
        }
    })
}

#[test]
fn two_submitters_of_one_item_each_lose_none() {
    explore(&["left to the holder", "did an item of another"], |seen| {
        let role = Ledger::role(false);
        let other = spawn_submitter(&role, seen, 1, 1);
        submit(&role, Item::Of(0, 0), seen);
        other.join().unwrap();
        check_done(&role, &[(0, 1), (1, 1)]);
    });
}

#[test]
fn two_submitters_of_two_items_each_lose_none_and_keep_their_order() {
    explore_preempted(
        5,
        &["left to the holder", "did an item of another"],
        |seen| {
            let role = Ledger::role(false);
            let other = spawn_submitter(&role, seen, 1, 2);
            submit(&role, Item::Of(0, 0), seen);
            submit(&role, Item::Of(0, 1), seen);
            other.join().unwrap();
            check_done(&role, &[(0, 2), (1, 2)]);
        },
    );
}

#[test]
fn three_submitters_lose_none() {
    explore_preempted(
        3,
        &["left to the holder", "did an item of another"],
        |seen| {
            let role = Ledger::role(false);
            let others = [1, 2].map(|submitter| spawn_submitter(&role, seen, submitter, 1));
            submit(&role, Item::Of(0, 0), seen);
            for other in others {
                other.join().unwrap();
            }
            check_done(&role, &[(0, 1), (1, 1), (2, 1)]);
        },
    );
}

#[test]
fn no_item_is_passed_by_a_later_one_while_a_third_goes_in() {
    explore_preempted(
        3,
        &["left to the holder", "did an item of another"],
        |seen| {
            let role = Ledger::role(false);
            // This thread holds the role, and of two that leave their items to it one is in the middle.
            let others = [(1, 2), (2, 1)]
                .map(|(submitter, count)| spawn_submitter(&role, seen, submitter, count));
            submit(&role, Item::Of(0, 0), seen);
            for other in others {
                other.join().unwrap();
            }
            check_done(&role, &[(0, 1), (1, 2), (2, 1)]);
        },
    );
}

#[test]
fn a_holder_puts_the_role_down_after_a_stretch_though_more_is_queued() {
    const STATES: [&str; 3] = [
        "left to the holder",
        "did an item of another",
        "more than one stretch in one call",
    ];
    explore_preempted(3, &STATES, |seen| {
        let role = Ledger::role(false);
        let other = spawn_submitter(&role, seen, 1, 3);
        let mut tenures = 0;
        let mut here = 0;
        role.submit(Item::Of(0, 0), &mut |count| {
            assert!(count <= STRETCH + 1, "a tenure went on for {count} items");
            tenures += 1;
            here += count;
        });
        seen.note_if(
            tenures > 1 && here > STRETCH + 1,
            "more than one stretch in one call",
        );
        other.join().unwrap();
        check_done(&role, &[(0, 1), (1, 3)]);
    });
}

#[test]
fn items_that_wait_while_it_is_full_are_done_once_an_urgent_one_clears_it() {
    const STATES: [&str; 4] = [
        "left to the holder",
        "did an item of another",
        "was seen full",
        "clearing it did what waited",
    ];
    explore_preempted(3, &STATES, |seen| {
        let role = Ledger::role(true);
        let other = spawn_submitter(&role, seen, 1, 1);
        let clearer = {
            let (role, seen) = (Arc::clone(&role), seen.clone());
            thread::spawn(move || {
                role.submit_urgent(Item::Clear, &mut |count| {
                    seen.note_if(count > 1, "clearing it did what waited");
                });
            })
        };
        submit(&role, Item::Of(0, 0), seen);
        seen.note_if(role.is_full(), "was seen full");
        other.join().unwrap();
        clearer.join().unwrap();
        assert!(
            !role.is_full(),
            "it is said to be full, and nothing would change that"
        );
        check_done(&role, &[(0, 1), (1, 1)]);
    });
}

#[test]
fn an_item_queued_while_the_holder_clears_the_role_is_not_forgotten() {
    const STATES: [&str; 3] = [
        "left to the holder",
        "was seen full",
        "clearing it did what waited",
    ];
    explore(&STATES, |seen| {
        let role = Ledger::role(true);
        let clearer = {
            let (role, seen) = (Arc::clone(&role), seen.clone());
            thread::spawn(move || {
                role.submit_urgent(Item::Clear, &mut |count| {
                    seen.note_if(count > 1, "clearing it did what waited");
                });
            })
        };
        let mut tenures = 0;
        role.submit(Item::Of(0, 0), &mut |_| tenures += 1);
        seen.note_if(tenures == 0, "left to the holder");
        seen.note_if(role.is_full(), "was seen full");
        clearer.join().unwrap();
        check_done(&role, &[(0, 1)]);
    });
}

#[test]
fn the_items_of_one_vat_stay_in_order_when_it_goes_from_thread_to_thread() {
    explore_preempted(
        3,
        &["left to the holder", "did an item of another"],
        |seen| {
            let role = Ledger::role(false);
            let line = Arc::new(HandOver::new());
            // The vat's first crank here, its second there.
            let next_worker = {
                let (role, line, seen) = (Arc::clone(&role), Arc::clone(&line), seen.clone());
                thread::spawn(move || {
                    if let Some(number) = line.take() {
                        submit(&role, Item::Of(0, number), &seen);
                    }
                })
            };
            // Another vat, which keeps the role taken now and then.
            let neighbour = spawn_submitter(&role, seen, 1, 1);
            submit(&role, Item::Of(0, 0), seen);
            line.give(1).expect("the line is open");
            next_worker.join().unwrap();
            neighbour.join().unwrap();
            check_done(&role, &[(0, 2), (1, 1)]);
        },
    );
}

#[test]
fn an_act_under_the_role_leaves_nothing_queued_behind_it() {
    explore(&["left to the holder"], |seen| {
        let role = Ledger::role(false);
        let other = {
            let (role, seen) = (Arc::clone(&role), seen.clone());
            thread::spawn(move || {
                let mut tenures = 0;
                role.submit(Item::Of(1, 0), &mut |_| tenures += 1);
                seen.note_if(tenures == 0, "left to the holder");
            })
        };
        let before = role.with(|ledger| ledger.done.len(), &mut |_| {});
        assert!(before <= 1);
        other.join().unwrap();
        check_done(&role, &[(1, 1)]);
    });
}
