//! The examples run and say what they promise; and the order book is killed and goes on.
//!
//! `cargo test` builds the examples before it runs this. `cargo test --test examples` does not: it
//! runs those that were built last.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

fn example(name: &str) -> Command {
    let this = std::env::current_exe().expect("a test knows where it is");
    let profile = this
        .ancestors()
        .nth(2)
        .expect("it is in target/PROFILE/deps");
    let program: PathBuf = [profile, Path::new("examples"), Path::new(name)]
        .iter()
        .collect();
    assert!(
        program.is_file(),
        "`cargo build --examples` has not made {name}"
    );
    Command::new(program)
}

/// Runs an example to its end, which must be a good one; gives its lines.
#[track_caller]
fn lines_of(command: &mut Command) -> Vec<String> {
    let output = command.output().expect("the example starts");
    let says = String::from_utf8_lossy(&output.stdout);
    let complains = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{says}{complains}",
        output.status
    );
    says.lines().map(str::to_owned).collect()
}

#[test]
fn bank_says_what_the_readme_says() {
    let says = lines_of(&mut example("bank"));
    let expected = [
        "bob has 30",
        "ann has only 70",
        "after reopening, bob has 30",
    ];
    assert_eq!(says, expected);
}

#[test]
fn raw_host_pays_once_and_is_refused_once() {
    let says = lines_of(&mut example("raw_host"));
    assert_eq!(says[0], "ann has 70 left");
    assert!(says[1].contains("[insufficient]"), "{says:?}");
    assert_eq!(says[2..], ["after reopening, bob has 30"]);
}

#[test]
fn order_book_has_the_same_sums_after_reopening() {
    let says = lines_of(&mut example("order_book"));
    let reopened = says.iter().position(|line| line == "after reopening:");
    let (before, after) = says.split_at(reopened.expect("it opens its journal again"));
    assert!(before.ends_with(&after[1..]), "{says:#?}");
    for asset in ["money", "rice", "wheat"] {
        let sum = after
            .iter()
            .find(|line| line.starts_with(asset) && line.contains("at first"));
        let sum = sum.unwrap_or_else(|| panic!("{asset} is summed up: {says:#?}"));
        assert!(sum.ends_with("= 400000, at first 400000"), "{sum}");
    }
}

#[test]
fn crash_demo_finds_all_that_was_acknowledged() {
    let says = lines_of(example("crash_demo").arg("3"));
    assert_eq!(says.len(), 3, "{says:#?}");
    for (round, line) in (1..).zip(&says) {
        assert!(
            line.starts_with(&format!("round {round}: killed after ")),
            "{line}"
        );
        let before = |word: &str| {
            let before = line
                .split(word)
                .next()
                .and_then(|text| text.split_whitespace().last());
            before.map(str::to_owned)
        };
        assert_eq!(before(" acknowledged"), before(" found"), "{line}");
        assert!(line.ends_with("sum 1000000 = 1000000"), "{line}");
    }
}

/// The book's load in a child, up to its end or until it is killed: what it said, whole lines only.
fn load(directory: &Path, flags: &[&str], kill: Option<(bool, Duration)>) -> Vec<String> {
    let mut command = example("order_book");
    command
        .arg("--child")
        .args(flags)
        .arg(directory)
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("the example starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output is piped"));
    let (began, has_begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut said, mut line) = (Vec::new(), String::new());
        while lines
            .read_line(&mut line)
            .is_ok_and(|_| line.ends_with('\n'))
        {
            let _ = began.send(());
            said.push(line.trim_end().to_owned());
            line.clear();
        }
        said
    });
    match kill {
        None => {
            let ended = child.wait().expect("the child ends");
            assert!(ended.success(), "{ended}");
        }
        Some((at_work, after)) => {
            if at_work {
                has_begun.recv().expect("it answers before it ends");
            }
            // In place of no event: a kill is to come at a moment that nobody chose.
            std::thread::sleep(after);
            // It may have ended by itself, which is as good.
            let _ = child.kill();
            child.wait().expect("the child ends");
        }
    }
    reader.join().expect("reading does not panic")
}

/// The answers by request: the lines that begin with a number.
fn answers(said: &[String]) -> BTreeMap<u64, &str> {
    let answer = |line: &'_ String| {
        let (number, answer) = line.split_once(' ')?;
        Some((number.parse().ok()?, answer.len()))
    };
    let found = said.iter().filter_map(|line| {
        let (number, len) = answer(line)?;
        Some((number, &line[line.len() - len..]))
    });
    found.collect()
}

