//! The two CSV files of a ledger, read and checked to the last line.
//!
//! Nothing here touches a journal: a file with one bad line is refused whole, before anything is
//! opened or made.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use super::address::Address;
use super::input_error::{InputError, Problem};
use super::table::{Row, read_rows};
use super::workload::{Block, Opening, Transfer, Workload};

const ACCOUNT_COLUMNS: [&str; 2] = ["address", "balance_wei"];
const TRANSFER_COLUMNS: [&str; 4] = ["block", "from", "to", "value_wei"];

/// Reads a workload.
///
/// `accounts` has the columns `address` and `balance_wei`; `transfers` has `block`, `from`, `to`
/// and `value_wei`. They are found by their names in the header; other columns are passed over.
/// Transfers keep the order of the file, and neighbours of one block number are one block.
///
/// # Errors
///
/// [`InputError`]: the first thing that is wrong, with its file and line.
pub fn read_workload(accounts: &Path, transfers: &Path) -> Result<Workload, InputError> {
    let (openings, positions) = read_accounts(accounts)?;
    let blocks = read_transfers(transfers, accounts, &positions)?;
    Ok(Workload {
        accounts: openings,
        blocks,
    })
}

/// Where an account stands in the workload, and in which line of the file.
struct Place {
    position: usize,
    line: u64,
}

fn read_accounts(file: &Path) -> Result<(Vec<Opening>, HashMap<Address, Place>), InputError> {
    let mut openings = Vec::new();
    let mut places = HashMap::new();
    let mut total_wei = 0u128;
    read_rows(file, &ACCOUNT_COLUMNS, |row| {
        let address = row.address(0)?;
        let balance_wei = row.number(1, u128::MAX)?;
        match places.entry(address) {
            Entry::Occupied(first) => {
                let first: &Place = first.get();
                return Err(Problem::DoubleAccount {
                    address,
                    first_line: first.line,
                });
            }
            Entry::Vacant(free) => free.insert(Place {
                position: openings.len(),
                line: row.line,
            }),
        };
        total_wei = total_wei
            .checked_add(balance_wei)
            .ok_or(Problem::SumTooLarge)?;
        openings.push(Opening {
            address,
            balance_wei,
        });
        Ok(())
    })?;
    Ok((openings, places))
}

