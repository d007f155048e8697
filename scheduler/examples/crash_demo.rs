//! Kills itself under load, again and again, and shows that nothing was lost and nothing done twice.
//!
//! `crash_demo [ROUNDS] [JOURNAL_DIR]`. In each round a child process opens the journal, and its
//! clients, a thread each, pay from an account of their own into others, each payment under a
//! request id. What the kernel answered the child says on its standard output. Some time later it
//! is killed (SIGKILL), in whatever it was doing. Then the parent opens the journal and looks:
//!
//! * All accounts together have what they had at first.
//! * Each account has made at least the payments that were acknowledged.
//! * Asked for again under its request id, each acknowledged payment gives the answer that it gave
//!   the child, and no account has made a payment more for it.
//!
//! An account numbers its payments. So a payment that was made twice would give all later ones
//! other answers, and one that was lost would be made again.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crankcase::{Answer, Crank, Kernel, Outcome, Promise, Ref, Ticket};
use serde::{Deserialize, Serialize};

const ACCOUNTS: u64 = 4;
const OPENING: u64 = 250_000;
/// Payments that one client has on their way.
const WINDOW: usize = 64;

type Failed = Box<dyn std::error::Error>;

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
    payments: u64,
}

/// What is answered to a payment: its number among those of its account, and what was paid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Paid {
    number: u64,
    value: u64,
}

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    #[create]
    fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
        let payments = 0;
        Ok(Account { balance, payments })
    }

    /// Pays so much, or what is there, and answers when the other one has it.
    pub fn pay(&mut self, cx: &Crank<Self>, to: Ref<Account>, value: u64) -> Answer<Promise<Paid>> {
        let value = value.min(self.balance);
        self.balance -= value;
        self.payments += 1;
        let number = self.payments;
        Ok(cx.watch(
            &to.credit(cx, value),
            Self::CREDITED,
            Paid { number, value },
        ))
    }

    #[watcher]
    fn credited(&self, _cx: &Crank<Self>, paid: Paid, outcome: Outcome<()>) -> Answer<Paid> {
        outcome.map(|()| paid)
    }

    /// Takes money in.
    pub fn credit(&mut self, _cx: &Crank<Self>, value: u64) -> Answer<()> {
        self.balance += value;
        Ok(())
    }
}

/// The kernel and its accounts, made when they are not there, with nothing on its way.
fn open(directory: &Path) -> Result<(Kernel, Vec<Ref<Account>>), Failed> {
    let kernel = Kernel::builder(directory).kind::<Account>(()).open()?;
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        let made = Account::spawn(kernel.request(format!("account {number}")), OPENING)?;
        accounts.push(made.wait()??);
    }
    kernel.run_until_idle()?;
    Ok((kernel, accounts))
}

/// Asks for a client's payment of that number, counted from 1. Its account, its receiver and its
/// value follow from the numbers alone, so whoever asks again asks for the same.
fn ask(
    kernel: &Kernel,
    accounts: &[Ref<Account>],
    client: u64,
    number: u64,
) -> Result<Ticket<Outcome<Paid>>, Failed> {
    let from = accounts[client as usize];
    let to = accounts[((client + 1 + number % (ACCOUNTS - 1)) % ACCOUNTS) as usize];
    let request = kernel.request(format!("{client}-{number}"));
    Ok(from.pay(request, to, 1 + number * 7 % 100)?)
}

fn payments(kernel: &Kernel, account: Ref<Account>) -> Result<u64, Failed> {
    Ok(kernel.read(account, |account: &Account| account.payments)?)
}

/// Pays until it is killed, and says what was acknowledged.
fn child(directory: &Path) -> Result<(), Failed> {
    let (kernel, accounts) = open(directory)?;
    println!("open");
    std::thread::scope(|scope| {
        let client = |client| client_of(&kernel, &accounts, client).map_err(|why| why.to_string());
        let clients: Vec<_> = (0..ACCOUNTS)
            .map(|n| scope.spawn(move || client(n)))
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().expect("a client does not panic"))
    })?;
    Ok(())
}

