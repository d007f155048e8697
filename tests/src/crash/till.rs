//! The vats of the crash rounds: tills among which money moves in every way that a vat has, and
//! never becomes more or less; and signs that go on with another version of their code.

use std::collections::BTreeSet;

use crankcase::collections::OrderedMap;
use crankcase::{Answer, Crank, Exit, Outcome, Promise, Ref, Rejection};
use serde::{Deserialize, Serialize};

/// A vat with money. All tills and their slips together always have what the host gave to the
/// first ones, once nothing is on its way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Till {
    /// What it has.
    pub money: u64,
    /// What its slips are worth that nobody has cashed.
    pub slips: u64,
    /// How often its money has changed; what it had after each change stands in its store.
    pub moves: u64,
    /// Payments that came, or were asked for, a second time. There must be none.
    pub twice: u64,
    /// Payments that have arrived, and those that came back because nobody was there.
    pub ended: u64,
    /// What a till that works for another leaves undecided.
    open: Vec<Promise<u64>>,
}

/// What it had after each move.
const HISTORY: OrderedMap<u64, u64> = OrderedMap::new("history");
/// The payments that were asked of it.
const ASKED: OrderedMap<u64, u64> = OrderedMap::new("asked");
/// The payments that came.
const CAME: OrderedMap<u64, u64> = OrderedMap::new("came");
/// Slips of others.
const KEPT: OrderedMap<u64, Ref<Slip>> = OrderedMap::holding("kept");
/// What a till that works for another collects, for its end to be long.
const FRIENDS: OrderedMap<u64, Ref<Till>> = OrderedMap::holding("friends");

/// What becomes of a crank once it has done everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spoil {
    /// It stays.
    Nothing,
    /// It is given up.
    Refuse,
    /// It panics.
    Panic,
}

impl Till {
    fn moved(&mut self, cx: &Crank<Self>) -> Result<(), Rejection> {
        self.moves += 1;
        HISTORY.insert(cx, &self.moves, &self.money)?;
        Ok(())
    }

    fn spend(&mut self, cx: &Crank<Self>, payment: u64, amount: u64) -> Result<(), Rejection> {
        if ASKED.contains(cx, &payment)? {
            self.twice += 1;
        }
        ASKED.insert(cx, &payment, &amount)?;
        let rest = self.money.checked_sub(amount);
        self.money = rest.ok_or_else(|| Rejection::new("too_little", ""))?;
        self.moved(cx)
    }
}

#[crankcase::vat(kind = "till", version = 1, objects(Slip))]
impl Till {
    #[create]
    fn open(cx: &Crank<Self>, money: u64) -> Answer<Self> {
        let mut till = Self {
            money,
            ..Self::default()
        };
        till.moved(cx)?;
        Ok(till)
    }

    /// Pays to another one, and says how many moves that has made then.
    pub fn pay(
        &mut self,
        cx: &Crank<Self>,
        to: Ref<Till>,
        payment: u64,
        amount: u64,
        spoil: Spoil,
        _padding: Vec<u8>,
    ) -> Answer<Promise<u64>> {
        self.spend(cx, payment, amount)?;
        let arrived = to.take(cx, payment, amount);
        let told = cx.watch(&arrived, Self::ARRIVED, amount);
        match spoil {
            Spoil::Nothing => Ok(told),
            Spoil::Refuse => Err(Rejection::new("spoiled", "given up on purpose")),
            Spoil::Panic => panic!("a till panics on purpose"),
        }
    }

    #[watcher]
    fn arrived(&mut self, cx: &Crank<Self>, amount: u64, outcome: Outcome<u64>) -> Answer<u64> {
        self.ended += 1;
        match outcome {
            Ok(moves) => Ok(moves),
            Err(_) => {
                self.money += amount;
                self.moved(cx)?;
                Ok(0)
            }
        }
    }

    /// Takes a payment.
    pub fn take(&mut self, cx: &Crank<Self>, payment: u64, amount: u64) -> Answer<u64> {
        if CAME.contains(cx, &payment)? {
            self.twice += 1;
        }
        CAME.insert(cx, &payment, &amount)?;
        self.money += amount;
        self.moved(cx)?;
        Ok(self.moves)
    }

    /// Gives another one a slip that is worth something.
    pub fn give(
        &mut self,
        cx: &Crank<Self>,
        to: Ref<Till>,
        payment: u64,
        worth: u64,
    ) -> Answer<Promise<u64>> {
        self.spend(cx, payment, worth)?;
        self.slips += worth;
        let slip = cx.export(Slip { worth });
        Ok(to.keep(cx, payment, slip))
    }

    /// Keeps a slip.
    pub fn keep(&mut self, cx: &Crank<Self>, payment: u64, slip: Ref<Slip>) -> Answer<u64> {
        KEPT.insert(cx, &payment, &slip)?;
        Ok(payment)
    }

    /// Cashes the slip that it has kept longest, or throws it away.
    pub fn cash(&mut self, cx: &Crank<Self>, payment: u64, away: bool) -> Answer<Promise<u64>> {
        let Some((key, slip)) = KEPT.first(cx)? else {
            return Ok(cx.resolved(0));
        };
        KEPT.remove(cx, &key)?;
        if away {
            return Ok(cx.resolved(0));
        }
        Ok(slip.cash(cx, cx.me(), payment))
    }

    /// A slip is nobody's any more: what it was worth is the till's again.
    #[dropped]
    fn slip_gone(&mut self, cx: &Crank<Self>, object: u64) -> Answer<()> {
        let slip = cx.read_object(object);
        if let Some(Slip { worth }) = slip.map(|slip| slip.state()).transpose()? {
            self.slips -= worth;
            self.money += worth;
            self.moved(cx)?;
        }
        cx.remove_object(object);
        Ok(())
    }

