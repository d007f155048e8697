//! SIGKILL at moments that nobody has chosen. What a ticket reported is there afterwards, and in
//! dispatch order nothing shows that anything happened.
//!
//! `CRANKCASE_CRASH_ROUNDS` says how many rounds; more find more.

use std::collections::BTreeMap;

use crankcase::{Clock, CommitOrder, Ref, VatId, VatNumber};
use crankcase_tests::actor::PLAY;
use crankcase_tests::child::Victim;
use crankcase_tests::host::{PLAIN, said};
use crankcase_tests::luck::Luck;
use crankcase_tests::watch::Watch;
use crankcase_tests::{Said, Scratch, Shape, Step, workload};

const VICTIM: &str = env!("CARGO_BIN_EXE_victim");

fn rounds(default: u64) -> u64 {
    std::env::var("CRANKCASE_CRASH_ROUNDS").map_or(default, |rounds| {
        rounds.parse().expect("CRANKCASE_CRASH_ROUNDS is a number")
    })
}

/// Burns a moment that differs from round to round: no clock, and no event to wait for.
fn linger(luck: &mut Luck) {
    for n in 0..luck.below(400_000) {
        std::hint::black_box(n);
    }
}

/// Notes what the child says; a line that was cut short by the kill is no report.
fn note(lines: &[String], reported: &mut BTreeMap<(u64, u64), u64>) {
    for line in lines {
        let words: Vec<Option<u64>> = line.split(' ').map(|word| word.parse().ok()).collect();
        if let [Some(thread), Some(number), Some(count)] = words[..] {
            assert_eq!(
                count,
                number + 1,
                "thread {thread}: each request counts once"
            );
            let before = reported.insert((thread, number), count);
            assert!(
                before.is_none_or(|before| before == count),
                "an outcome never changes"
            );
        }
    }
}

#[test]
fn what_a_ticket_reported_is_there_after_any_number_of_kills() {
    const THREADS: u64 = 4;
    let (scratch, mut luck) = (Scratch::new(), Luck::new(11));
    let mut reported = BTreeMap::new();
    for round in 0..rounds(30) {
        let _watch = Watch::new(format!("kills, round {round}"));
        let words = ["requests", "sync", "4"];
        let mut victim = Victim::start(VICTIM, &scratch.dir(), &words);
        // Sometimes while it opens, sometimes as it gets to work, mostly in the middle.
        let lines = match luck.below(4) {
            0 => victim.lines(1),
            1 => victim.lines(luck.below(10)),
            _ => victim.lines(luck.below(150)),
        };
        linger(&mut luck);
        note(&lines, &mut reported);
        note(&victim.kill().0, &mut reported);
        // Not in every round, so that kills follow on kills.
        if round % 3 != 2 {
            continue;
        }
        let host = PLAIN.open(scratch.dir());
        host.idle();
        let cranks = host.stats().cranks;
        for (&(thread, number), &count) in &reported {
            let to = VatId::new(VatNumber::HOST, thread);
            let sink = VatId::new(VatNumber::HOST, THREADS + 1);
            let steps = vec![
                Step::Add(1),
                Step::Send(Ref::to(sink), vec![Step::Hear(to, number)]),
            ];
            let asked = host.request(format!("{thread}:{number}"));
            let ticket = asked.send(to, PLAY, &steps).unwrap();
            let outcome = crankcase_tests::host::settled(&ticket);
            assert_eq!(said(&outcome), [Said::Number(count)]);
        }
        assert_eq!(host.stats().cranks, cranks, "nothing was run again");
        if reported.is_empty() {
            host.close();
            continue;
        }
        // Everything that was counted was also told, once each and in order.
        let sink = host.look(VatId::new(VatNumber::HOST, THREADS + 1));
        for thread in 1..=THREADS {
            let id = VatId::new(VatNumber::HOST, thread);
            let heard = sink.heard.iter().filter(|(from, _)| *from == id);
            let heard: Vec<u64> = heard.map(|&(_, number)| number).collect();
            assert_eq!(
                heard,
                (0..host.look(id).count).collect::<Vec<_>>(),
                "thread {thread}"
            );
        }
        if luck.below(2) == 0 {
            host.close()
        } else {
            drop(host)
        }
    }
    assert!(!reported.is_empty(), "something was reported");
}