fn read_transfers(
    file: &Path,
    accounts: &Path,
    places: &HashMap<Address, Place>,
) -> Result<Vec<Block>, InputError> {
    let known = |row: &Row<'_, 4>, at: usize| {
        let address = row.address(at)?;
        match places.get(&address) {
            Some(place) => Ok(place.position),
            None => Err(Problem::UnknownAccount {
                column: TRANSFER_COLUMNS[at],
                address,
                accounts: accounts.to_owned(),
            }),
        }
    };
    let mut blocks: Vec<Block> = Vec::new();
    read_rows(file, &TRANSFER_COLUMNS, |row| {
        let number = row.number(0, u128::from(u64::MAX))?;
        let number = u64::try_from(number).expect("the number was read with this limit");
        let transfer = Transfer {
            from: known(row, 1)?,
            to: known(row, 2)?,
            value_wei: row.number(3, u128::MAX)?,
        };
        match blocks.last_mut() {
            Some(last) if last.number == number => last.transfers.push(transfer),
            Some(last) if last.number > number => {
                return Err(Problem::BlockGoesBack {
                    block: number,
                    before: last.number,
                });
            }
            _ => blocks.push(Block {
                number,
                transfers: vec![transfer],
            }),
        }
        Ok(())
    })?;
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ALICE: &str = "0x00000000000000000000000000000000000a11ce";
    const BOB: &str = "0x0000000000000000000000000000000000000b0b";
    const CAROL: &str = "0x00000000000000000000000000000000000ca401";

    /// Reads the two texts as files, with `A`, `B` and `C` standing for addresses.
    fn read(accounts: &str, transfers: &str) -> Result<Workload, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            let text = text
                .replace('A', ALICE)
                .replace('B', BOB)
                .replace('C', CAROL);
            let file = dir.path().join(name);
            fs::write(&file, text).expect("a file");
            file
        };
        let (accounts, transfers) = (put("a.csv", accounts), put("t.csv", transfers));
        read_workload(&accounts, &transfers).map_err(|error| {
            let place = format!("{}{}", dir.path().display(), std::path::MAIN_SEPARATOR);
            error.to_string().replace(&place, "")
        })
    }

    #[test]
    fn columns_are_found_by_name_and_blocks_by_number() {
        let workload = read(
            "balance_wei,note,address\n5,\"x\",A\r\n\n7,,B\n",
            "\u{feff}index,value_wei,to,from,block\n0,1,B,A,10\n1,2, \"A\" ,B,10\n0,3,A,A,12",
        )
        .expect("sound files");
        let opened: Vec<_> = workload
            .accounts
            .iter()
            .map(|account| (account.address.to_string(), account.balance_wei))
            .collect();
        assert_eq!(opened, [(ALICE.to_owned(), 5), (BOB.to_owned(), 7)]);
        let transfer = |from, to, value_wei| Transfer {
            from,
            to,
            value_wei,
        };
        assert_eq!(
            workload.blocks,
            [
                Block {
                    number: 10,
                    transfers: vec![transfer(0, 1, 1), transfer(1, 0, 2)],
                },
                Block {
                    number: 12,
                    transfers: vec![transfer(0, 0, 3)],
                },
            ]
        );
        assert_eq!(workload.transfer_count(), 3);
        assert_eq!(workload.total_wei(), 12);
    }

    #[test]
    fn the_first_thing_wrong_is_named_with_file_and_line() {
        const ACCOUNTS: &str = "address,balance_wei\nA,5\nB,7\n";
        const TRANSFERS: &str = "block,index,from,to,value_wei\n";
        let most = u128::MAX;
        let sums_above = format!("address,balance_wei\nA,{most}\nB,0\nC,1\n");
        let too_large = format!("address,balance_wei\nA,{most}0\n");
        let with = |line: &str| format!("{TRANSFERS}1,0,A,B,1\n\n{line}\n");
        let cases: &[(&str, &str, &str)] = &[
            (
                "",
                TRANSFERS,
                "a.csv:1: the header has no column \"address\"",
            ),
            (
                "address\nA\n",
                TRANSFERS,
                "a.csv:1: the header has no column \"balance_wei\"",
            ),
            (
                "address,balance_wei,address\nA,1,A\n",
                TRANSFERS,
                "a.csv:1: the header has the column \"address\" twice",
            ),
            (
                "address,balance_wei\nA,5\nB\n",
                TRANSFERS,
                "a.csv:3: the line has 1 fields where the header has 2",
            ),
            (
                "address,balance_wei\nA,-5\n",
                TRANSFERS,
                "a.csv:2: balance_wei is negative: \"-5\"",
            ),
            (
                "address,balance_wei\r\nA,5\r\n\r\nB,1e3\r\n",
                TRANSFERS,
                "a.csv:4: balance_wei is not a whole number: \"1e3\"",
            ),
            (
                "address,balance_wei\nA,+5\n",
                TRANSFERS,
                "a.csv:2: balance_wei is not a whole number: \"+5\"",
            ),
            (
                &too_large,
                TRANSFERS,
                &format!("a.csv:2: balance_wei is too large: \"{most}0\" is above {most}"),
            ),
            (
                &sums_above,
                TRANSFERS,
                &format!(
                    "a.csv:4: the opening balances up to here sum to more than {most}, the most \
                     an account can hold"
                ),
            ),
            (
                "address,balance_wei\n0x12,5\n",
                TRANSFERS,
                "a.csv:2: address is not an address (0x and 40 hexadecimal digits): \"0x12\"",
            ),
            (
                "address,balance_wei\nA,5\nB,1\nA,5\n",
                TRANSFERS,
                &format!("a.csv:4: account {ALICE} was opened before, in line 2"),
            ),
            (
                ACCOUNTS,
                "block,from,to\n",
                "t.csv:1: the header has no column \"value_wei\"",
            ),
            (
                ACCOUNTS,
                &with("1,0,A,C,1"),
                &format!("t.csv:4: to: {CAROL} is not an account of a.csv"),
            ),
            (
                ACCOUNTS,
                &with("1,0,A,B,-1"),
                "t.csv:4: value_wei is negative: \"-1\"",
            ),
            (
                ACCOUNTS,
                &with("18446744073709551616,0,A,B,1"),
                "t.csv:4: block is too large: \"18446744073709551616\" is above \
                 18446744073709551615",
            ),
            (
                ACCOUNTS,
                &with("0,0,A,B,1"),
                "t.csv:4: block 0 stands after block 1: blocks must not go backwards",
            ),
            (
                ACCOUNTS,
                &with("1,0,A,B,"),
                "t.csv:4: value_wei is not a whole number: \"\"",
            ),
        ];
        for (accounts, transfers, expected) in cases {
            let error = read(accounts, transfers).expect_err(expected);
            assert_eq!(&error, expected);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("nowhere.csv");
        let error = read_workload(&missing, &missing).expect_err("there is no such file");
        let text = error.to_string();
        assert!(text.starts_with(&missing.display().to_string()), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.csv");
        fs::write(&file, b"address,balance_wei\n\xff\xfe,1\n").expect("a file");
        let error = read_workload(&file, &file).expect_err("not text");
        assert!(
            error
                .to_string()
                .ends_with("a.csv:2: the line is not UTF-8")
        );
    }
}
