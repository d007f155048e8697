//! Workloads from a seed, and the files that hold them.
//!
//! The same [`Shape`] gives the same workload on every machine and in every version: all choices
//! come from the BLAKE3 stream of the seed and integer arithmetic, no library's generator and no
//! floating point.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::address::Address;
use super::model::Model;
use super::workload::{Block, Opening, Transfer, Workload};

/// How large a workload is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many accounts; at least one.
    pub accounts: u32,
    /// How many transfers.
    pub transfers: u32,
    /// How many blocks they are spread over, at least one. With fewer transfers than blocks,
    /// some numbers have no block.
    pub blocks: u32,
    /// What all choices come from.
    pub seed: u64,
}

/// A workload in which every transfer can be afforded in dispatch order, and opening balances for
/// the same accounts with which more than half cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The workload. Its accounts stand in the order of their addresses.
    pub workload: Workload,
    /// The low opening balances, in wei, in the same order.
    pub tight_balances: Vec<u128>,
}

/// Why the files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct WriteError {
    /// The file or folder.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// Makes a workload.
///
/// Accounts are chosen with skew: the one of rank n stands n times less often on either side of a
/// transfer than the first (Zipf's law). Values are spread evenly over magnitudes, up to about a
/// thousand ether.
///
/// # Panics
///
/// When `shape` has no accounts or no blocks.
#[must_use]
pub fn generate(shape: Shape) -> Generated {
    assert!(shape.accounts > 0, "a ledger needs an account");
    assert!(shape.blocks > 0, "transfers need a block to stand in");
    let mut random = Random::new(shape.seed);

    let mut addresses = std::collections::BTreeSet::new();
    let mut by_rank = Vec::new();
    while by_rank.len() < shape.accounts as usize {
        let address = random.address();
        if addresses.insert(address) {
            by_rank.push(address);
        }
    }
    // Addresses are random, so sorting them gives each rank a random position.
    let addresses: Vec<Address> = addresses.into_iter().collect();
    let positions: Vec<usize> = by_rank
        .iter()
        .map(|address| {
            addresses
                .binary_search(address)
                .expect("both lists hold the same addresses")
        })
        .collect();

    let ranks = Skew::new(shape.accounts);
    let mut blocks: Vec<Block> = Vec::new();
    let mut spent_wei = vec![0u128; addresses.len()];
    for index in 0..u64::from(shape.transfers) {
        let number = 1 + index * u64::from(shape.blocks) / u64::from(shape.transfers);
        let transfer = Transfer {
            from: positions[ranks.choose(&mut random)],
            to: positions[ranks.choose(&mut random)],
            value_wei: random.value_wei(),
        };
        spent_wei[transfer.from] += transfer.value_wei;
        match blocks.last_mut() {
            Some(block) if block.number == number => block.transfers.push(transfer),
            _ => blocks.push(Block {
                number,
                transfers: vec![transfer],
            }),
        }
    }

    // Whoever starts with all that he is ever to send can afford it in any order.
    let accounts: Vec<Opening> = addresses
        .into_iter()
        .zip(&spent_wei)
        .map(|(address, &spent_wei)| Opening {
            address,
            balance_wei: spent_wei + random.value_wei(),
        })
        .collect();
    let tight_balances = tight_balances(&spent_wei, &blocks, shape.transfers);
    Generated {
        workload: Workload { accounts, blocks },
        tight_balances,
    }
}

/// The largest even share of what the accounts are to send with which three transfers in five
/// must be refused.
fn tight_balances(spent_wei: &[u128], blocks: &[Block], transfers: u32) -> Vec<u128> {
    let mut balances = spent_wei.to_vec();
    // No transfer is of nothing, so at the latest all fail when nobody has anything.
    while balances.iter().any(|&balance| balance > 0) {
        let model = Model::run_from(balances.clone(), blocks);
        if model.rejected * 5 >= u64::from(transfers) * 3 {
            break;
        }
        for balance in &mut balances {
            *balance /= 2;
        }
    }
    balances
}

/// Writes `accounts.csv`, `accounts-tight.csv` and `transfers.csv` into `folder`, which is made
/// where it is missing. A file of that name is replaced, whole.
///
/// # Errors
///
/// [`WriteError`] with the file that could not be written.
pub fn write_files(generated: &Generated, folder: &Path) -> Result<(), WriteError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { path, source }
    };
    fs::create_dir_all(folder).map_err(fail(folder))?;
    let accounts = &generated.workload.accounts;
    let opened = accounts.iter().map(|account| account.balance_wei);
    let tight = generated.tight_balances.iter().copied();
    let files = [
        ("accounts.csv", accounts_csv(accounts, opened)),
        ("accounts-tight.csv", accounts_csv(accounts, tight)),
        ("transfers.csv", transfers_csv(&generated.workload)),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        // A reader never meets half a file.
        let partial = folder.join(format!("{name}.partial"));
        fs::write(&partial, text).map_err(fail(&partial))?;
        fs::rename(&partial, &path).map_err(fail(&path))?;
    }
    Ok(())
}

const INFALLIBLE: &str = "a String takes whatever is written to it";

fn accounts_csv(accounts: &[Opening], balances: impl Iterator<Item = u128>) -> String {
    let mut text = String::from("address,balance_wei\n");
    for (account, balance) in accounts.iter().zip(balances) {
        writeln!(text, "{},{balance}", account.address).expect(INFALLIBLE);
    }
    text
}

