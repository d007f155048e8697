//! The file `DIR/kinds`: the kinds that vats in the journal can be of.
//!
//! A host that lacks a kind must be refused before anything in the directory is changed, and which
//! kinds the living vats are of is known only after recovery, which changes it. So each open that
//! succeeds notes the kinds that its host has registered, before a vat of them can be made. When
//! all noted kinds are registered, no vat can be of another; only when one is not, recovery runs
//! on a private copy first, to see whether a vat of it lives.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crankcase_vat::Kinds;

const FILE: &str = "kinds";
const TEMPORARY: &str = "kinds.new";

/// A kind's version and name.
type Noted = BTreeSet<(u32, String)>;

fn registered(kinds: &Kinds) -> Noted {
    kinds
        .iter()
        .map(|kind| (kind.version(), kind.name().to_owned()))
        .collect()
}

/// What the file says; nothing when it is not there or not whole, which means that it is not known.
fn noted(dir: &Path) -> Option<Noted> {
    let text = fs::read_to_string(dir.join(FILE)).ok()?;
    let lines = text.strip_suffix("end\n")?;
    lines
        .lines()
        .map(|line| {
            let (version, name) = line.split_once(' ')?;
            Some((version.parse().ok()?, name.to_owned()))
        })
        .collect()
}

/// Whether every vat in the journal is certain to be of a registered kind.
pub(crate) fn all_registered(dir: &Path, kinds: &Kinds) -> bool {
    noted(dir).is_some_and(|noted| noted.is_subset(&registered(kinds)))
}

/// Notes the registered kinds, if they are not what is noted already.
pub(crate) fn note(dir: &Path, kinds: &Kinds) -> io::Result<()> {
    let registered = registered(kinds);
    if noted(dir).is_some_and(|noted| noted == registered) {
        return Ok(());
    }
    let temporary = dir.join(TEMPORARY);
    let mut file = fs::File::create(&temporary)?;
    for (version, name) in &registered {
        writeln!(file, "{version} {name}")?;
    }
    writeln!(file, "end")?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_whole_says_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let kinds = Kinds::new();
        assert!(!all_registered(dir.path(), &kinds));
        note(dir.path(), &kinds).expect("noted");
        assert!(all_registered(dir.path(), &kinds));
        fs::write(dir.path().join(FILE), "1 account\n").expect("written");
        assert!(!all_registered(dir.path(), &kinds));
        fs::write(dir.path().join(FILE), "1 account\nend\n").expect("written");
        assert!(!all_registered(dir.path(), &kinds));
    }
}
