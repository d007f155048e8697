//! Code that changes under a journal: what is refused, what works, and upgrades.

use std::path::Path;

use crankcase::{
    Cause, CommitOrder, Kernel, KernelBuilder, OpenError, ReadError, Ref, VatId, VatNumber,
};
use crankcase_tests::host::settled;
use crankcase_tests::{Host, PATIENCE, Scratch, Shape, in_every_shape};

/// A version of the kind `thing`: its state, the arguments of its method `set`, and whatever more it
/// has. `set` answers with its arguments as text, so that one that is read as another is seen.
macro_rules! thing {
    (
        $(#[$meta:meta])* $module:ident, version $version:tt,
        state { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? },
        set($($argument:ident: $of:ty),*) $(, { $($more:tt)* })?
    ) => {
        $(#[$meta])*
        #[allow(dead_code)]
        mod $module {
            #[allow(unused_imports)]
            use crankcase::{Answer, Crank, Outcome, Promise, Ref, Rejection};
            use serde::{Deserialize, Serialize};

            #[derive(Debug, Default, Serialize, Deserialize)]
            pub(crate) struct Thing {
                $($(#[$attr])* pub(crate) $field: $type),*
            }

            #[crankcase::vat(kind = "thing", version = $version)]
            impl Thing {
                #[create]
                fn new(_cx: &Crank<Self>) -> Answer<Self> {
                    Ok(Self::default())
                }

                pub fn set(&mut self, _cx: &Crank<Self>, $($argument: $of),*) -> Answer<String> {
                    #[allow(unused_mut)]
                    let mut said = String::new();
                    $(said += &format!("{}={} ", stringify!($argument), $argument);)*
                    Ok(said)
                }

                $($($more)*)?
            }
        }
    };
}

thing!(base, version 1, state { small: u32, large: u64, also: u64 }, set(small: u32, large: u64, also: u64), {
    pub fn only_here(&mut self, _cx: &Crank<Self>) -> Answer<()> {
        Ok(())
    }

    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + u64::from(small))
    }
});

/// What else stands in all of those that differ from `base` in one thing.
macro_rules! like_base {
    ($module:ident, state { $($state:tt)* }) => {
        like_base!($module, state { $($state)* }, set(small: u32, large: u64, also: u64));
    };
    ($module:ident, set($($set:tt)*)) => {
        like_base!($module, state { small: u32, large: u64, also: u64 }, set($($set)*));
    };
    ($module:ident, state { $($state:tt)* }, set($($set:tt)*)) => {
        thing!($module, version 1, state { $($state)* }, set($($set)*), {
            pub fn only_here(&mut self, _cx: &Crank<Self>) -> Answer<()> {
                Ok(())
            }

            #[watcher]
            fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
                Ok(outcome? + u64::from(small))
            }
        });
    };
}

like_base!(
    field_reordered,
    state {
        small: u32,
        also: u64,
        large: u64
    }
);
like_base!(
    field_added,
    state {
        small: u32,
        large: u64,
        also: u64,
        new: u8
    }
);
like_base!(
    field_dropped,
    state {
        small: u32,
        large: u64
    }
);
like_base!(
    field_widened,
    state {
        small: u64,
        large: u64,
        also: u64
    }
);
like_base!(
    field_renamed,
    state {
        little: u32,
        large: u64,
        also: u64
    }
);
like_base!(
    field_renamed_for_readers,
    state {
        #[serde(rename = "small")]
        little: u32,
        large: u64,
        also: u64
    }
);
like_base!(promise_kept, state { later: Option<Promise<u64>> });
like_base!(promise_of_another, state { later: Option<Promise<i64>> });
like_base!(argument_reordered, set(small: u32, also: u64, large: u64));
like_base!(argument_added, set(small: u32, large: u64, also: u64, new: u8));
like_base!(argument_dropped, set(small: u32, large: u64));
like_base!(argument_widened, set(small: u64, large: u64, also: u64));
like_base!(argument_renamed, set(little: u32, large: u64, also: u64));
like_base!(argument_unused, set(_small: u32, large: u64, also: u64));

thing!(method_added, version 1, state { small: u32, large: u64, also: u64 }, set(small: u32, large: u64, also: u64), {
    pub fn only_here(&mut self, _cx: &Crank<Self>) -> Answer<()> {
        Ok(())
    }

    pub fn new_one(&mut self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(7)
    }

    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + u64::from(small))
    }
});

thing!(method_dropped, version 1, state { small: u32, large: u64, also: u64 }, set(small: u32, large: u64, also: u64), {
    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + u64::from(small))
    }
});

thing!(answer_widened, version 1, state { small: u32, large: u64, also: u64 }, set(small: u32, large: u64, also: u64), {
    pub fn only_here(&mut self, _cx: &Crank<Self>) -> Answer<u8> {
        Ok(0)
    }

    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + u64::from(small))
    }
});

