//! The examples' vats under the test kit: how a host's author tests vats.

mod bank;
mod order_book;

use crankcase::CommitOrder;

#[test]
fn bank_loses_no_money_in_any_order() {
    bank::options().seeds(60).check(bank::payments);
}

#[test]
fn bank_keeps_what_it_told_over_crashes() {
    let figures = bank::options()
        .seeds(60)
        .crash_every(60)
        .check(bank::payments);
    assert!(figures.crashes > figures.runs, "{figures:?}");
}

#[test]
fn bank_keeps_its_laws_in_dispatch_order() {
    let options = bank::options().order(CommitOrder::Dispatch);
    options.seeds(30).crash_every(60).check(bank::payments);
}

#[test]
fn order_book_makes_and_loses_nothing_in_any_order() {
    order_book::options().seeds(40).check(order_book::session);
}

#[test]
fn order_book_keeps_what_it_told_over_crashes() {
    let figures = order_book::options()
        .seeds(40)
        .crash_every(120)
        .check(order_book::session);
    assert!(figures.crashes > figures.runs, "{figures:?}");
}
