//! Running a journal's cranks again, to see whether the host's code still does what the records say.
//!
//! It knows no thread: one crank after the other, in the order of the records, each over the vat as
//! its own earlier cranks left it. What a crank leaves is compared with its record byte for byte.

use std::fmt;

use crankcase_journal::{PrivateCopy, ReadError};
use crankcase_vat::record::{Act, Record};
use crankcase_vat::{DeliveryId, RecordBytes, Seq, Shared, VatId, Workspace};

use crate::builder::KernelBuilder;
use crate::error::OpenError;
use crate::inspect::RecordView;
use crate::order::CommitOrder;
use crate::recovery::{check_shapes, order_of};
use crate::workbench::{Undoable, Workbench};

/// What running a journal again came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Records that were gone through.
    pub records: u64,
    /// Cranks among them, which were run again.
    pub cranks: u64,
    /// The first record that the code does not leave any more, if there is one. Nothing behind it
    /// was looked at.
    pub difference: Option<Box<Difference>>,
}

/// A record that the code does not leave any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its place.
    pub seq: Seq,
    /// The record in the journal.
    pub stored: RecordView,
    /// What the crank leaves now.
    pub now: RecordView,
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records, cranks, ..
        } = self;
        match &self.difference {
            None => write!(
                f,
                "same: {cranks} cranks among {records} records were run again, and each left the \
                 record that the journal has"
            ),
            Some(difference) => write!(
                f,
                "different: the first record that is not left again is {}, after {cranks} cranks\n\
                 in the journal:\n{}\nnow:\n{}",
                difference.seq, difference.stored, difference.now
            ),
        }
    }
}

/// Why a journal could not be run again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It cannot be opened for that.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Retention has dropped the first records.
    #[error(
        "the records before {first} were dropped, so the journal cannot be run again from its \
         beginning; nothing was changed"
    )]
    Dropped {
        /// The first record that is left.
        first: Seq,
    },
}

impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> Self {
        Self::Open(error.into())
    }
}

impl From<crankcase_journal::OpenError> for ReplayError {
    fn from(error: crankcase_journal::OpenError) -> Self {
        Self::Open(error.into())
    }
}

impl KernelBuilder {
    /// Runs the cranks of the journal again with the kinds that are registered here, on a private
    /// copy, and compares what each leaves with its record. Every byte of the directory stays as it
    /// is, and nobody can have it open meanwhile. All vats and their stores are in memory.
    ///
    /// It takes the limits of the builder. A crank that was abandoned for a limit leaves another
    /// record with another limit. All kinds, and all versions of them, that ever had a vat must be
    /// registered.
    ///
    /// ```
    /// # use crankcase::{Answer, Crank, Kernel};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Counter(u64);
    /// # #[crankcase::vat(kind = "counter", version = 1)]
    /// # impl Counter {
    /// #     #[create]
    /// #     fn new(_cx: &Crank<Self>) -> Answer<Self> { Ok(Counter(0)) }
    /// # }
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path().join("journal");
    /// let kernel = Kernel::builder(&directory).kind::<Counter>(()).open()?;
    /// Counter::spawn(&kernel)?.wait()??;
    /// drop(kernel);
    /// let report = Kernel::builder(&directory).kind::<Counter>(()).replay()?;
    /// assert_eq!(report.difference, None);
    /// assert_eq!(report.cranks, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReplayError`]. That a record differs is no error but what the report says.
    pub fn replay(self) -> Result<ReplayReport, ReplayError> {
        if let Some(error) = self.kind_error {
            return Err(OpenError::from(error).into());
        }
        let copy = PrivateCopy::of(&self.path)?;
        let order = order_of(copy.identity())?;
        check_shapes(copy.groups(), &self.kinds, |_| true)?;
        let first = copy.groups().first_retained();
        if first > Seq::ZERO.next() {
            return Err(ReplayError::Dropped { first });
        }
        let mut replay = Replay::new(order, self.shared(copy.identity().seed));
        for group in copy.groups().from(first) {
            let group = group?;
            for (seq, record) in group.records() {
                if let Some(difference) = replay.step(seq, record)? {
                    replay.report.difference = Some(Box::new(difference));
                    return Ok(replay.report);
                }
            }
        }
        Ok(replay.report)
    }
}

/// How far a journal has been run again.
pub(crate) struct Replay {
    workbench: Workbench,
    pub(crate) report: ReplayReport,
}

impl Replay {
    /// Before the first record.
    pub(crate) fn new(order: CommitOrder, shared: Shared) -> Self {
        Self {
            workbench: Workbench::new(order, shared, Workspace::new()),
            report: ReplayReport {
                records: 0,
                cranks: 0,
                difference: None,
            },
        }
    }

    /// Goes through the next record; gives how what was left now differs from it.
    pub(crate) fn step(&mut self, seq: Seq, bytes: &[u8]) -> Result<Option<Difference>, OpenError> {
        let damaged = |what: String| OpenError::Damaged {
            what,
            place: format!("record {seq}"),
        };
        let unreadable = |error: crankcase_vat::DecodeError| damaged(error.to_string());
        let record = Record::parse(bytes).map_err(unreadable)?;
        record.validate().map_err(unreadable)?;
        if let Record::Crank(crank) = &record {
            // What was the newest version then stands in the record, and not in the code.
            for act in crank.acts() {
                if let Act::Spawn { kind, version, .. } = act.map_err(unreadable)? {
                    self.workbench.shared.kinds.set_newest(kind, version);
                }
            }
            let left = self.run(crank.vat, crank.consumed);
            let left = left.map_err(damaged)?;
            if *left != *bytes {
                let view = |bytes: &[u8]| RecordView::of(seq, bytes, None).map_err(unreadable);
                let (stored, now) = (view(bytes)?, view(&left)?);
                return Ok(Some(Difference { seq, stored, now }));
            }
            self.report.cranks += 1;
        }
        let mut effects = Vec::new();
        let applied = self.workbench.state.apply(bytes, &mut effects);
        applied.map_err(|why| OpenError::contradiction(seq, &why))?;
        drop(self.workbench.state.take_remains());
        let record = RecordBytes::from(bytes);
        for effect in effects {
            let performed = self.workbench.perform(effect, &record);
            performed.map_err(|undoable| match undoable {
                Undoable::UnknownKind { kind, version } => OpenError::UnknownKind { kind, version },
                Undoable::NoBody(_) => damaged(undoable.to_string()),
            })?;
        }
        self.report.records += 1;
        Ok(None)
    }

    /// Runs the next crank of a vat, and gives the record that it leaves.
    fn run(&mut self, vat: VatId, consumed: DeliveryId) -> Result<RecordBytes, String> {
        let slot = self.workbench.state.vats().find(vat);
        let slot = slot.ok_or_else(|| format!("it is of vat {vat}, which is not there"))?;
        let place = self.workbench.places.get(&slot);
        let first = place.and_then(|place| place.inbox.front());
        // Looked at before the vat's code sees it.
        let ran = match first {
            Some(first) if first.id() == consumed => self.workbench.run(slot),
            _ => None,
        };
        let not_first = || format!("it consumed {consumed}, which is not what waits first");
        let ran = ran.ok_or_else(not_first)?;
        Ok(ran.map_err(|unread| unread.to_string())?.record)
    }
}
