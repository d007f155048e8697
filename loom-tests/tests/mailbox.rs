//! Mailbox: pushers against an activation that comes to rest.
#![cfg(crankcase_loom)]

use std::collections::VecDeque;
use std::sync::Mutex;

use crankcase::model::{Mailbox, Rest, Weighs};
use crankcase_loom_tests::{Exclusive, Seen, explore};
use loom::sync::Arc;
use loom::thread;

/// The pusher, and the number of the delivery of that pusher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery(u8, u8);

impl Weighs for Delivery {
    fn weight(&self) -> usize {
        1
    }
}

/// More than any model pushes.
const AMPLE: usize = 100;

/// A vat: deliveries arrive in its mailbox, and whoever is told to makes it run.
struct Vat {
    mailbox: Mailbox<Delivery>,
    running: Exclusive,
    /// What ran, in order. No lock of loom's: the mailbox alone must keep activations apart.
    ran: Mutex<Vec<Delivery>>,
}

impl Vat {
    fn new(mailbox: Mailbox<Delivery>) -> Arc<Self> {
        Arc::new(Self {
            mailbox,
            running: Exclusive::new(),
            ran: Mutex::new(Vec::new()),
        })
    }

    /// Pushes, and runs the vat here if that is what the push asks for.
    fn deliver(&self, delivery: Delivery, budget: usize, seen: &Seen) {
        if self.mailbox.push(delivery, AMPLE).make_runnable {
            self.activate(budget, seen);
        } else {
            seen.note("a push into a scheduled mailbox");
        }
    }

    /// Activations until the mailbox is idle.
    fn activate(&self, budget: usize, seen: &Seen) {
        let mut taken = VecDeque::new();
        loop {
            self.mailbox.take(budget, &mut taken);
            assert!(
                taken.len() <= budget,
                "more was taken than the budget allows"
            );
            let exact = taken.len() == budget;
            self.run(taken.drain(..));
            match self.mailbox.rest() {
                Rest::Idle => {
                    seen.note_if(exact, "idle after a batch that ended exactly at the budget");
                    return;
                }
                Rest::Again => seen.note("again after a batch"),
                Rest::Refill => panic!("nothing was kept back"),
            }
        }
    }

    fn run(&self, deliveries: impl Iterator<Item = Delivery>) {
        for delivery in deliveries {
            self.running.visit();
            self.ran.lock().unwrap().push(delivery);
        }
    }

    #[track_caller]
    fn check_ran(&self, expected: &[&[Delivery]]) {
        let ran = self.ran.lock().unwrap();
        assert_eq!(
            ran.len(),
            expected.iter().map(|of_one| of_one.len()).sum::<usize>(),
            "{ran:?}"
        );
        for of_one in expected {
            let pusher = of_one[0].0;
            let order: Vec<_> = ran.iter().copied().filter(|ran| ran.0 == pusher).collect();
            assert_eq!(order, *of_one, "deliveries of one pusher out of order");
        }
    }
}

#[test]
fn deliveries_pushed_while_an_activation_comes_to_rest_run_exactly_once_and_in_order() {
    const STATES: [&str; 3] = [
        "a push into a scheduled mailbox",
        "idle after a batch that ended exactly at the budget",
        "again after a batch",
    ];
    for budget in [1, 2] {
        explore(&STATES, move |seen| {
            let vat = Vat::new(Mailbox::new());
            let other = {
                let (vat, seen) = (Arc::clone(&vat), seen.clone());
                thread::spawn(move || {
                    vat.deliver(Delivery(1, 0), budget, &seen);
                    vat.deliver(Delivery(1, 1), budget, &seen);
                })
            };
            vat.deliver(Delivery(0, 0), budget, seen);
            vat.deliver(Delivery(0, 1), budget, seen);
            other.join().unwrap();
            assert!(vat.mailbox.is_idle(), "a delivery was left lying");
            vat.check_ran(&[
                &[Delivery(0, 0), Delivery(0, 1)],
                &[Delivery(1, 0), Delivery(1, 1)],
            ]);
        });
    }
}

