//! Why something has not come about, and who holds what.

use crankcase::inspect::Inspection;
use crankcase::raw::{Crank, Message, Vat};
use crankcase::{
    Answer, Durability, Kernel, ObjectId, Payload, Promise, PromiseId, Question, Ref, Reference,
    Rejection, VatNumber,
};
use crankcase_tests::host::settled;
use crankcase_tests::{PATIENCE, Scratch, Step, in_every_shape};
use serde::{Deserialize, Serialize};

/// Keeps a promise that it decides when it is told to, and whatever it is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Clerk {
    own: Option<Promise>,
    kept: Vec<Promise>,
}

impl Vat for Clerk {
    const KIND: &'static str = "clerk";
    const VERSION: u32 = 1;
    type Env = ();

    fn create(_: &Crank<'_>, (): &(), _: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self::default())
    }

    fn receive(&mut self, cx: &Crank<'_>, (): &(), message: &Message<'_>) -> Answer {
        match message.method() {
            "later" => {
                let promise = cx.promise();
                self.own = Some(promise.clone());
                return Ok(promise.into());
            }
            "now" => {
                let own = self.own.take();
                let own = own.ok_or_else(|| Rejection::new("nothing_to_decide", ""))?;
                cx.fulfil(&own, &7u8);
            }
            "ask" => {
                let other: Ref = message.args()?;
                self.kept.push(cx.send(other, "later", &()));
            }
            "keep" => self.kept.push(message.args()?),
            "object" => return Ok(cx.object("thing", &()).into()),
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

fn kernel() -> (Kernel, Ref, Ref) {
    let builder = Kernel::builder("unused")
        .audit_counts(true)
        .durability(Durability::None);
    let kernel = builder.kind::<Clerk>(()).open().unwrap();
    let [one, two] = [0, 1].map(|_| {
        let made = kernel.spawn("clerk", &()).unwrap();
        Ref::to(settled(&made).unwrap())
    });
    (kernel, one, two)
}

#[test]
fn explain_ticket_whose_answer_is_a_promise_names_who_decides_it() {
    let (kernel, one, _) = kernel();
    let ticket = kernel.request("for later").send(one, "later", &()).unwrap();
    kernel.run_until_idle().unwrap();
    let by_ticket = kernel.explain_ticket(&ticket).to_string();
    let by_request = kernel
        .explain(Question::Request("for later".into()))
        .to_string();
    for told in [&by_ticket, &by_request] {
        assert!(told.contains("wait in promise p1.1"), "{told}");
        assert!(
            told.contains("vat v0.1 decides it by its own word"),
            "{told}"
        );
    }
    let vat = kernel.explain(one).to_string();
    assert!(vat.contains("1 promises wait for its word"), "{vat}");
    assert!(vat.contains("vat v0.1 is in "), "{vat}");
    settled(&kernel.send(one, "now", &()).unwrap()).unwrap();
    assert_eq!(settled(&ticket).unwrap().decode::<u8>(), Ok(7));
    let told = kernel.explain_ticket(&ticket).to_string();
    assert!(told.contains("has settled"), "{told}");
    kernel.close(PATIENCE).unwrap();
}

#[test]
fn explain_promise_follows_what_it_waits_for() {
    let (kernel, one, two) = kernel();
    settled(&kernel.send(one, "ask", &two).unwrap()).unwrap();
    kernel.run_until_idle().unwrap();
    // The result of the message follows the promise that the other vat answered with, and whoever
    // kept the one has the other in its place.
    let result = PromiseId::new(VatNumber::new(1), 1);
    let told = kernel.explain(result).to_string();
    assert!(told.contains("is not known"), "{told}");
    let result = PromiseId::new(VatNumber::new(2), 1);
    let told = kernel.explain(result).to_string();
    assert!(told.contains("is to be decided: vat v0.2"), "{told}");
    assert!(told.contains("held by 2 vats"), "{told}");
    settled(&kernel.send(two, "now", &()).unwrap()).unwrap();
    kernel.run_until_idle().unwrap();
    let told = kernel.explain(result).to_string();
    assert!(
        told.contains("is not known"),
        "the vat has what it came to: {told}"
    );
    kernel.close(PATIENCE).unwrap();
}

#[test]
fn explain_what_never_was_says_so() {
    let (kernel, ..) = kernel();
    for (question, says) in [
        ("p9.9", "is not known"),
        ("v0.99", "is not there"),
        ("1/77", "waits nowhere"),
        ("999/0", "the order ends at"),
        ("request:none", "never came"),
    ] {
        let told = kernel.explain(question.parse::<Question>().unwrap());
        assert!(told.to_string().contains(says), "{told}");
    }
    kernel.close(PATIENCE).unwrap();
}

#[test]
fn explain_delivery_behind_others_says_where_it_stands() {
    in_every_shape(|shape| {
        if shape.order == crankcase::CommitOrder::Completion {
            return;
        }
        let scratch = Scratch::new();
        let host = shape.open(scratch.dir());
        let vat = host.actor();
        let tickets: Vec<_> = (0..3)
            .map(|_| host.tell(vat, &[Step::Add(1)]).unwrap())
            .collect();
        let told = host.explain_ticket(&tickets[2]).to_string();
        assert!(told.contains("waits for a run"), "{told}");
        host.run(1).unwrap();
        let told = host.explain_ticket(&tickets[2]).to_string();
        assert!(
            told.contains("number 2 of 2 in the inbox of vat v0.1"),
            "{told}"
        );
        host.close();
        let inspection = Inspection::open(scratch.dir()).unwrap();
        let told = inspection.explain(&Question::Vat(vat.vat())).unwrap();
        assert!(told.to_string().contains("2 deliveries wait"), "{told}");
    });
}

#[test]
fn holders_of_an_object_are_found_in_states_messages_promises_and_with_the_host() {
    let scratch = Scratch::new();
    let open = || {
        Kernel::builder(scratch.dir())
            .audit_counts(true)
            .kind::<Clerk>(())
            .open()
            .unwrap()
    };
    let kernel = open();
    let made = kernel.spawn_named("owner", "clerk", &()).unwrap();
    let owner = Ref::to(settled(&made).unwrap());
    let keeper = Ref::to(settled(&kernel.spawn("clerk", &()).unwrap()).unwrap());
    let object = settled(&kernel.send(owner, "object", &()).unwrap()).unwrap();
    let object: Ref = object.decode().unwrap();
    settled(&kernel.send(keeper, "keep", &object).unwrap()).unwrap();
    settled(&kernel.send(keeper, "keep", &object).unwrap()).unwrap();
    settled(&kernel.hold(object).unwrap()).unwrap();
    // A message with the object in it waits in a promise that is not decided.
    let ticket = kernel.send(owner, "later", &()).unwrap();
    kernel.run_until_idle().unwrap();
    let later = Promise::pending(PromiseId::new(VatNumber::new(1), 1));
    let _ = kernel.send(&later, "keep", &object).unwrap();
    kernel.run_until_idle().unwrap();
    drop(ticket);
    kernel.close(PATIENCE).unwrap();

    let inspection = Inspection::open(scratch.dir()).unwrap();
    let holders = inspection
        .holders(Reference::Object(object.object()))
        .unwrap();
    let shown: Vec<String> = holders.holders.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3, "{holders}");
    assert!(shown[0].starts_with("delivery "), "{holders}");
    assert_eq!(shown[1], "the host in its holds");
    assert_eq!(
        shown[2],
        format!("vat {} in its state, 2 times", keeper.vat())
    );
    let root = Reference::Object(ObjectId::root(owner.vat()));
    let holders = inspection.holders(root).unwrap().to_string();
    assert!(holders.contains("the root name \"owner\""), "{holders}");
    let nobody = Reference::Object(ObjectId::new(owner.vat(), 99));
    let holders = inspection.holders(nobody).unwrap().to_string();
    assert!(holders.starts_with("nobody holds"), "{holders}");
}
