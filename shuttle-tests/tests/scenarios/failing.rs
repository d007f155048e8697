//! A disk that fails or stalls: who waits is told, and what was told before holds.

use std::sync::Arc;

use crankcase::{CloseError, CommitOrder, Poison, RunError, SendError, WaitError};
use crankcase_journal::Kept;
use crankcase_shuttle_tests::crowd::{TurnedAway, Witness, check, talk};
use crankcase_shuttle_tests::disk::{Disk, Fault};
use crankcase_shuttle_tests::explore;
use crankcase_shuttle_tests::world::{FOR_EVER, Gate, below, narrow, one_of, open};
use crankcase_tests::Step;
use shuttle::future::block_on;
use shuttle::thread;

/// Whether a reason is the fault's.
fn is_of(poison: &Poison, fault: Fault) -> bool {
    match fault {
        Fault::GroupWrite(_) | Fault::GroupSync(_) => matches!(poison, Poison::Commit(_)),
        Fault::Checkpoint(_) => matches!(poison, Poison::Checkpoint(_)),
        // Whoever reads it: a crank, the loading of a vat, or the sweep of what vats left that ended.
        Fault::StoreRead => matches!(
            poison,
            Poison::Store { .. } | Poison::Load(_) | Poison::Checkpoint(_)
        ),
    }
}

#[track_caller]
fn check_turned_away(how: &TurnedAway, fault: Fault) {
    match how {
        TurnedAway::Unsent(SendError::Poisoned(poison))
        | TurnedAway::Untold(WaitError::Indeterminate(poison))
            if is_of(poison, fault) => {}
        _ => panic!("{fault:?} shows as {how:?}"),
    }
}

