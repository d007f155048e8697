//! What the command reads from people, behind one function each, for fuzzing. Compiled with the feature `fuzzing` only.

use std::sync::OnceLock;

use clap::Parser;
pub use crankcase::fuzzing::{Decoder, run};

use crate::args::{Arguments, HostArguments};
use crate::ledger::address::Address;
use crate::ledger::csv_input::read_workload;

/// All of them. The first byte of a fuzzer's input is a place in this list, so new ones go to its end.
pub const DECODERS: &[Decoder] = &[("address", address), ("csv", csv), ("arguments", arguments)];

fn address(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(address) = text.parse::<Address>()
    {
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(address.to_string(), text.to_lowercase());
    }
}

/// Both files, with a zero byte between them.
fn csv(bytes: &[u8]) {
    static FOLDER: OnceLock<std::path::PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let name = format!("crankcase-fuzz-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for two files");
        folder
    });
    let thread = format!("{:?}", std::thread::current().id());
    let [accounts, transfers] =
        ["accounts", "transfers"].map(|it| folder.join(it.to_owned() + &thread));
    let middle = bytes.iter().position(|&byte| byte == 0);
    let (first, second) = bytes.split_at(middle.unwrap_or(bytes.len()));
    std::fs::write(&accounts, first).expect("the file can be written");
    std::fs::write(&transfers, second.get(1..).unwrap_or_default())
        .expect("the file can be written");
    match read_workload(&accounts, &transfers) {
        Ok(workload) => {
            let transfers = workload.blocks.iter().flat_map(|block| &block.transfers);
            for transfer in transfers {
                assert!(
                    transfer.from < workload.accounts.len()
                        && transfer.to < workload.accounts.len()
                );
            }
            assert!(workload.blocks.is_sorted_by(|a, b| a.number < b.number));
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "an error takes one line"),
    }
}

/// Words with a space between them.
fn arguments(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let words = || std::iter::once("crankcase").chain(text.split(' '));
        let _ = Arguments::try_parse_from(words());
        let _ = HostArguments::try_parse_from(words());
    }
}
