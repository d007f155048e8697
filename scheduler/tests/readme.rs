//! The README shows a host; this keeps what it shows the program that compiles and runs.

const README: &str = include_str!("../../README.md");
const BANK: &str = include_str!("../examples/bank.rs");

#[test]
fn readme_shows_the_bank_word_for_word() {
    let fenced = format!("```rust\n{BANK}```\n");
    assert!(
        README.contains(&fenced),
        "README.md and scheduler/examples/bank.rs differ: copy the example into the README"
    );
}

#[test]
fn readme_has_the_test_command_on_a_line_of_its_own() {
    // `.ci/run` takes the command from there.
    assert!(README.lines().any(|line| line == "cargo test --workspace"));
}
