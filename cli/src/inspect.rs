//! `crankcase inspect`: what a journal holds, for people and as JSON.
//!
//! The kernel's library looks, on a private copy; this only chooses what is shown.

use std::fmt::Display;

use crankcase::inspect::Inspection;
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
                write_text(&summary, console)
            }
        }
        Some(seq) => {
            let record = inspection.record(seq)?;
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
