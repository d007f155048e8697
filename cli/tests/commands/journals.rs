//! Looking into journals, and verifying them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crankcase_cli::Status;

use crate::desk::{Desk, crankcase, text};

/// Every file below `folder`, with its bytes.
fn bytes_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file");
                files.insert(path, bytes);
            }
        }
    }
    files
}

#[test]
fn inspect_shows_what_a_ledger_left_and_changes_no_byte() {
    let desk = Desk::new();
    let words = "--order dispatch";
    let report = desk.run("accounts.csv", "transfers.csv", words).report();
    let journal = desk.journal();
    let journal = text(&journal);
    let before = bytes_of(&desk.journal());

    let summary = crankcase(&["inspect", journal]);
    assert_eq!(summary.status, Status::Done, "{}", summary.err);
    let shown: BTreeMap<&str, &str> = summary
        .out
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(label, value)| (label.trim(), value.trim()))
        .collect();
    assert_eq!(shown["records"], format!("1 to {}", report["seq"]));
    assert_eq!(shown["activity hash"], report["activity_hash"]);
    assert_eq!(shown["pending deliveries"], "0");
    assert_eq!(shown["vats"], "60 of kind account version 1");

    let json = crankcase(&["inspect", journal, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["last_seq"].to_string(), report["seq"]);
    assert_eq!(json["vats_by_kind"]["account version 1"], 60);

    assert_eq!(bytes_of(&desk.journal()), before);
}

#[test]
fn inspect_shows_why_a_transfer_was_refused() {
    let desk = Desk::new();
    let words = "--order dispatch";
    let report = desk
        .run("accounts-tight.csv", "transfers.csv", words)
        .report();
    let last: u64 = report["seq"].parse().expect("a number");
    let journal = desk.journal();
    let journal = text(&journal);
    let record = |seq: u64, more: &[&str]| {
        let seq = seq.to_string();
        crankcase(&[&["inspect", journal, "--seq", &seq], more].concat())
    };
    // The accounts come first, one record each.
    let refused = (61..=last)
        .find(|&seq| record(seq, &[]).out.contains("too_little"))
        .expect("a record of a refused transfer");
    let json = record(refused, &["--json"]);
    assert_eq!(json.status, Status::Done, "{}", json.err);
    assert!(json.out.contains("too_little"), "{}", json.out);
    let _: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");

    record(last + 1, &[]).check_refused("");
}

#[test]
fn verify_passes_what_a_ledger_left_and_changes_no_byte() {
    for order in ["--order completion", "--order dispatch"] {
        let desk = Desk::new();
        desk.run("accounts-tight.csv", "transfers.csv", order)
            .report();
        let before = bytes_of(&desk.journal());
        let verified = crankcase(&["verify", text(&desk.journal())]);
        assert_eq!(verified.status, Status::Done, "{}", verified.err);
        assert_eq!(bytes_of(&desk.journal()), before);
    }
}

#[test]
fn replay_leaves_the_records_of_a_ledger_again_and_changes_no_byte() {
    for order in ["--order completion", "--order dispatch"] {
        let desk = Desk::new();
        desk.run("accounts-tight.csv", "transfers.csv", order)
            .report();
        let before = bytes_of(&desk.journal());
        let replayed = crankcase(&["replay", text(&desk.journal())]);
        assert_eq!(replayed.status, Status::Done, "{}", replayed.err);
        assert!(replayed.out.starts_with("same: "), "{}", replayed.out);
        assert_eq!(bytes_of(&desk.journal()), before);
    }
}

/// An account that rounds.
mod other {
    use crankcase::{Answer, Crank, Ref};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub struct Account {
        balance_wei: u128,
    }

    #[crankcase::vat(kind = "account", version = 1)]
    impl Account {
        #[create]
        fn open(_cx: &Crank<Self>, balance_wei: u128) -> Answer<Self> {
            Ok(Self {
                balance_wei: balance_wei / 2 * 2,
            })
        }

        pub fn transfer(&mut self, _cx: &Crank<Self>, _to: Ref, _value_wei: u128) -> Answer<()> {
            Ok(())
        }

        pub fn credit(&mut self, _cx: &Crank<Self>, _value_wei: u128) -> Answer<()> {
            Ok(())
        }
    }
}

#[test]
fn a_host_looks_into_its_journals_with_its_own_kinds() {
    let desk = Desk::new();
    desk.run("accounts.csv", "transfers.csv", "--order dispatch")
        .report();
    let journal = desk.journal();
    let journal = text(&journal);
    let host = |words: &[&str], knows: bool| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = crankcase_cli::Console {
            out: &mut out,
            err: &mut err,
            shows_progress: false,
        };
        let kinds = |builder: crankcase::KernelBuilder| match knows {
            true => builder.kind::<other::Account>(()),
            false => builder,
        };
        let words = [&["host"], words].concat();
        let status = crankcase_cli::execute_host(words, kinds, &mut console);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status, text(out), text(err))
    };
    for looking in ["inspect", "verify"] {
        let (status, _, err) = host(&[looking, journal], false);
        assert_eq!(status, Status::Done, "{err}");
    }
    let (status, _, err) = host(&["replay", journal], false);
    assert_eq!(status, Status::Failed);
    assert!(err.contains("\"account\" (version 1)"), "{err}");
    let (status, out, err) = host(&["replay", journal], true);
    assert_eq!(status, Status::Unsound, "{err}");
    assert!(
        out.contains("in the journal:") && out.contains("now:"),
        "{out}"
    );
    assert!(err.contains("is not what this code leaves"), "{err}");
    // The ledger is the command's own.
    let (status, _, err) = host(&["ledger"], true);
    assert_eq!(status, Status::Failed, "{err}");
}

#[test]
fn a_folder_that_is_no_journal_is_refused_and_stays_as_it_was() {
    let desk = Desk::new();
    let before = bytes_of(&desk.path(""));
    let folder = desk.path("");
    let verified = crankcase(&["verify", text(&folder)]);
    assert_eq!(verified.status, Status::Unsound, "{}", verified.err);
    assert_eq!(verified.err.lines().count(), 1, "{}", verified.err);
    crankcase(&["inspect", text(&folder)]).check_refused("not a journal");
    assert_eq!(bytes_of(&desk.path("")), before);

    let absent = desk.path("absent");
    crankcase(&["verify", text(&absent)]).check_refused("no such directory");
    crankcase(&["inspect", text(&absent)]).check_refused("no such directory");
    crankcase(&["replay", text(&absent)]).check_refused("no such directory");
    assert!(!absent.exists());
}
