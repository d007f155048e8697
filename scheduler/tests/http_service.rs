//! The example `http_service`, from outside: a child process that is spoken to over HTTP, killed
//! and started again.
//!
//! `cargo test` builds the examples along with the tests, but not when a test is named with
//! `--test`. To run this alone, build the example first:
//!
//! ```sh
//! cargo build -p crankcase --example http_service && cargo test -p crankcase --test http_service
//! ```
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Barrier};
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

/// What the service answered: the status and the body.
type Answer = (u16, Value);

/// A running service. It is killed when it is dropped.
struct Service {
    child: Child,
    address: String,
    agent: Agent,
}

fn example() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test.parent().and_then(Path::parent);
    let example = profile
        .expect("tests are in a folder of the profile's")
        .join("examples/http_service");
    let missing = "build it with `cargo build -p crankcase --example http_service`";
    assert!(example.exists(), "{missing}");
    example
}

fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    config.build().new_agent()
}

impl Service {
    fn start(journal: &TempDir) -> Self {
        Self::start_by(Command::new(example()).arg(journal.path()))
    }

    /// Starts it so that a limit on the size of files, once it is set, fails its writes and does
    /// not kill it.
    #[cfg(target_os = "linux")]
    fn start_on_a_disk_that_may_fill(journal: &TempDir) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]);
        shell.arg(example()).arg(journal.path());
        Self::start_by(shell.stderr(Stdio::piped()))
    }

    fn start_by(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        Self {
            address: address.expect("it says where it listens").to_owned(),
            child,
            agent: agent(),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it as a crash would.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    fn terminate(mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    fn post(&self, path: &str, key: Option<&str>, body: &str) -> Answer {
        post(&self.agent, &self.address, path, key, body)
    }

    fn open(&self, name: &str, balance: u64) {
        let answer = self.post(
            &format!("/accounts/{name}"),
            None,
            &json!({ "balance": balance }).to_string(),
        );
        assert_eq!(answer, (201, json!({ "balance": balance })));
    }

    fn transfer(&self, key: &str, from: &str, to: &str, value: u64) -> Answer {
        let body = payment(from, to, value);
        self.post("/transfers", Some(key), &body)
    }

    fn get(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.address);
        answer(self.agent.get(url).call())
    }

    fn balance(&self, name: &str) -> u64 {
        let (status, body) = self.get(&format!("/accounts/{name}"));
        assert_eq!(status, 200, "{body}");
        body["balance"].as_u64().expect("a balance is a number")
    }

    /// Sends a payment on a connection of its own, and does not wait for the answer.
    fn begin(&self, key: &str, from: &str, to: &str, value: u64) -> TcpStream {
        let body = payment(from, to, value);
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "POST /transfers HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\
             Idempotency-Key: {key}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn payment(from: &str, to: &str, value: u64) -> String {
    json!({ "from": from, "to": to, "value": value }).to_string()
}

fn post(agent: &Agent, address: &str, path: &str, key: Option<&str>, body: &str) -> Answer {
    let mut request = agent
        .post(format!("http://{address}{path}"))
        .content_type("application/json");
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    answer(request.send(body))
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.expect("the service answers");
    let text = response.body_mut().read_to_string().expect("all of it");
    let body = serde_json::from_str(&text).expect("it answers in JSON");
    (response.status().as_u16(), body)
}

/// What came of a payment that was begun: the body of the answer, if all of it arrived.
fn what_arrived(mut stream: TcpStream) -> Option<Value> {
    let mut text = String::new();
    // A connection may be reset by the end of the service, with what came before being whole.
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).ok()
}

fn check_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.0, &answer.1["error"]),
        (status, &json!(error)),
        "{answer:?}"
    );
    let message = answer.1["message"].as_str();
    assert!(
        message.is_some_and(|message| !message.is_empty()),
        "{answer:?}"
    );
}

#[test]
fn a_payment_that_is_asked_for_again_after_a_crash_is_made_once_and_answered_alike() {
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    service.open("ann", 100);
    service.open("bob", 0);
    let first = service.transfer("rent", "ann", "bob", 30);
    assert_eq!(first, (200, json!({ "balance": 70 })));
    // The answer is that of the first time, not what is left by now.
    assert_eq!(service.transfer("food", "ann", "bob", 5).0, 200);
    assert_eq!(service.transfer("rent", "ann", "bob", 30), first);
    let no = service.transfer("yacht", "ann", "bob", 1000);
    check_refused(&no, 422, "insufficient");
    service.kill();

    let service = Service::start(&journal);
    assert_eq!(service.transfer("rent", "ann", "bob", 30), first);
    assert_eq!((service.balance("ann"), service.balance("bob")), (65, 35));
    // A no stays a no, also when there is enough by now.
    service.open("cem", 5000);
    assert_eq!(service.transfer("gift", "cem", "ann", 5000).0, 200);
    assert_eq!(service.transfer("yacht", "ann", "bob", 1000), no);
    // An account is opened once, too.
    service.open("ann", 100);
    assert_eq!(service.balance("ann"), 5065);
}

