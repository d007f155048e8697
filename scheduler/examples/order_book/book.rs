//! A book: the orders for one good, what waits of them, and the rule by which they meet.

use std::fmt;

use crankcase::collections::{Log, OrderedMap};
use crankcase::{Answer, Crank, Promise, Ref, Rejection, VatId};
use serde::{Deserialize, Serialize};

use super::MONEY;
use super::trader::{Escrow, Till};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) good: String,
    pub(crate) buys: bool,
    pub(crate) price: u32,
    pub(crate) quantity: u32,
}

impl Order {
    /// What is set aside for it.
    pub(crate) fn asset(&self) -> &str {
        if self.buys { MONEY } else { &self.good }
    }

    /// How much of that.
    pub(crate) fn cost(&self) -> u64 {
        let price = if self.buys { self.price } else { 1 };
        u64::from(price) * u64::from(self.quantity)
    }

    /// Its place among the orders of its side: the lowest is the best.
    pub(crate) fn rank(&self) -> u32 {
        if self.buys {
            u32::MAX - self.price
        } else {
            self.price
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fill {
    pub(crate) price: u32,
    pub(crate) quantity: u32,
}

/// The answer to an order: its id with its trader, its number on the tape, and its fills so far.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) fills: Vec<Fill>,
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        let mut fills = self.fills.iter();
        fills.try_for_each(|Fill { price, quantity }| write!(f, " {quantity}@{price}"))
    }
}

pub(crate) fn not_open() -> Rejection {
    Rejection::new("not_open", "the order is filled, or was cancelled")
}

/// What is left of an order that waits, what pays for it, and where to pay.
#[derive(Debug, Serialize, Deserialize)]
struct Open {
    order: Order,
    escrow: Ref<Escrow>,
    till: Ref<Till>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Entry {
    Placed(Order),
    Cancelled(u64),
}

/// What waits, by side, rank and number: whose turn it is stands first on its side.
const OPEN: OrderedMap<(bool, u32, u64), Open> = OrderedMap::holding("open");
/// The key there of the order with an escrow.
const PLACES: OrderedMap<(VatId, u64), (bool, u32, u64)> = OrderedMap::new("places");
/// All that came, by number.
const TAPE: Log<Entry> = Log::new("tape");

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Book {
    good: String,
}

#[crankcase::vat(kind = "book", version = 1)]
impl Book {
    #[create]
    fn open(_cx: &Crank<Self>, good: String) -> Answer<Self> {
        Ok(Book { good })
    }

    /// Takes an order: it trades with what waits, and what is left of it waits.
    pub fn place(
        &self,
        cx: &Crank<Self>,
        escrow: Ref<Escrow>,
        till: Ref<Till>,
        mut order: Order,
    ) -> Answer<Placed> {
        if order.good != self.good || order.price == 0 || order.quantity == 0 {
            return Err(Rejection::new("not_taken", "no order for this book"));
        }
        let number = TAPE.append(cx, &Entry::Placed(order.clone()))?;
        let (buys, worst, mut fills) = (order.buys, u32::MAX - order.rank(), Vec::new());
        for row in OPEN.range(cx, (!buys, 0, 0)..=(!buys, worst, u64::MAX)) {
            let (key, mut other) = row?;
            let (price, quantity) = (other.order.price, order.quantity.min(other.order.quantity));
            let (this, that) = ((escrow, till), (other.escrow, other.till));
            let (buyer, seller) = if buys { (this, that) } else { (that, this) };
            buyer
                .0
                .pay(cx, u64::from(price) * u64::from(quantity), seller.1);
            seller.0.pay(cx, u64::from(quantity), buyer.1);
            if buys && order.price > price {
                escrow.release(cx, u64::from(order.price - price) * u64::from(quantity));
            }
            fills.push(Fill { price, quantity });
            other.order.quantity -= quantity;
            if other.order.quantity > 0 {
                OPEN.insert(cx, &key, &other)?;
            } else {
                OPEN.remove(cx, &key)?;
                PLACES.remove(cx, &place_of(other.escrow))?;
            }
            order.quantity -= quantity;
            if order.quantity == 0 {
                break;
            }
        }
        let id = escrow.object().number;
        if order.quantity > 0 {
            let key = (buys, order.rank(), number);
            PLACES.insert(cx, &place_of(escrow), &key)?;
            OPEN.insert(
                cx,
                &key,
                &Open {
                    order,
                    escrow,
                    till,
                },
            )?;
        }
        Ok(Placed { id, number, fills })
    }

    /// Cancels the order with that escrow; answers what came back.
    pub fn cancel(&self, cx: &Crank<Self>, escrow: Ref<Escrow>) -> Answer<Promise<u64>> {
        let key = PLACES.get(cx, &place_of(escrow))?.ok_or_else(not_open)?;
        let open = OPEN.get(cx, &key)?.ok_or_else(not_open)?;
        TAPE.append(cx, &Entry::Cancelled(key.2))?;
        PLACES.remove(cx, &place_of(escrow))?;
        OPEN.remove(cx, &key)?;
        Ok(escrow.release(cx, open.order.cost())) // behind all that it was to pay
    }

    /// What is left of the orders that wait.
    pub fn open_orders(&self, cx: &Crank<Self>) -> Answer<Vec<Order>> {
        OPEN.range(cx, ..).map(|row| Ok(row?.1.order)).collect()
    }

    /// All that came.
    pub fn tape(&self, cx: &Crank<Self>) -> Answer<Vec<Entry>> {
        TAPE.range(cx, ..).map(|row| Ok(row?.1)).collect()
    }
}

fn place_of(escrow: Ref<Escrow>) -> (VatId, u64) {
    (escrow.vat(), escrow.object().number)
}
