//! Vats that go on with another version of their code.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crankcase::{
    Cause, CommitOrder, Kernel, KernelBuilder, OpenError, ReadError, Ref, VatId, VatNumber,
};
use crankcase_tests::host::settled;
use crankcase_tests::{Host, PATIENCE, Scratch, Shape, in_every_shape};

fn builder(dir: impl AsRef<Path>) -> KernelBuilder {
    Kernel::builder(dir)
        .order(CommitOrder::Dispatch)
        .audit_counts(true)
}

/// An account whose state gains a field, and whose rows are rewritten on the way.
mod one {
    use crankcase::{Answer, Crank, Outcome, Promise, Ref};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) balance: u32,
        pub(crate) friend: Option<Ref>,
        pub(crate) waits: Option<Promise<u64>>,
    }

    #[crankcase::vat(kind = "account", version = 1, objects(Viewer))]
    impl Account {
        #[create]
        fn open(cx: &Crank<Self>, balance: u32) -> Answer<Self> {
            cx.set(b"row", &balance.to_be_bytes());
            Ok(Self {
                balance,
                friend: None,
                waits: None,
            })
        }

        pub fn version(&self, _cx: &Crank<Self>) -> Answer<u32> {
            Ok(1)
        }

        pub fn credit(&mut self, _cx: &Crank<Self>, value: u32) -> Answer<u32> {
            self.balance += value;
            Ok(self.balance)
        }

        pub fn befriend(&mut self, _cx: &Crank<Self>, friend: Ref) -> Answer<()> {
            self.friend = Some(friend);
            Ok(())
        }

        pub fn viewer(&mut self, cx: &Crank<Self>) -> Answer<Ref<Viewer>> {
            Ok(cx.export(Viewer {}))
        }

        /// Waits for itself to be told, and answers with what comes of that.
        pub fn wait(&mut self, cx: &Crank<Self>) -> Answer<Promise<u64>> {
            let promise = cx.promise();
            self.waits = Some(promise.clone());
            Ok(cx.watch(&promise, Self::WAITED, 5))
        }

        pub fn tell(&mut self, cx: &Crank<Self>, value: u64) -> Answer<()> {
            if let Some(promise) = self.waits.take() {
                cx.fulfil(&promise, value);
            }
            Ok(())
        }

        #[watcher]
        fn waited(&mut self, _cx: &Crank<Self>, more: u64, outcome: Outcome<u64>) -> Answer<u64> {
            Ok(outcome? + more)
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Viewer {}

    #[crankcase::object(kind = "viewer", vat = Account)]
    impl Viewer {
        pub fn balance(&self, account: &mut Account, _cx: &Crank<Account>) -> Answer<u64> {
            Ok(u64::from(account.balance))
        }
    }
}

mod two {
    use crankcase::{Answer, Crank, Outcome, Promise, Ref, Rejection};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) currency: String,
        pub(crate) balance: u64,
        pub(crate) waits: Option<Promise<u64>>,
    }

    #[crankcase::vat(kind = "account", version = 2, objects(Viewer))]
    impl Account {
        #[create]
        fn open(_cx: &Crank<Self>, currency: String) -> Answer<Self> {
            Ok(Self {
                currency,
                balance: 0,
                waits: None,
            })
        }

        #[migrate]
        fn with_a_currency(cx: &Crank<Self>, old: super::one::Account) -> Answer<Self> {
            match old.balance {
                0 => return Err(Rejection::new("broke", "nothing is there")),
                13 => panic!("on purpose"),
                _ => {}
            }
            cx.set(b"row", b"of the second version");
            Ok(Self {
                currency: "eur".to_owned(),
                balance: u64::from(old.balance) * 100,
                waits: old.waits,
            })
        }

        pub fn version(&self, _cx: &Crank<Self>) -> Answer<u32> {
            Ok(2)
        }

        pub fn credit(&mut self, _cx: &Crank<Self>, value: u32) -> Answer<u32> {
            self.balance += u64::from(value) * 100;
            Ok(u32::try_from(self.balance).unwrap_or(u32::MAX))
        }

        pub fn viewer(&mut self, cx: &Crank<Self>) -> Answer<Ref<Viewer>> {
            Ok(cx.export(Viewer {}))
        }

        pub fn wait(&mut self, cx: &Crank<Self>) -> Answer<Promise<u64>> {
            let promise = cx.promise();
            self.waits = Some(promise.clone());
            Ok(cx.watch(&promise, Self::WAITED, 5))
        }

        pub fn tell(&mut self, cx: &Crank<Self>, value: u64) -> Answer<()> {
            if let Some(promise) = self.waits.take() {
                cx.fulfil(&promise, value);
            }
            Ok(())
        }

        #[watcher]
        fn waited(&mut self, _cx: &Crank<Self>, more: u64, outcome: Outcome<u64>) -> Answer<u64> {
            Ok((outcome? + more) * 100)
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Viewer {}

    #[crankcase::object(kind = "viewer", vat = Account)]
    impl Viewer {
        pub fn balance(&self, account: &mut Account, _cx: &Crank<Account>) -> Answer<u64> {
            Ok(account.balance)
        }
    }
}

mod three {
    use crankcase::{Answer, Crank, Outcome};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) cents: u64,
    }

    #[crankcase::vat(kind = "account", version = 3, objects(Viewer))]
    impl Account {
        #[create]
        fn open(_cx: &Crank<Self>) -> Answer<Self> {
            Ok(Self { cents: 0 })
        }

        #[migrate]
        fn from_two(_cx: &Crank<Self>, old: super::two::Account) -> Answer<Self> {
            let cents = old.balance;
            Ok(Self { cents })
        }

        pub fn version(&self, _cx: &Crank<Self>) -> Answer<u32> {
            Ok(3)
        }

        #[watcher]
        fn waited(&mut self, _cx: &Crank<Self>, more: u64, outcome: Outcome<u64>) -> Answer<u64> {
            Ok(outcome? + more)
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Viewer {}

    #[crankcase::object(kind = "viewer", vat = Account)]
    impl Viewer {
        pub fn balance(&self, account: &mut Account, _cx: &Crank<Account>) -> Answer<u64> {
            Ok(account.cents)
        }
    }
}

/// A version that gives up what the first one waits for.
mod forgetful {
    use crankcase::{Answer, Crank};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Account {}

    #[crankcase::vat(kind = "account", version = 2)]
    impl Account {
        #[create]
        fn open(_cx: &Crank<Self>) -> Answer<Self> {
            Ok(Self {})
        }

        #[migrate]
        fn from_one(_cx: &Crank<Self>, _old: super::one::Account) -> Answer<Self> {
            Ok(Self {})
        }
    }
}

fn open_both(shape: Shape, scratch: &Scratch) -> Host {
    shape.open_with(scratch.dir(), |builder| {
        builder.kind::<one::Account>(()).kind::<two::Account>(())
    })
}

fn open_one(shape: Shape, scratch: &Scratch) -> Host {
    shape.open_with(scratch.dir(), |builder| builder.kind::<one::Account>(()))
}

fn account(host: &Host, balance: u32) -> Ref<one::Account> {
    let made = one::Account::spawn(&**host, balance).unwrap();
    host.settled(&made).unwrap()
}

fn version(host: &Host, account: Ref<one::Account>) -> u32 {
    host.settled(&account.version(&**host).unwrap()).unwrap()
}

#[test]
fn an_upgrade_has_its_place_among_the_messages() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_one(shape, &scratch);
        let account = account(&host, 5);
        host.close();
        let host = open_both(shape, &scratch);
        let before = account.credit(&*host, 1).unwrap();
        let upgraded = host.upgrade::<two::Account>(account).unwrap();
        let after = account.credit(&*host, 1).unwrap();
        assert_eq!(host.settled(&before), Ok(6));
        assert_eq!(host.settled(&upgraded), Ok(()));
        assert_eq!(host.settled(&after), Ok(700));
        assert_eq!(version(&host, account), 2);
        // Again does nothing.
        let again = host.upgrade::<two::Account>(account).unwrap();
        assert_eq!(host.settled(&again), Ok(()));
        let state = |account: &two::Account| (account.balance, account.currency.clone());
        assert_eq!(host.read(account, state).unwrap(), (700, "eur".to_owned()));
        let other = host.read(account, |account: &one::Account| account.balance);
        assert!(
            matches!(
                other,
                Err(ReadError::OtherVersion {
                    found: 2,
                    asked: 1,
                    ..
                })
            ),
            "{other:?}"
        );
        host.close();
        // From now on the new code alone is enough, and the old alone is not.
        let only_old = shape
            .builder(scratch.dir(), &crankcase_tests::Yard::new())
            .kind::<one::Account>(())
            .open();
        assert!(
            matches!(
                &only_old,
                Err(OpenError::OtherKindVersion {
                    stored: 2,
                    registered: 1,
                    ..
                })
            ),
            "{only_old:?}"
        );
        let host = shape.open_with(scratch.dir(), |builder| builder.kind::<two::Account>(()));
        assert_eq!(version(&host, account), 2);
        assert_eq!(host.settled(&account.credit(&*host, 1).unwrap()), Ok(800));
    });
}

