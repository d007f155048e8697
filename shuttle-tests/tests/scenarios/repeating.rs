//! A schedule that was noted runs again in the same way.

use std::sync::{Arc, Mutex, PoisonError};

use crankcase::CommitOrder;
use crankcase_shuttle_tests::crowd::{Told, Witness, talk};
use crankcase_shuttle_tests::world::{FOR_EVER, narrow, one_of, open};
use crankcase_shuttle_tests::{Schedule, once, repeat};
use shuttle::thread;

/// What can be seen of an execution: what was told in which order, and where the order ends.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    told: Vec<Told>,
    figures: String,
}

fn scenario(runs: &Arc<Mutex<Vec<Run>>>) -> impl Fn() + Send + Sync + 'static {
    let runs = Arc::clone(runs);
    move || {
        let host = Arc::new(open(CommitOrder::Completion, one_of(&[1, 2, 3]), narrow));
        let actors = host.actors(2);
        let witness = Witness::default();
        let hosts: Vec<_> = (0..2)
            .map(|author| {
                let (host, witness, actors) = (Arc::clone(&host), witness.clone(), actors.clone());
                thread::spawn(move || talk(&host, author, 3, &actors, &witness))
            })
            .collect();
        for each in hosts {
            let ended = each.join().expect("the host thread ends");
            ended.expect("everything is taken and told");
        }
        host.idle();
        let figures = format!("{:?}", host.stats());
        let told = witness.told();
        let run = Run { told, figures };
        runs.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(run);
        let host = Arc::into_inner(host).expect("the host threads have ended");
        host.into_kernel().close(FOR_EVER).expect("it closes");
    }
}

#[test]
fn a_schedule_runs_again_in_the_same_way() {
    for seed in 0..20 {
        let runs = Arc::default();
        let schedule = once(seed, scenario(&runs));
        let read: Schedule = schedule
            .to_string()
            .parse()
            .expect("it is read as it was written");
        assert_eq!(read, schedule);
        repeat(read, scenario(&runs));
        let runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[test]
fn two_seeds_are_two_schedules() {
    let runs = Arc::default();
    assert_ne!(once(1, scenario(&runs)), once(2, scenario(&runs)));
}

#[test]
fn what_is_no_schedule_is_refused() {
    for text in [
        "",
        "abc",
        "x:abc",
        "1:a(b",
        "1:a-",
        "1:a99999999999999999999",
    ] {
        assert!(
            text.parse::<Schedule>().is_err(),
            "{text:?} passes for a schedule"
        );
    }
    assert_eq!(
        "7:a2(60)3b".parse::<Schedule>().map(|s| s.to_string()),
        Ok("7:a2(60)3b".to_owned())
    );
}