/// Where the order stands after blocks that nobody interrupted.
fn uninterrupted(last: u64) -> String {
    let scratch = Scratch::new();
    let shape = Shape {
        order: CommitOrder::Dispatch,
        workers: 1,
    };
    let host = shape.open_with(scratch.dir(), |builder| builder.clock(Clock::Manual));
    for block in 0..=last {
        host.set_time(block).unwrap();
        let ticket = workload::submit(&host, block).unwrap();
        host.settled(&ticket);
    }
    let (seq, hash) = workload::standing(&host);
    host.close();
    format!("{last} {seq} {hash}")
}

#[test]
fn in_dispatch_order_kills_leave_no_trace_in_the_order() {
    const LAST: u64 = 40;
    let expected = uninterrupted(LAST);
    let mut luck = Luck::new(12);
    let mut kills = 0;
    for workers in ["1", "2", "8"] {
        let scratch = Scratch::new();
        let last = LAST.to_string();
        for round in 0..rounds(30) / 3 {
            let _watch = Watch::new(format!("kills, {workers} workers, round {round}"));
            let words = ["blocks", &*last, workers];
            let mut victim = Victim::start(VICTIM, &scratch.dir(), &words);
            let _ = victim.lines(luck.below(LAST / 2));
            linger(&mut luck);
            victim.kill();
            kills += 1;
        }
        let _watch = Watch::new(format!("after the kills, {workers} workers"));
        let mut victim = Victim::start(VICTIM, &scratch.dir(), &["blocks", &*last, workers]);
        let mut end = None;
        while let Some(line) = victim.line() {
            end = Some(line);
        }
        assert!(victim.ended_well());
        assert_eq!(
            end.as_ref(),
            Some(&expected),
            "{workers} workers, after {kills} kills"
        );
    }
}

#[test]
fn a_run_that_a_kill_cut_short_is_finished_first() {
    let run_all = |host: &crankcase_tests::Host, until_stuck: bool| {
        let _ = workload::submit(host, 0).unwrap();
        let _ = workload::submit(host, 1).unwrap();
        host.idle();
        let _ = workload::submit(host, 2).unwrap();
        let first = VatId::new(VatNumber::HOST, 1);
        let _ = host
            .tell(first, &[Step::Call("middle".to_owned())])
            .unwrap();
        let _ = workload::submit(host, 3).unwrap();
        assert!(!until_stuck);
        host.run(workload::ACTORS * 3).unwrap();
    };
    let manual = |builder: crankcase::KernelBuilder| builder.clock(Clock::Manual);
    for workers in [1, 2, 4] {
        let shape = Shape {
            order: CommitOrder::Dispatch,
            workers,
        };
        let whole = Scratch::new();
        let host = shape.open_with(whole.dir(), manual);
        run_all(&host, false);
        let (cut_seq, cut_hash) = workload::standing(&host);
        host.idle();
        let (end_seq, end_hash) = workload::standing(&host);
        assert!(end_seq > cut_seq, "the budget ends before the work does");
        host.close();

        let scratch = Scratch::new();
        let words = ["stuck-run", &*workers.to_string()];
        let mut victim = Victim::start(VICTIM, &scratch.dir(), &words);
        let stuck = victim.line().expect("it gets stuck");
        assert!(stuck.starts_with("stuck "), "{stuck}");
        victim.kill();
        let host = shape.open_with(scratch.dir(), manual);
        host.run(0).unwrap();
        let standing = workload::standing(&host);
        if standing.0 < cut_seq {
            // The run's input itself was lost, and the host hands it in again.
            let _ = workload::submit(&host, 2).unwrap();
            let first = VatId::new(VatNumber::HOST, 1);
            let _ = host
                .tell(first, &[Step::Call("middle".to_owned())])
                .unwrap();
            let _ = workload::submit(&host, 3).unwrap();
            host.run(workload::ACTORS * 3).unwrap();
        }
        assert_eq!(
            workload::standing(&host),
            (cut_seq, cut_hash),
            "{workers} workers"
        );
        host.idle();
        assert_eq!(
            workload::standing(&host),
            (end_seq, end_hash),
            "{workers} workers"
        );
        host.close();
    }
}

#[test]
fn a_kill_right_after_opening_for_the_first_time_locks_nobody_out() {
    let mut luck = Luck::new(13);
    for round in 0..rounds(12) {
        let _watch = Watch::new(format!("kills, round {round}"));
        let scratch = Scratch::new();
        let mut victim = Victim::start(VICTIM, &scratch.dir(), &["requests", "sync", "1"]);
        let _ = victim.lines(1);
        linger(&mut luck);
        victim.kill();
        let host = PLAIN.open(scratch.dir());
        let _vat = host.actor();
        host.close();
    }
}