#[test]
fn an_upgrade_that_waits_survives_a_restart() {
    let scratch = Scratch::new();
    let open = || {
        let builder = builder(scratch.dir());
        builder
            .kind::<one::Account>(())
            .kind::<two::Account>(())
            .open()
    };
    let kernel = open().unwrap();
    let account = Ref::to(VatId::new(VatNumber::HOST, 1)).cast::<one::Account>();
    // New vats are of the newest version.
    let newest = two::Account::spawn(&kernel, "usd".to_owned()).unwrap();
    kernel.run_until_idle().unwrap();
    assert_eq!(settled(&newest), Ok(account.cast()));
    kernel.close(PATIENCE).unwrap();

    let scratch = Scratch::new();
    let kernel = builder(scratch.dir())
        .kind::<one::Account>(())
        .open()
        .unwrap();
    one::Account::spawn(&kernel, 3).map(drop).unwrap();
    kernel.run_until_idle().unwrap();
    kernel.close(PATIENCE).unwrap();
    let open = || {
        let builder = builder(scratch.dir());
        builder
            .kind::<one::Account>(())
            .kind::<two::Account>(())
            .open()
    };
    let kernel = open().unwrap();
    account.credit(&kernel, 1).map(drop).unwrap();
    kernel.upgrade::<two::Account>(account).map(drop).unwrap();
    account.credit(kernel.request("last"), 1).map(drop).unwrap();
    kernel.run(1).unwrap();
    kernel.close(PATIENCE).unwrap();
    let kernel = open().unwrap();
    let last = account.credit(kernel.request("last"), 1).unwrap();
    kernel.run_until_idle().unwrap();
    assert_eq!(settled(&last), Ok(500));
    kernel.close(PATIENCE).unwrap();
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_version_running() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_one(shape, &scratch);
        let (broke, unlucky) = (account(&host, 0), account(&host, 13));
        host.close();
        let host = open_both(shape, &scratch);
        let why = host.upgrade::<two::Account>(broke).unwrap();
        let why = host.settled(&why).unwrap_err();
        assert_eq!((why.cause(), why.code()), (Cause::Refused, "broke"));
        let why = host.upgrade::<two::Account>(unlucky).unwrap();
        assert_eq!(host.settled(&why).unwrap_err().cause(), Cause::Panicked);
        for account in [broke, unlucky] {
            assert_eq!(version(&host, account), 1);
        }
        assert_eq!(host.settled(&broke.credit(&*host, 2).unwrap()), Ok(2));
        let mended = host.upgrade::<two::Account>(broke).unwrap();
        assert_eq!(host.settled(&mended), Ok(()));
        let versions = host.vats_of("account").unwrap();
        assert_eq!(versions, [(broke.vat(), 2), (unlucky.vat(), 1)]);
    });
}