#[test]
fn three_pushers_at_once_make_the_vat_runnable_once_each_time_it_is_idle() {
    const STATES: [&str; 3] = [
        "a push into a scheduled mailbox",
        "idle after a batch that ended exactly at the budget",
        "again after a batch",
    ];
    explore(&STATES, |seen| {
        let vat = Vat::new(Mailbox::new());
        let others = [1, 2].map(|pusher| {
            let (vat, seen) = (Arc::clone(&vat), seen.clone());
            thread::spawn(move || vat.deliver(Delivery(pusher, 0), 2, &seen))
        });
        vat.deliver(Delivery(0, 0), 2, seen);
        for other in others {
            other.join().unwrap();
        }
        assert!(vat.mailbox.is_idle(), "a delivery was left lying");
        vat.check_ran(&[&[Delivery(0, 0)], &[Delivery(1, 0)], &[Delivery(2, 0)]]);
    });
}

#[test]
fn deliveries_put_back_by_a_pausing_activation_stay_in_front_of_newer_ones() {
    const STATES: [&str; 4] = [
        "a push into a scheduled mailbox",
        "a push into an idle mailbox",
        "put back in front of a newer delivery",
        "put back into an empty mailbox",
    ];
    explore(&STATES, |seen| {
        // A vat that is loaded counts as scheduled: what is pushed meanwhile waits for the loader.
        let vat = Vat::new(Mailbox::scheduled());
        assert!(!vat.mailbox.push(Delivery(0, 0), AMPLE).make_runnable);
        assert!(!vat.mailbox.push(Delivery(0, 1), AMPLE).make_runnable);
        let pusher = {
            let (vat, seen) = (Arc::clone(&vat), seen.clone());
            thread::spawn(move || {
                if vat.mailbox.push(Delivery(0, 2), AMPLE).make_runnable {
                    seen.note("a push into an idle mailbox");
                    Some(())
                } else {
                    seen.note("a push into a scheduled mailbox");
                    None
                }
            })
        };
        // The activation runs one of what it took and must pause.
        let mut taken = VecDeque::new();
        vat.mailbox.take(3, &mut taken);
        vat.run(taken.pop_front().into_iter());
        let newer_was_taken = taken.len() == 2;
        vat.mailbox.put_back(&mut taken);
        assert!(taken.is_empty());
        // It is still scheduled, so this is its next turn.
        loop {
            vat.mailbox.take(3, &mut taken);
            seen.note_if(
                !newer_was_taken
                    && taken.contains(&Delivery(0, 2))
                    && taken.contains(&Delivery(0, 1)),
                "put back in front of a newer delivery",
            );
            seen.note_if(
                taken.len() == 1 && taken[0] == Delivery(0, 1),
                "put back into an empty mailbox",
            );
            vat.run(taken.drain(..));
            if vat.mailbox.rest() == Rest::Idle {
                break;
            }
        }
        if pusher.join().unwrap().is_some() {
            vat.mailbox.take(3, &mut taken);
            vat.run(taken.drain(..));
            assert_eq!(vat.mailbox.rest(), Rest::Idle);
        }
        assert!(vat.mailbox.is_idle(), "a delivery was left lying");
        vat.check_ran(&[&[Delivery(0, 0), Delivery(0, 1), Delivery(0, 2)]]);
    });
}

