//! Code that changes under a journal: what is refused, and what works.

use std::path::Path;

use crankcase::{CommitOrder, Kernel, KernelBuilder, OpenError, Ref, VatId, VatNumber};
use crankcase_tests::host::settled;
use crankcase_tests::{PATIENCE, Scratch};

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