#[test]
fn an_upgrade_keeps_objects_promises_and_what_waits_for_them() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_one(shape, &scratch);
        let (account, friend) = (account(&host, 5), account(&host, 1));
        let viewer = host.settled(&account.viewer(&*host).unwrap()).unwrap();
        host.settled(&host.hold(viewer).unwrap()).unwrap();
        let friendly = host.settled(&friend.viewer(&*host).unwrap()).unwrap();
        let befriended = account.befriend(&*host, friendly.cast()).unwrap();
        host.settled(&befriended).unwrap();
        account.wait(host.request("wait")).map(drop).unwrap();
        host.idle();
        host.close();
        let host = open_both(shape, &scratch);
        let upgraded = host.upgrade::<two::Account>(account).unwrap();
        assert_eq!(host.settled(&upgraded), Ok(()));
        assert_eq!(host.settled(&viewer.balance(&*host).unwrap()), Ok(500));
        host.settled(&account.tell(&*host, 2).unwrap()).unwrap();
        // What the first version watched, the second is told.
        let waited = account.wait(host.request("wait")).unwrap();
        assert_eq!(host.settled(&waited), Ok(700));
        // The new state has no friend any more, and that was counted.
        host.idle();
        let gone = host.settled(&friendly.balance(&*host).unwrap());
        assert_eq!(gone.unwrap_err().cause(), Cause::NoSuchObject);
    });
}

