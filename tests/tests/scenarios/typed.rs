//! Kinds of vats that `#[vat]` makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crankcase::collections::OrderedMap;
use crankcase::inspect::{Inspection, RecordView};
use crankcase::{
    Answer, Cause, Crank, Exit, Outcome, Payload, Promise, Ref, Refusal, Rejection, TrySendError,
};
use crankcase_tests::host::{PLAIN, settled};
use crankcase_tests::{Host, Scratch, Shape, in_every_shape};
use serde::{Deserialize, Serialize};

/// What the host gives to all shops.
#[derive(Debug, Default)]
struct Town {
    greetings: AtomicU64,
}

/// A vat with one method for each thing that a method can be.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Shop {
    money: u64,
    later: Option<Promise<u64>>,
    gone: Vec<u64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct TooDear {
    price: u64,
    money: u64,
}

impl std::fmt::Display for TooDear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it costs {}, and {} are there", self.price, self.money)
    }
}

impl Refusal for TooDear {
    const CODE: &'static str = "too_dear";
}

const DEBTS: OrderedMap<u64, Ref<Shop>> = OrderedMap::holding("debts");

#[crankcase::vat(kind = "shop", version = 1, env = Arc<Town>, objects(Voucher))]
impl Shop {
    #[create]
    fn open(cx: &Crank<Self>, money: u64) -> Answer<Self> {
        cx.env().greetings.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            money,
            ..Self::default()
        })
    }

    pub fn money(&self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(self.money)
    }

    pub fn add(&mut self, _cx: &Crank<Self>, money: u64) -> Answer<u64> {
        self.money += money;
        Ok(self.money)
    }

    /// Adds what another comes to, in a nested call.
    pub fn add_all_of(
        &mut self,
        cx: &Crank<Self>,
        other: Ref<Shop>,
        third: Ref<Shop>,
    ) -> Answer<Promise<u64>> {
        Ok(third.add_promised(cx, other.money(cx)))
    }

    pub fn add_promised(&mut self, cx: &Crank<Self>, money: Promise<u64>) -> Answer<Promise<u64>> {
        Ok(cx.watch(&money, Self::KNOWN, (1, "one".to_owned())))
    }

    #[watcher]
    fn known(
        &mut self,
        _cx: &Crank<Self>,
        times: u64,
        word: String,
        outcome: Outcome<u64>,
    ) -> Answer<u64> {
        assert_eq!(word, "one");
        self.money += outcome? * times;
        Ok(self.money)
    }

    pub fn buy(&mut self, _cx: &Crank<Self>, price: u64) -> Answer<()> {
        let rest = self.money.checked_sub(price);
        self.money = rest.ok_or(TooDear {
            price,
            money: self.money,
        })?;
        Ok(())
    }

    /// Has another one buy, and passes on what that says.
    pub fn buy_there(
        &mut self,
        cx: &Crank<Self>,
        shop: Ref<Self>,
        price: u64,
    ) -> Answer<Promise<()>> {
        let bought = shop.buy(cx, price);
        Ok(cx.watch(&bought, Self::BOUGHT, ()))
    }

    #[watcher]
    fn bought(&self, _cx: &Crank<Self>, outcome: Outcome<()>) -> Answer<()> {
        outcome?;
        Ok(())
    }

    pub fn owe(&mut self, cx: &Crank<Self>, to: Vec<Ref<Shop>>) -> Answer<()> {
        for (number, to) in (0..).zip(&to) {
            DEBTS.insert(cx, &number, to)?;
        }
        Ok(())
    }

    /// Sends while it walks.
    pub fn pay_debts(&mut self, cx: &Crank<Self>) -> Answer<u64> {
        let mut paid = 0;
        for row in DEBTS.range(cx, ..) {
            let (number, to) = row?;
            to.add(cx, 1);
            DEBTS.remove(cx, &number)?;
            paid += 1;
        }
        self.money -= paid;
        Ok(paid)
    }

    pub fn promise(&mut self, cx: &Crank<Self>) -> Answer<Promise<u64>> {
        let promise = cx.promise();
        self.later = Some(promise.clone());
        Ok(promise)
    }

    pub fn decide(&mut self, cx: &Crank<Self>, value: Option<u64>) -> Answer<()> {
        let Some(promise) = self.later.take() else {
            return Err(Rejection::new("nothing_to_decide", ""));
        };
        match value {
            Some(value) => cx.fulfil(&promise, value),
            None => cx.reject(&promise, Rejection::new("no", "decided so")),
        }
        Ok(())
    }

    /// All of them, in a promise, together.
    pub fn sum(&mut self, cx: &Crank<Self>, of: Vec<Ref<Shop>>) -> Answer<Promise<u64>> {
        let asked: Vec<_> = of.iter().map(|shop| shop.promise(cx)).collect();
        Ok(cx.watch(&cx.join(&asked), Self::SUMMED, ()))
    }

    #[watcher]
    fn summed(&self, _cx: &Crank<Self>, parts: Outcome<Vec<Promise<u64>>>) -> Answer<u64> {
        let mut sum = 0;
        for part in parts? {
            sum += part.value().expect("each has come to its end")?;
        }
        Ok(sum)
    }

    /// Opens a branch and sends to it at once, and to what that opens before it has.
    pub fn branch(&mut self, cx: &Crank<Self>) -> Answer<Promise<u64>> {
        let branch = Shop::spawn(cx, 10);
        let twig = branch.open_branch(cx);
        Ok(twig.pipelined().add(cx, 5))
    }

    pub fn open_branch(&mut self, cx: &Crank<Self>) -> Answer<Ref<Shop>> {
        Ok(Shop::spawn(cx, 100))
    }

    pub fn voucher(&mut self, cx: &Crank<Self>, worth: u64) -> Answer<Ref<Voucher>> {
        Ok(cx.export(Voucher { worth }))
    }

    #[dropped]
    fn voucher_gone(&mut self, cx: &Crank<Self>, object: u64) -> Answer<()> {
        self.gone.push(object);
        cx.remove_object(object);
        Ok(())
    }

    pub fn close(&mut self, cx: &Crank<Self>) -> Answer<()> {
        cx.exit(Exit::Success);
        Ok(())
    }

    /// Not a method: it has no crank, and no message reaches it.
    fn help(&self) -> u64 {
        self.money
    }
}

