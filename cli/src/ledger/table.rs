//! Reading the rows of a CSV file, with the line of every row.
//!
//! It knows columns and lines, not accounts. The files hold numbers and addresses, so a quoted
//! field is a field in quotes and nothing more: no field holds a comma or a line break. What is
//! gained is that a line number is always that of the line in an editor, blank lines and carriage
//! returns or not.

use std::fs;
use std::path::Path;

use super::address::Address;
use super::input_error::{Excerpt, InputError, Problem};

/// The columns of one line that were asked for.
pub(super) struct Row<'a, const N: usize> {
    pub(super) line: u64,
    pub(super) fields: [&'a str; N],
    columns: &'a [&'static str; N],
}

impl<const N: usize> Row<'_, N> {
    /// The field at `at` as a number of at most `limit`.
    pub(super) fn number(&self, at: usize, limit: u128) -> Result<u128, Problem> {
        let (column, text) = (self.columns[at], self.fields[at]);
        let excerpt = || Excerpt::of(text);
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let text = excerpt();
            return Err(Problem::NotANumber { column, text });
        }
        if digits.len() < text.len() {
            let text = excerpt();
            return Err(Problem::Negative { column, text });
        }
        match digits.parse() {
            Ok(number) if number <= limit => Ok(number),
            // Digits alone fail to parse only when there are too many of them.
            _ => Err(Problem::TooLarge {
                column,
                text: excerpt(),
                limit,
            }),
        }
    }

    /// The field at `at` as an address.
    pub(super) fn address(&self, at: usize) -> Result<Address, Problem> {
        self.fields[at].parse().map_err(|_| Problem::NotAnAddress {
            column: self.columns[at],
            text: Excerpt::of(self.fields[at]),
        })
    }
}

/// Hands every row of `file` to `each`: the fields of `columns`, found by the header's names.
///
/// # Errors
///
/// The first thing wrong with the file, or that `each` finds wrong with a row, with its line.
pub(super) fn read_rows<const N: usize>(
    file: &Path,
    columns: &[&'static str; N],
    mut each: impl FnMut(&Row<'_, N>) -> Result<(), Problem>,
) -> Result<(), InputError> {
    let bytes = fs::read(file).map_err(|source| InputError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    let mut header = None;
    let lines = bytes.split(|&byte| byte == b'\n');
    for (line, bytes) in (1..).zip(lines) {
        let at_line = |problem| InputError::Line {
            file: file.to_owned(),
            line,
            problem,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| at_line(Problem::NotText))?;
        match &header {
            None => {
                // Spreadsheets put a byte order mark before the first column's name.
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                header = Some(Header::read(text, columns).map_err(at_line)?);
            }
            // The end of the last line, or a line that someone left empty.
            Some(_) if text.trim().is_empty() => {}
            Some(header) => {
                let fields = header.pick(text).map_err(at_line)?;
                let row = Row {
                    line,
                    fields,
                    columns,
                };
                each(&row).map_err(at_line)?;
            }
        }
    }
    Ok(())
}

/// Where the columns stand.
struct Header<const N: usize> {
    count: usize,
    positions: [usize; N],
}

impl<const N: usize> Header<N> {
    fn read(text: &str, columns: &[&'static str; N]) -> Result<Self, Problem> {
        let names: Vec<&str> = fields(text).collect();
        let mut positions = [0; N];
        for (position, &column) in positions.iter_mut().zip(columns) {
            let mut found = (0..names.len()).filter(|&at| names[at] == column);
            *position = found.next().ok_or(Problem::MissingColumn { column })?;
            if found.next().is_some() {
                return Err(Problem::DoubleColumn { column });
            }
        }
        Ok(Self {
            count: names.len(),
            positions,
        })
    }

    fn pick<'a>(&self, text: &'a str) -> Result<[&'a str; N], Problem> {
        let mut picked = [""; N];
        let mut found = 0;
        for field in fields(text) {
            for (picked, &position) in picked.iter_mut().zip(&self.positions) {
                if position == found {
                    *picked = field;
                }
            }
            found += 1;
        }
        if found == self.count {
            Ok(picked)
        } else {
            Err(Problem::FieldCount {
                found,
                expected: self.count,
            })
        }
    }
}

fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|field| {
        let field = field.trim();
        field
            .strip_prefix('"')
            .and_then(|field| field.strip_suffix('"'))
            .unwrap_or(field)
    })
}
