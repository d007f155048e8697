//! Vats that come into memory and go, mailboxes that are filled from the journal, values whose
//! dropping takes long.

use std::sync::Arc;

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, CommitOrder, Exit, Payload, Ref, Rejection};
use crankcase_shuttle_tests::explore;
use crankcase_shuttle_tests::world::{FOR_EVER, Gate, below, narrow, one_of, open};
use crankcase_tests::host::said;
use crankcase_tests::{Host, Said, Step};
use serde::{Deserialize, Serialize};
use shuttle::thread;

#[test]
fn a_mailbox_that_overflows_is_filled_again_in_order() {
    explore(&["filled from the journal"], |seen| {
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            narrow(builder).inbox_bytes(0)
        });
        let (from, to) = (host.actor(), host.actor());
        // Each is a third of what a mailbox may take in any case.
        let large = |number: u8| vec![Step::Set(vec![number], vec![number; 6 << 10]), Step::Add(1)];
        let burst: Vec<Step> = (0..5).map(|number| Step::Send(to, large(number))).collect();
        let sent = host.tell(from, &burst).expect("it is taken");
        let also = host.tell(to, &[Step::Add(1)]).expect("it is taken");
        assert!(sent.wait().expect("it settles").is_ok());
        assert!(also.wait().expect("it settles").is_ok());
        host.idle();
        assert_eq!(host.look(to).count, 6);
        let rows = host.said(to, &[Step::Range(vec![], vec![255])]);
        let Said::Rows(rows) = &rows[0] else {
            panic!("a range gives rows, and not {rows:?}");
        };
        assert_eq!(rows.len(), 5);
        let refills = host.stats().inbox_refills;
        seen.note_if(refills > 0, "filled from the journal");
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn vats_that_come_and_go_lose_neither_state_nor_messages() {
    explore(&["unloaded"], |seen| {
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            narrow(builder)
                .vats_in_memory(0)
                .checkpoint_every(one_of(&[1, 2]), 1 << 30)
        });
        let host = Arc::new(host);
        let actors = host.actors(3);
        let hosts: Vec<_> = (0..2)
            .map(|_| {
                let (host, actors) = (Arc::clone(&host), actors.clone());
                thread::spawn(move || {
                    for _ in 0..3 {
                        let steps = [Step::Add(1), Step::Set(vec![1], vec![below(200) as u8])];
                        let actor = one_of(&actors);
                        let ticket = host.tell(actor, &steps).expect("it is taken");
                        assert!(ticket.wait().expect("it settles").is_ok());
                    }
                })
            })
            .collect();
        for each in hosts {
            each.join().expect("a host thread ends");
        }
        let counted: u64 = actors.iter().map(|&actor| host.look(actor).count).sum();
        assert_eq!(counted, 6);
        seen.note_if(host.stats().vats_in_memory < 3, "unloaded");
        let host = Arc::into_inner(host).expect("the host threads have ended");
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

/// What dropping a value of [`Slow`] takes.
#[derive(Debug)]
enum Takes {
    /// Steps of other threads, at most that many.
    Steps(u64),
    /// Until a gate is open.
    Gate(Arc<Gate>),
}

/// A vat whose value takes long to drop.
#[derive(Serialize, Deserialize)]
struct Slow {
    count: u64,
    #[serde(skip)]
    takes: Option<Arc<Takes>>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        match self.takes.as_deref() {
            // It was read from its bytes and has not had a crank.
            None => {}
            Some(Takes::Steps(most)) => {
                for _ in 0..below(*most) {
                    thread::yield_now();
                }
            }
            Some(Takes::Gate(gate)) => gate.pass(),
        }
    }
}

impl Vat for Slow {
    const KIND: &'static str = "slow";
    const VERSION: u32 = 1;
    type Env = Arc<Takes>;

    fn create(_: &Crank<'_>, takes: &Arc<Takes>, _: &Message<'_>) -> Result<Self, Rejection> {
        let takes = Some(Arc::clone(takes));
        Ok(Self { count: 0, takes })
    }

    fn receive(&mut self, cx: &Crank<'_>, takes: &Arc<Takes>, message: &Message<'_>) -> Answer {
        self.takes = Some(Arc::clone(takes));
        match message.method() {
            "end" => cx.exit(Exit::Success),
            _ => self.count += 1,
        }
        Ok(Payload::of(&self.count)?)
    }
}

fn slow(host: &Host) -> Ref {
    let made = host.spawn("slow", &()).expect("it is taken");
    Ref::to(made.wait().expect("it settles").expect("it starts"))
}

#[test]
fn a_vat_whose_end_is_stuck_holds_up_its_worker_and_no_other() {
    explore(&["others went on meanwhile"], |seen| {
        let gate = Gate::closed();
        let takes = Arc::new(Takes::Gate(Arc::clone(&gate)));
        let host = open(CommitOrder::Completion, one_of(&[2, 3]), |builder| {
            builder.kind::<Slow>(takes)
        });
        let (slow, other) = (slow(&host), host.actor());
        let ended = host.send(slow, "end", &()).expect("it is taken");
        for count in 1..=3 {
            let ticket = host.tell(other, &[Step::Add(1)]).expect("it is taken");
            assert_eq!(
                said(&ticket.wait().expect("it settles")),
                [Said::Number(count)]
            );
        }
        seen.note("others went on meanwhile");
        gate.open();
        assert!(ended.wait().expect("it settles").is_ok());
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}

#[test]
fn values_that_take_long_to_drop_make_the_kernel_slower_and_nothing_else() {
    explore(&["a slow vat was unloaded"], |seen| {
        let takes = Arc::new(Takes::Steps(60));
        let host = open(CommitOrder::Completion, one_of(&[1, 2, 3]), |builder| {
            narrow(builder)
                .vats_in_memory(one_of(&[0, 1]))
                .checkpoint_every(1, 1 << 30)
                .kind::<Slow>(takes)
        });
        let slow = [slow(&host), slow(&host)];
        let mut tickets = Vec::new();
        for round in 1..=3u64 {
            for slow in slow {
                tickets.push((round, host.send(slow, "count", &()).expect("it is taken")));
            }
            if below(2) == 0 {
                host.idle();
            }
        }
        for (round, ticket) in tickets {
            let outcome = ticket.wait().expect("it settles").expect("it counts");
            assert_eq!(outcome.decode::<u64>().expect("it says a number"), round);
        }
        seen.note_if(host.stats().vats_in_memory < 2, "a slow vat was unloaded");
        for slow in slow {
            let ended = host.send(slow, "end", &()).expect("it is taken");
            assert!(ended.wait().expect("it settles").is_ok());
        }
        host.idle();
        assert_eq!(host.stats().vats, 0);
        host.into_kernel().close(FOR_EVER).expect("it closes");
    });
}
