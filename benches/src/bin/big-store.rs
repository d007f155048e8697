//! One vat with a store many times larger than the memory of its process: random reads and scans,
//! each checked, and the most memory that the process ever had.
//!
//! A value follows from its key, so checking it needs no memory either.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use crankcase::raw::{Crank, Message, Vat};
use crankcase::{Answer, Kernel, KernelBuilder, Payload, Rejection, Retention, VatId};
use crankcase_benches::Fallible;
use crankcase_benches::child::Helper;
use crankcase_benches::measure::{head, rate, row};
use crankcase_benches::scratch::Scratch;
use crankcase_benches::trial::CLOSING;
use serde::{Deserialize, Serialize};

/// Rows written in one crank while the store is filled.
const FILL_ROWS: u64 = 1000;
/// Reads of one crank.
const CRANK_GETS: u64 = 1000;
/// Cranks that are under way at once.
const UNDER_WAY: usize = 4;

/// Reads from a store that is larger than memory.
#[derive(Parser)]
struct Options {
    /// Bytes of all values, in MiB.
    #[arg(long, default_value_t = 4096)]
    mib: u64,
    /// Bytes of one value.
    #[arg(long, default_value_t = 1000)]
    value_bytes: usize,
    /// Reads of single rows, each at a random key.
    #[arg(long, default_value_t = 1_000_000)]
    gets: u64,
    /// Walks over rows, from a random key, every other one backwards.
    #[arg(long, default_value_t = 1000)]
    scans: u64,
    /// Rows of one walk.
    #[arg(long, default_value_t = 1000)]
    scan_rows: u64,
    /// The most memory that the process which reads may have had, in MiB.
    #[arg(long, default_value_t = 512)]
    limit_mib: u64,
    /// The most memory that the process which fills the store may have had, in MiB. The journal's
    /// own write buffers are most of it: of groups alone, up to five of 64 MiB.
    #[arg(long, default_value_t = 1024)]
    fill_limit_mib: u64,
    /// What is kept of the store in memory, in KiB.
    #[arg(long, default_value_t = 1024)]
    cache_kib: usize,
    /// Records between two checkpoints, in MiB: what they write is in memory until then.
    #[arg(long, default_value_t = 8)]
    checkpoint_mib: u64,
    /// Write the rows in an order that is not that of their keys.
    #[arg(long)]
    shuffled: bool,
    /// Where the journal goes.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A few seconds in all, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// The program itself sets this: fill the store of that journal.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    fill: Option<PathBuf>,
    /// The program itself sets this: read from the store of that journal.
    #[arg(long, hide = true, value_name = "JOURNAL")]
    read: Option<PathBuf>,
}

impl Options {
    fn rows(&self) -> u64 {
        let rows = (self.mib << 20) / self.value_bytes.max(1) as u64;
        rows.next_multiple_of(FILL_ROWS)
    }
}

/// A vat that does nothing but keep rows.
#[derive(Serialize, Deserialize)]
struct Shelf {
    rows: u64,
}

/// What the host says to all shelves.
struct Room {
    value_bytes: usize,
    /// Rows that there will be.
    rows: u64,
    shuffled: bool,
}

impl Room {
    /// The number of the row that is written at a turn.
    fn written_at(&self, turn: u64) -> u64 {
        // A prime larger than any number of rows shares no factor with it, so each comes once.
        const STRIDE: u128 = 0xffff_ffff_ffff_ffc5;
        if self.shuffled {
            let number =
                u128::from(turn) * (STRIDE % u128::from(self.rows)) % u128::from(self.rows);
            u64::try_from(number).expect("it is below the number of rows")
        } else {
            turn
        }
    }

    fn check(&self, number: u64, value: Option<&[u8]>) -> Result<(), Rejection> {
        if value == Some(&value_of(number, self.value_bytes)) {
            return Ok(());
        }
        let found = value.map(<[u8]>::len);
        let why = format!("row {number} has {found:?} bytes, or others than were written");
        Err(Rejection::new("wrong_row", why))
    }
}

