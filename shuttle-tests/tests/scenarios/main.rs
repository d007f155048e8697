//! The scenarios, in one program, so that it is built once.
#![cfg(crankcase_shuttle)]

mod closing;
mod dispatch;
mod failing;
mod inside;
mod memory;
mod repeating;
mod telling;
