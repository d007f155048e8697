//! A disk under a child that writes down every change, and fails where it is told to.
//!
//! It is a small library in C that the system's loader puts between the child and the C library
//! (`tests/disk/shim.c`), so it fails where no code of ours or of fjall's knows of it. Linux only.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::power::Recording;
use crate::luck::Luck;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/disk/shim.c");

/// The library, once it was built; nothing where it cannot be.
///
/// # Panics
///
/// When the system's C compiler does not take it.
pub(super) fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !cfg!(target_os = "linux") {
            eprintln!(
                "skipped: a disk that fails below the journal is put under programs of Linux"
            );
            return None;
        }
        let folder = tempfile::tempdir().expect("the system has room for temporary files");
        let library = folder.path().join("shim.so");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([SOURCE, "-ldl", "-lpthread"]);
        let built = compiler.status().expect("there is a C compiler");
        assert!(built.success(), "{SOURCE} does not compile");
        Some((folder, library))
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// What a disk does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// A call fails, or all from then on: `call:n:error:once` or `…:ever`.
    Call(String),
    /// It has room for so many bytes.
    Room(u64),
}

impl Fault {
    /// One of all that there are.
    pub(super) fn of(luck: &mut Luck) -> Self {
        let call = [
            "write", "write", "sync", "sync", "truncate", "rename", "create",
        ];
        let call = call[luck.below(7) as usize];
        let most = match call {
            "write" | "sync" => 250,
            _ => 12,
        };
        let error = match (call, luck.below(4)) {
            ("write", 0 | 1) => "SHORT",
            (_, 2) => "ENOSPC",
            _ => "EIO",
        };
        let lasts = ["once", "ever"][luck.below(2) as usize];
        match luck.below(5) {
            0 => {
                let most = 1 << (8 + luck.below(13));
                Self::Room(1 + luck.below(most))
            }
            _ => Self::Call(format!("{call}:{}:{error}:{lasts}", 1 + luck.below(most))),
        }
    }

    /// Whether a program need not notice it.
    pub(super) fn is_harmless(&self) -> bool {
        match self {
            Self::None => true,
            // Writing less than was asked is allowed, and to be gone on from.
            Self::Call(fault) => fault.contains(":SHORT:"),
            Self::Room(_) => false,
        }
    }
}

/// What a child is to have in its environment, for its disk to be this one.
pub(super) fn variables(recording: &Recording, fault: &Fault) -> Vec<(String, String)> {
    let library = library().expect("it was looked whether there is one");
    let text = |path: &Path| path.to_str().expect("paths of tests are text").to_owned();
    let mut variables = vec![
        ("LD_PRELOAD".to_owned(), text(library)),
        ("CRANKCASE_DISK_DIR".to_owned(), text(recording.dir())),
        ("CRANKCASE_DISK_LOG".to_owned(), text(recording.log())),
    ];
    match fault {
        Fault::None => {}
        Fault::Call(fault) => variables.push(("CRANKCASE_DISK_FAULT".to_owned(), fault.clone())),
        Fault::Room(bytes) => {
            variables.push(("CRANKCASE_DISK_ROOM".to_owned(), bytes.to_string()));
        }
    }
    variables
}
