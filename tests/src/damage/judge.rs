//! Holds the law against one harmed directory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use crankcase::verify::{VerifyError, verify};
use crankcase::{JournalError, Kernel, OpenError};

use super::image::{Image, used};
use super::sample::{LOG, Sample, TABLES, go_on};
use crate::golden::builder;
use crate::host::PATIENCE;
use crate::scratch::Scratch;

/// What became of a harmed directory. Everything else breaks the law, and panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was refused.
    Refused,
    /// It opened in the state that it had.
    Same,
    /// It opened at an earlier place, and said so.
    Earlier,
}

/// How many directories came to which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Directories that were harmed, each once.
    pub harmed: u64,
    /// Refused.
    pub refused: u64,
    /// Opened in the state that they had.
    pub same: u64,
    /// Opened at an earlier place.
    pub earlier: u64,
}

impl Figures {
    pub(super) fn count(&mut self, fate: Fate) {
        self.harmed += 1;
        *match fate {
            Fate::Refused => &mut self.refused,
            Fate::Same => &mut self.same,
            Fate::Earlier => &mut self.earlier,
        } += 1;
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.harmed += other.harmed;
        self.refused += other.refused;
        self.same += other.same;
        self.earlier += other.earlier;
    }
}

/// A directory in which one harm after the other is done to a sample.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    sample: &'a Sample,
    scratch: Scratch,
    /// Whether the directory holds the sample as it is.
    whole: bool,
}

/// A harm: other bytes in one file, which differ from `first` on.
pub(super) struct Harm<'a> {
    pub(super) file: &'a Path,
    pub(super) bytes: Vec<u8>,
    pub(super) first: usize,
}

impl<'a> Judge<'a> {
    pub(super) fn new(sample: &'a Sample) -> Self {
        keep_panics_of_the_store_quiet();
        Self {
            sample,
            scratch: Scratch::new(),
            whole: false,
        }
    }

    /// Does the harm, judges what comes of it, and undoes it. `what` says in words what was done.
    pub(super) fn judge(&mut self, harm: &Harm<'_>, what: &dyn Fn() -> String) -> Fate {
        let dir = self.scratch.dir();
        if !self.whole {
            self.sample.image.write(&dir);
            self.whole = true;
        }
        std::fs::write(dir.join(harm.file), &harm.bytes).expect("the file can be written");
        let harmed = self.sample.image.with(harm.file, harm.bytes.clone());
        match self.fate(harm, &harmed, &dir) {
            Ok(Fate::Refused) => {
                let sound = self.sample.image.file(harm.file);
                std::fs::write(dir.join(harm.file), sound).expect("the file can be written");
                Fate::Refused
            }
            Ok(fate) => {
                self.whole = false;
                fate
            }
            Err(broken) => {
                let kept = keep(&harmed);
                panic!(
                    "{broken}: {}, in the journal whose end is {:?}. The harmed directory is kept in {}: open \
                     it again with `crankcase_tests::golden::builder`",
                    what(),
                    self.sample.ended,
                    kept.display()
                );
            }
        }
    }

    fn fate(&self, harm: &Harm<'_>, harmed: &Image, dir: &Path) -> Result<Fate, String> {
        let verified = catch_unwind(AssertUnwindSafe(|| verify(dir)));
        let verified = verified.map_err(|_| "verify panicked")?;
        if let Some(file) = harmed.difference(dir) {
            return Err(format!("verify changed {}", file.display()));
        }
        if let Err(VerifyError::Io(error)) = &verified {
            return Err(format!("verify called it trouble of the system: {error}"));
        }
        let opened = catch_unwind(AssertUnwindSafe(|| builder(dir).open()));
        match opened.map_err(|_| "opening panicked")? {
            Err(error) => {
                if let Some(file) = harmed.difference(dir) {
                    return Err(format!("refusing changed {}", file.display()));
                }
                check_refusal(&error, dir, harm.file)?;
                match verified {
                    Err(_) => Ok(Fate::Refused),
                    Ok(report) => Err(format!("opening says {error}, and verify says {report}")),
                }
            }
            Ok(kernel) => {
                let (fate, last) = self.check_opened(harm, dir, &kernel)?;
                let torn = kernel.recovered().torn_tail.is_some();
                if let Ok(report) = &verified {
                    let end = self.sample.places.iter().find(|(p, _)| p.last == last);
                    let end = end.expect("it was found").0;
                    if (report.last.get(), report.activity_hash) != (end.last, end.hash) {
                        return Err(format!("it opened at {last}, and verify says {report}"));
                    }
                }
                let after = catch_unwind(AssertUnwindSafe(|| go_on(&kernel)));
                let after = after.map_err(|_| "what was asked of it panicked")?;
                if Some(&after) != self.sample.after(last) {
                    return Err(format!(
                        "from {last} on it went to {after:?} and not to {:?}",
                        self.sample.after(last)
                    ));
                }
                kernel
                    .close(PATIENCE)
                    .map_err(|error| format!("it opened and does not close: {error}"))?;
                match (verified, verify(dir)) {
                    (Ok(_), Err(error)) => Err(format!("it went on, and is then damaged: {error}")),
                    _ if torn && fate == Fate::Same && harm.file != Path::new(TABLES) => {
                        Err("it lost nothing and cut something".to_owned())
                    }
                    _ => Ok(fate),
                }
            }
        }
    }