/// One of the splitmix family: a number that looks random and follows from another.
const fn mixed(number: u64) -> u64 {
    let mut word = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The value of a row; it does not compress.
fn value_of(number: u64, len: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(len + 8);
    let mut word = number;
    while value.len() < len {
        word = mixed(word);
        value.extend_from_slice(&word.to_le_bytes());
    }
    value.truncate(len);
    value
}

impl Vat for Shelf {
    const KIND: &'static str = "shelf";
    const VERSION: u32 = 1;
    type Env = Room;

    fn create(_cx: &Crank<'_>, _room: &Room, _start: &Message<'_>) -> Result<Self, Rejection> {
        Ok(Self { rows: 0 })
    }

    fn receive(&mut self, cx: &Crank<'_>, room: &Room, message: &Message<'_>) -> Answer {
        match message.method() {
            "fill" => {
                for turn in self.rows..self.rows + FILL_ROWS {
                    let number = room.written_at(turn);
                    cx.set(&number.to_be_bytes(), &value_of(number, room.value_bytes));
                }
                self.rows += FILL_ROWS;
            }
            "get" => {
                let (seed, count): (u64, u64) = message.args()?;
                for turn in 0..count {
                    let number = mixed(seed + turn) % self.rows;
                    room.check(number, cx.get(&number.to_be_bytes()).as_deref())?;
                }
            }
            "scan" => {
                let (seed, count, forward): (u64, u64, bool) = message.args()?;
                let first = mixed(seed) % (self.rows - count);
                let last = first + count - 1;
                let mut walk = cx.range(first.to_be_bytes()..=last.to_be_bytes());
                if !forward {
                    walk = walk.rev();
                }
                let mut seen = 0;
                for (key, value) in walk {
                    let number = if forward { first + seen } else { last - seen };
                    if key != number.to_be_bytes() {
                        return Err(Rejection::new("wrong_key", format!("{key:?} at {number}")));
                    }
                    room.check(number, Some(&value))?;
                    seen += 1;
                }
                if seen != count {
                    return Err(Rejection::new("wrong_count", format!("{seen} of {count}")));
                }
            }
            other => return Err(Rejection::new("no_such_method", other)),
        }
        Ok(Payload::empty())
    }
}

fn main() -> Fallible<()> {
    let mut options = Options::parse();
    if options.quick {
        options.mib = options.mib.min(64);
        options.gets = options.gets.min(20_000);
        options.scans = options.scans.min(20);
        options.checkpoint_mib = options.checkpoint_mib.min(8);
    }
    if let Some(journal) = &options.fill {
        return fill(journal, &options);
    }
    if let Some(journal) = &options.read {
        return read(journal, &options);
    }
    let scratch = Scratch::new(options.dir.as_deref())?;
    let journal = scratch.join("journal");
    println!(
        "{} rows of {} bytes, {} MiB in all; {} KiB of the store in memory, a checkpoint each {} MiB\n",
        options.rows(),
        options.value_bytes,
        options.mib,
        options.cache_kib,
        options.checkpoint_mib
    );
    println!("{}", head(&["what", "rows/s", "seconds", "MiB at most"]));
    for phase in ["--fill", "--read"] {
        let mut arguments: Vec<String> = std::env::args().skip(1).collect();
        arguments.push(format!("{phase}={}", journal.display()));
        let (helper, said) = Helper::start(&arguments)?;
        helper.join()?;
        for line in said.split(';') {
            println!("{line}");
        }
    }
    Ok(())
}

fn open(journal: &Path, options: &Options) -> Fallible<Kernel> {
    let room = Room {
        value_bytes: options.value_bytes,
        rows: options.rows(),
        shuffled: options.shuffled,
    };
    let builder: KernelBuilder = Kernel::builder(journal).kind::<Shelf>(room);
    Ok(builder
        // The rows are in the tables; a second copy in the groups is of no use here.
        .retention(Retention::DropBelowCheckpoint)
        .store_cache_bytes(options.cache_kib << 10)
        .checkpoint_every(u64::MAX, options.checkpoint_mib << 20)
        // What is on its way to the log is in memory too, and a checkpoint may take in that much more.
        .undurable_bytes(4 << 20)
        .open()?)
}

/// Sends messages with some of them under way at once, and waits for all answers.
fn send_all<T: Serialize>(
    kernel: &Kernel,
    shelf: VatId,
    method: &str,
    messages: impl Iterator<Item = T>,
) -> Fallible<()> {
    let mut waiting = std::collections::VecDeque::new();
    for args in messages {
        if waiting.len() == UNDER_WAY {
            let ticket: crankcase::Ticket<crankcase::Outcome> =
                waiting.pop_front().expect("some are under way");
            ticket.wait()??;
        }
        waiting.push_back(kernel.send(shelf, method, &args)?);
    }
    for ticket in waiting {
        ticket.wait()??;
    }
    Ok(())
}

fn fill(journal: &Path, options: &Options) -> Fallible<()> {
    let begun = Instant::now();
    let kernel = open(journal, options)?;
    let shelf = kernel.spawn_named("shelf", Shelf::KIND, &())?.wait()??;
    send_all(
        &kernel,
        shelf,
        "fill",
        (0..options.rows() / FILL_ROWS).map(|_| ()),
    )?;
    kernel.close(CLOSING)?;
    say(&[line(
        "write",
        options.rows(),
        begun,
        options.fill_limit_mib,
    )?]);
    Ok(())
}

fn read(journal: &Path, options: &Options) -> Fallible<()> {
    let begun = Instant::now();
    let kernel = open(journal, options)?;
    let shelf = kernel.root("shelf")?.ok_or("the store was not filled")?;
    let mut lines = vec![line("open", 0, begun, options.limit_mib)?];

    let begun = Instant::now();
    let cranks = options.gets.div_ceil(CRANK_GETS);
    let gets = (0..cranks).map(|crank| (crank << 32, CRANK_GETS));
    send_all(&kernel, shelf, "get", gets)?;
    lines.push(line("get", cranks * CRANK_GETS, begun, options.limit_mib)?);

    let begun = Instant::now();
    let rows = options.scan_rows.min(options.rows() / 2);
    let scans = (0..options.scans).map(|scan| (scan << 32, rows, scan % 2 == 0));
    send_all(&kernel, shelf, "scan", scans)?;
    lines.push(line(
        "scan",
        options.scans * rows,
        begun,
        options.limit_mib,
    )?);

    kernel.close(CLOSING)?;
    say(&lines);
    Ok(())
}

/// A line of the table; an error if the process has had more memory than it may.
fn line(what: &str, rows: u64, begun: Instant, limit_mib: u64) -> Fallible<String> {
    let seconds = begun.elapsed().as_secs_f64();
    let most = most_resident_bytes()?;
    if most > limit_mib << 20 {
        let mib = most >> 20;
        return Err(format!("{what}: {mib} MiB were resident, of {limit_mib}").into());
    }
    let per_second = if rows == 0 {
        "-".to_owned()
    } else {
        rate(rows as f64 / seconds)
    };
    let (seconds, most) = (format!("{seconds:.1}"), (most >> 20).to_string());
    Ok(row(&[what.to_owned(), per_second, seconds, most]))
}

/// What [`Helper::start`] waits for is one line.
fn say(lines: &[String]) {
    println!("{}", lines.join(";"));
}

/// The most of this process that was ever in memory, as Linux counts it.
fn most_resident_bytes() -> Fallible<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.ok_or("/proc/self/status has no VmHWM in kB")?;
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}