/// The right to money of a shop's, once.
#[derive(Debug, Serialize, Deserialize)]
struct Voucher {
    worth: u64,
}

#[crankcase::object(kind = "voucher", vat = Shop)]
impl Voucher {
    pub fn worth(&self, _shop: &mut Shop, _cx: &Crank<Shop>) -> Answer<u64> {
        Ok(self.worth)
    }

    pub fn spend(&mut self, shop: &mut Shop, _cx: &Crank<Shop>, value: u64) -> Answer<u64> {
        let rest = self.worth.checked_sub(value);
        self.worth = rest.ok_or_else(|| Rejection::new("spent", ""))?;
        shop.money -= value;
        Ok(self.worth)
    }

    pub fn tear_up(&mut self, _shop: &mut Shop, cx: &Crank<Shop>) -> Answer<()> {
        let this: Ref<Voucher> = cx.this().cast();
        cx.remove(this);
        Ok(())
    }
}

fn open(shape: Shape, scratch: &Scratch) -> Host {
    shape.open_with(scratch.dir(), |builder| {
        builder.kind::<Shop>(Arc::new(Town::default()))
    })
}

fn shop(host: &Host, money: u64) -> Ref<Shop> {
    let made = Shop::spawn(&**host, money).unwrap();
    host.settled(&made).unwrap()
}

fn money(host: &Host, shop: Ref<Shop>) -> u64 {
    host.settled(&shop.money(&**host).unwrap()).unwrap()
}

