//! What rustc refuses of a module, and how it says so: the messages are what an author reads.
//!
//! They are rustc's, so that a new release of it may change them: `TRYBUILD=overwrite` writes the new ones, to be read.

#[test]
fn mistakes_that_rustc_finds_are_named_in_the_authors_words() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