thing!(context_changed, version 1, state { small: u32, large: u64, also: u64 }, set(small: u32, large: u64, also: u64), {
    pub fn only_here(&mut self, _cx: &Crank<Self>) -> Answer<()> {
        Ok(())
    }

    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u64, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + small)
    }
});

thing!(watcher_dropped, version 1, state { small: u32, large: u64, also: u64 }, set(small: u32, large: u64, also: u64), {
    pub fn only_here(&mut self, _cx: &Crank<Self>) -> Answer<()> {
        Ok(())
    }
});

/// The vat that [`leave_work`] makes.
const THING: VatId = VatId::new(VatNumber::HOST, 1);

fn builder(dir: impl AsRef<Path>) -> KernelBuilder {
    Kernel::builder(dir)
        .order(CommitOrder::Dispatch)
        .audit_counts(true)
}

/// Leaves a journal with a state of `base` and a message for it on its way.
fn leave_work(dir: impl AsRef<Path>) {
    let kernel = builder(dir).kind::<base::Thing>(()).open().unwrap();
    let made = base::Thing::spawn(&kernel).unwrap();
    let thing = Ref::to(THING).cast::<base::Thing>();
    let sent = thing.set(kernel.request("set"), 1, 2, 3).unwrap();
    kernel.run(1).unwrap();
    assert_eq!(settled(&made), Ok(thing));
    drop(sent);
    kernel.close(PATIENCE).unwrap();
}

/// What the message that [`leave_work`] left comes to with the other code.
fn finish_work(kernel: &Kernel) -> String {
    let thing = Ref::to(THING).cast::<base::Thing>();
    let sent = thing.set(kernel.request("set"), 1, 2, 3).unwrap();
    kernel.run_until_idle().unwrap();
    settled(&sent).unwrap()
}

#[track_caller]
fn check_refused<V: crankcase::raw::Vat<Env = ()>>(part: &str, says: &[&str]) {
    let scratch = Scratch::new();
    leave_work(scratch.dir());
    let before = scratch.contents();
    let refused = builder(scratch.dir()).kind::<V>(()).open().unwrap_err();
    let OpenError::OtherShape(changed) = &refused else {
        panic!("its shape is another: {refused}")
    };
    assert_eq!(changed.part, part);
    for word in says.iter().chain(&["thing", "Nothing was changed"]) {
        assert!(refused.to_string().contains(word), "{word} in: {refused}");
    }
    scratch.check_unchanged(&before);
    // The code that wrote it still reads it.
    let kernel = builder(scratch.dir())
        .kind::<base::Thing>(())
        .open()
        .unwrap();
    assert_eq!(finish_work(&kernel), "small=1 large=2 also=3 ");
    kernel.close(PATIENCE).unwrap();
}

#[track_caller]
fn check_works<V: crankcase::raw::Vat<Env = ()>>(says: &str) {
    let scratch = Scratch::new();
    leave_work(scratch.dir());
    let kernel = builder(scratch.dir()).kind::<V>(()).open().unwrap();
    assert_eq!(finish_work(&kernel), says);
    kernel.close(PATIENCE).unwrap();
}

#[test]
fn a_state_of_another_shape_is_refused() {
    check_refused::<field_reordered::Thing>("state", &["small: u32, large: u64, also: u64"]);
    check_refused::<field_added::Thing>("state", &["new: u8", "#[migrate]"]);
    check_refused::<field_dropped::Thing>("state", &["also: u64"]);
    check_refused::<field_widened::Thing>("state", &["small: u64"]);
    check_refused::<field_renamed::Thing>("state", &["little: u32"]);
}