/// Each round sends payments on connections of their own, reads some of the answers, two more each
/// round, and kills the service: before it has read a payment, while some are on their way, and
/// when some are made and not answered.
#[test]
fn payments_that_a_crash_kept_the_answers_of_are_made_once() {
    const PAYMENTS: usize = 12;
    let journal = TempDir::new().unwrap();
    let mut service = Service::start(&journal);
    service.open("ann", 10_000);
    service.open("bob", 0);
    let values: Vec<u64> = (1..).take(PAYMENTS).collect();
    for (round, to_read) in (1..).zip((0..PAYMENTS).step_by(2)) {
        let key = |value: u64| format!("round-{round}-value-{value}");
        let begin = |value: &u64| service.begin(&key(*value), "ann", "bob", *value);
        let mut begun: Vec<_> = values.iter().map(begin).collect();
        let late = begun.split_off(to_read);
        let mut before: Vec<_> = begun.into_iter().map(what_arrived).collect();
        assert!(
            before.iter().all(Option::is_some),
            "nothing was in their way"
        );
        service.kill();
        before.extend(late.into_iter().map(what_arrived));

        service = Service::start(&journal);
        for (value, before) in values.iter().zip(before) {
            let again = service.transfer(&key(*value), "ann", "bob", *value);
            assert_eq!(again.0, 200, "{again:?}");
            assert!(before.is_none_or(|before| before == again.1));
            assert_eq!(service.transfer(&key(*value), "ann", "bob", *value), again);
        }
        let paid = round * values.iter().sum::<u64>();
        let balances = (service.balance("ann"), service.balance("bob"));
        assert_eq!(balances, (10_000 - paid, paid), "round {round}");
    }
}

/// Lets this process, and those that it starts, have a thousand connections open.
fn raise_the_limit_of_open_files() {
    const ENOUGH: u64 = 4096;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < ENOUGH) {
        let current = Some(ENOUGH);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("4096 files may be open");
    }
}

#[test]
fn a_thousand_clients_at_once_are_all_answered_and_no_money_comes_or_goes() {
    const CLIENTS: u64 = 1000;
    const ACCOUNTS: u64 = 20;
    const OPENING: u64 = 1000;
    raise_the_limit_of_open_files();
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    let name = |account: u64| format!("account-{}", account % ACCOUNTS);
    for account in 0..ACCOUNTS {
        service.open(&name(account), OPENING);
    }
    // Who pays whom what: each account pays and is paid fifty times.
    let payment = |client: u64| (client, client + 1 + client / ACCOUNTS % 7, 1 + client % 9);

    let all_connected = Arc::new(Barrier::new(CLIENTS as usize));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, all_connected) = (service.address.clone(), Arc::clone(&all_connected));
            let (from, to, value) = payment(client);
            let (from, to) = (name(from), name(to));
            let work = move || {
                // An agent keeps its connection, so at the barrier all of them are open.
                let agent = agent();
                let url = format!("http://{address}/accounts/{from}");
                assert_eq!(answer(agent.get(url).call()).0, 200);
                all_connected.wait();
                let (key, body) = (format!("client-{client}"), self::payment(&from, &to, value));
                post(&agent, &address, "/transfers", Some(&key), &body)
            };
            let small = thread::Builder::new().stack_size(256 << 10);
            small.spawn(work).expect("a thread starts")
        })
        .collect();
    for client in clients {
        let (status, body) = client.join().expect("a client comes to its end");
        assert_eq!(status, 200, "{body}");
    }

    let mut expected = [OPENING; ACCOUNTS as usize];
    for (from, to, value) in (0..CLIENTS).map(payment) {
        expected[(from % ACCOUNTS) as usize] -= value;
        expected[(to % ACCOUNTS) as usize] += value;
    }
    let balances = |service: &Service| {
        let all = (0..ACCOUNTS).map(|account| service.balance(&name(account)));
        all.collect::<Vec<_>>()
    };
    assert_eq!(balances(&service), expected);
    assert_eq!(expected.iter().sum::<u64>(), ACCOUNTS * OPENING);
    assert!(service.terminate().success());
    assert_eq!(balances(&Service::start(&journal)), expected);
}

