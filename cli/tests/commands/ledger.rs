//! Running ledgers.

use std::fs;

use crankcase_cli::Status;
use crankcase_cli::ledger::csv_input::read_workload;
use crankcase_cli::ledger::model::Model;
use crankcase_cli::ledger::report::BalanceDigest;

use crate::desk::{Desk, Done, crankcase};

#[track_caller]
fn check_model(desk: &Desk, accounts: &str, done: &Done) {
    let workload = read_workload(&desk.path(accounts), &desk.path("transfers.csv"))
        .expect("generated files are sound");
    let model = Model::run(&workload);
    let balances = workload
        .accounts
        .iter()
        .zip(&model.balances)
        .map(|(account, &balance)| (account.address, balance));
    let report = done.report();
    assert_eq!(report["accepted"], model.accepted.to_string());
    assert_eq!(report["rejected"], model.rejected.to_string());
    assert_eq!(report["total_wei"], workload.total_wei().to_string());
    let digest = BalanceDigest::of(balances).to_string();
    assert_eq!(report["balances_sha256"], digest);
}

#[test]
fn ledger_run_dispatch_order_comes_to_what_the_model_says_with_any_number_of_workers() {
    for accounts in ["accounts.csv", "accounts-tight.csv"] {
        let mut last_lines = Vec::new();
        for workers in [1, 2, 8] {
            let desk = Desk::new();
            let words = format!("--order dispatch --workers {workers}");
            let done = desk.run(accounts, "transfers.csv", &words);
            check_model(&desk, accounts, &done);
            last_lines.push(done.out.lines().last().map(str::to_owned));
        }
        assert_eq!(last_lines[0], last_lines[1]);
        assert_eq!(last_lines[0], last_lines[2]);
    }
}

#[test]
fn ledger_run_completion_order_loses_no_money_and_no_transfer() {
    let desk = Desk::new();
    let done = desk.run("accounts-tight.csv", "transfers.csv", "--workers 2");
    let report = done.report();
    let count = |name: &str| report[name].parse::<u64>().expect("a number");
    assert_eq!(count("accepted") + count("rejected"), 900);
    assert!(count("accepted") > 0 && count("rejected") > 0);
    let workload = read_workload(
        &desk.path("accounts-tight.csv"),
        &desk.path("transfers.csv"),
    )
    .expect("generated files are sound");
    assert_eq!(report["total_wei"], workload.total_wei().to_string());
}

#[test]
fn ledger_run_again_changes_nothing_and_says_the_same() {
    for order in ["--order completion", "--order dispatch"] {
        let desk = Desk::new();
        let first = desk
            .run("accounts-tight.csv", "transfers.csv", order)
            .report();
        let again = desk.run("accounts-tight.csv", "transfers.csv", order);
        assert_eq!(again.report(), first);
        let first_line = again.out.lines().next();
        assert_eq!(
            first_line,
            Some("900 of 900 transfers were in the journal already")
        );
    }
}

#[test]
fn ledger_run_goes_on_where_it_stopped_and_a_restart_leaves_no_trace() {
    let whole = Desk::new();
    let words = "--order dispatch";
    let expected = whole
        .run("accounts-tight.csv", "transfers.csv", words)
        .report();
    let parts = Desk::new();
    for block in [1, 4] {
        parts.cut_after_block(block, "part.csv");
        parts.run("accounts-tight.csv", "part.csv", words).report();
    }
    let ended = parts.run("accounts-tight.csv", "transfers.csv", words);
    assert_eq!(ended.report(), expected);
}

#[test]
fn ledger_run_without_durability_leaves_the_directory_untouched() {
    let desk = Desk::new();
    let words = "--order dispatch --durability none";
    let done = desk.run("accounts.csv", "transfers.csv", words);
    check_model(&desk, "accounts.csv", &done);
    assert!(!desk.journal().exists());
}

#[test]
fn ledger_run_refuses_a_journal_that_was_begun_with_something_else() {
    let desk = Desk::new();
    desk.cut_after_block(3, "part.csv");
    let begun = desk
        .run("accounts.csv", "part.csv", "--order dispatch")
        .report();

    let other_accounts = desk.run("accounts-tight.csv", "part.csv", "--order dispatch");
    other_accounts.check_refused("was begun with other accounts");

    let all = fs::read_to_string(desk.path("part.csv")).expect("the file");
    let changed = all.replacen("\n2,0,", "\n1,999,", 1);
    assert_ne!(changed, all);
    fs::write(desk.path("changed.csv"), changed).expect("the file");
    let other_block = desk.run("accounts.csv", "changed.csv", "--order dispatch");
    other_block.check_refused("holds other transfers for block 1");

    let other_order = desk.run("accounts.csv", "part.csv", "--order completion");
    other_order.check_refused("");

    let same = desk
        .run("accounts.csv", "part.csv", "--order dispatch")
        .report();
    assert_eq!(same, begun, "a refusal adds nothing");
}

#[test]
fn ledger_run_refuses_to_report_on_fewer_blocks_than_the_journal_holds() {
    let desk = Desk::new();
    desk.run("accounts.csv", "transfers.csv", "").report();
    desk.cut_after_block(3, "part.csv");
    let done = desk.run("accounts.csv", "part.csv", "");
    done.check_refused("not in the transfers given");
}

#[test]
fn ledger_run_says_when_the_journal_had_left_out_a_block() {
    let desk = Desk::new();
    let all = fs::read_to_string(desk.path("transfers.csv")).expect("the file");
    let without: Vec<&str> = all.lines().filter(|line| !line.starts_with("4,")).collect();
    fs::write(desk.path("gap.csv"), without.join("\n")).expect("the file");
    desk.run("accounts.csv", "gap.csv", "").report();
    let done = desk.run("accounts.csv", "transfers.csv", "");
    done.check_refused("had run later blocks before block 4");
}

#[test]
fn ledger_run_with_bad_input_makes_no_journal() {
    let desk = Desk::new();
    let all = fs::read_to_string(desk.path("transfers.csv")).expect("the file");
    fs::write(
        desk.path("bad.csv"),
        format!("{all}7,0,0x12,0x34,5,21000\n"),
    )
    .expect("the file");
    let done = desk.run("accounts.csv", "bad.csv", "");
    done.check_refused("bad.csv:902: from is not an address");

    fs::write(desk.path("short.csv"), "address\n").expect("the file");
    let done = desk.run("short.csv", "transfers.csv", "");
    done.check_refused("short.csv:1: the header has no column \"balance_wei\"");

    let done = desk.run("accounts.csv", "absent.csv", "");
    done.check_refused("absent.csv: ");
    assert!(!desk.journal().exists());
}

#[test]
fn words_that_mean_nothing_are_refused_and_help_names_the_statuses() {
    let done = crankcase(&["ledger", "walk"]);
    assert_eq!((done.status, done.out.as_str()), (Status::Failed, ""));
    for words in [
        &["--help"][..],
        &["verify", "--help"],
        &["ledger", "run", "--help"],
    ] {
        let done = crankcase(words);
        assert_eq!(done.status, Status::Done);
        assert!(done.out.contains("Exit status:"), "{}", done.out);
    }
}
