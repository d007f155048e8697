//! Checks the files in which fjall lists the files of a keyspace. fjall writes a checksum of each and does not compare
//! it: it takes a list with a flipped bit at its word, forgets the tables that are not in it, and deletes them.
//!
//! ```text
//! DIR/{log,tables}/keyspaces/N/current    number of the list, u64 LE | XXH3 of the list, u128 LE | 0
//! DIR/{log,tables}/keyspaces/N/v<number>  the list
//! ```
//!
//! And checks that the files in the list end as fjall's files do. Each has a table of its contents, with a checksum that
//! fjall compares only after it has made room for as many entries as the table says: a flipped bit there asks for up to
//! a hundred gigabytes, which no process survives.
//!
//! ```text
//! contents  "TOC!" | entries, u32 LE | entries
//! end       "SFA!" | 1 | 0 | XXH3 of the contents, u128 LE | where they begin, u64 LE | their length, u64 LE
//! ```
//!
//! Files beside the list, which a crash may leave half written, fjall deletes without a look.

use std::fs;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crankcase_vat::mutant;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Damage, OpenError};
use crate::layout::fjall_names;
use crate::stored_group::{array, le_u64};

const CURRENT_BYTES: usize = 25;
const END_BYTES: u64 = 38;
const CHECKSUM_XXH3: u8 = 0;

/// Checks the lists of all keyspaces of the database in `folder`.
pub(crate) fn check_manifests(folder: &Path) -> Result<(), OpenError> {
    let keyspaces = folder.join(fjall_names::KEYSPACES_FOLDER);
    let reading = |path: &Path| OpenError::io(format!("reading {}", path.display()));
    for entry in fs::read_dir(&keyspaces).map_err(reading(&keyspaces))? {
        let keyspace = entry.map_err(reading(&keyspaces))?.path();
        if keyspace.is_dir() {
            check_keyspace(&keyspace)?;
        }
    }
    Ok(())
}

fn check_keyspace(keyspace: &Path) -> Result<(), OpenError> {
    let current = read(keyspace.join(fjall_names::CURRENT_LIST))?;
    let damage = |what: &str, path: &Path| Damage::new(what, path.display().to_string());
    let (path, bytes) = &current;
    if bytes.len() != CURRENT_BYTES || bytes[24] != 0 {
        return Err(damage("the name of a list of the store's files is none", path).into());
    }
    let number = le_u64(&bytes[..8]);
    let checksum = u128::from_le_bytes(array(&bytes[8..24]));
    let list = keyspace.join(format!("v{number}"));
    if !list.exists() {
        return Err(damage(
            "a list of the store's files is named that is not there",
            path,
        )
        .into());
    }
    let (list, bytes) = read(list)?;
    if xxh3_128(&bytes) != checksum && !mutant("lists-of-files-are-not-looked-at") {
        // Which of the two went bad cannot be told; both stand in this folder.
        let what = format!(
            "the list {} of the store's files does not match its checksum",
            list.file_name().unwrap_or_default().display()
        );
        return Err(damage(&what, keyspace).into());
    }
    let reading = |error: io::Error| damage(&format!("it does not read: {error}"), &list);
    let listed = listed_files(&bytes).map_err(reading)?;
    for (folder, id) in listed {
        let file = keyspace.join(folder).join(id.to_string());
        // Of one that is not there fjall says so.
        let ends_well = match File::open(&file) {
            Ok(open) => ends_well(open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        };
        if !ends_well.map_err(OpenError::io(format!("reading {}", file.display())))? {
            let what = "the contents of a file of the store do not match their checksum";
            return Err(damage(what, &file).into());
        }
    }
    Ok(())
}

/// The files that a list names, whose checksum was compared: the folder of each and its number.
pub(crate) fn listed_files(list: &[u8]) -> io::Result<Vec<(&'static str, u64)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let archive = sfa::Reader::from_reader(&mut Cursor::new(list));
    let archive = archive.map_err(|error| invalid(&error.to_string()))?;
    let section = |name: &[u8]| {
        let section = archive.toc().section(name);
        let section = section.ok_or_else(|| invalid("a section is missing"))?;
        let end = section.pos().checked_add(section.len());
        let place = |at: u64| usize::try_from(at).ok();
        let range = place(section.pos()).zip(end.and_then(place));
        range
            .and_then(|(from, to)| list.get(from..to))
            .ok_or_else(|| invalid("a section ends behind the list"))
    };
    let mut files = Vec::new();
    let [table_files, blob_files] = fjall_names::IMMUTABLE_FOLDERS;
    let tables = &mut section(b"tables")?;
    for _level in 0..u8::from_le_bytes(next(tables)?) {
        for _run in 0..u8::from_le_bytes(next(tables)?) {
            for _table in 0..u32::from_le_bytes(next(tables)?) {
                files.push((table_files, u64::from_le_bytes(next(tables)?)));
                // The kind of its checksum, the checksum, and since when its rows are to be seen.
                next::<{ 1 + 16 + 8 }>(tables)?;
            }
        }
    }
    let blobs = &mut section(b"blob_files")?;
    for _blob in 0..u32::from_le_bytes(next(blobs)?) {
        files.push((blob_files, u64::from_le_bytes(next(blobs)?)));
        next::<{ 1 + 16 }>(blobs)?;
    }
    Ok(files)
}

fn next<const BYTES: usize>(reader: &mut impl Read) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whether what stands at the end of a file of the store is whole; see the module's text.
pub(crate) fn ends_well(mut file: impl Read + Seek) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(end_at) = length.checked_sub(END_BYTES) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(end_at))?;
    let end: [u8; END_BYTES as usize] = next(&mut file)?;
    let contents_at = le_u64(&end[22..30]);
    let marked = end.starts_with(b"SFA!\x01") && end[5] == CHECKSUM_XXH3;
    if !marked || contents_at > end_at {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(contents_at))?;
    let mut contents = Vec::new();
    file.take(end_at - contents_at).read_to_end(&mut contents)?;
    Ok(xxh3_128(&contents) == u128::from_le_bytes(array(&end[6..22])))
}

fn read(path: PathBuf) -> Result<(PathBuf, Vec<u8>), OpenError> {
    match fs::read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let place = path.display().to_string();
            Err(Damage::new("a list of the store's files is missing", place).into())
        }
        Err(source) => Err(OpenError::io(format!("reading {}", path.display()))(source)),
    }
}
