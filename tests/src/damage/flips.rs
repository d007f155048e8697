//! Single flipped bits, up to each file's last byte that is not zero.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::image::used;
use super::judge::{Figures, Harm, Judge};
use super::sample::{Ended, LOG, Sample, TABLES, WITNESS};
use crate::luck::Luck;

/// What a directory may have in use for every bit of it to be flipped.
const MOST_BYTES: usize = 16 * 1024;

/// One bit to be flipped.
#[derive(Debug, Clone)]
struct Flip {
    file: PathBuf,
    offset: usize,
    bit: u8,
}

/// Which bits are flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// One of every byte.
    OneOfEachByte,
    /// One of one byte in so many.
    OneOfOneByteIn(usize),
    /// All of them.
    All,
}

/// Flips bits of every file of a journal that was closed, and of the logs and the witness of journals whose kernel was
/// killed, where the other files are the same. The seed says which bits.
///
/// # Panics
///
/// When a flip breaks the [law](super), with the flip and a copy of the directory.
#[must_use]
pub fn round(seed: u64, which: Which) -> Figures {
    println!("flips: seed {seed}, {which:?}");
    let mut luck = Luck::new(seed);
    let mut all = Figures::default();
    for ended in [Ended::Closed, Ended::Killed, Ended::Unwitnessed] {
        let figures = flips(ended, which, &mut luck);
        println!("{ended:?}: {figures:?}");
        all.add(figures);
    }
    all
}

fn flips(ended: Ended, which: Which, luck: &mut Luck) -> Figures {
    let sample = Sample::new(ended);
    let in_use = sample.image.bytes_in_use();
    assert!(
        in_use <= MOST_BYTES,
        "the journal has {in_use} bytes in use, which is more than {MOST_BYTES}"
    );
    let mut work = Vec::new();
    for (file, bytes) in sample.image.files() {
        let differs = [LOG, TABLES, WITNESS].map(Path::new).contains(&file);
        if ended != Ended::Closed && !differs {
            continue;
        }
        for offset in 0..used(bytes) {
            let bits = match which {
                Which::All => 0..8,
                Which::OneOfOneByteIn(many) if luck.below(many as u64) != 0 => continue,
                Which::OneOfEachByte | Which::OneOfOneByteIn(_) => {
                    let bit = luck.below(8) as u8;
                    bit..bit + 1
                }
            };
            work.extend(bits.map(|bit| Flip {
                file: file.to_path_buf(),
                offset,
                bit,
            }));
        }
    }
    do_all(&sample, &work)
}

/// Two threads share the work: most of a flip is waiting for threads of kernels that start and end.
fn do_all(sample: &Sample, work: &[Flip]) -> Figures {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut judge = Judge::new(sample);
        let mut figures = Figures::default();
        while let Some(flip) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut bytes = sample.image.file(&flip.file).to_vec();
            bytes[flip.offset] ^= 1 << flip.bit;
            let harm = Harm {
                file: &flip.file,
                bytes,
                first: flip.offset,
            };
            let what = || {
                let Flip { file, offset, bit } = flip;
                format!(
                    "bit {bit} of byte {offset} of {} was flipped",
                    file.display()
                )
            };
            figures.count(judge.judge(&harm, &what));
        }
        figures
    };
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(worker));
        let mut figures = Figures::default();
        for worker in workers {
            match worker.join() {
                Ok(part) => figures.add(part),
                Err(broken) => std::panic::resume_unwind(broken),
            }
        }
        figures
    })
}