#[test]
fn a_vat_that_has_ended_is_never_run_again_and_keeps_nothing() {
    const STATES: [&str; 3] = [
        "a push before the vat was made runnable",
        "a push dropped by the close",
        "taken before the close and put back after it",
    ];
    explore(&STATES, |seen| {
        // A delivery that tells how many of it are left.
        struct Alive(#[expect(dead_code, reason = "it is counted")] std::sync::Arc<()>);
        impl Weighs for Alive {
            fn weight(&self) -> usize {
                1
            }
        }
        let alive = std::sync::Arc::new(());
        let mailbox = Arc::new(Mailbox::new());
        let first = Alive(std::sync::Arc::clone(&alive));
        assert!(mailbox.push(first, AMPLE).make_runnable);
        let pusher = {
            let (mailbox, alive, seen) = (Arc::clone(&mailbox), alive.clone(), seen.clone());
            thread::spawn(move || {
                let asked = mailbox.push(Alive(alive), AMPLE);
                assert!(!asked.make_runnable, "a vat that ends was made runnable");
                seen.note("a push dropped by the close");
            })
        };
        // The first delivery ends the vat; what was taken with it is put back, as by a pause.
        let mut taken = VecDeque::new();
        mailbox.take(2, &mut taken);
        taken.pop_front();
        seen.note_if(taken.len() == 1, "a push before the vat was made runnable");
        mailbox.close();
        seen.note_if(
            !taken.is_empty(),
            "taken before the close and put back after it",
        );
        mailbox.put_back(&mut taken);
        pusher.join().unwrap();
        mailbox.take(2, &mut taken);
        assert!(taken.is_empty(), "a closed mailbox gave a delivery");
        assert_eq!(
            std::sync::Arc::strong_count(&alive),
            1,
            "a closed mailbox kept a delivery"
        );
    });
}

/// What whoever holds the sequencer's role knows of a vat: all that was delivered, how much of it
/// the mailbox was given, and whether it is given more as it comes.
struct Inbox {
    all: Vec<Delivery>,
    given: usize,
    behind: bool,
}

#[test]
fn deliveries_kept_back_from_a_full_mailbox_follow_when_it_has_run_empty() {
    const STATES: [&str; 3] = [
        "kept back from a full mailbox",
        "filled again",
        "filled again and still behind",
    ];
    explore(&STATES, |seen| {
        let vat = Vat::new(Mailbox::new());
        let inbox = Arc::new(loom::sync::Mutex::new(Inbox {
            all: Vec::new(),
            given: 0,
            behind: false,
        }));
        // One delivery fills it. As the sequencer does, under its role.
        let deliver = |vat: &Vat, inbox: &loom::sync::Mutex<Inbox>, delivery, seen: &Seen| {
            let mut inbox = inbox.lock().unwrap();
            inbox.all.push(delivery);
            if inbox.behind {
                seen.note("kept back from a full mailbox");
                return false;
            }
            inbox.given += 1;
            let pushed = vat.mailbox.push(delivery, 0);
            inbox.behind = pushed.full;
            pushed.make_runnable
        };
        // Activations until the mailbox is idle; what was kept back comes one at a time.
        let activate = |vat: &Vat, inbox: &loom::sync::Mutex<Inbox>, seen: &Seen| {
            let mut taken = VecDeque::new();
            loop {
                vat.mailbox.take(2, &mut taken);
                vat.run(taken.drain(..));
                match vat.mailbox.rest() {
                    Rest::Idle => return,
                    Rest::Again => {}
                    Rest::Refill => {
                        let mut inbox = inbox.lock().unwrap();
                        let next = inbox.all.get(inbox.given).copied();
                        inbox.given += usize::from(next.is_some());
                        inbox.behind = inbox.given < inbox.all.len();
                        seen.note(match inbox.behind {
                            true => "filled again and still behind",
                            false => "filled again",
                        });
                        vat.mailbox.refill(next, inbox.behind);
                    }
                }
            }
        };
        let other = {
            let (vat, inbox, seen) = (Arc::clone(&vat), Arc::clone(&inbox), seen.clone());
            thread::spawn(move || {
                for number in 0..2 {
                    if deliver(&vat, &inbox, Delivery(1, number), &seen) {
                        activate(&vat, &inbox, &seen);
                    }
                }
            })
        };
        if deliver(&vat, &inbox, Delivery(0, 0), seen) {
            activate(&vat, &inbox, seen);
        }
        other.join().unwrap();
        assert!(vat.mailbox.is_idle(), "a delivery was left lying");
        vat.check_ran(&[&[Delivery(0, 0)], &[Delivery(1, 0), Delivery(1, 1)]]);
        let all = inbox.lock().unwrap().all.clone();
        assert_eq!(
            *vat.ran.lock().unwrap(),
            all,
            "they ran in the order of the inbox"
        );
    });
}
