//! Scenarios, by area. One program for all of them, so that the harness is linked once.

mod atomicity;
mod backpressure;
mod capabilities;
mod checkpoints;
mod clock_and_random;
mod closing;
mod combining;
mod counts;
mod crash;
mod dispatch;
mod durability;
mod explaining;
mod failing_disk;
mod inside_cranks;
mod looking;
mod names;
mod opening;
mod order;
mod patterns;
mod promises;
mod requests;
mod restart;
mod settling;
mod stores;
mod termination;
mod tickets;
