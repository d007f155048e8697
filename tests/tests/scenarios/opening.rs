//! What opening refuses, and that refusing leaves every byte as it was.

use std::fs;

use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, CommitOrder, Kernel, KernelBuilder, OpenError, Payload, Rejection};
use crankcase_journal::OpenError as JournalError;
use crankcase_tests::child::Victim;
use crankcase_tests::host::PLAIN;
use crankcase_tests::{Scratch, Shape, Step, Yard};
use serde::{Deserialize, Serialize};

/// The actor's kind in another version.
#[derive(Serialize, Deserialize)]
struct LaterActor;

impl Vat for LaterActor {
    const KIND: &'static str = "actor";
    const VERSION: u32 = 2;
    type Env = ();

    fn create(_cx: &Crank<'_>, _env: &(), _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self)
    }

    fn receive(&mut self, _cx: &Crank<'_>, _env: &(), _message: &Message<'_>) -> Answer {
        Ok(Payload::empty())
    }
}

/// A journal with something in it, closed.
fn journal(shape: Shape) -> Scratch {
    let scratch = Scratch::new();
    let host = shape.open_with(scratch.dir(), |builder| builder.seed([3; 32]));
    let vat = host.actor();
    for number in 0..20 {
        let row = format!("a row that can be found again: {number}");
        host.play(vat, &[Step::Add(1), Step::Set(vec![1], row.into_bytes())])
            .unwrap();
    }
    host.close();
    scratch
}

/// The error of an open, which must leave the directory as it was.
#[track_caller]
fn refused(scratch: &Scratch, builder: KernelBuilder) -> OpenError {
    let before = scratch.contents();
    let error = match builder.open() {
        Ok(_) => panic!("it opens"),
        Err(error) => error,
    };
    scratch.check_unchanged(&before);
    error
}

fn builder(scratch: &Scratch) -> KernelBuilder {
    PLAIN.builder(scratch.dir(), &Yard::new())
}

/// Checks that the journal, whatever was refused, is as good as it was.
#[track_caller]
fn check_opens(scratch: &Scratch) {
    let host = PLAIN.open(scratch.dir());
    let vat = crankcase::VatId::new(crankcase::VatNumber::HOST, 1);
    assert_eq!(host.look(vat).count, 20);
    host.close();
}

#[test]
fn a_kind_that_is_not_registered_is_refused() {
    let scratch = journal(PLAIN);
    let error = refused(&scratch, Kernel::builder(scratch.dir()));
    assert!(
        matches!(&error, OpenError::UnknownKind { kind, version: 1 } if kind == "actor"),
        "{error}"
    );
    check_opens(&scratch);
}

#[test]
fn a_kind_that_only_a_waiting_start_names_is_refused() {
    let scratch = Scratch::new();
    let shape = Shape {
        order: CommitOrder::Dispatch,
        workers: 1,
    };
    let host = shape.open(scratch.dir());
    let _ = host.spawn("actor", &Vec::<Step>::new()).unwrap();
    host.run(0).unwrap();
    host.close();
    let error = refused(
        &scratch,
        Kernel::builder(scratch.dir()).order(CommitOrder::Dispatch),
    );
    assert!(matches!(error, OpenError::UnknownKind { .. }), "{error}");
    let host = shape.open(scratch.dir());
    host.idle();
    assert_eq!(host.stats().vats, 1);
    host.close();
}

#[test]
fn a_kind_of_another_version_is_refused() {
    let scratch = journal(PLAIN);
    let error = refused(
        &scratch,
        Kernel::builder(scratch.dir()).kind::<LaterActor>(()),
    );
    assert!(
        matches!(&error, OpenError::OtherKindVersion { kind, stored: 1, registered: 2 }
            if kind == "actor"),
        "{error}"
    );
    check_opens(&scratch);
}

#[test]
fn kinds_of_ended_vats_are_not_needed() {
    let scratch = Scratch::new();
    let host = PLAIN.open(scratch.dir());
    let vat = host.actor();
    host.play(vat, &[Step::Exit]).unwrap();
    host.close();
    Kernel::builder(scratch.dir())
        .open()
        .unwrap()
        .close(crankcase_tests::PATIENCE)
        .unwrap();
}

