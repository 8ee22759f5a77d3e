//! What the derive refuses, and how it says so: the messages are what an author reads.

#[test]
fn what_cannot_be_a_record_is_refused_with_a_reason() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
