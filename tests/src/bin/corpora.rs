//! Writes the corpora of the fuzz targets with the code at hand: `cargo run -p crankcase-tests --bin corpora`.

use std::path::Path;

use crankcase_tests::{Fallible, corpora};

fn main() -> Fallible<()> {
    corpora::write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus"))
}
