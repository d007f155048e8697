//! An order book: traders buy and sell goods, the best price first, then who came first.
//!
//! A [`Trader`] is a vat with money and goods. To place an order it sets aside what the order may
//! cost and makes an [`Escrow`](trader::Escrow), an object of its own: who has it can spend what is
//! in it, and nothing else of the trader's. The [`Book`] of a good, a vat as well, gets it together
//! with the trader's [`Till`](trader::Till), into which anyone who has it can pay. When two orders
//! meet, the book has each escrow pay into the other's till. Nobody but the trader and the book has
//! the escrow, so it is also what an order is cancelled with, and nobody is asked who he is.
//!
//! What an order did not need comes back when the book cancels it, and also when the book merely
//! lets go of the escrow: because it did not take the order, or has ended. The kernel counts who
//! holds an escrow, and tells the trader when nobody does.
//!
//! `order_book [JOURNAL_DIR]` runs a session that a seed decides, checks its laws, opens the journal
//! again and checks them again. A session that was killed goes on where it was. In the order of
//! dispatch it comes to the same fills and the same activity hash with any number of workers, and
//! however often it was killed; the checks ask the books, which stands in the journal behind it.
//! With `--completion` cranks take their places as they complete; then the fills are others each
//! time, and the laws hold all the same.

mod book;
mod trader;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use book::{Book, Entry, Order, Placed};
use crankcase::{Clock, CommitOrder, Kernel, Ref, Ticket};
use trader::Trader;

const GOODS: [&str; 2] = ["rice", "wheat"];
const MONEY: &str = "money";
const TRADERS: u64 = 8;
/// What each trader has of everything when he opens.
const OPENING: u64 = 50_000;
const REQUESTS: u64 = 4_000;
/// Requests that are on their way together.
const ROUND: u64 = 100;

type Failed = Box<dyn std::error::Error>;

/// What was answered to an order that was taken.
struct Taken {
    trader: Ref<Trader>,
    good: &'static str,
    placed: Placed,
}

struct Market {
    kernel: Kernel,
    books: Vec<(&'static str, Ref<Book>)>,
    traders: Vec<Ref<Trader>>,
}

impl Market {
    /// Opens the journal, and makes what is not there yet.
    fn open(directory: &Path, order: CommitOrder) -> Result<Self, Failed> {
        let builder = Kernel::builder(directory).order(order).clock(Clock::Manual);
        let kernel = builder.kind::<Trader>(()).kind::<Book>(()).open()?;
        let mut market = Market {
            kernel,
            books: Vec::new(),
            traders: Vec::new(),
        };
        for good in GOODS {
            let made = Book::spawn(market.kernel.request(good), good.to_owned())?;
            market.books.push((good, market.answered(&made)??));
        }
        for number in 0..TRADERS {
            let made = Trader::spawn(market.kernel.request(format!("trader {number}")), OPENING)?;
            market.traders.push(market.answered(&made)??);
        }
        Ok(market)
    }

    /// In dispatch order nothing happens before a run.
    fn run(&self) -> Result<(), Failed> {
        if self.kernel.order() == CommitOrder::Dispatch {
            self.kernel.run_until_idle()?;
        }
        Ok(())
    }

    fn answered<T>(&self, ticket: &Ticket<T>) -> Result<T, Failed> {
        self.run()?;
        Ok(ticket.wait()?)
    }

    /// All requests, each under an id of its own: what was answered before is answered again, and
    /// does not happen again. Gives the orders that were taken.
    fn session(&self, say: impl Fn(u64, String)) -> Result<Vec<Taken>, Failed> {
        let mut taken: Vec<Taken> = Vec::new();
        for first in (0..REQUESTS).step_by(ROUND as usize) {
            let (mut placing, mut cancelling) = (Vec::new(), Vec::new());
            for number in first..first + ROUND {
                let mut luck = Luck(number);
                let request = self.kernel.request(format!("request {number}"));
                let cancels = luck.below(5) == 0 && !taken.is_empty();
                if cancels {
                    // One of the last, which may still be open.
                    let last = taken.len().min(2 * ROUND as usize) as u64;
                    let order = &taken[taken.len() - 1 - luck.below(last) as usize];
                    let asked = order.trader.cancel(request, order.placed.id)?;
                    cancelling.push((number, asked));
                    continue;
                }
                let trader = self.traders[luck.below(TRADERS) as usize];
                let (good, book) = self.books[luck.below(GOODS.len() as u64) as usize];
                let order = Order {
                    good: good.to_owned(),
                    buys: luck.below(2) == 0,
                    price: 90 + luck.below(21) as u32,
                    quantity: 1 + luck.below(20) as u32,
                };
                let asked = trader.place(request, book, order)?;
                placing.push((number, trader, good, asked));
            }
            self.run()?;
            for (number, trader, good, asked) in placing {
                match asked.wait()? {
                    Ok(placed) => {
                        say(number, format!("{good} {placed}"));
                        taken.push(Taken {
                            trader,
                            good,
                            placed,
                        });
                    }
                    Err(why) => say(number, format!("refused {}", why.code())),
                }
            }
            for (number, asked) in cancelling {
                match asked.wait()? {
                    Ok(back) => say(number, format!("back {back}")),
                    Err(why) => say(number, format!("refused {}", why.code())),
                }
            }
        }
        Ok(taken)
    }

