//! Types that are no records.

use tantu_derive::Record;

#[derive(Record)]
struct Tuple(String);

#[derive(Record)]
struct Unit;

#[derive(Record)]
union Either {
    a: u32,
    b: i32,
}

#[derive(Record)]
struct Generic<T> {
    a: T,
}

#[derive(Record)]
enum Never {}

#[derive(Record)]
enum Pair {
    Two(i64, i64),
}

fn main() {}