/// What the answers to the orders must be, by good and number, if the tapes are true: the same book
/// again, as plainly as it can be said.
fn replayed(said: &[String]) -> BTreeMap<(String, u64), String> {
    struct Open {
        number: u64,
        buys: bool,
        price: u32,
        quantity: u32,
    }
    let mut books: BTreeMap<&str, (u64, Vec<Open>)> = BTreeMap::new();
    let mut fills = BTreeMap::new();
    for line in said.iter().filter_map(|line| line.strip_prefix("tape ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let (number, open) = books.entry(words[0]).or_default();
        let (number, next) = (*number, *number + 1);
        match words[1..] {
            ["cancelled", cancelled] => {
                let waited = open.len();
                open.retain(|order| order.number.to_string() != cancelled);
                assert_eq!(open.len(), waited - 1, "{line}: it was open");
            }
            ["placed", buys, price, quantity] => {
                let buys = buys == "true";
                let (price, mut quantity): (u32, u32) =
                    (price.parse().unwrap(), quantity.parse().unwrap());
                let mut filled = String::new();
                while quantity > 0 {
                    let crossing = open.iter_mut().filter(|order| match buys {
                        true => !order.buys && order.price <= price,
                        false => order.buys && order.price >= price,
                    });
                    let best = crossing.min_by_key(|order| match buys {
                        true => (i64::from(order.price), order.number),
                        false => (-i64::from(order.price), order.number),
                    });
                    let Some(best) = best else { break };
                    let fill = quantity.min(best.quantity);
                    filled += &format!(" {fill}@{}", best.price);
                    quantity -= fill;
                    best.quantity -= fill;
                    open.retain(|order| order.quantity > 0);
                }
                if quantity > 0 {
                    open.push(Open {
                        number,
                        buys,
                        price,
                        quantity,
                    });
                }
                fills.insert((words[0].to_owned(), number), filled);
            }
            _ => panic!("{line}"),
        }
        books.get_mut(words[0]).expect("it is there").0 = next;
    }
    fills
}

/// Each order on the tapes was acknowledged once, with the fills that price and time say.
#[track_caller]
fn check_fills(said: &[String]) {
    let mut acknowledged = BTreeMap::new();
    for answer in answers(said).into_values() {
        if answer.starts_with("refused ") || answer.starts_with("back ") {
            continue;
        }
        let (good, rest) = answer.split_once(' ').expect("a good and a number");
        let (number, fills) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let key = (good.to_owned(), number.parse().expect("a number"));
        let twice = acknowledged.insert(key, fills.to_owned());
        assert_eq!(twice, None, "two orders have one number: {answer}");
    }
    assert!(
        acknowledged.len() > 1_000,
        "only {} orders",
        acknowledged.len()
    );
    assert_eq!(acknowledged, replayed(said));
}

fn luck(bound: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::from(now.expect("it is later than 1970").subsec_nanos()) / 1_000 % bound
}

/// Kills the load at several moments; then has it go to its end, and gives what it said.
#[track_caller]
fn killed_and_ended(directory: &Path, flags: &[&str]) -> Vec<String> {
    let mut heard: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..5 {
        // While it works, once while it opens, and in the last round not at all.
        let after = |bound| Duration::from_millis(luck(bound));
        let kill = match round {
            2 => Some((false, after(60))),
            4 => None,
            _ => Some((true, after(250))),
        };
        let said = load(directory, flags, kill);
        for (number, answer) in answers(&said) {
            let before = heard.entry(number).or_insert_with(|| answer.to_owned());
            assert_eq!(
                before, answer,
                "request {number} was answered twice, and otherwise"
            );
        }
        if kill.is_none() {
            let (ended, heard) = (answers(&said), heard.len());
            assert_eq!(
                ended.len(),
                heard,
                "what was acknowledged is acknowledged again"
            );
            return said;
        }
    }
    unreachable!("the last round has no kill")
}

#[test]
fn an_order_book_that_is_killed_ends_as_one_that_is_not() {
    let (killed, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let said = killed_and_ended(killed.path(), &[]);
    check_fills(&said);
    // The answers, the tapes, and the hash over all records.
    assert_eq!(said, load(whole.path(), &[], None));
    crankcase::verify::verify(killed.path()).unwrap();
    lines_of(example("order_book").arg(killed.path()));
}

#[test]
fn an_order_book_in_completion_order_is_killed_and_loses_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let said = killed_and_ended(scratch.path(), &["--completion"]);
    check_fills(&said);
    crankcase::verify::verify(scratch.path()).unwrap();
    lines_of(
        example("order_book")
            .arg("--completion")
            .arg(scratch.path()),
    );
}
