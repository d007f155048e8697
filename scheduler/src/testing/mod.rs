//! A test kit for those who write vats (feature `testing`): the kernel without its threads, its disk
//! and its clock, as chance that a seed decides.
//!
//! A body makes vats and calls them as it would with a [`Kernel`](crate::Kernel), and states laws.
//! A seed picks which vat runs next, whose record gets the next place, what is durable when, which
//! vats leave memory and come back from their bytes, and when everything crashes. The laws are looked
//! at after every record and every crash. One run is one thread in memory, and the same each time.
//!
//! ```
//! use crankcase::testing::Options;
//! use crankcase::{Answer, Crank};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Counter(u64);
//!
//! #[crankcase::vat(kind = "counter", version = 1)]
//! impl Counter {
//!     #[create]
//!     fn new(_cx: &Crank<Self>) -> Answer<Self> {
//!         Ok(Counter(0))
//!     }
//!
//!     pub fn add(&mut self, _cx: &Crank<Self>, more: u64) -> Answer<u64> {
//!         self.0 += more;
//!         Ok(self.0)
//!     }
//! }
//!
//! let options = Options::new().kind::<Counter>(()).seeds(20).crash_every(30);
//! options.check(|sim| {
//!     sim.law("nothing counts further than three", |look| {
//!         let mut most = 0;
//!         look.each::<Counter>(|_, counter| most = most.max(counter.0))?;
//!         if most <= 3 { Ok(()) } else { Err(format!("one has {most}").into()) }
//!     });
//!     // `insist` asks under a request id until it is told, over crashes.
//!     let counter = sim.insist("make", |request| Counter::spawn(request))??;
//!     for n in 1..=3 {
//!         let told = sim.insist(&format!("add {n}"), |request| counter.add(request, 1))??;
//!         assert_eq!(told, n);
//!     }
//!     Ok(())
//! });
//! ```
//!
//! # When a law is broken
//!
//! [`Options::check`] panics and says the seed, the step, the last record with all that stands in it,
//! and a command that does this run alone, such as `CRANKCASE_SEED=17 cargo test …`. It also looks for
//! a shorter run that fails: with fewer crashes, or by another seed. `CRANKCASE_SEED=17,crashes=1`
//! leaves out all crashes but the first, `CRANKCASE_SEED=17,steps=120` stops behind step 120; so the
//! crash or the step that matters can be found by halving.
//!
//! # What holds of every run, unasked
//!
//! * Run again from nothing, the cranks leave the same records. That finds vats that depend on more
//!   than their state and what they are handed, and states that do not come back whole from their
//!   bytes.
//! * What is recovered after a crash is the state of a prefix of the order that covers everything
//!   told.
//! * References are counted as they are held
//!   ([`audit_counts`](crate::KernelBuilder::audit_counts)).
//! * A ticket that is waited for can settle: if nothing will settle it, the run fails and says why.
//!
//! # What is the kernel's, and what is not
//!
//! The deciding, the cranks, the journal (in memory), checkpoints, loading of vats and recovery are the
//! kernel's own code. In [`CommitOrder::Dispatch`](crate::CommitOrder::Dispatch) the same calls give
//! the same [`activity_hash`](Simulation::activity_hash) as a kernel. Threads, mailboxes, backpressure
//! and files are not there: what goes wrong between threads or on a disk is not looked for, and vats
//! that share something outside of their states race in ways that one thread does not show.

mod callers;
mod look;
mod luck;
mod options;
mod simulation;
mod world;

pub use callers::{Batch, Request};
pub use look::Look;
pub use options::{Checked, Failure, Figures, Options, SEED_VARIABLE};
pub use simulation::{Simulation, Ticket};
