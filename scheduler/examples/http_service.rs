//! A bank behind HTTP: a payment that is asked for twice, over a crash too, happens once.
//!
//! Each account is a vat. An answer is sent when what it says is durable, so whatever a client was
//! told is still so after `kill -9`. A client that was told nothing asks again with the same
//! `Idempotency-Key`, and has the answer to what it asked first.
//!
//! ```sh
//! cargo run --release -p crankcase --example http_service -- bank.journal 127.0.0.1:8080
//!
//! curl --json '{"balance": 100}' http://127.0.0.1:8080/accounts/ann
//! curl --json '{"balance": 0}' http://127.0.0.1:8080/accounts/bob
//! curl --json '{"from": "ann", "to": "bob", "value": 30}' -H 'Idempotency-Key: rent-may' \
//!     http://127.0.0.1:8080/transfers
//! curl http://127.0.0.1:8080/accounts/bob
//! ```
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /accounts/{name}` | `{"balance": 100}` | 201 `{"balance":100}`, and the same when it is asked for again |
//! | `GET /accounts/{name}` | | 200 `{"balance":100}` |
//! | `POST /transfers` with an `Idempotency-Key` | `{"from": "ann", "to": "bob", "value": 30}` | 200 `{"balance":70}`: what the payment left to the payer |
//!
//! | status | `error` | what happened |
//! |---|---|---|
//! | 400 | `malformed` | nothing: the body, the name or the key is malformed |
//! | 404 | `no_such_account` | nothing |
//! | 409 | `conflict` | nothing: the key, or the name of the account, came with another body before |
//! | 422 | `insufficient`, `full` | an account said no, for the reason that stands beside it; the money is where it was |
//! | 500 | `internal` | nothing that should |
//! | 503 | `unavailable` | unknown: the service ends, and once it is started again, the same key tells |
//!
//! Each of these has its `error` for programs and a `message` for people in its body. Ctrl-c and
//! SIGTERM let what was begun come to its end, and close the journal.
//!
//! Keys are kept for ever. A service that promises them for a day keeps a list of them and calls
//! [`Kernel::forget`].

use std::error::Error;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use crankcase::{
    Answer, Cause, Crank, Kernel, Outcome, Promise, ReadError, Ref, Refusal, Rejection, SendError,
    WaitError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};

/// The most that an account holds. Larger numbers are not the same to everyone who reads JSON.
const MOST: u64 = (1 << 53) - 1;

/// How long requests that are being answered, and cranks that run, may take to come to their end.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct Account {
    balance: u64,
    /// What was paid and may still come back. Its room is kept, so that it always can.
    on_its_way: u64,
}

/// Why a payment was not made.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{balance} are there, {value} were to be paid")]
struct Insufficient {
    balance: u64,
    value: u64,
}

impl Refusal for Insufficient {
    const CODE: &'static str = "insufficient";
}

/// Why a payment was not taken.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("there is room for {room}, {value} were to be paid in")]
struct Full {
    room: u64,
    value: u64,
}

impl Refusal for Full {
    const CODE: &'static str = "full";
}

#[crankcase::vat(kind = "account", version = 1)]
impl Account {
    #[create]
    fn open(_cx: &Crank<Self>, balance: u64) -> Answer<Self> {
        Ok(Account {
            balance,
            on_its_way: 0,
        })
    }

    /// Takes money in.
    pub fn credit(&mut self, _cx: &Crank<Self>, value: u64) -> Answer<()> {
        let room = MOST - self.balance - self.on_its_way;
        if value > room {
            return Err(Full { room, value }.into());
        }
        self.balance += value;
        Ok(())
    }

    /// Pays another account, and answers with what was left when that has the money.
    pub fn transfer(
        &mut self,
        cx: &Crank<Self>,
        to: Ref<Account>,
        value: u64,
    ) -> Answer<Promise<u64>> {
        let balance = self.balance;
        let Some(left) = balance.checked_sub(value) else {
            return Err(Insufficient { balance, value }.into());
        };
        self.balance = left;
        self.on_its_way += value;
        Ok(cx.watch(&to.credit(cx, value), Self::CREDITED, (value, left)))
    }

    #[watcher]
    fn credited(
        &mut self,
        cx: &Crank<Self>,
        value: u64,
        left: u64,
        outcome: Outcome<()>,
    ) -> Answer<Promise<u64>> {
        self.on_its_way -= value;
        let Err(why) = outcome else {
            return Ok(cx.resolved(left));
        };
        self.balance += value;
        Ok(cx.rejected(why))
    }
}

/// What all requests share.
struct Bank {
    kernel: Kernel,
    /// Told when the kernel takes nothing any more.
    stopped: Notify,
}

impl Bank {
    /// Calls the kernel on a thread that may block. Looking something up waits until what was seen
    /// is durable, and handing something in waits while the kernel has no room; on a thread of the
    /// runtime, that would hold up the connections that the thread has to serve as well.
    ///
    /// Outcomes are not waited for here. A ticket is a future, and waiting for it takes no thread.
    ///
    /// What was begun comes to its end, also when the client has gone.
    async fn call<T: Send + 'static>(
        self: Arc<Self>,
        call: impl FnOnce(&Kernel) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        spawn_blocking(move || call(&self.kernel)).await?
    }
}

fn find(kernel: &Kernel, name: &str) -> Result<Ref<Account>, Failure> {
    let found = kernel.root_as::<Account>(name)?;
    found.ok_or_else(|| {
        let message = format!("there is no account {name:?}");
        Failure::new(StatusCode::NOT_FOUND, "no_such_account", message)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    balance: u64,
}

async fn open(
    State(bank): State<Arc<Bank>>,
    Path(name): Path<String>,
    body: Result<Json<Opening>, JsonRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Json(Opening { balance }) = body?;
    check_word("the name", &name)?;
    if balance > MOST {
        return Err(Failure::malformed(format!("the balance is above {MOST}")));
    }
    let opened = bank.call(move |kernel| {
        // A client that asks again is told what the first one was told, and not that the name is
        // taken. Transfers have other first words, so no client's key is the id of an account.
        let request = kernel.request(format!("account {name}"));
        Ok(Account::spawn_named(request, &name, balance)?)
    });
    opened.await?.await??;
    Ok((StatusCode::CREATED, Json(json!({ "balance": balance }))))
}

async fn balance(
    State(bank): State<Arc<Bank>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    let read = bank.call(move |kernel| {
        let account = find(kernel, &name)?;
        Ok(kernel.read(account, |account: &Account| account.balance)?)
    });
    let balance = read.await?;
    Ok(Json(json!({ "balance": balance })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    from: String,
    to: String,
    value: u64,
}

async fn transfer(
    State(bank): State<Arc<Bank>>,
    headers: HeaderMap,
    body: Result<Json<Transfer>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let key = idempotency_key(&headers)?;
    let Json(Transfer { from, to, value }) = body?;
    let handed_in = bank.call(move |kernel| {
        let (from, to) = (find(kernel, &from)?, find(kernel, &to)?);
        let request = kernel.request(format!("transfer {key}"));
        Ok(from.transfer(request, to, value)?)
    });
    let balance = handed_in.await?.await??;
    Ok(Json(json!({ "balance": balance })))
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Failure> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Failure::malformed("one Idempotency-Key must be there"));
    };
    let key = String::from_utf8_lossy(key.as_bytes());
    check_word("the Idempotency-Key", &key)?;
    Ok(key.into_owned())
}

fn check_word(what: &str, word: &str) -> Result<(), Failure> {
    if (1..=128).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let why = format!("{what} is not 1 to 128 visible ASCII characters");
    Err(Failure::malformed(why))
}

/// An answer that is no success.
struct Failure {
    status: StatusCode,
    body: Value,
}

impl Failure {
    fn new(status: StatusCode, error: &str, message: impl ToString) -> Self {
        let body = json!({ "error": error, "message": message.to_string() });
        Self { status, body }
    }

    fn malformed(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    fn conflict(what: &str) -> Self {
        let message = format!("{what:?} came with another body before; nothing was done");
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    fn unavailable(why: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
    }

    fn internal(why: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why)
    }

    /// With what a program wants to know beside the code.
    fn with(mut self, detail: Option<impl Serialize>) -> Self {
        let detail = detail.and_then(|detail| serde_json::to_value(detail).ok());
        if let (Value::Object(body), Some(Value::Object(detail))) = (&mut self.body, detail) {
            body.extend(detail);
        }
        self
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// The body is not what it should be.
impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

/// Nothing was handed in.
impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Conflict { id } => Self::conflict(&id),
            SendError::NameTaken { name } => Self::conflict(&name),
            SendError::Closing | SendError::Poisoned(_) => Self::unavailable(error),
            other => Self::internal(other),
        }
    }
}

/// It was handed in, and what became of it will be known after the next start.
impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Closed | WaitError::Indeterminate(_) => Self::unavailable(error),
            other => Self::internal(other),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Wait(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

/// It was decided, and the answer is no. Asked again with the same key, it still is.
impl From<Rejection> for Failure {
    fn from(why: Rejection) -> Self {
        if why.cause() != Cause::Refused {
            return Self::internal(why);
        }
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, why.code(), why.message())
            .with(why.refusal::<Insufficient>())
            .with(why.refusal::<Full>())
    }
}

/// A call into the kernel panicked, or the runtime ended before it began.
impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        Self::internal(error)
    }
}

/// A kernel whose journal could not be written stays stopped until it is opened again. The service
/// ends then, and whoever looks after it starts it again.
async fn notice_a_stop(State(bank): State<Arc<Bank>>, response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        bank.stopped.notify_one();
    }
    response
}

async fn serve(bank: Arc<Bank>, address: &str) -> std::io::Result<()> {
    let router = Router::new()
        .route("/accounts/{name}", post(open).get(balance))
        .route("/transfers", post(transfer))
        .layer(map_response_with_state(Arc::clone(&bank), notice_a_stop))
        .with_state(Arc::clone(&bank));
    let listener = TcpListener::bind(address).await?;
    let asked = asked_to_end()?;

    // The port may have been left to the system to choose, so whoever started this reads it here.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let ending = Arc::new(Notify::new());
    let end = Arc::clone(&ending);
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        tokio::select! {
            () = asked => {}
            () = bank.stopped.notified() => {}
        }
        end.notify_one();
    });
    // A client that sends half a request and waits must not keep the service from ending.
    let too_long = async {
        ending.notified().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server.into_future() => served,
        () = too_long => Ok(()),
    }
}

/// Waits for ctrl-c or SIGTERM. They are caught from when this is called, and not from when it is
/// waited for.
#[cfg(unix)]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn run(directory: &str, address: &str) -> Result<(), Box<dyn Error>> {
    let kernel = Kernel::builder(directory).kind::<Account>(()).open()?;
    let stopped = Notify::new();
    let bank = Arc::new(Bank { kernel, stopped });
    let runtime = tokio::runtime::Runtime::new()?;
    let served = runtime.block_on(serve(Arc::clone(&bank), address));
    drop(runtime); // waits for the calls into the kernel that have begun
    let bank = Arc::into_inner(bank).expect("all others who had it have ended");
    bank.kernel.close(GRACE)?;
    Ok(served?)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (directory, address) = match &words[..] {
        [directory] => (directory, "127.0.0.1:0"),
        [directory, address] => (directory, address.as_str()),
        _ => {
            eprintln!("usage: http_service JOURNAL_DIR [ADDRESS]");
            return ExitCode::from(2);
        }
    };
    match run(directory, address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_service: {error}");
            ExitCode::FAILURE
        }
    }
}