#[test]
fn a_method_is_called_by_whoever_has_a_caller() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let (a, b, c) = (shop(&host, 1), shop(&host, 20), shop(&host, 300));
        assert_eq!(host.settled(&a.add(&*host, 1).unwrap()), Ok(2));
        assert_eq!(host.settled(&a.add(host.try_now(), 1).unwrap()), Ok(3));
        let once = a.add(host.request("once"), 1).unwrap();
        assert_eq!(host.settled(&once), Ok(4));
        let again = a.add(host.request("once"), 1).unwrap();
        assert_eq!(host.settled(&again), Ok(4));
        let mut batch = host.batch();
        let first = a.add(&mut batch, 1).unwrap();
        let made = Shop::spawn(&mut batch, 7).unwrap();
        let second = made.money(&mut batch).unwrap();
        let outcomes = host.settled(&batch.submit().unwrap());
        assert_eq!((first.of(&outcomes), second.of(&outcomes)), (Ok(5), Ok(7)));
        // In a crank, one call in the arguments of another.
        assert_eq!(host.settled(&a.add_all_of(&*host, b, c).unwrap()), Ok(320));
        assert_eq!(money(&host, a), 5);
        let shared = Arc::new(host.into_kernel());
        let ticket = a.money(&shared).unwrap();
        shared.run_until_idle().unwrap();
        assert_eq!(settled(&ticket), Ok(5));
    });
}

#[test]
fn a_full_kernel_gives_the_call_back() {
    let scratch = Scratch::new();
    let host = PLAIN.open_with(scratch.dir(), |builder| {
        builder
            .kind::<Shop>(Arc::new(Town::default()))
            .order(crankcase::CommitOrder::Dispatch)
            .host_input_bytes(1)
    });
    let made = Shop::spawn(&*host, 1).unwrap();
    let full = Ref::to(made_vat()).cast::<Shop>().add(host.try_now(), 5);
    let Err(TrySendError::Full(unsent)) = full else {
        panic!("there is no room: {full:?}")
    };
    assert_eq!(
        (&*unsent.method, unsent.args.decode()),
        ("add", Ok((5u64,)))
    );
    host.idle();
    settled(&made).unwrap();
}

/// The first vat that a host makes.
fn made_vat() -> crankcase::VatId {
    crankcase::VatId::new(crankcase::VatNumber::HOST, 1)
}

#[test]
fn a_refusal_is_the_same_however_many_vats_pass_it_on() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let (rich, poor) = (shop(&host, 100), shop(&host, 3));
        let why = host
            .settled(&rich.buy_there(&*host, poor, 5).unwrap())
            .unwrap_err();
        assert_eq!(why.cause(), Cause::Refused);
        assert_eq!(why.code(), "too_dear");
        assert_eq!(why.refusal(), Some(TooDear { price: 5, money: 3 }));
        assert_eq!(why.message(), "it costs 5, and 3 are there");
        assert_eq!(money(&host, poor), 3);
        assert_eq!(
            host.settled(&rich.buy_there(&*host, poor, 2).unwrap()),
            Ok(())
        );
        assert_eq!(money(&host, poor), 1);
        // And the journal has it.
        host.close();
        let host = open(shape, &scratch);
        let again = host.settled(&rich.buy_there(&*host, poor, 9).unwrap());
        let refusal = again.unwrap_err().refusal();
        assert_eq!(refusal, Some(TooDear { price: 9, money: 1 }));
    });
}

#[test]
fn a_method_that_borrows_its_vat_leaves_no_state_in_the_record() {
    let scratch = Scratch::new();
    let host = open(PLAIN, &scratch);
    let shop = shop(&host, 5);
    assert_eq!(money(&host, shop), 5);
    host.idle();
    let last = host.stats().sequenced;
    host.close();
    let journal = Inspection::open(scratch.dir()).unwrap();
    let state_of = |seq: u64| match journal.record(seq).unwrap() {
        RecordView::Crank { state_bytes, .. } => state_bytes,
        other => panic!("a crank: {other:?}"),
    };
    assert_eq!(state_of(last.get()), None);
    assert!(state_of(last.get() - 2).is_some(), "the start");
}