    /// Whether the kernel opened at a place that the harm leaves, and said what it cut.
    fn check_opened(
        &self,
        harm: &Harm<'_>,
        dir: &Path,
        kernel: &Kernel,
    ) -> Result<(Fate, u64), String> {
        let recovered = kernel.recovered();
        let last = recovered.last.get();
        let places = &self.sample.places;
        let Some(at) = places.iter().position(|(place, _)| place.last == last) else {
            return Err(format!("it opened at {last}, where no group ends"));
        };
        let (place, end) = places[at];
        if recovered.hash != place.hash {
            return Err(format!("it opened at {last} with another activity hash"));
        }
        let cut_from = recovered.torn_tail.as_ref().map(|tail| tail.offset);
        if let Some(tail) = &recovered.torn_tail {
            let from = usize::try_from(tail.offset).expect("an offset in a small file");
            let rest = harm.bytes.get(from..).unwrap_or_default();
            let kept = std::fs::read(dir.join(&tail.evidence));
            if tail.file != harm.file || from > harm.first {
                return Err(format!("it cut what was not harmed: {tail:?}"));
            }
            if kept.ok().as_deref() != Some(&rest[..used(rest)]) {
                return Err(format!("the evidence is not what was cut: {tail:?}"));
            }
        }
        if at + 1 == places.len() {
            return Ok((Fate::Same, last));
        }
        let rest = harm.bytes.get(end..).unwrap_or_default();
        let told = match used(rest) {
            0 => cut_from.is_none(),
            _ => cut_from == Some(end as u64),
        };
        if last < self.sample.witnessed {
            Err(format!("it lost what the witness saw: it opened at {last}"))
        } else if harm.file != Path::new(LOG) || harm.first < end {
            Err(format!(
                "it opened at {last}, and what stands before was harmed"
            ))
        } else if !told {
            Err(format!(
                "it opened at {last} and did not say so: {cut_from:?}"
            ))
        } else {
            Ok((Fate::Earlier, last))
        }
    }
}

/// Whether an error is one that says what and where.
fn check_refusal(error: &OpenError, dir: &Path, file: &Path) -> Result<(), String> {
    let text = error.to_string();
    let in_identity = file == Path::new("crankcase");
    match error {
        OpenError::Damaged { .. } | OpenError::Journal(JournalError::Damaged(_)) => {}
        OpenError::Journal(JournalError::NotAJournal { .. } | JournalError::NewerFormat { .. })
            if in_identity =>
        {
            return Ok(());
        }
        _ => return Err(format!("it was refused as something else: {text}")),
    }
    let dir = dir.to_string_lossy().into_owned();
    let mut named = false;
    for (at, _) in text.match_indices(&*dir) {
        let rest = &text[at + dir.len()..];
        let path = rest
            .split([',', ' ', ')', ':', ';'])
            .next()
            .unwrap_or_default();
        let path = path.trim_start_matches('/');
        if path.is_empty() || !file.starts_with(path) {
            return Err(format!("it names another place: {text}"));
        }
        named = true;
    }
    const WORDS: [&str; 8] = [
        "the group at ",
        "the groups before ",
        "the records from ",
        "the group that contains ",
        "record ",
        "the checkpoint's row",
        "the tables",
        "what stands beside the order",
    ];
    match named || WORDS.iter().any(|words| text.contains(words)) {
        true => Ok(()),
        false => Err(format!("it names no place: {text}")),
    }
}

/// Keeps a directory for whoever wants to see what happened.
fn keep(image: &Image) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!(
        "crankcase-harmed-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let kept = std::env::temp_dir().join(name);
    image.write(&kept);
    kept
}

/// The store below panics on some damaged files; the journal catches that, and a test that does it ten thousand times
/// need not print each.
fn keep_panics_of_the_store_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let of_the_store = info.location().is_some_and(|place| {
                ["fjall-", "lsm-tree-", "sfa-"]
                    .iter()
                    .any(|name| place.file().contains(name))
            });
            if !of_the_store {
                tell(info);
            }
        }));
    });
}
