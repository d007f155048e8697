//! A trader: what he has, and what of it is set aside for his orders.

use std::collections::BTreeMap;

use crankcase::{Answer, Crank, ObjectId, Promise, Ref, Rejection};
use serde::{Deserialize, Serialize};

use super::book::{Book, Order, Placed, not_open};
use super::{GOODS, MONEY};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Holding {
    pub(crate) free: u64,
    pub(crate) escrowed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trader {
    pub(crate) holdings: BTreeMap<String, Holding>,
    till: Ref<Till>,
}

#[crankcase::vat(kind = "trader", version = 1, objects(Escrow, Till))]
impl Trader {
    #[create]
    fn open(cx: &Crank<Self>, free: u64) -> Answer<Self> {
        let holding = |asset: &str| (asset.to_owned(), Holding { free, escrowed: 0 });
        let holdings = GOODS.into_iter().chain([MONEY]).map(holding).collect();
        let till = cx.export(Till);
        Ok(Trader { holdings, till })
    }

    /// Places an order. Its id is the number of its escrow.
    pub fn place(
        &mut self,
        cx: &Crank<Self>,
        book: Ref<Book>,
        order: Order,
    ) -> Answer<Promise<Placed>> {
        let (asset, left) = (order.asset().to_owned(), order.cost());
        let holding = self.holding(&asset);
        let free = holding.free.checked_sub(left);
        holding.free = free.ok_or_else(|| Rejection::new("short", "it costs more than is free"))?;
        holding.escrowed += left;
        let escrow = cx.export(Escrow { asset, left, book });
        Ok(book.place(cx, escrow, self.till, order))
    }

    /// Cancels an order; answers what came back.
    pub fn cancel(&self, cx: &Crank<Self>, id: u64) -> Answer<Promise<u64>> {
        let escrow: Ref<Escrow> = Ref::to(ObjectId::new(cx.id(), id)).cast();
        let found = cx.object_state(escrow)?.ok_or_else(not_open)?;
        Ok(found.book.cancel(cx, escrow))
    }

    /// Nobody can use an escrow any more: what is left in it is free again. A till stays.
    #[dropped]
    fn let_go(&mut self, cx: &Crank<Self>, id: u64) -> Answer<()> {
        let escrow: Ref<Escrow> = Ref::to(ObjectId::new(cx.id(), id)).cast();
        if let Some(mut state) = cx.object_state(escrow)? {
            let left = state.left;
            state.release(self, cx, left)?;
            cx.remove(escrow);
        }
        Ok(())
    }

    fn holding(&mut self, asset: &str) -> &mut Holding {
        self.holdings.entry(asset.to_owned()).or_default()
    }
}

/// What was set aside for one order: the right to spend it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Escrow {
    asset: String,
    left: u64,
    book: Ref<Book>,
}

#[crankcase::object(kind = "escrow", vat = Trader)]
impl Escrow {
    /// Pays into a till.
    pub fn pay(
        &mut self,
        trader: &mut Trader,
        cx: &Crank<Trader>,
        value: u64,
        to: Ref<Till>,
    ) -> Answer<()> {
        self.take(trader, value)?;
        to.receive(cx, self.asset.clone(), value);
        Ok(())
    }

    /// Gives back what the order does not need; answers how much that is.
    pub fn release(&mut self, trader: &mut Trader, _cx: &Crank<Trader>, value: u64) -> Answer<u64> {
        self.take(trader, value)?;
        trader.holding(&self.asset).free += value;
        Ok(value)
    }

    fn take(&mut self, trader: &mut Trader, value: u64) -> Answer<()> {
        let rest = self.left.checked_sub(value);
        self.left = rest.ok_or_else(|| Rejection::new("overdrawn", "less was set aside"))?;
        trader.holding(&self.asset).escrowed -= value;
        Ok(())
    }
}

/// The right to pay a trader, and nothing else: the one side of a trade has it of the other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Till;

#[crankcase::object(kind = "till", vat = Trader)]
impl Till {
    /// Takes what an escrow pays.
    pub fn receive(
        &self,
        trader: &mut Trader,
        _cx: &Crank<Trader>,
        asset: String,
        value: u64,
    ) -> Answer<()> {
        trader.holding(&asset).free += value;
        Ok(())
    }
}