#[test]
fn no_message_reaches_a_watcher_or_a_helper() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let shop = shop(&host, 5);
        for hidden in [
            "known",
            "bought",
            "help",
            "open",
            "voucher_gone",
            "nonsense",
        ] {
            let sent = host.send(shop, hidden, &(1u64, "one".to_owned(), 5u64));
            let why = host.settled(&sent.unwrap()).unwrap_err();
            assert_eq!(why.code(), "no_such_method", "{hidden}");
            assert!(why.message().contains(hidden), "{why}");
        }
        assert_eq!(money(&host, shop), 5);
        let helper = host.read(shop, |shop: &Shop| shop.help()).unwrap();
        assert_eq!(helper, 5);
    });
}

#[test]
fn arguments_of_another_type_are_refused_and_name_it() {
    let scratch = Scratch::new();
    let host = open(PLAIN, &scratch);
    let shop = shop(&host, 5);
    let sent = host.send(shop, "add", &("five", 5u64)).unwrap();
    let why = host.settled(&sent).unwrap_err();
    assert_eq!((why.cause(), why.code()), (Cause::Refused, "payload"));
    assert_eq!(money(&host, shop), 5);
}

#[test]
fn a_crank_sends_while_it_walks_a_collection() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let debtor = shop(&host, 10);
        let others: Vec<_> = (0..5).map(|_| shop(&host, 0)).collect();
        host.settled(&debtor.owe(&*host, others.clone()).unwrap())
            .unwrap();
        assert_eq!(host.settled(&debtor.pay_debts(&*host).unwrap()), Ok(5));
        host.idle();
        assert!(others.iter().all(|other| money(&host, *other) == 1));
        assert_eq!(money(&host, debtor), 5);
        assert_eq!(host.settled(&debtor.pay_debts(&*host).unwrap()), Ok(0));
    });
}

#[test]
fn a_promise_in_the_state_is_decided_after_a_restart() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let (one, two) = (shop(&host, 0), shop(&host, 0));
        let summing = shop(&host, 0);
        let once = host.request("sum");
        summing.sum(once, vec![one, two]).map(drop).unwrap();
        host.idle();
        host.close();
        let host = open(shape, &scratch);
        host.settled(&two.decide(&*host, Some(5)).unwrap()).unwrap();
        host.settled(&one.decide(&*host, Some(6)).unwrap()).unwrap();
        let again = summing.sum(host.request("sum"), vec![one, two]).unwrap();
        assert_eq!(host.settled(&again), Ok(11));
        let nothing = host.settled(&one.decide(&*host, None).unwrap());
        assert_eq!(nothing.unwrap_err().code(), "nothing_to_decide");
    });
}

#[test]
fn a_vat_sends_to_what_it_makes_and_to_what_that_will_make() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let root = shop(&host, 0);
        assert_eq!(host.settled(&root.branch(&*host).unwrap()), Ok(105));
    });
}

#[test]
fn an_object_is_a_capability_with_methods_of_its_own() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let root = shop(&host, 50);
        let voucher = host.settled(&root.voucher(&*host, 9).unwrap()).unwrap();
        host.settled(&host.hold(voucher).unwrap()).unwrap();
        assert_eq!(host.settled(&voucher.spend(&*host, 4).unwrap()), Ok(5));
        let why = host
            .settled(&voucher.spend(&*host, 6).unwrap())
            .unwrap_err();
        assert_eq!(why.code(), "spent");
        assert_eq!(host.settled(&voucher.worth(&*host).unwrap()), Ok(5));
        assert_eq!(money(&host, root), 46);
        // It does not have what its vat has.
        let why = host.settled(&host.send(voucher, "money", &()).unwrap());
        assert_eq!(why.unwrap_err().code(), "no_such_method");
        let second = host.settled(&root.voucher(&*host, 1).unwrap()).unwrap();
        host.settled(&host.hold(second).unwrap()).unwrap();
        host.settled(&second.tear_up(&*host).unwrap()).unwrap();
        let gone = host.settled(&second.worth(&*host).unwrap()).unwrap_err();
        assert_eq!(gone.cause(), Cause::NoSuchObject);
        // Nobody holds it any more, and the vat is told.
        host.settled(&host.release(voucher).unwrap());
        host.idle();
        let told = host.read(root, |shop: &Shop| shop.gone.clone()).unwrap();
        assert!(told.contains(&voucher.object().number), "{told:?}");
    });
}

