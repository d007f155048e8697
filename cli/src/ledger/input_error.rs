//! What can be wrong with a CSV file, and how it is said: on one line, with file and line number.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::address::Address;

/// Why a file is no input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the file is wrong.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The header does not name a column that is needed.
    #[error("the header has no column {column:?}")]
    MissingColumn {
        /// The column.
        column: &'static str,
    },
    /// The header names a column more than once.
    #[error("the header has the column {column:?} twice")]
    DoubleColumn {
        /// The column.
        column: &'static str,
    },
    /// The line is longer or shorter than the header.
    #[error("the line has {found} fields where the header has {expected}")]
    FieldCount {
        /// The fields of the line.
        found: usize,
        /// The fields of the header.
        expected: usize,
    },
    /// The line is not text.
    #[error("the line is not UTF-8")]
    NotText,
    /// A number is below zero.
    #[error("{column} is negative: {text}")]
    Negative {
        /// The column.
        column: &'static str,
        /// What stands there.
        text: Excerpt,
    },
    /// A number does not fit.
    #[error("{column} is too large: {text} is above {limit}")]
    TooLarge {
        /// The column.
        column: &'static str,
        /// What stands there.
        text: Excerpt,
        /// The largest that fits.
        limit: u128,
    },
    /// A field is not a whole number.
    #[error("{column} is not a whole number: {text}")]
    NotANumber {
        /// The column.
        column: &'static str,
        /// What stands there.
        text: Excerpt,
    },
    /// A field is not an address.
    #[error("{column} is not an address (0x and 40 hexadecimal digits): {text}")]
    NotAnAddress {
        /// The column.
        column: &'static str,
        /// What stands there.
        text: Excerpt,
    },
    /// An account is opened twice.
    #[error("account {address} was opened before, in line {first_line}")]
    DoubleAccount {
        /// The account.
        address: Address,
        /// Where it was opened.
        first_line: u64,
    },
    /// The opening balances are more than a balance can hold.
    #[error(
        "the opening balances up to here sum to more than {}, the most an account can hold",
        u128::MAX
    )]
    SumTooLarge,
    /// A transfer names an account that was not opened.
    #[error("{column}: {address} is not an account of {}", accounts.display())]
    UnknownAccount {
        /// The column.
        column: &'static str,
        /// The account.
        address: Address,
        /// The file that lists the accounts.
        accounts: PathBuf,
    },
    /// The blocks are not in order.
    #[error("block {block} stands after block {before}: blocks must not go backwards")]
    BlockGoesBack {
        /// The block of the line.
        block: u64,
        /// The block of the line before it.
        before: u64,
    },
}

/// The beginning of a field, fit to stand in an error of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    const MAX_CHARS: usize = 80;

    pub(super) fn of(text: &str) -> Self {
        let mut excerpt: String = text.chars().take(Self::MAX_CHARS).collect();
        if excerpt.len() < text.len() {
            excerpt.push('…');
        }
        Self(excerpt)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
