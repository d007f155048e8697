//! What the fuzz targets begin with, and what crashed them once, is decoded as it should be.

use std::path::Path;

use crankcase_tests::corpora::{TARGETS, inputs};
use crankcase_vat::fuzzing::run;

#[test]
fn every_input_of_the_corpora_is_decoded_or_refused() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (target, decoders) in TARGETS {
        let inputs = inputs(&fuzz, target).expect("the corpus can be read");
        for (place, (decoder, _)) in decoders.iter().enumerate() {
            let reached = inputs
                .iter()
                .any(|(_, input)| input.first() == Some(&(place as u8)));
            assert!(
                reached,
                "no input for {decoder}, which is {place} in {target}"
            );
        }
        for (path, input) in inputs {
            let decoded = std::panic::catch_unwind(|| run(decoders, &input));
            assert!(decoded.is_ok(), "{} breaks its decoder", path.display());
        }
    }
}