#[test]
fn a_root_name_gives_a_reference_of_the_right_kind() {
    in_every_shape(|shape| {
        let scratch = Scratch::new();
        let host = open(shape, &scratch);
        let made = Shop::spawn_named(&*host, "corner", 5).unwrap();
        let made = host.settled(&made).unwrap();
        assert_eq!(host.root_as::<Shop>("corner").unwrap(), Some(made));
        assert_eq!(host.root_as::<Shop>("nowhere").unwrap(), None);
        let other = host.root_as::<Leaky>("corner").unwrap_err();
        assert!(other.to_string().contains("\"shop\""), "{other}");
        host.settled(&made.close(&*host).unwrap()).unwrap();
        host.idle();
        let ended = host.settled(&made.money(&*host).unwrap()).unwrap_err();
        assert_eq!(ended.cause(), Cause::NoSuchVat);
    });
}

/// A state that is written through a shared reference, which no check of types sees.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Leaky {
    seen: AtomicU64,
}

#[crankcase::vat(kind = "leaky", version = 1)]
impl Leaky {
    #[create]
    fn new(_cx: &Crank<Self>) -> Answer<Self> {
        Ok(Self::default())
    }

    pub fn look(&self, _cx: &Crank<Self>) -> Answer<u64> {
        Ok(self.seen.fetch_add(1, Ordering::Relaxed))
    }
}

#[test]
fn a_state_that_is_written_through_a_shared_reference_is_found_by_the_check() {
    let scratch = Scratch::new();
    let host = PLAIN.open_with(scratch.dir(), |builder| {
        // In programs without debug assertions this is what checks it.
        builder.kind::<Leaky>(()).check_canonical(true)
    });
    let leaky = host.settled(&Leaky::spawn(&*host).unwrap()).unwrap();
    let why = host.settled(&leaky.look(&*host).unwrap()).unwrap_err();
    assert_eq!((why.cause(), why.code()), (Cause::State, "state_written"));
}

/// A refusal that is too large to be kept, and one with a reference.
#[derive(Debug, Serialize, Deserialize)]
struct Heavy(Vec<u8>, Option<Ref>);

impl std::fmt::Display for Heavy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("heavy")
    }
}

impl Refusal for Heavy {
    const CODE: &'static str = "heavy";
}

#[test]
fn what_of_a_refusal_is_not_kept_is_said() {
    let large = Rejection::from(Heavy(vec![0; Rejection::MAX_DETAIL_BYTES], None));
    assert_eq!(large.code(), "heavy");
    assert!(large.message().contains("not kept"), "{large}");
    assert!(large.refusal::<Heavy>().is_none());
    let holding = Rejection::from(Heavy(Vec::new(), Some(Ref::to(made_vat()))));
    assert!(holding.message().contains("references"), "{holding}");
    let small = Rejection::from(Heavy(vec![1], None));
    assert_eq!(small.refusal::<Heavy>().map(|heavy| heavy.0), Some(vec![1]));
    assert!(small.refusal::<TooDear>().is_none());
    // A rejection can itself be sent.
    let sent = Payload::of(&small).unwrap();
    assert_eq!(sent.decode(), Ok(small));
}
