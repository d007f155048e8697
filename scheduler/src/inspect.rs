//! Looking into a journal without changing it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crankcase_journal::{ActivityHash, PrivateCopy};
use crankcase_vat::record::{Act, CrankEnd, Record};
use crankcase_vat::{
    Body, DecodeError, Reference, Rejection, Resolution, Seq, Slot, VatId, VatNumber,
};
use serde::Serialize;

use crate::error::{InspectError, OpenError};
use crate::explain::{Explanation, Holders, Question};
use crate::recovery::{look_into, order_of, recover};

/// What a journal holds, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The version of the directory's format.
    pub format: u16,
    /// The kernel's id, in hexadecimal digits.
    pub kernel_id: String,
    /// The timeline.
    pub timeline: u64,
    /// The commit order.
    pub order: String,
    /// The first record that is kept.
    pub first_seq: u64,
    /// The last record.
    pub last_seq: u64,
    /// The activity hash at the last record, in hexadecimal digits.
    pub activity_hash: String,
    /// The record at which the tables stand.
    pub checkpoint: u64,
    /// Groups that are kept.
    pub groups: u64,
    /// Vats that live, by kind and version.
    pub vats_by_kind: BTreeMap<String, u64>,
    /// Deliveries that wait in inboxes.
    pub pending_deliveries: u64,
    /// Whether a run is open (`Dispatch` order).
    pub run_open: bool,
    /// Bytes that the directory takes.
    pub bytes_on_disk: u64,
    /// Whether the last incarnation ended without closing.
    pub unclean: bool,
    /// What stands torn behind the last whole group, if anything. It was never acknowledged.
    pub torn_tail: Option<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "format              {}", self.format)?;
        writeln!(f, "kernel id           {}", self.kernel_id)?;
        writeln!(f, "timeline            {}", self.timeline)?;
        writeln!(f, "order               {}", self.order)?;
        writeln!(
            f,
            "records             {} to {}",
            self.first_seq, self.last_seq
        )?;
        writeln!(f, "activity hash       {}", self.activity_hash)?;
        writeln!(f, "checkpoint          {}", self.checkpoint)?;
        writeln!(f, "groups              {}", self.groups)?;
        for (kind, count) in &self.vats_by_kind {
            writeln!(f, "vats                {count} of kind {kind}")?;
        }
        writeln!(f, "pending deliveries  {}", self.pending_deliveries)?;
        if self.run_open {
            writeln!(f, "run                 open, will be finished first")?;
        }
        writeln!(f, "bytes on disk       {}", self.bytes_on_disk)?;
        let ended = if self.unclean {
            "without closing"
        } else {
            "closed"
        };
        write!(f, "last incarnation    {ended}")?;
        if let Some(torn) = &self.torn_tail {
            write!(f, "\ntorn tail           {torn}")?;
        }
        Ok(())
    }
}

/// One act of a record, readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "act", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActView {
    /// A message.
    Send {
        /// The receiver.
        to: String,
        /// The method.
        method: String,
        /// The bytes of the arguments, in hexadecimal digits.
        args: String,
        /// The references among the arguments.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        references: Vec<String>,
        /// Whether someone keeps the promise of its outcome.
        kept: bool,
    },
    /// A new vat.
    Spawn {
        /// Its id.
        vat: String,
        /// Its kind.
        kind: String,
        /// The version of the kind's code.
        version: u32,
        /// The bytes of the arguments, in hexadecimal digits.
        args: String,
        /// The references among the arguments.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        references: Vec<String>,
        /// Its root name.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A store row written.
    Put {
        /// The key, in hexadecimal digits.
        key: String,
        /// The value, in hexadecimal digits.
        value: String,
    },
    /// A store row removed.
    Delete {
        /// The key, in hexadecimal digits.
        key: String,
    },
    /// A request id forgotten.
    Forget {
        /// The id.
        request: String,
    },
    /// A promise for the vat itself to decide.
    Promise {
        /// Whether someone keeps it.
        kept: bool,
    },
    /// A promise that the vat decided.
    Settle {
        /// The promise, by its maker's counter.
        promise: u64,
        /// What it came to.
        resolution: String,
    },
    /// A promise watched.
    Watch {
        /// What is watched.
        on: String,
        /// The number of the object that is told.
        object: u64,
        /// The name of the continuation.
        method: String,
        /// The bytes of its context, in hexadecimal digits.
        context: String,
        /// The references among them.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        references: Vec<String>,
        /// Whether someone keeps the promise of its outcome.
        kept: bool,
    },
    /// A change of who holds a reference.
    Reference {
        /// What happens: `keep`, `let go`, `took`, `hold`, `release` or `await`.
        change: String,
        /// The reference.
        reference: String,
        /// How often.
        times: u64,
    },
    /// Another version of a kind's code: asked for by the host, or taken up by the vat.
    Version {
        /// The vat that is to take it up; nothing in the record of the vat that has.
        #[serde(skip_serializing_if = "Option::is_none")]
        vat: Option<String>,
        /// The version.
        version: u32,
    },
    /// An act of a newer version.
    Unknown,
}