fn client_of(kernel: &Kernel, accounts: &[Ref<Account>], client: u64) -> Result<(), Failed> {
    let mut asked = VecDeque::new();
    for number in 1 + payments(kernel, accounts[client as usize])?.. {
        asked.push_back(ask(kernel, accounts, client, number)?);
        if asked.len() == WINDOW
            && let Some(first) = asked.pop_front()
        {
            let Paid { number, value } = first.wait()??;
            // One write for one line.
            let line = format!("{client} {number} {value}\n");
            std::io::stdout().lock().write_all(line.as_bytes())?;
        }
    }
    Ok(())
}

/// What one client was told, in the order of its payments.
type Acknowledged = Vec<Paid>;

/// Starts a child, kills it after that time, and adds what it said.
fn load(directory: &Path, after: Duration, heard: &mut [Acknowledged]) -> Result<(), Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--child")
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("the child says nothing")?);
    let (opened, is_open) = std::sync::mpsc::channel();
    // Read while it lives, or it would wait for room in the pipe.
    let reader = std::thread::spawn(move || {
        let (mut said, mut line) = (Vec::new(), String::new());
        // What does not end with a line's end was cut short, and not said.
        while lines
            .read_line(&mut line)
            .is_ok_and(|_| line.ends_with('\n'))
        {
            match line == "open\n" {
                true => drop(opened.send(())),
                false => said.push(line.clone()),
            }
            line.clear();
        }
        said
    });
    is_open
        .recv()
        .map_err(|_| "the child ended before it was open")?;
    std::thread::sleep(after);
    child.kill()?;
    let ended = child.wait()?;
    if ended.code().is_some() {
        return Err(format!("the child ended by itself: {ended}").into());
    }
    for line in reader.join().expect("reading does not panic") {
        let words: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let [client, number, value] = words?[..] else {
            return Err(format!("the child said {line:?}").into());
        };
        heard[client as usize].push(Paid { number, value });
    }
    Ok(())
}

/// Opens the journal of the dead; gives how many of the acknowledged payments are there, and the
/// sum of all accounts.
fn look(directory: &Path, heard: &[Acknowledged]) -> Result<(u64, u64), Failed> {
    let (kernel, accounts) = open(directory)?;
    let mut found = 0;
    for (client, heard) in (0u64..).zip(heard) {
        let account = accounts[client as usize];
        let made = payments(&kernel, account)?;
        let tickets: Result<Vec<_>, _> = heard
            .iter()
            .map(|paid| ask(&kernel, &accounts, client, paid.number))
            .collect();
        for (paid, again) in heard.iter().zip(tickets?) {
            if paid.number <= made && again.wait()? == Ok(*paid) {
                found += 1;
            }
        }
        kernel.run_until_idle()?;
        if payments(&kernel, account)? != made {
            return Err(format!("account {client} paid again what it had paid").into());
        }
    }
    let balance = |account: &Ref<Account>| kernel.read(*account, |a: &Account| a.balance);
    let balances: Result<Vec<u64>, _> = accounts.iter().map(balance).collect();
    let sum = balances?.into_iter().sum();
    kernel.close(Duration::from_secs(10))?;
    Ok((found, sum))
}

fn demo(rounds: u64, directory: &Path) -> Result<(), Failed> {
    let mut heard = vec![Acknowledged::new(); ACCOUNTS as usize];
    for round in 1..=rounds {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let after = 20 + u64::from(now.subsec_nanos()) / 1_000 % 200;
        load(directory, Duration::from_millis(after), &mut heard)?;
        let acknowledged = heard.iter().map(Vec::len).sum::<usize>() as u64;
        let (found, sum) = look(directory, &heard)?;
        let opening = ACCOUNTS * OPENING;
        println!(
            "round {round}: killed after {after} ms, {acknowledged} acknowledged, {found} found, \
             sum {sum} = {opening}"
        );
        if found != acknowledged || sum != opening {
            return Err(format!("round {round}: what was acknowledged is not there").into());
        }
    }
    Ok(())
}

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, directory] = &words[..]
        && flag == "--child"
    {
        return child(Path::new(directory));
    }
    let rounds = words.first().map_or(Ok(10), |rounds| rounds.parse())?;
    let temporary = std::env::temp_dir().join(format!("crash-demo-{}", std::process::id()));
    let directory = words
        .get(1)
        .map_or(&*temporary, |path| Path::new(path.as_str()));
    demo(rounds, directory)?;
    if words.len() < 2 {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}
