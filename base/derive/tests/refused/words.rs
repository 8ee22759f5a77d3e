//! Words that mean nothing, and names that clash.

use tantu_derive::Record;

#[derive(Record)]
struct Wrong {
    #[field(optional)]
    a: String,
}

#[derive(Record)]
#[record(rename = "x")]
struct Container {
    a: String,
}

#[derive(Record)]
struct Alike {
    user_name: String,
    userName: String,
}

#[derive(Record)]
enum Misplaced {
    #[field(1)]
    A,
}

fn main() {}
