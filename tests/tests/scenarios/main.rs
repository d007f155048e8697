//! Scenarios, by area. One program for all of them, so that the harness is linked once.

mod atomicity;
mod backpressure;
mod checkpoints;
mod clock_and_random;
mod closing;
mod combining;
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
mod requests;
mod settling;
mod stores;
mod tickets;