#[test]
fn an_upgrade_takes_several_steps_in_one_crank() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_one(shape, &scratch);
        let account = account(&host, 5);
        host.close();
        let host = shape.open_with(scratch.dir(), |builder| {
            let builder = builder.kind::<one::Account>(()).kind::<two::Account>(());
            builder.kind::<three::Account>(())
        });
        let upgraded = host.upgrade::<three::Account>(account).unwrap();
        assert_eq!(host.settled(&upgraded), Ok(()));
        assert_eq!(version(&host, account), 3);
        let cents = host.read(account, |account: &three::Account| account.cents);
        assert_eq!(cents.unwrap(), 500);
        let back = host.upgrade::<two::Account>(account).unwrap();
        let why = host.settled(&back).unwrap_err();
        assert!(why.message().contains("does not take over"), "{why}");
    });
}

#[test]
fn a_version_without_what_may_still_be_told_is_not_taken_up() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_one(shape, &scratch);
        let account = account(&host, 5);
        host.close();
        let host = shape.open_with(scratch.dir(), |builder| {
            builder
                .kind::<one::Account>(())
                .kind::<forgetful::Account>(())
        });
        let upgraded = host.upgrade::<forgetful::Account>(account).unwrap();
        let why = host.settled(&upgraded).unwrap_err();
        assert!(why.message().contains("object viewer"), "{why}");
        assert_eq!(version(&host, account), 1);
    });
}

#[test]
fn an_upgrade_is_refused_for_a_vat_that_is_not_there_or_of_another_kind() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_both(shape, &scratch);
        let actor = host.actor();
        let why = host.upgrade::<two::Account>(actor).unwrap();
        let why = host.settled(&why).unwrap_err();
        assert!(why.message().contains("\"actor\""), "{why}");
        let nobody = VatId::new(VatNumber::HOST, 77);
        let why = host.upgrade::<two::Account>(nobody).unwrap();
        let why = host.settled(&why).unwrap_err();
        assert_eq!(why.cause(), Cause::NoSuchVat);
        let unknown = host.upgrade::<three::Account>(actor);
        assert!(unknown.is_err());
    });
}

/// Two versions that are made from the same types, which mean something else.
mod limits {
    pub(crate) mod one {
        use crankcase::{Answer, Crank, Ref};
        use serde::{Deserialize, Serialize};

        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct Purse {
            pub(crate) balance: u64,
        }

