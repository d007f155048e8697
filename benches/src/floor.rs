//! The durable floor: the least code that runs actors in parallel and makes every step durable.
//!
//! A work-stealing pool, one locked queue for each actor, a budget of one note before the actor
//! goes to the back of the line. What a step sends is held back until the step's record, of a fixed
//! width and without a codec, stands in one log under one short lock. One thread takes the whole log,
//! writes and syncs it, while the next part fills. A run is done when the records of all actors that
//! said so are synced.
//!
//! It has no codec, no state behind the actors, no recovery and no limits: it says what a kernel
//! could reach at most, not what a program could use.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::workloads::{Actor, Note, Plan, Step};

/// Above this much in the log, steps wait for the writer.
const LOG_BOUND: usize = 64 << 20;
/// The file is begun again when it is this long, to keep the disk's share in the run small.
const FILE_BOUND: u64 = 512 << 20;

/// An actor with the buffers it keeps from step to step.
struct Body {
    number: u32,
    actor: Actor,
    sends: Vec<(u32, Note)>,
    record: Vec<u8>,
}

/// An actor's place. The body is away while a thread runs it, which is the flag that keeps a
/// second thread from it.
#[derive(Default)]
struct Place {
    notes: VecDeque<Note>,
    body: Option<Box<Body>>,
}

#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    steps: u64,
    dones: usize,
    unexpected: usize,
    /// The writer sleeps. To wake one that does not is a call into the system for nothing.
    writer_sleeps: bool,
    ended: bool,
}

struct Floor {
    places: Vec<Mutex<Place>>,
    log: Mutex<Log>,
    /// The log has something, or is ended.
    filled: Condvar,
    /// The writer took what was there.
    taken: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

impl Floor {
    fn send(&'static self, to: u32, note: Note) {
        let mut place = lock(&self.places[to as usize]);
        place.notes.push_back(note);
        let body = place.body.take();
        drop(place);
        if let Some(body) = body {
            // Called from the pool, this is the pool's queue.
            rayon::spawn_fifo(move || self.run(body));
        }
    }

    fn run(&'static self, mut body: Box<Body>) {
        let place = &self.places[body.number as usize];
        let note = lock(place).notes.pop_front();
        if let Some(note) = note {
            self.step(&mut body, note);
        }
        let mut rest = lock(place);
        if rest.notes.is_empty() {
            rest.body = Some(body);
        } else {
            drop(rest);
            rayon::spawn_fifo(move || self.run(body));
        }
    }

    fn step(&'static self, body: &mut Body, note: Note) {
        let Body {
            number,
            actor,
            sends,
            record,
        } = body;
        let step = actor.receive(*number, note, &mut |to, note| sends.push((to, note)));
        record.clear();
        record.extend_from_slice(&number.to_le_bytes());
        put(record, &note);
        // The state that the step changed, as a small row.
        record.extend_from_slice(&[0; 16]);
        record.extend_from_slice(&(sends.len() as u32).to_le_bytes());
        for (to, note) in sends.iter() {
            record.extend_from_slice(&to.to_le_bytes());
            put(record, note);
        }
        let mut log = lock(&self.log);
        log.steps += 1;
        let number = log.steps;
        log.bytes.extend_from_slice(&number.to_le_bytes());
        log.bytes
            .extend_from_slice(&(record.len() as u32).to_le_bytes());
        log.bytes.extend_from_slice(record);
        match step {
            Step::Going => {}
            Step::Done => log.dones += 1,
            Step::Unexpected => log.unexpected += 1,
        }
        // Before waiting for room, because one record may exceed the bound by itself.
        if std::mem::take(&mut log.writer_sleeps) {
            self.filled.notify_one();
        }
        while log.bytes.len() > LOG_BOUND {
            log = wait(&self.taken, log);
        }
        drop(log);
        for (to, note) in sends.drain(..) {
            self.send(to, note);
        }
    }

    /// Writes and syncs until the log is ended; reports the dones of each part once it is synced.
    fn write(&self, mut file: File, report: &Sender<Result<usize, String>>) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let mut written = 0;
        loop {
            let mut log = lock(&self.log);
            while log.bytes.is_empty() && !log.ended {
                log.writer_sleeps = true;
                log = wait(&self.filled, log);
            }
            log.writer_sleeps = false;
            if log.bytes.is_empty() {
                return Ok(());
            }
            std::mem::swap(&mut log.bytes, &mut bytes);
            let dones = std::mem::take(&mut log.dones);
            let unexpected = log.unexpected;
            drop(log);
            self.taken.notify_all();
            file.write_all(&bytes)?;
            file.sync_data()?;
            written += bytes.len() as u64;
            bytes.clear();
            if written > FILE_BOUND {
                file.set_len(0)?;
                file.rewind()?;
                written = 0;
            }
            let word = match unexpected {
                0 => Ok(dones),
                _ => Err(format!("{unexpected} notes were not expected")),
            };
            // Nobody listens any more once the run has what it waited for.
            let _ = report.send(word);
        }
    }
}

/// The note as 20 bytes, whatever it holds.
fn put(record: &mut Vec<u8>, note: &Note) {
    record.extend_from_slice(&(note.method as u32).to_le_bytes());
    record.extend_from_slice(&note.args.from.to_le_bytes());
    record.extend_from_slice(&note.args.other.to_le_bytes());
    record.extend_from_slice(&note.args.value.to_le_bytes());
}

/// Runs a plan with so many threads and its log at `path`; gives the time from the first note until
/// all is durable.
///
/// # Errors
///
/// When the log cannot be written, or the pool not be made.
pub fn run(plan: Plan, workers: usize, path: &Path) -> Fallible<Duration> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .build()?;
    let file = File::create(path)?;
    let bodies = plan.actors.into_iter().zip(0..).map(|(actor, number)| {
        let body = Box::new(Body {
            number,
            actor,
            sends: Vec::new(),
            record: Vec::new(),
        });
        Mutex::new(Place {
            notes: VecDeque::new(),
            body: Some(body),
        })
    });
    // Leaked, because counting references would cost every activation two shared writes. What is
    // large in it is emptied below.
    let floor: &'static Floor = Box::leak(Box::new(Floor {
        places: bodies.collect(),
        log: Mutex::default(),
        filled: Condvar::new(),
        taken: Condvar::new(),
    }));
    let (report, reports) = channel();
    let writer = std::thread::spawn(move || {
        if let Err(error) = floor.write(file, &report) {
            // Whoever waits for a done hears this in its place.
            let _ = report.send(Err(error.to_string()));
        }
    });
    let begun = Instant::now();
    let (starts, first) = (plan.starts, plan.first);
    pool.spawn_fifo(move || starts.iter().for_each(|&actor| floor.send(actor, first)));
    let mut done = 0;
    while done < plan.dones {
        done += reports.recv()??;
    }
    let elapsed = begun.elapsed();
    // Without a look at whether it sleeps: this happens once.
    lock(&floor.log).ended = true;
    floor.filled.notify_all();
    if writer.join().is_err() {
        return Err("the writer of the floor panicked".into());
    }
    lock(&floor.log).bytes = Vec::new();
    for place in &floor.places {
        *lock(place) = Place::default();
    }
    Ok(elapsed)
}
