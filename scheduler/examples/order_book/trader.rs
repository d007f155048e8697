//! A trader: what he has, and what of it is set aside for his orders.

use std::collections::BTreeMap;

use crankcase::{Answer, Crank, ObjectId, Promise, Ref, Rejection};
use serde::{Deserialize, Serialize};

use crate::book::{Book, Order, Placed, not_open};
use crate::{GOODS, MONEY};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Holding {
    pub(crate) free: u64,
    pub(crate) escrowed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trader {
    pub(crate) holdings: BTreeMap<String, Holding>,
}

#[crankcase::vat(kind = "trader", version = 1, objects(Escrow))]
impl Trader {
    #[create]
    fn open(_cx: &Crank<Self>, free: u64) -> Answer<Self> {
        let holding = |asset: &str| (asset.to_owned(), Holding { free, escrowed: 0 });
        let holdings = GOODS.into_iter().chain([MONEY]).map(holding).collect();
        Ok(Trader { holdings })
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
        Ok(book.place(cx, escrow, order))
    }

    /// Cancels an order; answers what came back.
    pub fn cancel(&self, cx: &Crank<Self>, id: u64) -> Answer<Promise<u64>> {
        let escrow: Ref<Escrow> = Ref::to(ObjectId::new(cx.id(), id)).cast();
        let found = cx.object_state(escrow)?.ok_or_else(not_open)?;
        Ok(found.book.cancel(cx, escrow))
    }

    /// Nobody can use an escrow any more: what is left in it is free again.
    #[dropped]
    fn let_go(&mut self, cx: &Crank<Self>, id: u64) -> Answer<()> {
        let escrow: Ref<Escrow> = Ref::to(ObjectId::new(cx.id(), id)).cast();
        if let Some(mut state) = cx.object_state(escrow)? {
            let left = state.left;
            state.release(self, cx, left)?;
        }
        cx.remove(escrow);
        Ok(())
    }

    fn holding(&mut self, asset: &str) -> &mut Holding {
        self.holdings.entry(asset.to_owned()).or_default()
    }
}

/// What was set aside for one order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Escrow {
    pub(crate) asset: String,
    pub(crate) left: u64,
    pub(crate) book: Ref<Book>,
}

#[crankcase::object(kind = "escrow", vat = Trader)]
impl Escrow {
    /// Pays another one.
    pub fn pay(
        &mut self,
        trader: &mut Trader,
        cx: &Crank<Trader>,
        value: u64,
        to: Ref<Escrow>,
    ) -> Answer<()> {
        self.take(trader, value)?;
        to.receive(cx, self.asset.clone(), value); // the message keeps the other one alive
        Ok(())
    }

    /// Takes what another one pays.
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
