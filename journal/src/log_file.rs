//! Reads fjall's log files without fjall, which would cut them at the first thing it does not understand.
//!
//! The format (fjall 3, one batch after the other, then zeros up to the preallocated length):
//!
//! ```text
//! start   1 | items, u32 LE | fjall's own number, u64 LE
//! item    2 | kind | compression | keyspace, u64 LE | key bytes, u16 LE | value bytes, u32 LE | stored bytes, u32 LE
//!           | key | stored value
//! end     3 | XXH3 of all items, u64 LE | "FJL" 3
//! ```

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crankcase_vat::mutant;
use xxhash_rust::xxh3::xxh3_64;

use crate::layout::fjall_names;
use crate::stored_group::{array, le_u64};

/// fjall keeps the numbers from here on for itself, and panics when it goes on from one.
const RESERVED: u64 = 1 << 63;
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const START_BYTES: usize = 13;
const ITEM_HEADER_BYTES: usize = 21;
const END_BYTES: usize = 13;
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];
/// The kind of an item that puts a value; all others delete.
const KIND_VALUE: u8 = 0;
const COMPRESSION_NONE: u8 = 0;

/// One change in a batch of fjall's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogItem<'a> {
    pub(crate) keyspace: u64,
    pub(crate) key: &'a [u8],
    /// The value put; `None` for a deletion, and for a value that is compressed.
    pub(crate) value: Option<&'a [u8]>,
}

/// One whole batch of fjall's log, checked against its checksum.
#[derive(Debug)]
pub(crate) struct LogBatch<'a> {
    pub(crate) number: u64,
    pub(crate) end: usize,
    pub(crate) items: Vec<LogItem<'a>>,
}

/// Reads the batch that starts at `at`; the error says what is wrong with it.
pub(crate) fn read_batch(bytes: &[u8], at: usize) -> Result<LogBatch<'_>, &'static str> {
    const CUT: &str = "the batch is not whole";
    let start = bytes.get(at..at + START_BYTES).ok_or(CUT)?;
    if start[0] != START {
        return Err("no batch starts here");
    }
    let count = u32::from_le_bytes(array(&start[1..5]));
    let number = le_u64(&start[5..13]);
    let items_at = at + START_BYTES;
    let mut position = items_at;
    let mut items = Vec::new();
    for _ in 0..count {
        let header = bytes
            .get(position..position + ITEM_HEADER_BYTES)
            .ok_or(CUT)?;
        if header[0] != ITEM {
            return Err("an item of the batch is not one");
        }
        let key_bytes = usize::from(u16::from_le_bytes(array(&header[11..13])));
        let stored_bytes = u32::from_le_bytes(array(&header[17..21])) as usize;
        let key_at = position + ITEM_HEADER_BYTES;
        let key = bytes.get(key_at..key_at + key_bytes).ok_or(CUT)?;
        let value_at = key_at + key_bytes;
        let value = bytes.get(value_at..value_at + stored_bytes).ok_or(CUT)?;
        let plain = header[1] == KIND_VALUE && header[2] == COMPRESSION_NONE;
        items.push(LogItem {
            keyspace: le_u64(&header[3..11]),
            key,
            value: plain.then_some(value),
        });
        position = value_at + stored_bytes;
    }
    let end = bytes.get(position..position + END_BYTES).ok_or(CUT)?;
    if end[0] != END || end[9..13] != TRAILER {
        return Err("the batch has no end");
    }
    if le_u64(&end[1..9]) != xxh3_64(&bytes[items_at..position]) {
        return Err("the batch does not match its checksum");
    }
    Ok(LogBatch {
        number,
        end: position + END_BYTES,
        items,
    })
}

/// What follows the last whole batch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// The end of the file, or zeros up to it.
    Clean,
    /// Bytes that are no batch, with no later batch behind them.
    Torn,
    /// Bytes that are no batch, with a later batch, whole, behind them.
    Holed,
    /// A whole batch whose number does not follow the last one's. No write that was cut short leaves that.
    Misnumbered,
}

/// What one file of fjall's log was found to be.
#[derive(Debug)]
pub(crate) struct FileScan {
    pub(crate) path: PathBuf,
    /// Where the last whole batch ends.
    pub(crate) whole_bytes: usize,
    pub(crate) tail: Tail,
    /// What is wrong behind it, in words.
    pub(crate) why: &'static str,
}

/// The log files in `folder`, oldest first.
pub(crate) fn log_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse::<u64>().ok());
        let is_log = path
            .extension()
            .is_some_and(|extension| extension == fjall_names::LOG_EXTENSION);
        if let (Some(number), true) = (number, is_log) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads one file and hands every whole batch, in order, to `on_batch`. `last_number` is that of the last batch in the
