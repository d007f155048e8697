//! Running a journal's cranks again.

use crankcase::replay::ReplayError;
use crankcase::{Kernel, OpenError, Ref, Retention};
use crankcase_tests::{PATIENCE, Scratch, in_every_shape};

/// The code that made the journal.
mod then {
    use crankcase::{Answer, Crank, Promise, Ref};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(crate) struct Tally {
        pub(crate) sum: u64,
    }

    #[crankcase::vat(kind = "tally", version = 1)]
    impl Tally {
        #[create]
        fn new(_cx: &Crank<Self>) -> Answer<Self> {
            Ok(Self::default())
        }

        pub fn add(&mut self, cx: &Crank<Self>, more: u64) -> Answer<u64> {
            self.sum += more;
            cx.set(b"last", &more.to_be_bytes());
            Ok(self.sum)
        }

        pub fn add_to(
            &mut self,
            cx: &Crank<Self>,
            other: Ref<Tally>,
            more: u64,
        ) -> Answer<Promise<u64>> {
            assert!(more != 13, "on purpose");
            Ok(other.add(cx, more))
        }

        pub fn draw(&mut self, cx: &Crank<Self>) -> Answer<u64> {
            self.sum ^= cx.random();
            Ok(self.sum)
        }
    }
}

/// The same with a mistake.
mod now {
    use crankcase::{Answer, Crank, Promise, Ref};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(crate) struct Tally {
        pub(crate) sum: u64,
    }

    #[crankcase::vat(kind = "tally", version = 1)]
    impl Tally {
        #[create]
        fn new(_cx: &Crank<Self>) -> Answer<Self> {
            Ok(Self::default())
        }

        pub fn add(&mut self, cx: &Crank<Self>, more: u64) -> Answer<u64> {
            self.sum += if more == 7 { 8 } else { more };
            cx.set(b"last", &more.to_be_bytes());
            Ok(self.sum)
        }

        pub fn add_to(
            &mut self,
            cx: &Crank<Self>,
            other: Ref<Tally>,
            more: u64,
        ) -> Answer<Promise<u64>> {
            assert!(more != 13, "on purpose");
            Ok(other.add(cx, more))
        }

        pub fn draw(&mut self, cx: &Crank<Self>) -> Answer<u64> {
            self.sum ^= cx.random();
            Ok(self.sum)
        }
    }
}

#[test]
fn the_same_code_leaves_the_same_records() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let open = || shape.open_with(scratch.dir(), |builder| builder.kind::<then::Tally>(()));
        let mut host = open();
        let mut batch = host.batch();
        let tallies: Vec<Ref<then::Tally>> = (0..4)
            .map(|_| then::Tally::spawn(&mut batch).unwrap())
            .collect();
        for made in host.settled(&batch.submit().unwrap()) {
            made.unwrap();
        }
        for round in 0..20 {
            let at = |number: usize| tallies[number % tallies.len()];
            for number in 0..8 {
                let to = at(number + round);
                drop(
                    at(number)
                        .add_to(&*host, to, (number + round) as u64)
                        .unwrap(),
                );
                drop(at(number).draw(&*host).unwrap());
            }
            host.idle();
            if round == 9 {
                host.close();
                host = open();
            }
        }
        let cranks = host.stats().sequenced.get();
        host.close();
        let builder = || shape.builder(scratch.dir(), &crankcase_tests::Yard::new());
        let report = builder().kind::<then::Tally>(()).replay().unwrap();
        assert_eq!(report.difference, None, "{report}");
        assert_eq!(report.records, cranks);
        assert!(report.cranks > 400, "{report}");
        // Another seed of the host does not matter: the journal has it.
        let seeded = builder().seed([9; 32]).kind::<then::Tally>(()).replay();
        assert_eq!(seeded.unwrap().difference, None);
    });
}

#[test]
fn the_first_record_that_differs_is_shown_in_both_versions() {
    let scratch = Scratch::new();
    let kernel = Kernel::builder(scratch.dir())
        .kind::<then::Tally>(())
        .open()
        .unwrap();
    let tally = then::Tally::spawn(&kernel)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    for more in [1, 7, 7] {
        tally.add(&kernel, more).unwrap().wait().unwrap().unwrap();
    }
    kernel.close(PATIENCE).unwrap();
    let report = Kernel::builder(scratch.dir())
        .kind::<now::Tally>(())
        .replay()
        .unwrap();
    let difference = report.difference.as_ref().expect("seven is eight now");
    // An input and a crank for each, the start included.
    assert_eq!(
        (difference.seq.get(), report.cranks, report.records),
        (6, 2, 5)
    );
    let shown = report.to_string();
    for word in [
        "is 6",
        "in the journal:",
        "now:",
        "answered 08",
        "answered 09",
    ] {
        assert!(shown.contains(word), "{word} in:\n{shown}");
    }
    // Looking has changed nothing, and the right code still agrees.
    let report = Kernel::builder(scratch.dir())
        .kind::<then::Tally>(())
        .replay()
        .unwrap();
    assert_eq!((report.difference, report.cranks), (None, 4));
}

#[test]
fn what_cannot_be_run_again_says_why() {
    let scratch = Scratch::new();
    let kernel = Kernel::builder(scratch.dir())
        .kind::<then::Tally>(())
        .retention(Retention::DropBelowCheckpoint)
        .checkpoint_every(10, u64::MAX)
        .open()
        .unwrap();
    let tally = then::Tally::spawn(&kernel)
        .unwrap()
        .wait()
        .unwrap()
        .unwrap();
    kernel.close(PATIENCE).unwrap();
    let unknown = Kernel::builder(scratch.dir()).replay().unwrap_err();
    assert!(
        matches!(&unknown, ReplayError::Open(OpenError::UnknownKind { kind, version: 1 }) if kind == "tally"),
        "{unknown}"
    );
    let nothing = Kernel::builder(scratch.dir().join("nothing"))
        .replay()
        .unwrap_err();
    assert!(nothing.to_string().contains("does not exist"), "{nothing}");

    let open = || {
        Kernel::builder(scratch.dir())
            .kind::<then::Tally>(())
            .retention(Retention::DropBelowCheckpoint)
            .checkpoint_every(10, u64::MAX)
            .open()
            .unwrap()
    };
    let kernel = open();
    for _ in 0..20 {
        let mut batch = kernel.batch();
        for _ in 0..1_000 {
            tally.add(&mut batch, 1).map(drop).unwrap();
        }
        batch.submit().unwrap().wait().unwrap();
    }
    kernel.close(PATIENCE).unwrap();
    let dropped = Kernel::builder(scratch.dir())
        .kind::<then::Tally>(())
        .replay();
    assert!(
        matches!(dropped, Err(ReplayError::Dropped { .. })),
        "{dropped:?}"
    );
}
