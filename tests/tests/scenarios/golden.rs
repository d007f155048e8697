//! Journals that earlier versions wrote open, and everything in them goes on.

use std::path::{Path, PathBuf};

use crankcase::Cause;
use crankcase_tests::golden::{Keeper, TooFew, builder, unpack};
use crankcase_tests::host::settled;
use crankcase_tests::{PATIENCE, Scratch};

/// The journals in the repository.
fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let found = std::fs::read_dir(folder).expect("the folder is there");
    let found = found.map(|entry| entry.expect("it can be read").path());
    let found: Vec<PathBuf> = found.collect();
    assert!(!found.is_empty(), "there are some");
    found
}

fn each(check: impl Fn(&Path)) {
    for golden in all() {
        let scratch = Scratch::new();
        let journal = scratch.dir();
        unpack(&golden, &journal).expect("it can be brought back");
        check(&journal);
    }
}

#[test]
fn it_is_sound_and_its_cranks_leave_the_same_records() {
    each(|journal| {
        crankcase::verify::verify(journal).expect("it is sound");
        let report = builder(journal).replay().expect("it can be run again");
        assert_eq!(report.difference, None, "{report}");
    });
}

#[test]
fn everything_in_it_goes_on() {
    each(|journal| {
        let kernel = builder(journal)
            .audit_counts(true)
            .open()
            .expect("it opens");
        let find = |name| {
            kernel
                .root_as::<Keeper>(name)
                .unwrap()
                .expect("it has a name")
        };
        let (ann, bob, cat) = (find("ann"), find("bob"), find("cat"));
        assert_eq!(kernel.read(bob, |bob: &Keeper| bob.count).unwrap(), 20);
        // The message that waited is handled now, and the others were.
        let first = ann.take(kernel.request("take"), 4).unwrap();
        let waited = ann.take(kernel.request("waits"), 1).unwrap();
        let refused = bob.take(kernel.request("too many"), 21).unwrap();
        let note = ann.last_note(&kernel).unwrap();
        let looked = ann.look(&kernel).unwrap();
        let told = bob.tell(&kernel, 5).unwrap();
        let wait = bob.wait(kernel.request("wait")).unwrap();
        let ended = cat.take(&kernel, 1).unwrap();
        kernel.run_until_idle().unwrap();
        assert_eq!((settled(&first), settled(&waited)), (Ok(6), Ok(5)));
        let refusal = settled(&refused).unwrap_err().refusal();
        assert_eq!(refusal, Some(TooFew { count: 20 }));
        assert_eq!(settled(&note), Ok(Some("took 1".to_owned())));
        assert_eq!(settled(&looked), Ok(3));
        assert_eq!((settled(&told), settled(&wait)), (Ok(()), Ok(1_005)));
        assert_eq!(settled(&ended).unwrap_err().cause(), Cause::NoSuchVat);
        kernel.close(PATIENCE).expect("it closes");
    });
}
