//! `crankcase inspect`: what a journal holds, for people and as JSON.
//!
//! The kernel's library looks, on a private copy; this only chooses what is shown.

use std::fmt::Display;

use crankcase::inspect::Inspection;
use crankcase::{ObjectId, PromiseId, Question, Reference};
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
    // Before anything is opened: bad words are told at once.
    let holders = arguments.holders.as_deref().map(parse_reference);
    let holders = holders.transpose()?;
    let explain = arguments.explain.as_deref().map(str::parse::<Question>);
    let explain = explain
        .transpose()
        .map_err(|error| CommandError::Usage(error.to_string()))?;
    let inspection = Inspection::open(&arguments.journal)?;
    let json = arguments.json;
    if let Some(of) = holders {
        return show(&inspection.holders(of)?, json, console);
    }
    if let Some(question) = explain {
        return show(&inspection.explain(&question)?, json, console);
    }
    match arguments.seq {
        None => show(&inspection.summary()?, json, console),
        Some(seq) => show(&inspection.record(seq)?, json, console),
    }
}

fn parse_reference(text: &str) -> Result<Reference, CommandError> {
    if let Ok(promise) = text.parse::<PromiseId>() {
        return Ok(Reference::Promise(promise));
    }
    match text.parse::<ObjectId>() {
        Ok(object) => Ok(Reference::Object(object)),
        Err(error) => Err(CommandError::Usage(format!(
            "{error}, or a promise as p3.1"
        ))),
    }
}

fn show(
    value: &(impl Serialize + Display),
    json: bool,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    if json {
        write_json(value, console)
    } else {
        write_text(value, console)
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
