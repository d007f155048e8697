//! Logs that end too early, at every byte of the last batch, and sectors that hold zeros.

use std::path::Path;

use super::judge::{Fate, Figures, Harm, Judge};
use super::sample::{Ended, LOG, Sample, TABLES};

/// What disks write as a whole: by the norm, and most of them.
const SECTORS: [usize; 2] = [512, 4096];
/// Zeros behind a log, as fjall puts them there.
const PREALLOCATED_BYTES: usize = 8192;

/// Cuts the log of the groups at every byte of the last group, with and without zeros behind the cut; and that of the
/// tables at one byte in `tables_step` of the last checkpoint.
///
/// # Panics
///
/// When a cut breaks the [law](super), with the cut and a copy of the directory.
#[must_use]
pub fn every_cut(ended: Ended, tables_step: usize) -> Figures {
    let sample = Sample::new(ended);
    let mut judge = Judge::new(&sample);
    let mut figures = Figures::default();
    for log in [LOG, TABLES] {
        let last = sample.last_batch(log);
        let bytes = sample.image.file(log.as_ref());
        assert_eq!(
            last.end,
            bytes.len(),
            "nothing stands behind the last batch"
        );
        let step = if log == LOG { 1 } else { tables_step };
        for cut in last.step_by(step) {
            for zeros in [false, true] {
                let mut short = bytes[..cut].to_vec();
                if zeros {
                    short.resize(bytes.len() + PREALLOCATED_BYTES, 0);
                }
                let harm = Harm {
                    file: log.as_ref(),
                    bytes: short,
                    first: cut,
                };
                let what = || match zeros {
                    true => format!("{log} holds zeros from byte {cut} on"),
                    false => format!("{log} was cut at byte {cut}"),
                };
                let fate = judge.judge(&harm, &what);
                let expected = match (log, ended) {
                    (TABLES, _) => Fate::Same,
                    (_, Ended::Unwitnessed) => Fate::Earlier,
                    _ => Fate::Refused,
                };
                assert_eq!(fate, expected, "{} ({ended:?})", what());
                figures.count(fate);
            }
        }
    }
    figures
}

/// Puts zeros into every sector of both logs, one at a time.
///
/// # Panics
///
/// When a hole breaks the [law](super), with the hole and a copy of the directory.
#[must_use]
pub fn every_hole(ended: Ended) -> Figures {
    let sample = Sample::new(ended);
    let mut judge = Judge::new(&sample);
    let mut figures = Figures::default();
    for log in [LOG, TABLES] {
        let sound = sample.image.file(log.as_ref());
        for sector in SECTORS {
            for start in (0..sound.len()).step_by(sector) {
                let end = (start + sector).min(sound.len());
                let mut bytes = sound.to_vec();
                bytes[start..end].fill(0);
                let first = (start..end).find(|&at| sound[at] != 0).unwrap_or(start);
                let harm = Harm {
                    file: Path::new(log),
                    bytes,
                    first,
                };
                let what = || format!("bytes {start} to {end} of {log} were zeroed");
                figures.count(judge.judge(&harm, &what));
            }
        }
    }
    figures
}