#[test]
fn a_fault_of_the_disk_reaches_everyone_who_waits_and_takes_back_nothing() {
    const STATES: [&str; 8] = [
        "a group was not written",
        "a group was written and not acknowledged",
        "a checkpoint was not written",
        "an author was turned away before it sent",
        "an author was not told",
        "who waited for idleness was told",
        "a reader was told",
        "the fault never came about",
    ];
    explore(&STATES, |seen| {
        let fault = match below(3) {
            0 => Fault::GroupWrite(3 + below(4)),
            1 => Fault::GroupSync(3 + below(4)),
            _ => Fault::Checkpoint(1 + below(3)),
        };
        let kept = Kept::new();
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            let builder = narrow(builder.kept(kept.clone()));
            let builder = builder.host_input_bytes(one_of(&[1, 64 << 20]));
            builder.faults(Disk::failing(fault))
        });
        let host = Arc::new(host);
        let made = host.spawn("actor", &Vec::<Step>::new());
        let actors: Vec<_> = match made.map(|made| made.wait()) {
            Ok(Ok(made)) => vec![crankcase::Ref::to(made.expect("an actor starts"))],
            // It failed before there was an actor.
            Ok(Err(WaitError::Indeterminate(poison))) | Err(SendError::Poisoned(poison)) => {
                assert!(is_of(&poison, fault), "{fault:?} shows as {poison:?}");
                Vec::new()
            }
            other => panic!("{fault:?} shows as {other:?}"),
        };
        let witness = Witness::default();
        let mut hosts = Vec::new();
        for author in 0..if actors.is_empty() { 0 } else { 2 } {
            let (host, witness, actors) = (Arc::clone(&host), witness.clone(), actors.clone());
            let seen = seen.clone();
            hosts.push(thread::spawn(move || {
                if let Err(how) = talk(&host, author, 3, &actors, &witness) {
                    check_turned_away(&how, fault);
                    match how {
                        TurnedAway::Unsent(_) => seen.note(STATES[3]),
                        TurnedAway::Untold(_) => seen.note(STATES[4]),
                    }
                }
            }));
        }
        // Others wait in every other way there is.
        let waiting = {
            let (host, actors, seen) = (Arc::clone(&host), actors.clone(), seen.clone());
            thread::spawn(move || match below(3) {
                0 => match host.run_until_idle() {
                    Ok(()) => {}
                    Err(
                        RunError::Poisoned(poison)
                        | RunError::Wait(WaitError::Indeterminate(poison)),
                    ) if is_of(&poison, fault) => seen.note(STATES[5]),
                    Err(error) => panic!("{fault:?} shows as {error:?}"),
                },
                1 => block_on(host.room()),
                _ => {
                    for &actor in &actors {
                        match host.read(actor, |_: &crankcase_tests::Actor| ()) {
                            Ok(()) => {}
                            Err(crankcase::ReadError::Wait(WaitError::Indeterminate(poison)))
                                if is_of(&poison, fault) =>
                            {
                                seen.note(STATES[6]);
                            }
                            Err(error) => panic!("{fault:?} shows as {error:?}"),
                        }
                    }
                }
            })
        };
        for each in hosts {
            each.join().expect("a host thread ends");
        }
        waiting.join().expect("who waits is let go");
        // It answers until it is closed.
        let _ = (
            host.stats(),
            host.explain(crankcase::VatId::new(crankcase::VatNumber::HOST, 1)),
        );
        let kernel = Arc::into_inner(host)
            .expect("the others have ended")
            .into_kernel();
        let poisoned = kernel.stats().poison.is_some();
        match kernel.close(FOR_EVER) {
            Ok(()) => {
                assert!(
                    !poisoned,
                    "a kernel that has stopped closes as if nothing was"
                );
                seen.note(STATES[7]);
            }
            Err(CloseError::Poisoned(poison)) if is_of(&poison, fault) => seen.note(match fault {
                Fault::GroupWrite(_) => STATES[0],
                Fault::GroupSync(_) => STATES[1],
                _ => STATES[2],
            }),
            Err(error) => panic!("{fault:?} shows as {error:?}"),
        }
        let host = open(CommitOrder::Completion, one_of(&[1, 2]), |builder| {
            narrow(builder.kept(kept))
        });
        check(&host, &actors, &witness.told());
        host.idle();
        check(&host, &actors, &witness.told());
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn a_store_that_cannot_be_read_stops_the_kernel_and_nothing_is_made_up() {
    explore(&["a row was not read"], |seen| {
        let fault = Fault::StoreRead;
        let host = open(CommitOrder::Completion, one_of(&[1, 2]), |builder| {
            builder
                .checkpoint_every(1, 1 << 30)
                .vats_in_memory(0)
                .store_cache_bytes(0)
                .group_bytes(1)
                .audit_counts(false)
                .faults(Disk::failing(fault))
        });
        let host = Arc::new(host);
        let actor = host.actor();
        let hosts: Vec<_> = (0..2u8)
            .map(|author| {
                let host = Arc::clone(&host);
                thread::spawn(move || {
                    for round in 0..3u8 {
                        let row = vec![author];
                        let steps = [Step::Get(row.clone()), Step::Set(row, vec![round])];
                        let told = match host.tell(actor, &steps) {
                            Ok(ticket) => ticket.wait().map_err(TurnedAway::Untold),
                            Err(error) => Err(TurnedAway::Unsent(error)),
                        };
                        match told {
                            Ok(outcome) => {
                                let before = round.checked_sub(1).map(|before| vec![before]);
                                assert_eq!(
                                    crankcase_tests::host::said(&outcome),
                                    [crankcase_tests::Said::Row(before)],
                                );
                            }
                            Err(how) => return check_turned_away(&how, fault),
                        }
                    }
                })
            })
            .collect();
        for each in hosts {
            each.join().expect("a host thread ends");
        }
        let kernel = Arc::into_inner(host)
            .expect("the others have ended")
            .into_kernel();
        match kernel.close(FOR_EVER) {
            Ok(()) => {}
            Err(CloseError::Poisoned(poison)) if is_of(&poison, fault) => {
                seen.note("a row was not read");
            }
            Err(error) => panic!("{fault:?} shows as {error:?}"),
        }
    });
}

#[test]
fn while_the_disk_stalls_vats_go_on_and_nothing_is_told() {
    explore(&["stalled"], |seen| {
        let gate = Gate::closed();
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            builder
                .group_bytes(one_of(&[1, 128 << 10]))
                .faults(Disk::stalled(&gate))
        });
        // Its input and its crank are sequenced though nothing can be durable.
        let made = host
            .spawn("actor", &Vec::<Step>::new())
            .expect("it is taken");
        let waiting = thread::spawn(move || made.wait().expect("it settles").expect("it starts"));
        while host.stats().cranks < 1 {
            thread::yield_now();
        }
        let stats = host.stats();
        assert_eq!(stats.released.get(), 0, "released, and nothing is written");
        assert_eq!(stats.durable.get(), 0, "durable, and nothing is written");
        seen.note("stalled");
        gate.open();
        let actor = waiting.join().expect("who waits is told");
        assert_eq!(host.look(actor).count, 0);
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}