#[test]
fn another_order_is_refused() {
    for (made, asked) in [
        (CommitOrder::Completion, CommitOrder::Dispatch),
        (CommitOrder::Dispatch, CommitOrder::Completion),
    ] {
        let scratch = journal(Shape {
            order: made,
            workers: 2,
        });
        let error = refused(&scratch, builder(&scratch).order(asked));
        let OpenError::OtherOrder {
            stored,
            asked: said,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((stored, said), (made, asked));
    }
}

#[test]
fn another_seed_is_refused_and_none_takes_the_journals() {
    let scratch = journal(PLAIN);
    let error = refused(&scratch, builder(&scratch).seed([4; 32]));
    assert!(matches!(error, OpenError::OtherSeed), "{error}");
    check_opens(&scratch);
    builder(&scratch)
        .seed([3; 32])
        .open()
        .unwrap()
        .close(crankcase_tests::PATIENCE)
        .unwrap();
}

#[test]
fn a_journal_that_is_open_in_this_process_is_refused() {
    let scratch = journal(PLAIN);
    let host = PLAIN.open(scratch.dir());
    host.idle();
    let error = refused(&scratch, builder(&scratch));
    assert!(
        matches!(error, OpenError::Journal(JournalError::OpenElsewhere)),
        "{error}"
    );
    host.close();
    check_opens(&scratch);
}

#[test]
fn a_journal_that_is_open_in_another_process_is_refused() {
    let scratch = journal(PLAIN);
    let mut other = Victim::start(env!("CARGO_BIN_EXE_victim"), &scratch.dir(), &["hold"]);
    assert_eq!(other.line().as_deref(), Some("open"));
    let error = refused(&scratch, builder(&scratch));
    assert!(
        matches!(error, OpenError::Journal(JournalError::OpenElsewhere)),
        "{error}"
    );
    other.kill();
    check_opens(&scratch);
}

#[test]
fn a_path_that_holds_something_else_is_refused() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.dir()).unwrap();
    fs::write(scratch.dir().join("letter.txt"), "dear").unwrap();
    let error = refused(&scratch, builder(&scratch));
    assert!(
        matches!(error, OpenError::Journal(JournalError::NotAJournal { .. })),
        "{error}"
    );

    let scratch = Scratch::new();
    fs::write(scratch.dir(), "a file").unwrap();
    let error = refused(&scratch, builder(&scratch));
    assert!(
        matches!(error, OpenError::Journal(JournalError::NotAJournal { .. })),
        "{error}"
    );
}

#[test]
fn an_empty_directory_becomes_a_journal() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.dir()).unwrap();
    let host = PLAIN.open(scratch.dir());
    assert!(host.recovered().created);
    host.close();
    let host = PLAIN.open(scratch.dir());
    assert!(!host.recovered().created && !host.recovered().unclean);
    host.close();
}

#[test]
fn a_journal_is_made_with_the_folders_above_it() {
    let scratch = Scratch::new();
    let dir = scratch.dir().join("of/a/host");
    let host = PLAIN.open(&dir);
    assert!(host.recovered().created);
    host.close();
    let host = PLAIN.open(&dir);
    assert!(!host.recovered().created);
    host.close();
}

#[test]
fn a_newer_format_is_refused() {
    let scratch = journal(PLAIN);
    // The format stands behind the eight bytes that say what the file is.
    let identity = scratch.dir().join("crankcase");
    let mut bytes = fs::read(&identity).unwrap();
    bytes[8..10].copy_from_slice(&999u16.to_le_bytes());
    fs::write(&identity, bytes).unwrap();
    let error = refused(&scratch, builder(&scratch));
    assert!(
        matches!(
            error,
            OpenError::Journal(JournalError::NewerFormat { found: 999, .. })
        ),
        "{error}"
    );
}

#[test]
fn a_flipped_bit_in_any_stored_record_is_refused() {
    let scratch = journal(PLAIN);
    for number in [0, 10, 19] {
        let scratch = scratch.copy();
        let needle = format!("a row that can be found again: {number}");
        let mut harmed = 0;
        let log = scratch.dir().join("log");
        for file in scratch
            .files("")
            .into_iter()
            .filter(|file| file.starts_with(&log))
        {
            let mut bytes = fs::read(&file).unwrap();
            let found = bytes
                .windows(needle.len())
                .position(|at| at == needle.as_bytes());
            if let Some(at) = found {
                bytes[at + 3] ^= 4;
                fs::write(&file, bytes).unwrap();
                harmed += 1;
            }
        }
        assert!(harmed > 0, "row {number} is in the log");
        let error = refused(&scratch, builder(&scratch));
        let damaged = matches!(
            error,
            OpenError::Damaged { .. } | OpenError::Journal(JournalError::Damaged(_))
        );
        assert!(damaged, "row {number}: {error}");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}

#[test]
fn a_damaged_identity_is_refused() {
    let scratch = journal(PLAIN);
    let identity = scratch.dir().join("crankcase");
    let whole = fs::read(&identity).unwrap();
    for at in 10..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&identity, bytes).unwrap();
        let error = refused(&scratch, builder(&scratch));
        assert!(
            matches!(error, OpenError::Journal(JournalError::Damaged(_))),
            "byte {at}: {error}"
        );
    }
    fs::write(&identity, &whole[..whole.len() / 2]).unwrap();
    refused(&scratch, builder(&scratch));
    fs::write(&identity, &whole).unwrap();
    check_opens(&scratch);
}

#[test]
fn a_missing_part_is_refused() {
    let scratch = journal(PLAIN);
    for part in ["crankcase", "log", "tables"] {
        let scratch = scratch.copy();
        let part_path = scratch.dir().join(part);
        if part_path.is_dir() {
            fs::remove_dir_all(part_path).unwrap();
        } else {
            fs::remove_file(part_path).unwrap();
        }
        let error = refused(&scratch, builder(&scratch));
        assert!(
            matches!(error, OpenError::Journal(_)),
            "without {part}: {error}"
        );
    }
}

#[test]
fn kinds_are_checked_before_anything_is_opened() {
    let scratch = Scratch::new();
    let twice = builder(&scratch)
        .kind::<LaterActor>(())
        .kind::<LaterActor>(());
    let error = refused(&scratch, twice);
    assert!(matches!(error, OpenError::Kind(_)), "{error}");
    assert!(!scratch.dir().exists());
    assert!(matches!(
        Kernel::builder("").open(),
        Err(OpenError::NoDirectory)
    ));
}