    /// The laws, once nothing is on its way: nothing was made or lost, in escrow is what the open
    /// orders need, and on the tapes is each order that was taken, once.
    fn check(&self, taken: &[Taken]) -> Result<(), Failed> {
        self.kernel.run_until_idle()?;
        let mut sums: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
        for trader in &self.traders {
            self.kernel.read(*trader, |trader: &Trader| {
                for (asset, holding) in &trader.holdings {
                    let sum = sums.entry(asset.clone()).or_default();
                    sum.0 += holding.free;
                    sum.1 += holding.escrowed;
                }
            })?;
        }
        for (good, book) in &self.books {
            let open = self.answered(&book.open_orders(&self.kernel)?)??;
            for order in &open {
                sums.entry(order.asset().to_owned()).or_default().2 += order.cost();
            }
            let mut numbers: Vec<u64> = (taken.iter().filter(|taken| taken.good == *good))
                .map(|taken| taken.placed.number)
                .collect();
            numbers.sort_unstable();
            let tape = self.answered(&book.tape(&self.kernel)?)??;
            let placed = (0u64..).zip(&tape);
            let placed = placed.filter(|(_, entry)| matches!(entry, Entry::Placed(_)));
            law(
                numbers.into_iter().eq(placed.map(|(number, _)| number)),
                good,
            )?;
            println!(
                "{good}: {} orders and cancellations, {} open",
                tape.len(),
                open.len()
            );
        }
        for (asset, (free, escrowed, needed)) in &sums {
            let (sum, opening) = (free + escrowed, TRADERS * OPENING);
            println!("{asset}: {free} free + {escrowed} in escrow = {sum}, at first {opening}");
            law(sum == opening && escrowed == needed, asset)?;
        }
        Ok(())
    }
}

fn law(holds: bool, what: &str) -> Result<(), Failed> {
    if holds {
        return Ok(());
    }
    Err(format!("{what}: a law is broken").into())
}

/// A generator of the numbers that one request is made of (splitmix64).
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (flags, paths): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with("--"));
    let order = match flags.iter().any(|flag| *flag == "--completion") {
        true => CommitOrder::Completion,
        false => CommitOrder::Dispatch,
    };
    let temporary = std::env::temp_dir().join(format!("order-book-{}", std::process::id()));
    let directory = paths
        .first()
        .map_or(&*temporary, |path| Path::new(path.as_str()));
    if flags.iter().any(|flag| *flag == "--child") {
        return child(directory, order);
    }

    let market = Market::open(directory, order)?;
    let began = Instant::now();
    let taken = market.session(|number, says| {
        if number < 5 {
            println!("request {number}: {says}");
        }
    })?;
    let (took, stats) = (began.elapsed().as_secs_f64(), market.kernel.stats());
    let (rate, cranks) = (REQUESTS as f64 / took, stats.cranks);
    println!("{REQUESTS} requests, {cranks} cranks in {took:.2} s: {rate:.0} requests a second");
    let fills: Vec<_> = taken.iter().flat_map(|taken| &taken.placed.fills).collect();
    let pieces: u64 = fills.iter().map(|fill| u64::from(fill.quantity)).sum();
    println!(
        "{} orders, {} fills, {pieces} pieces",
        taken.len(),
        fills.len()
    );
    println!("activity hash {}", stats.activity_hash);
    market.check(&taken)?;
    market.kernel.close(Duration::from_secs(10))?;

    println!("after reopening:");
    let market = Market::open(directory, order)?;
    let taken = market.session(|_, _| ())?;
    market.check(&taken)?;
    market.kernel.close(Duration::from_secs(10))?;
    if paths.is_empty() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// The session for a parent that may kill it: says each answer as it comes, and at the end the
/// tapes.
fn child(directory: &Path, order: CommitOrder) -> Result<(), Failed> {
    let market = Market::open(directory, order)?;
    market.session(|number, says| tell(format!("{number} {says}")))?;
    market.kernel.run_until_idle()?;
    for (good, book) in &market.books {
        // Under request ids like all else: the one who asks again after a kill leaves no second question
        // in the journal, and the hash is the same.
        let asked = market.kernel.request(format!("tape {good}"));
        for entry in market.answered(&book.tape(asked)?)?? {
            tell(match entry {
                Entry::Placed(order) => format!(
                    "tape {good} placed {} {} {}",
                    order.buys, order.price, order.quantity
                ),
                Entry::Cancelled(number) => format!("tape {good} cancelled {number}"),
            });
        }
    }
    tell(format!("hash {}", market.kernel.activity_hash()));
    market.kernel.close(Duration::from_secs(10))?;
    Ok(())
}

fn tell(line: String) {
    // In one write, so that a kill leaves no line without its end.
    let _ = std::io::stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}
