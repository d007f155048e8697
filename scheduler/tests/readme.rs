//! The README shows the first host; this keeps what it shows the program that compiles and runs.

const README: &str = include_str!("../../README.md");
const FIRST_HOST: &str = include_str!("../examples/first_host.rs");

#[test]
fn readme_shows_the_first_host_word_for_word() {
    let fenced = format!("```rust\n{FIRST_HOST}```\n");
    assert!(
        README.contains(&fenced),
        "README.md and scheduler/examples/first_host.rs differ: copy the example into the README"
    );
}

#[test]
fn readme_has_the_test_command_on_a_line_of_its_own() {
    // `.ci/run` takes the command from there.
    assert!(README.lines().any(|line| line == "cargo test --workspace"));
}