/// files before it, and then that of its own last: fjall's numbers rise from file to file.
pub(crate) fn scan_file(
    path: &Path,
    last_number: &mut Option<u64>,
    on_batch: &mut dyn FnMut(&LogBatch<'_>),
) -> io::Result<FileScan> {
    Ok(scan_bytes(
        path,
        &read_written(path)?,
        last_number,
        on_batch,
    ))
}

/// As [`scan_file`], with the bytes of the file at `path`.
pub(crate) fn scan_bytes(
    path: &Path,
    bytes: &[u8],
    last_number: &mut Option<u64>,
    on_batch: &mut dyn FnMut(&LogBatch<'_>),
) -> FileScan {
    let mut at = 0;
    let mut misnumbered = false;
    let why = loop {
        if at == bytes.len() {
            break "";
        }
        match read_batch(bytes, at) {
            // No checksum covers the number, and fjall goes on from the largest. Whoever wrote a whole batch had
            // written those in front of it, so one of the two numbers has gone bad since.
            Ok(batch)
                if (batch.number >= RESERVED
                    || last_number.is_some_and(|last| batch.number <= last))
                    && !mutant("numbers-of-batches-may-be-any") =>
            {
                misnumbered = true;
                break "the numbers of two batches do not rise, or one is none";
            }
            Ok(batch) => {
                on_batch(&batch);
                *last_number = Some(batch.number);
                at = batch.end;
            }
            Err(why) => break why,
        }
    };
    let tail = match misnumbered {
        true => Tail::Misnumbered,
        false => classify_tail(&bytes[at..], *last_number),
    };
    FileScan {
        path: path.to_path_buf(),
        whole_bytes: at,
        tail,
        why,
    }
}

/// The bytes of a file up to where the system knows that nothing was ever written. fjall makes a new log 64 MiB long,
/// of which most is such a hole; to read those zeros takes longer than all else that opening a small journal does.
pub(crate) fn read_written(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let written = written_bytes(&file)?;
    file.rewind()?;
    let mut bytes = Vec::with_capacity(usize::try_from(written).unwrap_or_default());
    file.take(written).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the last piece of a file ends that may hold something other than zeros.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn written_bytes(file: &File) -> io::Result<u64> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;

    let mut end = 0;
    loop {
        match seek(file, SeekFrom::Data(end)) {
            Ok(data) => end = seek(file, SeekFrom::Hole(data))?,
            // No data from there on.
            Err(Errno::NXIO) => return Ok(end),
            // The file system does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return Ok(file.metadata()?.len());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn written_bytes(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// `bytes` without the zeros at its end. fjall puts 64 MiB of them behind a new log, so this compares pages and not bytes.
pub(crate) fn without_zeros_at_the_end(bytes: &[u8]) -> &[u8] {
    const PAGE: usize = 4096;
    let pages = bytes
        .rchunks(PAGE)
        .take_while(|page| **page == [0; PAGE][..page.len()]);
    let rest = &bytes[..bytes.len() - pages.map(<[u8]>::len).sum::<usize>()];
    let meant = rest.iter().rposition(|&byte| byte != 0);
    &rest[..meant.map_or(0, |last| last + 1)]
}

fn classify_tail(tail: &[u8], last_number: Option<u64>) -> Tail {
    let meant = without_zeros_at_the_end(tail).len();
    if meant == 0 {
        return Tail::Clean;
    }
    // Bytes of a torn batch may look like the start of one; only one that checks out to its end, and is numbered
    // later, was written later.
    let later = (1..meant)
        .filter(|&at| tail[at] == START)
        .filter_map(|at| read_batch(tail, at).ok())
        .any(|batch| !batch.items.is_empty() && last_number.is_none_or(|last| batch.number > last));
    if later { Tail::Holed } else { Tail::Torn }
}

#[cfg(test)]
mod tests {
    use std::io::{SeekFrom, Write};

    use super::*;

    /// A whole batch of one deletion.
    fn batch(number: u64) -> Vec<u8> {
        let mut item = vec![ITEM, 1, COMPRESSION_NONE];
        item.extend(7_u64.to_le_bytes());
        item.extend(1_u16.to_le_bytes());
        item.extend([0; 8]);
        item.push(b'k');
        let mut bytes = vec![START];
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(&item);
        bytes.push(END);
        bytes.extend(xxh3_64(&item).to_le_bytes());
        bytes.extend(TRAILER);
        bytes
    }

    #[test]
    fn numbers_rise_from_file_to_file_and_none_is_reserved() {
        for (second, tail) in [
            (6, Tail::Clean),
            (RESERVED - 1, Tail::Clean),
            (5, Tail::Misnumbered),
            (3, Tail::Misnumbered),
            (RESERVED, Tail::Misnumbered),
        ] {
            let mut last = None;
            let scan = |bytes: &[u8], last: &mut Option<u64>| {
                scan_bytes(Path::new("any"), bytes, last, &mut |_| {}).tail
            };
            let first = [batch(4), batch(5)].concat();
            assert_eq!(scan(&first, &mut last), Tail::Clean);
            assert_eq!(scan(&batch(second), &mut last), tail, "{second} behind 5");
        }
    }

    #[test]
    fn a_file_is_read_up_to_the_last_byte_that_was_written() {
        const HOLE: u64 = 1 << 20;
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = file.as_file();
        assert_eq!(read_written(file.path()).unwrap(), []);
        writer.set_len(4 * HOLE).unwrap();
        let zeros_only = read_written(file.path()).unwrap();
        assert!(zeros_only.iter().all(|byte| *byte == 0));
        writer.write_all(b"before").unwrap();
        writer.seek(SeekFrom::Start(2 * HOLE)).unwrap();
        writer.write_all(b"behind a hole").unwrap();
        let mut whole = std::fs::read(file.path()).unwrap();
        let read = read_written(file.path()).unwrap();
        let meant = without_zeros_at_the_end(&read).len();
        assert_eq!(meant, (2 * HOLE) as usize + b"behind a hole".len());
        assert!(whole[read.len()..].iter().all(|byte| *byte == 0));
        whole.truncate(read.len());
        assert!(read == whole);
    }
}