/// An entry of an input, readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryView {
    /// The request id it came under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What was asked for.
    pub acts: Vec<ActView>,
}

/// One record, readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordView {
    /// What came from outside.
    Input {
        /// Its place.
        seq: u64,
        /// The clock.
        time: u64,
        /// Whether it opens a run, and with what budget.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<String>,
        /// Its entries.
        entries: Vec<EntryView>,
    },
    /// What a crank left.
    Crank {
        /// Its place.
        seq: u64,
        /// The vat.
        vat: String,
        /// The crank's number in it.
        number: u64,
        /// The delivery it consumed: the record that produced it, and its index there.
        consumed: String,
        /// What the crank saw as `now`.
        now: u64,
        /// Whether it committed.
        committed: bool,
        /// Whether the vat ended.
        vat_ended: bool,
        /// Why it was abandoned.
        #[serde(skip_serializing_if = "Option::is_none")]
        rejection: Option<Rejection>,
        /// Bytes of the state, when it changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        state_bytes: Option<usize>,
        /// The answer, when someone waits for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<String>,
        /// What it did.
        acts: Vec<ActView>,
        /// What stands beside the order about it: the text of a panic.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn references(body: &Body<'_>) -> Vec<String> {
    let shown = |slot: Result<Slot, DecodeError>| match slot {
        Ok(slot) => slot.to_string(),
        Err(error) => error.to_string(),
    };
    body.slots().map(shown).collect()
}

fn resolution_view(bytes: &[u8]) -> String {
    match Resolution::read(bytes) {
        Ok(Resolution::Value(body)) => match body.sole_slot() {
            Some(slot) => slot.to_string(),
            None => format!("{}{}", hex(body.bytes()), with(&references(&body))),
        },
        Ok(Resolution::Rejected(why)) => format!("rejected: {why}"),
        Err(error) => error.to_string(),
    }
}

/// References as they are shown behind bytes.
fn with(references: &[String]) -> String {
    match references {
        [] => String::new(),
        some => format!(" with {}", some.join(", ")),
    }
}

/// The key of a row as the vat knows it, behind the room that it stands in.
fn row_key(key: &[u8]) -> String {
    match key {
        [0, own @ ..] => hex(own),
        [1, own @ ..] => format!("holding/{}", hex(own)),
        [2, own @ ..] => format!("object/{}", hex(own)),
        [3, own @ ..] => format!("combined/{}", hex(own)),
        [4, own @ ..] => format!("promise/{}", hex(own)),
        other => hex(other),
    }
}