        #[crankcase::vat(kind = "purse", version = 1)]
        impl Purse {
            #[create]
            fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
                Ok(Self { balance })
            }

            /// Makes another one of its own version.
            pub fn split(&mut self, cx: &Crank<Self>, value: u64) -> Answer<Ref<Purse>> {
                self.balance -= value;
                Ok(Purse::spawn(cx, value))
            }
        }
    }

    pub(crate) mod two {
        use crankcase::{Answer, Cause, Crank, Rejection};
        use serde::{Deserialize, Serialize};

        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct Purse {
            pub(crate) limit: u64,
            pub(crate) balance: u64,
        }

        #[crankcase::vat(kind = "purse", version = 2)]
        impl Purse {
            #[create]
            fn with_limit(_cx: &Crank<Self>, limit: u64) -> Answer<Self> {
                Ok(Self { limit, balance: 0 })
            }

            #[migrate]
            fn unlimited(cx: &Crank<Self>, old: super::one::Purse) -> Answer<Self> {
                if old.balance == 66 {
                    return Err(Rejection::with_cause(Cause::Panicked, "no", "it says so"));
                }
                // Of no meaning here: there is no state yet that could be left.
                cx.leave_state();
                Ok(Self {
                    limit: u64::MAX,
                    balance: old.balance,
                })
            }
        }
    }
}

#[test]
fn a_request_that_makes_a_vat_and_upgrades_it_is_the_same_when_it_is_asked_again() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open_both(shape, &scratch);
        let ask = || {
            let mut batch = host.request("once").batch();
            let made = one::Account::spawn(&mut batch, 5).unwrap();
            batch.upgrade::<two::Account>(made).unwrap();
            batch.submit().expect("it is the same request")
        };
        let (first, again) = (ask(), ask());
        let first = host.settled(&first);
        assert!(first.iter().all(Result::is_ok), "{first:?}");
        assert_eq!(host.settled(&again), first);
        let made = first[0].as_ref().unwrap().decode::<VatId>().unwrap();
        assert_eq!(version(&host, Ref::to(made).cast()), 2);
        host.close();
    });
}

#[test]
fn what_makes_a_vat_makes_one_of_its_own_version() {
    use limits::{one, two};
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = shape.open_with(scratch.dir(), |builder| {
            builder.kind::<one::Purse>(()).kind::<two::Purse>(())
        });
        let old = one::Purse::spawn(&*host, 500).unwrap();
        let old = host.settled(&old).unwrap();
        let half = host.settled(&old.split(&*host, 200).unwrap()).unwrap();
        let new = two::Purse::spawn(host.request("new"), 500).unwrap();
        let new = host.settled(&new).unwrap();
        let named = one::Purse::spawn_named(&*host, "named", 7).unwrap();
        let named = host.settled(&named).unwrap();
        host.idle();
        let balance = |purse: Ref<one::Purse>| host.read(purse, |it: &one::Purse| it.balance);
        assert_eq!((balance(old).unwrap(), balance(half).unwrap()), (300, 200));
        assert_eq!(balance(named).unwrap(), 7);
        let limit = host.read(new, |it: &two::Purse| (it.limit, it.balance));
        assert_eq!(limit.unwrap(), (500, 0));
        // What a vat is made with is not what another version of it would be made with, and the
        // journal says which it was: with all of them at hand its cranks leave the same records.
        for purse in [old, half] {
            let upgraded = host.upgrade::<two::Purse>(purse).unwrap();
            host.settled(&upgraded).unwrap();
        }
        let limit = host.read(half, |it: &two::Purse| (it.limit, it.balance));
        assert_eq!(limit.unwrap(), (u64::MAX, 200));
        host.close();
        let builder = shape.builder(scratch.dir(), &crankcase_tests::Yard::new());
        let builder = builder.kind::<one::Purse>(()).kind::<two::Purse>(());
        let report = builder.replay().unwrap();
        assert_eq!(report.difference, None, "{report}");
    });
}

