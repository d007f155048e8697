//! What hosts are told, and that it is what the journal holds.

use std::sync::Arc;

use crankcase::CommitOrder;
use crankcase_journal::Kept;
use crankcase_shuttle_tests::crowd::{Fate, Told, Witness, check, talk};
use crankcase_shuttle_tests::disk::Disk;
use crankcase_shuttle_tests::explore;
use crankcase_shuttle_tests::world::{FOR_EVER, below, narrow, one_of, open};
use crankcase_tests::host::said;
use crankcase_tests::{Host, Said, Step};
use shuttle::thread;

/// Ends a host that nobody shares any more.
fn close(host: Arc<Host>) {
    let host = Arc::into_inner(host).expect("whoever shared it has ended");
    host.into_kernel().close(FOR_EVER).expect("it closes");
}

#[test]
fn every_ticket_settles_and_each_count_is_told_once() {
    explore(&[], |_| {
        let workers = one_of(&[1, 2, 3]);
        let host = Arc::new(open(CommitOrder::Completion, workers, |builder| builder));
        let actor = host.actor();
        let hosts: Vec<_> = (0..2)
            .map(|_| {
                let host = Arc::clone(&host);
                thread::spawn(move || {
                    let tickets: Vec<_> = (0..1 + below(3))
                        .map(|_| host.tell(actor, &[Step::Add(1)]).expect("it is taken"))
                        .collect();
                    let told = tickets
                        .iter()
                        .flat_map(|ticket| said(&ticket.wait().expect("it settles")));
                    told.collect::<Vec<Said>>()
                })
            })
            .collect();
        let mut told: Vec<u64> = Vec::new();
        for each in hosts {
            let heard = each.join().expect("the host thread ends");
            told.extend(heard.iter().map(|said| match said {
                Said::Number(number) => *number,
                other => panic!("an actor counts, and says {other:?}"),
            }));
        }
        told.sort_unstable();
        assert!(
            told.iter().copied().eq(1..=told.len() as u64),
            "told {told:?}"
        );
        assert_eq!(host.look(actor).count, told.len() as u64);
        close(host);
    });
}

#[test]
fn what_was_told_is_in_the_journal_after_a_crash_at_any_moment_and_after_closing() {
    const STATES: [&str; 4] = [
        "crashed with nothing told",
        "crashed with some told",
        "crashed with more in the journal than was told",
        "closed with nothing to do",
    ];
    explore(&STATES, |seen| {
        let kept = Kept::new();
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            let builder = narrow(builder.kept(kept.clone()));
            let builder = builder.host_input_bytes(one_of(&[1, 64 << 20]));
            match below(2) {
                0 => builder,
                _ => builder.faults(Disk::slow()),
            }
        });
        let host = Arc::new(host);
        let actors = host.actors(2);
        let witness = Witness::default();
        let hosts: Vec<_> = (0..2)
            .map(|author| {
                let (host, witness, actors) = (Arc::clone(&host), witness.clone(), actors.clone());
                thread::spawn(move || talk(&host, author, 3, &actors, &witness))
            })
            .collect();
        // The crash comes at the moment that the schedule gives this thread.
        for _ in 0..below(400) {
            thread::yield_now();
        }
        let told = witness.told();
        let crashed = kept.crashed();
        for each in hosts {
            let ended = each.join().expect("the host thread ends");
            ended.expect("a kernel without faults takes and tells everything");
        }
        host.idle();
        check(&host, &actors, &witness.told());
        close(host);
        seen.note_if(told.is_empty(), STATES[0]);
        seen.note_if(
            !told.is_empty() && told.len() < witness.told().len(),
            STATES[1],
        );
        let heard = |told: &[Told]| told.iter().filter(|t| t.fate == Fate::Heard).count();
        for (journal, told) in [(crashed, told), (kept, witness.told())] {
            let host = open(CommitOrder::Completion, one_of(&[1, 2]), |builder| {
                narrow(builder.kept(journal))
            });
            check(&host, &actors, &told);
            let there: usize = actors
                .iter()
                .map(|&actor| host.look(actor).heard.len())
                .sum();
            seen.note_if(there > heard(&told), STATES[2]);
            let before = host.stats().sequenced;
            host.idle();
            seen.note_if(host.stats().sequenced == before, STATES[3]);
            check(&host, &actors, &told);
            host.into_kernel().close(FOR_EVER).expect("it closes");
        }
    });
}
