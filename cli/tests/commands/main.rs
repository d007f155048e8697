//! The command, as its user meets it.

mod desk;
mod journals;
mod ledger;