    /// Has a new till work for it, which pays everything back, ends, and leaves much to clean up.
    pub fn employ(
        &mut self,
        cx: &Crank<Self>,
        payment: u64,
        amount: u64,
        rows: u64,
    ) -> Answer<Promise<u64>> {
        self.spend(cx, payment, amount)?;
        let worker = Till::spawn(cx, 0);
        worker.take(cx, payment, amount);
        let done = worker.work(cx, cx.me(), payment, rows);
        // These come when it has ended, and are rejected by its clean-up or because it is gone.
        let late = worker.take(cx, payment + 1, 0);
        cx.watch(&late, Self::LATE, ());
        Ok(cx.watch(&done, Self::WORKED, ()))
    }

    #[watcher]
    fn late(&mut self, _cx: &Crank<Self>, outcome: Outcome<u64>) -> Answer<u64> {
        self.twice += u64::from(outcome.is_ok());
        Ok(0)
    }

    #[watcher]
    fn worked(&mut self, _cx: &Crank<Self>, outcome: Outcome<u64>) -> Answer<u64> {
        self.ended += 1;
        outcome
    }

    /// Works for another one, and ends.
    pub fn work(
        &mut self,
        cx: &Crank<Self>,
        of: Ref<Till>,
        payment: u64,
        rows: u64,
    ) -> Answer<u64> {
        for row in 0..rows {
            FRIENDS.insert(cx, &row, &of)?;
            HISTORY.insert(cx, &(1000 + row), &row)?;
        }
        for _ in 0..rows / 4 {
            let promise = cx.promise();
            of.hear_of(cx, promise);
        }
        of.take(cx, payment + 1, self.money);
        self.money = 0;
        cx.exit(Exit::Success);
        Ok(rows)
    }

    /// Waits for what will never be decided, unless by the end of who was to.
    pub fn hear_of(&mut self, cx: &Crank<Self>, promise: Promise<u64>) -> Answer<()> {
        cx.watch(&promise, Self::LATE, ());
        self.open.push(promise);
        if self.open.len() > 8 {
            self.open.clear();
        }
        Ok(())
    }

    /// Sends itself so many messages, one after the other or all at once.
    pub fn patter(&mut self, cx: &Crank<Self>, count: u64, at_once: bool) -> Answer<u64> {
        match (count, at_once) {
            (0, _) => {}
            (_, true) => (0..count).for_each(|_| drop(cx.me().patter(cx, 0, false))),
            (_, false) => drop(cx.me().patter(cx, count - 1, false)),
        }
        Ok(count)
    }

    /// What it had after a move, if it has made that.
    pub fn history(&self, cx: &Crank<Self>, moves: u64) -> Answer<Option<u64>> {
        Ok(HISTORY.get(cx, &moves)?)
    }

    /// The payments that came, and those that were asked for.
    pub fn payments(&self, cx: &Crank<Self>) -> Answer<(BTreeSet<u64>, BTreeSet<u64>)> {
        let mut came = BTreeSet::new();
        for row in CAME.range(cx, ..) {
            came.insert(row?.0);
        }
        let mut asked = BTreeSet::new();
        for row in ASKED.range(cx, ..) {
            asked.insert(row?.0);
        }
        Ok((came, asked))
    }
}

/// The right to money of a till's, once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Slip {
    worth: u64,
}

#[crankcase::object(kind = "slip", vat = Till)]
impl Slip {
    /// Has the till pay what it is worth, and is gone.
    pub fn cash(
        &mut self,
        till: &mut Till,
        cx: &Crank<Till>,
        to: Ref<Till>,
        payment: u64,
    ) -> Answer<Promise<u64>> {
        till.slips -= self.worth;
        let arrived = to.take(cx, payment, self.worth);
        let this: Ref<Slip> = cx.this().cast();
        cx.remove(this);
        Ok(cx.watch(&arrived, Till::ARRIVED, self.worth))
    }
}

/// A sign that counts how often it was turned.
pub mod sign {
    use crankcase::{Answer, Crank};
    use serde::{Deserialize, Serialize};

    /// Its first version.
    #[derive(Debug, Default, Serialize, Deserialize)]
    pub struct Sign {
        /// How often it was turned.
        pub turns: u64,
    }

    #[crankcase::vat(kind = "sign", version = 1)]
    impl Sign {
        #[create]
        fn new(_cx: &Crank<Self>) -> Answer<Self> {
            Ok(Self::default())
        }

        /// Turns it, and says how often it was turned.
        pub fn turn(&mut self, _cx: &Crank<Self>) -> Answer<u64> {
            self.turns += 1;
            Ok(self.turns)
        }
    }

    /// Its second version, with another state.
    pub mod two {
        use crankcase::{Answer, Crank};
        use serde::{Deserialize, Serialize};

        /// The second version.
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct Sign {
            upgrades: u64,
            /// How often it was turned.
            pub turns: u64,
        }

        #[crankcase::vat(kind = "sign", version = 2)]
        impl Sign {
            #[create]
            fn new(_cx: &Crank<Self>) -> Answer<Self> {
                Ok(Self::default())
            }

            #[migrate]
            fn from_one(_cx: &Crank<Self>, old: super::Sign) -> Answer<Self> {
                Ok(Self {
                    upgrades: 1,
                    turns: old.turns,
                })
            }

            /// Turns it, and says how often it was turned.
            pub fn turn(&mut self, _cx: &Crank<Self>) -> Answer<u64> {
                self.turns += 1;
                Ok(self.turns)
            }
        }
    }
}