fn act_view(act: &Act<'_>, creator: Option<VatNumber>) -> ActView {
    let reference = |change: &str, what: &Slot, times: u64| ActView::Reference {
        change: change.to_owned(),
        reference: what.to_string(),
        times,
    };
    match act {
        Act::Send {
            to,
            method,
            args,
            kept,
        } => ActView::Send {
            to: to.to_string(),
            method: (*method).to_owned(),
            args: hex(args.bytes()),
            references: references(args),
            kept: *kept,
        },
        Act::Spawn {
            counter,
            kind,
            version,
            args,
            name,
        } => ActView::Spawn {
            vat: match creator {
                Some(creator) => VatId::new(creator, *counter).to_string(),
                None => format!("its child {counter}"),
            },
            kind: (*kind).to_owned(),
            version: *version,
            args: hex(args.bytes()),
            references: references(args),
            name: (!name.is_empty()).then(|| (*name).to_owned()),
        },
        Act::Put { key, value } => ActView::Put {
            key: row_key(key),
            value: hex(value),
        },
        Act::Delete { key } => ActView::Delete { key: row_key(key) },
        Act::Forget { request } => ActView::Forget {
            request: (*request).to_owned(),
        },
        Act::Promise { kept } => ActView::Promise { kept: *kept },
        Act::Settle {
            counter,
            resolution,
        } => ActView::Settle {
            promise: *counter,
            resolution: resolution_view(resolution),
        },
        Act::Watch {
            on,
            object,
            method,
            context,
            kept,
        } => ActView::Watch {
            on: on.to_string(),
            object: *object,
            method: (*method).to_owned(),
            context: hex(context.bytes()),
            references: references(context),
            kept: *kept,
        },
        Act::Keep { what, times } => reference("keep", what, *times),
        Act::LetGo { what, times } => reference("let go", what, *times),
        Act::Took { what, times } => reference("took", what, *times),
        Act::Hold { what } => reference("hold", what, 1),
        Act::Release { what } => reference("release", what, 1),
        Act::Await { on } => reference("await", on, 1),
        Act::Upgrade { vat, version, .. } => ActView::Version {
            vat: Some(vat.to_string()),
            version: *version,
        },
        Act::Became { version } => ActView::Version {
            vat: None,
            version: *version,
        },
        _ => ActView::Unknown,
    }
}

impl RecordView {
    pub(crate) fn of(
        seq: Seq,
        bytes: &[u8],
        note: Option<String>,
    ) -> Result<Self, crankcase_vat::DecodeError> {
        Ok(match Record::parse(bytes)? {
            Record::Input(input) => {
                let mut entries = Vec::new();
                for entry in input.entries() {
                    let entry = entry?;
                    let host = Some(VatNumber::HOST);
                    let acts: Result<Vec<_>, _> = entry
                        .acts()
                        .map(|act| act.map(|act| act_view(&act, host)))
                        .collect();
                    let request = entry.request.map(|request| request.id.to_owned());
                    entries.push(EntryView {
                        request,
                        acts: acts?,
                    });
                }
                let run = input.run.map(|budget| match budget {
                    None => "until idle".to_owned(),
                    Some(budget) => format!("{budget} cranks"),
                });
                Self::Input {
                    seq: seq.get(),
                    time: input.time.get(),
                    run,
                    entries,
                }
            }
            Record::Crank(crank) => {
                let acts: Result<Vec<_>, _> = crank
                    .acts()
                    .map(|act| act.map(|act| act_view(&act, None)))
                    .collect();
                let (committed, vat_ended, rejection, state, answer) = match crank.end {
                    CrankEnd::Committed { state, answer, vat } => (
                        true,
                        vat.has_ended(),
                        None,
                        state.map(<[u8]>::len),
                        answer.map(resolution_view),
                    ),
                    CrankEnd::Abandoned { rejection, vat } => {
                        (false, vat.has_ended(), Some(rejection), None, None)
                    }
                    CrankEnd::Cleaned { .. } => (true, false, None, None, None),
                };
                Self::Crank {
                    seq: seq.get(),
                    vat: crank.vat.to_string(),
                    number: crank.number.get(),
                    consumed: crank.consumed.to_string(),
                    now: crank.now.get(),
                    committed,
                    vat_ended,
                    rejection,
                    state_bytes: state,
                    answer,
                    acts: acts?,
                    note,
                }
            }
        })
    }
}

