//! What children had told before they died, and that the journal does not contradict it.

use std::collections::BTreeMap;
use std::path::Path;

use crankcase::{Kernel, Outcome, Ticket};
use crankcase_journal::PrivateCopy;

use super::figures::CrashFigures;
use super::load::{self, START, TILLS, till};
use super::plan::{CLIENTS, Plan};
use super::till::Till;
use crate::host::settled;

/// What was told. What follows from a ticket or a read was durable before it was said.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By client and number.
    outcomes: BTreeMap<(usize, u64), String>,
    /// The money of a till, by its number and its moves.
    reads: BTreeMap<(u64, u64), u64>,
    /// The hash at places that were durable.
    hashes: BTreeMap<u64, String>,
}

impl Told {
    /// Whether nothing was told.
    pub(super) fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.reads.is_empty() && self.hashes.is_empty()
    }

    /// Notes what a child said; a line that was cut short by a kill is no report, and neither is one
    /// that says what the child is about to do.
    pub(super) fn note(&mut self, lines: &[String]) {
        let same = |before: Option<&str>, now: &str, line: &str| {
            assert!(
                before.is_none_or(|before| before == now),
                "{line:?} was told, and {before:?} before"
            );
        };
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().ok();
            match words[..] {
                ["t", client, _, outcome] => {
                    let client = client.parse::<usize>().ok();
                    let (Some(client), Some(number)) = (client, number(2)) else {
                        continue;
                    };
                    let before = self.outcomes.insert((client, number), outcome.to_owned());
                    same(before.as_deref(), outcome, line);
                }
                ["r", ..] if words.len() == 4 => {
                    let (Some(till), Some(moves), Some(money)) = (number(1), number(2), number(3))
                    else {
                        continue;
                    };
                    let before = self.reads.insert((till, moves), money);
                    assert!(
                        before.is_none_or(|before| before == money),
                        "{line:?} was told, and {before:?} before"
                    );
                }
                ["s", _, hash] => {
                    let Some(seq) = number(1) else { continue };
                    let before = self.hashes.insert(seq, hash.to_owned());
                    same(before.as_deref(), hash, line);
                }
                _ => {}
            }
        }
    }

    /// Where each client goes on: a little before the last that was told, so that some are asked for
    /// again.
    pub(super) fn starts(&self) -> [u64; CLIENTS] {
        std::array::from_fn(|client| {
            let mut of_client = self.outcomes.range((client, 0)..=(client, u64::MAX));
            let last = of_client.next_back().map_or(0, |((_, number), _)| *number);
            last.saturating_sub(3)
        })
    }

    /// Holds the figures that were told against a journal that is not open.
    pub(super) fn check_hashes(&self, dir: &Path, figures: &mut CrashFigures) {
        let copy = PrivateCopy::of(dir).expect("the journal can be read");
        let last = copy.recovered().last.get();
        for (&seq, hash) in &self.hashes {
            assert!(
                seq <= last,
                "{seq} was told to be durable, and the journal ends at {last}"
            );
            let at = crankcase::Seq::new(seq);
            if seq == 0 || at < copy.groups().first_retained() {
                continue;
            }
            let group = copy.groups().containing(at).expect("the group can be read");
            let group = group.expect("a durable record is in a group");
            assert_eq!(group.last(), at, "what is durable is the end of a group");
            assert_eq!(
                &group.hash().to_string(),
                hash,
                "the hash at {seq} was told"
            );
            figures.reads_checked += 1;
        }
    }

    /// Asks for everything again that was told, and holds it against the vats, which must be idle.
    pub(super) fn check_running(&self, kernel: &Kernel, plan: &Plan, figures: &mut CrashFigures) {
        if self.outcomes.is_empty() && self.reads.is_empty() {
            return;
        }
        let cranks = kernel.stats().cranks;
        let mut asked = Vec::new();
        for (&(client, number), told) in &self.outcomes {
            let ticket = load::ask(kernel, plan, client, number).expect("a request is taken");
            asked.push((load::id(client, number), told, ticket));
        }
        idle(kernel);
        for (id, told, ticket) in asked {
            let outcomes: Vec<Outcome> = settled(&ticket);
            assert_eq!(&load::word(&outcomes), told, "request {id} was told");
            figures.outcomes_checked += 1;
        }
        assert_eq!(kernel.stats().cranks, cranks, "nothing was run again");

        // The last of each till says most.
        for number in 0..TILLS {
            let of_till = self.reads.range((number, 0)..=(number, u64::MAX));
            for (&(number, moves), &money) in of_till.rev().take(4) {
                let now = kernel.read(till(number), |till: &Till| till.moves);
                let now = now.expect("a till can be read");
                assert!(
                    now >= moves,
                    "till {number} had made {moves} moves, and has made {now}"
                );
                let history: Ticket<_> = till(number).history(kernel, moves).expect("it is taken");
                idle(kernel);
                let then = settled(&history).expect("a till knows its history");
                assert_eq!(then, Some(money), "till {number} after {moves} moves");
                figures.reads_checked += 1;
            }
        }
    }
}

/// Waits until nothing is left to run.
pub(super) fn idle(kernel: &Kernel) {
    kernel.run_until_idle().expect("the kernel becomes idle");
}

/// What holds between the vats whenever nothing is on its way, whatever was lost.
pub(super) fn check_money(kernel: &Kernel) {
    let tills: Vec<(u64, u64)> = (0..TILLS)
        .map(|number| {
            let look = |till: &Till| (till.money + till.slips, till.twice);
            let found = kernel.read(till(number), look);
            found.expect("a till can be read")
        })
        .collect();
    let money: u64 = tills.iter().map(|(money, _)| money).sum();
    assert_eq!(money, TILLS * START, "money came or went: {tills:?}");
    assert!(
        tills.iter().all(|(_, twice)| *twice == 0),
        "a payment happened twice: {tills:?}"
    );
}