fn transfers_csv(workload: &Workload) -> String {
    // What a plain transfer of money costs on the chain that the columns come from.
    const GAS: u32 = 21_000;
    let mut text = String::from("block,index,from,to,value_wei,gas\n");
    for block in &workload.blocks {
        for (index, transfer) in block.transfers.iter().enumerate() {
            let number = block.number;
            let from = workload.accounts[transfer.from].address;
            let to = workload.accounts[transfer.to].address;
            let value_wei = transfer.value_wei;
            writeln!(text, "{number},{index},{from},{to},{value_wei},{GAS}").expect(INFALLIBLE);
        }
    }
    text
}

/// The stream that all choices are read from.
struct Random(blake3::OutputReader);

impl Random {
    fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("crankcase ledger workload, version 1");
        hasher.update(&seed.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    fn address(&mut self) -> Address {
        Address::new(self.bytes())
    }

    /// A number below `bound`, as even as 64 bits divide.
    fn below(&mut self, bound: u64) -> u64 {
        let random = u128::from(u64::from_le_bytes(self.bytes()));
        u64::try_from((random * u128::from(bound)) >> 64).expect("the product is below 2^64 bounds")
    }

    /// At least one wei, and less than 2^70.
    fn value_wei(&mut self) -> u128 {
        let bits = self.below(70);
        let top = 1u128 << bits;
        top | (u128::from_le_bytes(self.bytes()) & (top - 1))
    }
}

/// Chooses ranks by Zipf's law.
struct Skew {
    /// For each rank, the weights up to and with it.
    up_to: Vec<u64>,
}

impl Skew {
    fn new(ranks: u32) -> Self {
        let mut sum = 0;
        let up_to = (1..=u64::from(ranks))
            .map(|rank| {
                sum += (1 << 32) / rank;
                sum
            })
            .collect();
        Self { up_to }
    }

    fn choose(&self, random: &mut Random) -> usize {
        let all = self.up_to.last().copied().unwrap_or(0);
        let point = random.below(all);
        self.up_to.partition_point(|&up_to| up_to <= point)
    }
}

#[cfg(test)]
mod tests {
    use super::super::csv_input::read_workload;
    use super::*;

    const SHAPE: Shape = Shape {
        accounts: 500,
        transfers: 5_000,
        blocks: 7,
        seed: 42,
    };

    #[test]
    fn a_seed_gives_the_same_workload_for_ever() {
        let generated = generate(SHAPE);
        assert_eq!(generated, generate(SHAPE));
        let accounts = &generated.workload.accounts;
        let mut digest = blake3::Hasher::new();
        let opened = accounts.iter().map(|account| account.balance_wei);
        digest.update(accounts_csv(accounts, opened).as_bytes());
        let tight = generated.tight_balances.iter().copied();
        digest.update(accounts_csv(accounts, tight).as_bytes());
        digest.update(transfers_csv(&generated.workload).as_bytes());
        // From the first version; another digest means that a seed means another workload now.
        assert_eq!(
            digest.finalize().to_string(),
            "57fb1d5d056aab96b13085f664aa86f405725ec27ce12b263bcb36acf8d4dc96"
        );
        let other = generate(Shape { seed: 43, ..SHAPE });
        assert_ne!(generated, other);
    }

    #[test]
    fn every_transfer_can_be_afforded_and_the_numbers_are_those_asked_for() {
        let Generated { workload, .. } = generate(SHAPE);
        assert_eq!(workload.accounts.len(), 500);
        assert_eq!(workload.transfer_count(), 5_000);
        let numbers: Vec<u64> = workload.blocks.iter().map(|block| block.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        let model = Model::run(&workload);
        assert_eq!((model.accepted, model.rejected), (5_000, 0));
        assert_eq!(model.balances.iter().sum::<u128>(), workload.total_wei());
    }

    #[test]
    fn with_the_tight_accounts_more_than_half_must_abort_and_some_do_not() {
        for seed in 0..5 {
            let generated = generate(Shape { seed, ..SHAPE });
            let model = Model::run_from(generated.tight_balances, &generated.workload.blocks);
            assert!(model.rejected > 2_500, "seed {seed}: {}", model.rejected);
            assert!(model.accepted > 500, "seed {seed}: {}", model.accepted);
        }
    }

    #[test]
    fn few_accounts_stand_in_many_transfers() {
        let Generated { workload, .. } = generate(SHAPE);
        let mut sent = vec![0; workload.accounts.len()];
        for transfer in workload.blocks.iter().flat_map(|block| &block.transfers) {
            sent[transfer.from] += 1;
        }
        sent.sort_unstable_by(|a, b| b.cmp(a));
        let by_first_tenth: u32 = sent[..50].iter().sum();
        assert!(by_first_tenth > 2_500, "{by_first_tenth}");
    }

    #[test]
    fn the_files_read_back_as_what_was_generated() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("made");
        let generated = generate(SHAPE);
        write_files(&generated, &folder).expect("the files");
        let read = |accounts: &str| {
            read_workload(&folder.join(accounts), &folder.join("transfers.csv"))
                .expect("sound files")
        };
        assert_eq!(read("accounts.csv"), generated.workload);
        let tight = read("accounts-tight.csv");
        assert_eq!(tight.blocks, generated.workload.blocks);
        let balances: Vec<u128> = tight.accounts.iter().map(|a| a.balance_wei).collect();
        assert_eq!(balances, generated.tight_balances);
        let names = fs::read_dir(&folder).expect("a folder").count();
        assert_eq!(names, 3, "nothing but the three files");
    }

    #[test]
    fn the_smallest_shapes_work() {
        for transfers in [0, 1, 2] {
            let generated = generate(Shape {
                accounts: 1,
                transfers,
                blocks: 3,
                seed: 0,
            });
            assert_eq!(generated.workload.transfer_count(), u64::from(transfers));
            assert_eq!(Model::run(&generated.workload).rejected, 0);
        }
    }
}