impl fmt::Display for ActView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send {
                to,
                method,
                args,
                references,
                kept,
            } => {
                let kept = if *kept { ", whose outcome is kept" } else { "" };
                let with = with(references);
                write!(f, "send {method:?} to {to}, arguments {args}{with}{kept}")
            }
            Self::Spawn {
                vat,
                kind,
                version,
                args,
                references,
                name,
            } => {
                write!(
                    f,
                    "make {vat} of kind {kind:?} version {version}, arguments {args}{}",
                    with(references)
                )?;
                name.iter()
                    .try_for_each(|name| write!(f, ", named {name:?}"))
            }
            Self::Put { key, value } => write!(f, "put {key} = {value}"),
            Self::Delete { key } => write!(f, "delete {key}"),
            Self::Forget { request } => write!(f, "forget the request {request:?}"),
            Self::Promise { kept: true } => write!(f, "make a promise"),
            Self::Promise { kept: false } => write!(f, "make a promise that nobody keeps"),
            Self::Settle {
                promise,
                resolution,
            } => write!(f, "settle its promise {promise}: {resolution}"),
            Self::Watch {
                on,
                object,
                method,
                context,
                references,
                kept,
            } => {
                let kept = if *kept { ", whose outcome is kept" } else { "" };
                let by = match object {
                    0 => String::new(),
                    object => format!(" by object {object}"),
                };
                let with = with(references);
                write!(
                    f,
                    "watch {on} as {method:?}{by}, context {context}{with}{kept}"
                )
            }
            Self::Reference {
                change,
                reference,
                times,
            } => match times {
                1 => write!(f, "{change} {reference}"),
                times => write!(f, "{change} {reference} {times} times"),
            },
            Self::Version {
                vat: Some(vat),
                version,
            } => write!(f, "have {vat} go on with version {version} of its code"),
            Self::Version { vat: None, version } => {
                write!(f, "go on with version {version} of its code")
            }
            Self::Unknown => write!(f, "an act of a newer version"),
        }
    }
}

impl fmt::Display for RecordView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input {
                seq,
                time,
                run,
                entries,
            } => {
                write!(f, "record {seq}: input at time {time}")?;
                if let Some(run) = run {
                    write!(f, ", opens a run of {run}")?;
                }
                for entry in entries {
                    if let Some(request) = &entry.request {
                        write!(f, "\n  request {request:?}")?;
                    }
                    for act in &entry.acts {
                        write!(f, "\n  {act}")?;
                    }
                }
                Ok(())
            }
            Self::Crank {
                seq,
                vat,
                number,
                consumed,
                now,
                committed,
                vat_ended,
                rejection,
                state_bytes,
                answer,
                acts,
                note,
            } => {
                let ended = if *committed { "committed" } else { "abandoned" };
                write!(f, "record {seq}: crank {number} of vat {vat}, {ended}")?;
                write!(f, "\n  consumed delivery {consumed} at time {now}")?;
                if let Some(rejection) = rejection {
                    write!(f, "\n  because: {rejection}")?;
                }
                if let Some(note) = note {
                    write!(f, "\n  note: {note}")?;
                }
                if let Some(bytes) = state_bytes {
                    write!(f, "\n  state changed, {bytes} bytes")?;
                }
                if let Some(answer) = answer {
                    write!(f, "\n  answered {answer}")?;
                }
                for act in acts {
                    write!(f, "\n  {act}")?;
                }
                if *vat_ended {
                    write!(f, "\n  the vat ended")?;
                }
                Ok(())
            }
        }
    }
}

/// A journal that is being looked into, on a private copy.
#[derive(Debug)]
pub struct Inspection {
    copy: PrivateCopy,
    path: PathBuf,
}

