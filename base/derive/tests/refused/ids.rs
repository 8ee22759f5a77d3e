//! Ids that cannot be.

use tantu_derive::Record;

#[derive(Record)]
struct Twice {
    #[field(1)]
    a: String,
    #[field(1)]
    b: String,
}

#[derive(Record)]
struct Mixed {
    #[field(1)]
    a: String,
    b: String,
}

#[derive(Record)]
struct Zero {
    #[field(0)]
    a: String,
}

#[derive(Record)]
enum VariantTwice {
    #[variant(4)]
    A,
    #[variant(4)]
    B,
}

fn main() {}
