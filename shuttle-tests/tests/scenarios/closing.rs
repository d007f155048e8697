//! Closing while there is work: nothing that has a place is lost, and everyone is told.

use std::sync::Arc;
use std::time::Duration;

use crankcase::{CommitOrder, WaitError};
use crankcase_journal::Kept;
use crankcase_shuttle_tests::crowd::{Fate, Told, Witness, check, steps};
use crankcase_shuttle_tests::disk::Disk;
use crankcase_shuttle_tests::explore;
use crankcase_shuttle_tests::world::{FOR_EVER, below, narrow, one_of, open};
use crankcase_tests::Step;
use shuttle::future::block_on;
use shuttle::thread;

#[test]
fn a_close_in_the_middle_keeps_what_is_sequenced_and_tells_everyone() {
    const STATES: [&str; 4] = [
        "a ticket was told that the kernel is closed",
        "all tickets were settled",
        "closed with records that were not durable",
        "messages waited in the journal",
    ];
    explore(&STATES, |seen| {
        let kept = Kept::new();
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            let builder = narrow(builder.kept(kept.clone()));
            match below(2) {
                0 => builder,
                _ => builder.faults(Disk::slow()),
            }
        });
        let actors = host.actors(2);
        let witness = Witness::default();
        // Vats that are busy with each other for a while, and hosts that wait in threads of theirs.
        let chatter = [Step::Wander(6, actors.clone())];
        drop(host.tell(actors[0], &chatter).expect("it is taken"));
        let waiting: Vec<_> = (0..4)
            .map(|number| {
                let told = Told {
                    author: number % 2,
                    number,
                    to: one_of(&actors),
                    fate: one_of(&[Fate::Heard, Fate::Heard, Fate::Refused]),
                };
                let message = steps(told.author, told.number, told.fate);
                let ticket = host.tell(told.to, &message).expect("it is taken");
                let witness = witness.clone();
                thread::spawn(move || {
                    let ended = match below(2) {
                        0 => ticket.wait(),
                        _ => block_on(std::future::IntoFuture::into_future(ticket)),
                    };
                    match ended {
                        Ok(outcome) => witness.hear(told, &outcome),
                        Err(WaitError::Closed) => {}
                        Err(error) => panic!("{told:?} is told {error:?}"),
                    }
                })
            })
            .collect();
        for _ in 0..below(60) {
            thread::yield_now();
        }
        let stats = host.stats();
        let asked = waiting.len();
        let kernel = host.into_kernel();
        match below(3) {
            0 => drop(kernel),
            _ => kernel.close(FOR_EVER).expect("it closes"),
        }
        for each in waiting {
            each.join().expect("who waits is told");
        }
        let told = witness.told();
        seen.note(match told.len() == asked {
            true => STATES[1],
            false => STATES[0],
        });
        seen.note_if(stats.durable < stats.sequenced, STATES[2]);
        let host = open(CommitOrder::Completion, one_of(&[1, 2]), |builder| {
            narrow(builder.kept(kept))
        });
        assert!(
            host.recovered().last >= stats.sequenced,
            "record {} had its place, and the journal ends at {}",
            stats.sequenced,
            host.recovered().last
        );
        check(&host, &actors, &told);
        seen.note_if(host.stats().waiting > 0, STATES[3]);
        host.idle();
        check(&host, &actors, &told);
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn inputs_that_no_run_has_taken_are_told_when_the_kernel_closes() {
    explore(&["told"], |seen| {
        let host = open(CommitOrder::Dispatch, one_of(&[1, 2]), narrow);
        let actor = host.actor();
        let ticket = host.tell(actor, &[Step::Add(1)]).expect("it is taken");
        let ticket = Arc::new(ticket);
        let other = {
            let ticket = Arc::clone(&ticket);
            thread::spawn(move || ticket.wait_timeout(Duration::from_millis(1)).map(drop))
        };
        drop(host);
        for ended in [
            other.join().expect("who waits is told"),
            ticket.wait().map(drop),
        ] {
            assert!(
                matches!(ended, Err(WaitError::NotTaken | WaitError::Closed)),
                "{ended:?}"
            );
        }
        seen.note("told");
    });
}