#[test]
fn what_is_malformed_is_refused_and_nothing_happens() {
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    service.open("ann", 100);
    service.open("bob", 0);
    let good = payment("ann", "bob", 30);
    for key in [
        None,
        Some(""),
        Some("two words"),
        Some("schlüssel"),
        Some(&*"k".repeat(129)),
    ] {
        check_refused(&service.post("/transfers", key, &good), 400, "malformed");
    }
    let two_keys = service
        .agent
        .post(format!("http://{}/transfers", service.address))
        .content_type("application/json")
        .header("Idempotency-Key", "one")
        .header("Idempotency-Key", "other");
    check_refused(&answer(two_keys.send(&good)), 400, "malformed");
    for body in [
        "",
        "{",
        "[]",
        r#"{"from":"ann","to":"bob"}"#,
        r#"{"from":"ann","to":"bob","value":-1}"#,
        r#"{"from":"ann","to":"bob","value":1.5}"#,
        r#"{"from":"ann","to":"bob","value":18446744073709551616}"#,
        r#"{"from":"ann","to":"bob","value":1,"when":"later"}"#,
    ] {
        check_refused(
            &service.post("/transfers", Some("key"), body),
            400,
            "malformed",
        );
    }
    for (path, balance) in [
        ("cem%20", "1"),
        ("c%C3%A9m", "1"),
        ("cem", "9007199254740992"),
    ] {
        let body = format!(r#"{{"balance":{balance}}}"#);
        let answer = service.post(&format!("/accounts/{path}"), None, &body);
        check_refused(&answer, 400, "malformed");
    }
    assert_eq!((service.balance("ann"), service.balance("bob")), (100, 0));
    // The key of what was refused before it was handed in is free.
    assert_eq!(service.transfer("key", "ann", "bob", 1).0, 200);
}

#[test]
fn an_account_that_is_not_there_is_not_found() {
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    service.open("ann", 100);
    check_refused(&service.get("/accounts/bob"), 404, "no_such_account");
    for (from, to) in [("ann", "bob"), ("bob", "ann")] {
        check_refused(&service.transfer("k", from, to, 1), 404, "no_such_account");
    }
    service.open("bob", 0);
    assert_eq!(service.transfer("k", "ann", "bob", 1).0, 200);
}

#[test]
fn a_key_or_a_name_with_another_body_is_a_conflict() {
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    service.open("ann", 100);
    service.open("bob", 0);
    assert_eq!(service.transfer("rent", "ann", "bob", 30).0, 200);
    for (from, to, value) in [("ann", "bob", 31), ("bob", "ann", 30), ("ann", "ann", 30)] {
        check_refused(&service.transfer("rent", from, to, value), 409, "conflict");
    }
    let other = service.post("/accounts/ann", None, r#"{"balance":101}"#);
    check_refused(&other, 409, "conflict");
    assert_eq!((service.balance("ann"), service.balance("bob")), (70, 30));
    // Keys of payments are no names of accounts.
    assert_eq!(service.transfer("ann", "ann", "bob", 1).0, 200);
}

#[test]
fn an_account_that_says_no_says_why_in_numbers_and_keeps_its_money() {
    const MOST: u64 = (1 << 53) - 1;
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    service.open("ann", 100);
    service.open("rich", MOST - 10);
    let (status, no) = service.transfer("much", "ann", "rich", 101);
    check_refused(&(status, no.clone()), 422, "insufficient");
    assert_eq!((&no["balance"], &no["value"]), (&json!(100), &json!(101)));
    // The receiver says no, and the payer has its money back before the client is told.
    let (status, no) = service.transfer("full", "ann", "rich", 11);
    check_refused(&(status, no.clone()), 422, "full");
    assert_eq!((&no["room"], &no["value"]), (&json!(10), &json!(11)));
    assert_eq!(
        (service.balance("ann"), service.balance("rich")),
        (100, MOST - 10)
    );
    assert_eq!(service.transfer("fits", "ann", "rich", 10).0, 200);
    assert_eq!(
        (service.balance("ann"), service.balance("rich")),
        (90, MOST)
    );
}

#[test]
fn a_service_that_is_asked_to_end_keeps_what_it_has_and_its_clients_connections_do_not_hold_it() {
    let journal = TempDir::new().unwrap();
    let service = Service::start(&journal);
    service.open("ann", 100);
    // The agent of the service has a connection open, and waits on it for nothing.
    assert!(service.terminate().success());
    assert_eq!(Service::start(&journal).balance("ann"), 100);
}

#[cfg(target_os = "linux")]
#[test]
fn a_service_that_cannot_write_says_so_and_ends_and_the_payment_is_made_once_after_all() {
    let journal = TempDir::new().unwrap();
    let mut service = Service::start_on_a_disk_that_may_fill(&journal);
    service.open("ann", 100);
    service.open("bob", 0);
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    let full = Rlimit {
        current: Some(0),
        maximum,
    };
    rustix::process::prlimit(Some(service.pid()), Resource::Fsize, full).unwrap();
    let answer = service.transfer("rent", "ann", "bob", 30);
    check_refused(&answer, 503, "unavailable");
    let mut last_words = String::new();
    let mut errors = service.child.stderr.take().expect("they are piped");
    errors.read_to_string(&mut last_words).unwrap();
    assert!(last_words.contains("could not be written"), "{last_words}");
    assert!(!service.child.wait().unwrap().success());

    let service = Service::start(&journal);
    assert_eq!(
        service.transfer("rent", "ann", "bob", 30),
        (200, json!({ "balance": 70 }))
    );
    assert_eq!((service.balance("ann"), service.balance("bob")), (70, 30));
}