#[test]
fn a_promise_of_something_else_is_refused() {
    let scratch = Scratch::new();
    let kernel = builder(scratch.dir())
        .kind::<promise_kept::Thing>(())
        .open()
        .unwrap();
    promise_kept::Thing::spawn(&kernel).map(drop).unwrap();
    kernel.run_until_idle().unwrap();
    kernel.close(PATIENCE).unwrap();
    let other = builder(scratch.dir())
        .kind::<promise_of_another::Thing>(())
        .open();
    let other = other.unwrap_err().to_string();
    assert!(
        other.contains("of: u64") && other.contains("of: i64"),
        "{other}"
    );
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

#[test]
fn a_field_that_keeps_its_name_in_the_bytes_may_have_another_in_the_code() {
    check_works::<field_renamed_for_readers::Thing>("small=1 large=2 also=3 ");
}

#[test]
fn a_method_of_another_shape_is_refused_by_name() {
    let method = "method set";
    check_refused::<argument_reordered::Thing>(method, &["set", "large: u64, also: u64"]);
    check_refused::<argument_added::Thing>(method, &["new: u8"]);
    check_refused::<argument_dropped::Thing>(method, &["also: u64"]);
    check_refused::<argument_widened::Thing>(method, &["small: u64", "another name"]);
    check_refused::<argument_renamed::Thing>(method, &["little: u32"]);
    check_refused::<answer_widened::Thing>("method only_here", &["-> u8"]);
    check_refused::<method_dropped::Thing>("method only_here", &["is not there"]);
}

#[test]
fn a_watcher_of_another_shape_is_refused_by_name() {
    check_refused::<context_changed::Thing>("watcher told", &["small: u64"]);
    check_refused::<watcher_dropped::Thing>("watcher told", &["is not there"]);
}

#[test]
fn an_argument_that_the_method_stops_using_keeps_its_name() {
    check_works::<argument_unused::Thing>("_small=1 large=2 also=3 ");
}

#[test]
fn a_method_can_be_added_and_then_stays() {
    let scratch = Scratch::new();
    leave_work(scratch.dir());
    let open = || {
        builder(scratch.dir())
            .kind::<method_added::Thing>(())
            .open()
    };
    let kernel = open().unwrap();
    let thing = Ref::to(THING).cast::<method_added::Thing>();
    let new = thing.new_one(&kernel).unwrap();
    assert_eq!(finish_work(&kernel), "small=1 large=2 also=3 ");
    assert_eq!(settled(&new), Ok(7));
    kernel.close(PATIENCE).unwrap();
    let older = builder(scratch.dir()).kind::<base::Thing>(()).open();
    let older = older.unwrap_err().to_string();
    assert!(older.contains("method new_one"), "{older}");
    open().unwrap().close(PATIENCE).unwrap();
}

#[test]
fn two_versions_that_read_one_message_differently_cannot_stand_beside_each_other() {
    thing!(second, version 2, state {}, set(small: u64));
    let refused = builder(Scratch::new().dir())
        .kind::<base::Thing>(())
        .kind::<second::Thing>(())
        .open()
        .unwrap_err()
        .to_string();
    for word in ["method set", "version 1", "version 2", "another name"] {
        assert!(refused.contains(word), "{word} in: {refused}");
    }
    // Nor one after the other: what is on its way was written for the first.
    let scratch = Scratch::new();
    leave_work(scratch.dir());
    let refused = builder(scratch.dir()).kind::<second::Thing>(()).open();
    assert!(refused.is_err());
}

thing!(odd, version 1, state { any: super::Picky }, set());

/// A state that takes one text and no other.
#[derive(Debug, Default)]
pub(crate) struct Picky;
impl serde::Serialize for Picky {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("exactly this")
    }
}
impl<'de> serde::Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match &*text {
            "exactly this" => Ok(Self),
            _ => Err(serde::de::Error::custom("not exactly this")),
        }
    }
}

#[test]
fn a_state_whose_shape_cannot_be_found_out_is_refused_with_the_place() {
    let refused = builder(Scratch::new().dir()).kind::<odd::Thing>(()).open();
    let refused = refused.unwrap_err().to_string();
    for word in ["\"thing\"", "state", "any", "not exactly this"] {
        assert!(refused.contains(word), "{word} in: {refused}");
    }
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

thing!(first_try, version 2, state { wrong: u8 }, set(small: u32, large: u64, also: u64), {
    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + u64::from(small))
    }
});
thing!(second_try, version 2, state { right: u64 }, set(small: u32, large: u64, also: u64), {
    #[watcher]
    fn told(&mut self, _cx: &Crank<Self>, small: u32, outcome: Outcome<u64>) -> Answer<u64> {
        Ok(outcome? + u64::from(small))
    }
});

#[test]
fn a_version_that_never_had_a_vat_may_still_change_its_state() {
    let scratch = Scratch::new();
    leave_work(scratch.dir());
    let open = |with: fn(KernelBuilder) -> KernelBuilder| {
        let builder = builder(scratch.dir()).kind::<base::Thing>(());
        with(builder).open()
    };
    let first = open(|builder| builder.kind::<first_try::Thing>(()));
    first.unwrap().close(PATIENCE).unwrap();
    let second = open(|builder| builder.kind::<second_try::Thing>(())).unwrap();
    second_try::Thing::spawn(&second).map(drop).unwrap();
    second.run_until_idle().unwrap();
    second.close(PATIENCE).unwrap();
    // Now there is one.
    let first = open(|builder| builder.kind::<first_try::Thing>(()));
    assert!(matches!(first, Err(OpenError::OtherShape(_))), "{first:?}");
}

/// A vat with two sorts of objects that have one name.
mod twins {
    use crankcase::{Answer, Crank};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Parent {}

    #[crankcase::vat(kind = "parent", version = 1, objects(Reader, Writer))]
    impl Parent {
        #[create]
        fn new(_cx: &Crank<Self>) -> Answer<Self> {
            Ok(Self {})
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Reader {}

    #[crankcase::object(kind = "child", vat = Parent)]
    impl Reader {}

    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Writer {}

    #[crankcase::object(kind = "child", vat = Parent)]
    impl Writer {}
}

#[test]
fn two_sorts_of_objects_with_one_name_are_refused() {
    let refused = builder(Scratch::new().dir())
        .kind::<twins::Parent>(())
        .open();
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("object child"), "{refused}");
}