#[test]
fn what_a_migration_says_is_a_refusal_whatever_it_calls_itself() {
    use limits::{one, two};
    let scratch = Scratch::new();
    let kernel = builder(scratch.dir())
        .kind::<one::Purse>(())
        .kind::<two::Purse>(())
        .open()
        .unwrap();
    let purse = one::Purse::spawn(&kernel, 66).unwrap();
    kernel.run_until_idle().unwrap();
    let why = kernel
        .upgrade::<two::Purse>(settled(&purse).unwrap())
        .unwrap();
    kernel.run_until_idle().unwrap();
    assert_eq!(settled(&why).unwrap_err().cause(), Cause::Refused);
}

#[test]
fn an_upgrade_that_waits_is_refused_where_its_version_is_not_at_hand() {
    let scratch = Scratch::new();
    let account = Ref::to(VatId::new(VatNumber::HOST, 1)).cast::<one::Account>();
    let kernel = builder(scratch.dir())
        .kind::<one::Account>(())
        .open()
        .unwrap();
    one::Account::spawn(&kernel, 3).map(drop).unwrap();
    kernel.run_until_idle().unwrap();
    kernel.close(PATIENCE).unwrap();
    let kernel = builder(scratch.dir())
        .kind::<one::Account>(())
        .kind::<two::Account>(())
        .open()
        .unwrap();
    let mut batch = kernel.request("upgrade").batch();
    batch.upgrade::<two::Account>(account).unwrap();
    drop(batch.submit().unwrap());
    kernel.run(0).unwrap();
    kernel.close(PATIENCE).unwrap();
    let kernel = builder(scratch.dir())
        .kind::<one::Account>(())
        .open()
        .unwrap();
    let version = account.version(&kernel).unwrap();
    kernel.run_until_idle().unwrap();
    assert_eq!(settled(&version), Ok(1));
    kernel.close(PATIENCE).unwrap();
    // The request has its outcome, which says why.
    let kernel = builder(scratch.dir())
        .kind::<one::Account>(())
        .kind::<two::Account>(())
        .open()
        .unwrap();
    let mut batch = kernel.request("upgrade").batch();
    batch.upgrade::<two::Account>(account).unwrap();
    let upgraded = batch.submit().unwrap();
    kernel.run_until_idle().unwrap();
    let why = settled(&upgraded).remove(0).unwrap_err();
    assert!(why.message().contains("no version 2"), "{why}");
    kernel.close(PATIENCE).unwrap();
}

/// Says that it is over when it is dropped, so that those who wait for that end when a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_read_beside_upgrades_never_takes_one_version_for_another() {
    use limits::{one, two};
    let scratch = Scratch::new();
    // Each answer waits for a sync, and the tables follow each group: so an upgrade may come between
    // where a state was found and where it is read.
    let kernel = Kernel::builder(scratch.dir())
        .checkpoint_every(1, 1)
        .kind::<one::Purse>(())
        .kind::<two::Purse>(())
        .open()
        .unwrap();
    let mut batch = kernel.batch();
    let purses: Vec<_> = (0..500)
        .map(|_| one::Purse::spawn(&mut batch, 5).unwrap())
        .collect();
    drop(batch.submit().unwrap());
    kernel.run_until_idle().unwrap();
    // More threads than the machine runs at once, all at the vat that is upgraded: one of them is
    // always held up between finding the state and reading it.
    let (at, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let purse = purses[at.load(Ordering::Relaxed)];
                    let read = kernel.read(purse, |purse: &one::Purse| purse.balance);
                    assert!(
                        matches!(read, Ok(5) | Err(ReadError::OtherVersion { .. })),
                        "{read:?}"
                    );
                }
            });
        }
        let _over = Over(&done);
        for (next, purse) in purses.iter().enumerate() {
            at.store(next, Ordering::Relaxed);
            let upgraded = kernel.upgrade::<two::Purse>(*purse).unwrap();
            assert_eq!(upgraded.wait().unwrap(), Ok(()));
        }
    });
    kernel.close(PATIENCE).unwrap();
}
