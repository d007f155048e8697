//! What the attributes say to a block that cannot be a vat: which method it is about, and what to
//! write. After a change of the words: `TRYBUILD=overwrite cargo test --test compile_errors`, and
//! read what changed.

#[test]
fn an_error_names_the_method_and_says_what_to_write() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_errors/*.rs");
}
