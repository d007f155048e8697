//! Root names.

use crankcase::SendError;
use crankcase_tests::{Scratch, Step, in_every_shape};

#[test]
fn a_root_is_found_by_its_name_over_reopening() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        assert_eq!(host.root("bank").unwrap(), None);
        let made = host
            .spawn_named("bank", "actor", &vec![Step::Add(1)])
            .unwrap();
        let bank = host.settled(&made).unwrap();
        assert_eq!(host.root("bank").unwrap(), Some(bank));
        assert_eq!(host.root("ban").unwrap(), None);
        host.close();
        let host = shape.open(scratch.dir());
        assert_eq!(host.root("bank").unwrap(), Some(bank));
        host.close();
    });
}

#[test]
fn a_name_is_given_once() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let none = Vec::<Step>::new();
        let taken = || SendError::NameTaken {
            name: "bank".to_owned(),
        };
        // Even before the first one has started.
        let first = host.spawn_named("bank", "actor", &none).unwrap();
        assert_eq!(
            host.spawn_named("bank", "actor", &none).unwrap_err(),
            taken()
        );
        host.settled(&first).unwrap();
        assert_eq!(
            host.spawn_named("bank", "actor", &none).unwrap_err(),
            taken()
        );

        let mut batch = host.batch();
        batch.spawn_named("till", "actor", &none).unwrap();
        assert!(matches!(
            batch.spawn_named("till", "actor", &none),
            Err(SendError::NameTaken { .. })
        ));
        host.settled(&batch.submit().unwrap());
        // A batch with one name that is taken does nothing at all.
        let mut batch = host.batch();
        batch.spawn_named("vault", "actor", &none).unwrap();
        batch.spawn_named("bank", "actor", &none).unwrap();
        assert_eq!(batch.submit().unwrap_err(), taken());
        assert_eq!(host.root("vault").unwrap(), None);
        host.close();

        let host = shape.open(scratch.dir());
        assert_eq!(
            host.spawn_named("bank", "actor", &none).unwrap_err(),
            taken()
        );
        let vault = host.spawn_named("vault", "actor", &none).unwrap();
        host.settled(&vault).unwrap();
        assert_eq!(host.stats().vats, 3);
        host.close();
    });
}

#[test]
fn a_name_stays_taken_after_its_vat_has_ended() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let made = host
            .spawn_named("gone", "actor", &Vec::<Step>::new())
            .unwrap();
        let gone = host.settled(&made).unwrap();
        host.play(gone, &[Step::Exit]).unwrap();
        assert_eq!(host.root("gone").unwrap(), Some(gone));
        host.close();
        let host = shape.open(scratch.dir());
        assert_eq!(host.root("gone").unwrap(), Some(gone));
        let again = host.spawn_named("gone", "actor", &Vec::<Step>::new());
        assert!(matches!(again, Err(SendError::NameTaken { .. })));
        host.close();
    });
}

#[test]
fn names_are_checked() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        for name in ["", "tab\t", &"x".repeat(256)] {
            let made = host.spawn_named(name, "actor", &Vec::<Step>::new());
            assert!(matches!(made, Err(SendError::Malformed { .. })), "{name:?}");
        }
        let made = host
            .spawn_named("0xAbC – ä", "actor", &Vec::<Step>::new())
            .unwrap();
        let made = host.settled(&made).unwrap();
        assert_eq!(host.root("0xAbC – ä").unwrap(), Some(made));
        let unknown = host.spawn("nobody", &()).unwrap_err();
        assert_eq!(
            unknown,
            SendError::UnknownKind {
                kind: "nobody".to_owned()
            }
        );
        host.close();
    });
}
