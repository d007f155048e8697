//! `crankcase inspect`: what a journal holds, for people and as JSON.
//!
//! The kernel's library looks, on a private copy; this only lays out what it found.

use std::fmt::{self, Display};

use crankcase::Seq;
use crankcase::inspect::{Inspection, Summary};
use serde::Serialize;

use crate::args::InspectArguments;
use crate::console::Console;
use crate::error::CommandError;

pub(crate) fn execute(
    arguments: &InspectArguments,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    if !arguments.journal.is_dir() {
        let path = arguments.journal.clone();
        return Err(CommandError::NoDirectory { path });
    }
    let inspection = Inspection::open(&arguments.journal)?;
    match arguments.seq {
        None => {
            let summary = inspection.summary()?;
            if arguments.json {
                write_json(&summary, console)
            } else {
                write_text(&Layout(&summary), console)
            }
        }
        Some(seq) => {
            let record = inspection.record(Seq::new(seq))?;
            if arguments.json {
                write_json(&record, console)
            } else {
                write_text(&record, console)
            }
        }
    }
}

fn write_json(value: &impl Serialize, console: &mut Console<'_>) -> Result<(), CommandError> {
    let text = serde_json::to_string(value)?;
    writeln!(console.out, "{text}")?;
    Ok(())
}

fn write_text(value: &impl Display, console: &mut Console<'_>) -> Result<(), CommandError> {
    let text = value.to_string();
    writeln!(console.out, "{}", text.trim_end())?;
    Ok(())
}

/// A summary as lines of a label and a value.
struct Layout<'a>(&'a Summary);

impl Display for Layout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let mut line = |label: &str, value: &dyn Display| writeln!(f, "{label:<20}{value}");
        line("format", &summary.format)?;
        line("kernel id", &summary.kernel_id)?;
        line("timeline", &summary.timeline)?;
        line("commit order", &summary.order)?;
        line("first seq", &summary.first_seq)?;
        line("last seq", &summary.last_seq)?;
        line("activity hash", &summary.activity_hash)?;
        line("checkpoint at seq", &summary.checkpoint)?;
        line("groups", &summary.groups)?;
        line("pending deliveries", &summary.pending_deliveries)?;
        line("bytes on disk", &summary.bytes_on_disk)?;
        line("vats", &summary.vats_by_kind.values().sum::<u64>())?;
        for (kind, count) in &summary.vats_by_kind {
            line(&format!("  {kind}"), count)?;
        }
        Ok(())
    }
}
