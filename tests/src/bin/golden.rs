//! Writes a journal for `tests/golden` with the code at hand.

use std::path::PathBuf;

use crankcase_tests::{Fallible, Scratch, golden};

fn main() -> Fallible<()> {
    let golden = std::env::args_os().nth(1).map(PathBuf::from);
    let golden = golden.ok_or("name the folder that is to be made, such as tests/golden/0.1")?;
    if golden.exists() {
        return Err(format!("{} is there, and none is ever changed", golden.display()).into());
    }
    let scratch = Scratch::new();
    let journal = scratch.dir();
    golden::write(&journal)?;
    golden::pack(&journal, &golden)?;
    Ok(())
}