impl Inspection {
    /// Opens a journal for looking. Every byte of the directory stays as it is, and nobody can
    /// open it for writing while this lives.
    ///
    /// # Errors
    ///
    /// [`InspectError::Open`] with what opening it for real would say.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, InspectError> {
        let path = path.as_ref().to_owned();
        Ok(Self {
            copy: PrivateCopy::of(&path)?,
            path,
        })
    }

    fn damaged(&self, place: impl fmt::Display, what: impl fmt::Display) -> InspectError {
        InspectError::Damaged {
            path: self.path.clone(),
            what: what.to_string(),
            place: place.to_string(),
        }
    }

    /// The journal in figures.
    ///
    /// # Errors
    ///
    /// [`InspectError::Damaged`] when what it takes to know them cannot be read.
    pub fn summary(&self) -> Result<Summary, InspectError> {
        let copy = &self.copy;
        let identity = copy.identity();
        let found = copy.recovered();
        let damaged = |error: OpenError| self.damaged("recovery", error);
        let order = order_of(identity).map_err(damaged)?;
        let state = recover(order, copy.tables(), copy.groups(), found.last)
            .map_err(|error| self.damaged("recovery", error))?
            .state;
        let mut vats_by_kind = BTreeMap::new();
        for kind in state.kinds().iter().filter(|kind| kind.live > 0) {
            vats_by_kind.insert(format!("{} version {}", kind.name, kind.version), kind.live);
        }
        let mut groups = 0;
        let first = copy.groups().first_retained();
        if first <= found.last {
            for group in copy.groups().from(first) {
                let group = group.map_err(|error| self.damaged("the groups", error))?;
                drop(group);
                groups += 1;
            }
        }
        Ok(Summary {
            format: crankcase_journal::FORMAT,
            kernel_id: hex(&identity.kernel_id),
            timeline: identity.timeline,
            order: order.to_string(),
            first_seq: first.get(),
            last_seq: found.last.get(),
            activity_hash: found.hash.to_string(),
            checkpoint: found.checkpoint.get(),
            groups,
            vats_by_kind,
            pending_deliveries: state.waiting(),
            run_open: state.open_run().is_some(),
            bytes_on_disk: copy.bytes_on_disk(),
            unclean: found.unclean,
            torn_tail: found.torn_tail.as_ref().map(|torn| {
                format!(
                    "{} from byte {}: {}",
                    torn.file.display(),
                    torn.offset,
                    torn.why
                )
            }),
        })
    }

    /// Who holds a reference: the states and rows of vats, deliveries on their way, promises, the
    /// host. References of vats to their own objects are among them.
    ///
    /// # Errors
    ///
    /// As for [`summary`](Self::summary).
    pub fn holders(&self, of: Reference) -> Result<Holders, InspectError> {
        let copy = &self.copy;
        let damaged = |error: OpenError| self.damaged("recovery", error);
        let order = order_of(copy.identity()).map_err(damaged)?;
        let last = copy.recovered().last;
        let (state, audit) =
            look_into(order, copy.tables(), copy.groups(), last).map_err(damaged)?;
        Ok(Holders::new(of, audit.holders(&state, of)))
    }

    /// How what is asked about stands at the end of the journal, and why.
    ///
    /// # Errors
    ///
    /// As for [`summary`](Self::summary).
    pub fn explain(&self, question: &Question) -> Result<Explanation, InspectError> {
        let copy = &self.copy;
        let damaged = |error: OpenError| self.damaged("recovery", error);
        let order = order_of(copy.identity()).map_err(damaged)?;
        let last = copy.recovered().last;
        let recovered = recover(order, copy.tables(), copy.groups(), last).map_err(damaged)?;
        Ok(recovered.state.explain(question))
    }

    /// The activity hash at the last record.
    #[must_use]
    pub fn activity_hash(&self) -> ActivityHash {
        self.copy.recovered().hash
    }

    /// One record.
    ///
    /// # Errors
    ///
    /// [`InspectError::NoSuchRecord`] when it is not there, [`InspectError::Damaged`] when it
    /// cannot be read.
    pub fn record(&self, seq: u64) -> Result<RecordView, InspectError> {
        let groups = self.copy.groups();
        let (first, last) = (groups.first_retained(), self.copy.recovered().last);
        let wanted = Seq::new(seq);
        if wanted < first || wanted > last || seq == 0 {
            return Err(InspectError::NoSuchRecord {
                seq,
                first: first.get(),
                last: last.get(),
            });
        }
        let place = format!("record {seq}");
        let damaged = |error: &dyn fmt::Display| self.damaged(&place, error);
        let group = groups.containing(wanted).map_err(|error| damaged(&error))?;
        let record = group.as_ref().and_then(|group| group.record(wanted));
        let record = record.ok_or_else(|| damaged(&"the group that should hold it is missing"))?;
        let note = groups.note(wanted).map_err(|error| damaged(&error))?;
        RecordView::of(wanted, record, note).map_err(|error| damaged(&error))
    }
}
