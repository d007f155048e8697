//! The order book of `examples/order_book/`: nothing is made or lost, what is in escrow is what the
//! open orders need, and each order that was taken stands on the tape, once.

#[path = "../../examples/order_book/book.rs"]
mod book;
#[path = "../../examples/order_book/trader.rs"]
mod trader;

use std::collections::BTreeMap;

use book::{Book, Entry, Order};
use crankcase::Ref;
use crankcase::testing::{Checked, Options, Simulation};
use trader::Trader;

const GOODS: [&str; 2] = ["rice", "wheat"];
const MONEY: &str = "money";
const TRADERS: u64 = 3;
const OPENING: u64 = 500;

pub fn options() -> Options {
    Options::new().kind::<Book>(()).kind::<Trader>(())
}

/// Orders and cancellations, each asked for until its outcome is told.
pub fn session(sim: &Simulation) -> Checked {
    sim.law("nothing is made or lost", |look| {
        let (mut opened, mut sums) = (0, BTreeMap::<String, u64>::new());
        look.each::<Trader>(|_, trader| {
            opened += OPENING;
            for (asset, holding) in &trader.holdings {
                *sums.entry(asset.clone()).or_default() += holding.free + holding.escrowed;
            }
        })?;
        for (asset, sum) in sums {
            // What one escrow has paid and no till received is nobody's.
            if sum > opened || look.is_idle() && sum < opened {
                return Err(format!("{asset}: {opened} at first, {sum} now").into());
            }
        }
        Ok(())
    });

    let mut books: Vec<(&str, Ref<Book>)> = Vec::new();
    for good in GOODS {
        let made = sim.insist(good, |request| Book::spawn(request, good.to_owned()))?;
        books.push((good, made?));
    }
    let mut traders: Vec<Ref<Trader>> = Vec::new();
    for number in 0..TRADERS {
        let id = format!("trader {number}");
        traders.push(sim.insist(&id, |request| Trader::spawn(request, OPENING))??);
    }
    let mut taken: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut placed: Vec<(Ref<Trader>, u64)> = Vec::new();
    for round in 0..5 {
        let mut asked = Vec::new();
        for number in 0..4 {
            let (good, book) = books[sim.below(GOODS.len() as u64) as usize];
            let trader = traders[sim.below(TRADERS) as usize];
            let order = Order {
                good: good.to_owned(),
                buys: sim.below(2) == 0,
                price: 9 + sim.below(3) as u32,
                quantity: 1 + sim.below(20) as u32,
            };
            let id = format!("order {round}.{number}");
            drop(trader.place(sim.request(&id), book, order.clone())?);
            asked.push((id, trader, good, book, order));
        }
        if !placed.is_empty() {
            let (trader, order) = placed[sim.below(placed.len() as u64) as usize];
            let id = format!("cancel {round}");
            // An order that was filled meanwhile is not cancelled, and that is an outcome too.
            let _ = sim.insist(&id, |request| trader.cancel(request, order))?;
        }
        for (id, trader, good, book, order) in asked {
            let told = sim.insist(&id, |request| trader.place(request, book, order.clone()))?;
            if let Ok(told) = told {
                taken.entry(good).or_default().push(told.number);
                placed.push((trader, told.id));
            }
        }
    }
    sim.settle();
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    for (good, book) in &books {
        let open = sim.insist(&format!("open {good}"), |asks| book.open_orders(asks))??;
        for order in open {
            *needed.entry(order.asset().to_owned()).or_default() += order.cost();
        }
        let tape = sim.insist(&format!("tape {good}"), |asks| book.tape(asks))??;
        let on_tape = (0u64..)
            .zip(&tape)
            .filter(|(_, entry)| matches!(entry, Entry::Placed(_)));
        let on_tape: Vec<u64> = on_tape.map(|(number, _)| number).collect();
        let mut told = taken.remove(good).unwrap_or_default();
        told.sort_unstable();
        if told != on_tape {
            return Err(format!("{good}: {told:?} were told, and {on_tape:?} are there").into());
        }
    }
    let mut escrowed: BTreeMap<String, u64> = BTreeMap::new();
    sim.look(|look| {
        look.each::<Trader>(|_, trader| {
            for (asset, holding) in &trader.holdings {
                *escrowed.entry(asset.clone()).or_default() += holding.escrowed;
            }
        })
    })?;
    escrowed.retain(|_, value| *value > 0);
    if escrowed != needed {
        return Err(format!("{needed:?} are needed, and {escrowed:?} in escrow").into());
    }
    Ok(())
}
