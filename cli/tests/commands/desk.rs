//! The harness: words in, lines and a status out, on a desk with files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crankcase_cli::{Console, Status, execute};

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: Status,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The fields of the last line on standard output.
    #[track_caller]
    pub(crate) fn report(&self) -> BTreeMap<String, String> {
        assert_eq!(self.status, Status::Done, "{}", self.err);
        let last = self.out.lines().last().expect("a line");
        last.split(' ')
            .map(|field| field.split_once('=').expect("name=value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[track_caller]
    pub(crate) fn check_refused(&self, because: &str) {
        assert_eq!(self.status, Status::Failed, "{}", self.out);
        assert!(self.err.contains(because), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert_eq!(self.out, "");
    }
}

/// Does what the words say.
pub(crate) fn crankcase(words: &[&str]) -> Done {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        shows_progress: false,
    };
    let words = std::iter::once("crankcase").chain(words.iter().copied());
    let status = execute(words, &mut console);
    Done {
        status,
        out: String::from_utf8(out).expect("text"),
        err: String::from_utf8(err).expect("text"),
    }
}

/// A folder with generated files, and room for a journal.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let desk = Self { folder };
        let out = desk.path("");
        let words = "ledger generate --accounts 60 --transfers 900 --blocks 6 --seed 3 --out";
        let mut words: Vec<&str> = words.split(' ').collect();
        words.push(out.to_str().expect("text"));
        assert_eq!(crankcase(&words).status, Status::Done);
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path("journal")
    }

    /// `ledger run` on files of this folder, with more words.
    pub(crate) fn run(&self, accounts: &str, transfers: &str, more: &str) -> Done {
        let files = [accounts, transfers, "journal"].map(|name| self.path(name));
        let [accounts, transfers, journal] = files.each_ref().map(|path| text(path));
        let mut words = vec!["ledger", "run", "--accounts", accounts];
        words.extend(["--transfers", transfers, "--journal", journal]);
        words.extend(more.split_whitespace());
        crankcase(&words)
    }

    /// Writes `name`: the header and the first lines of `transfers.csv`, up to the end of `block`.
    pub(crate) fn cut_after_block(&self, block: u64, name: &str) {
        let all = fs::read_to_string(self.path("transfers.csv")).expect("the file");
        let kept: Vec<&str> = all
            .lines()
            .filter(|line| {
                let number = line.split(',').next().expect("a field");
                // The header's first field is no number.
                number.parse::<u64>().map_or(true, |number| number <= block)
            })
            .collect();
        fs::write(self.path(name), kept.join("\n")).expect("the file");
    }
}

/// A path of this test as a word.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}
