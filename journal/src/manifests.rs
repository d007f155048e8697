//! Checks the files in which fjall lists the files of a keyspace. fjall writes a checksum of each and does not compare
//! it: it takes a list with a flipped bit at its word, forgets the tables that are not in it, and deletes them.
//!
//! ```text
//! DIR/{log,tables}/keyspaces/N/current    number of the list, u64 LE | XXH3 of the list, u128 LE | 0
//! DIR/{log,tables}/keyspaces/N/v<number>  the list
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Damage, OpenError};
use crate::layout::fjall_names;
use crate::stored_group::{array, le_u64};

const CURRENT_BYTES: usize = 25;

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
    if xxh3_128(&bytes) != checksum {
        // Which of the two went bad cannot be told; both stand in this folder.
        let what = format!(
            "the list {} of the store's files does not match its checksum",
            list.file_name().unwrap_or_default().display()
        );
        return Err(damage(&what, keyspace).into());
    }
    Ok(())
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
