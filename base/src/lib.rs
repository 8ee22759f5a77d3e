//! The ground floor of Tantu: ids, limits, the value codec, checksums and the five doors.
//!
//! Everything above depends on this crate and this crate depends on nobody. What enters must be
//! something every crate could reasonably need.

pub mod archive;
pub mod buf;
pub mod caught;
pub mod checksum;
pub mod door;
pub mod fixed;
pub mod id;
pub mod limit;
pub mod piece;
pub mod planted;
pub mod prefetch;
pub mod uid;
pub mod value;
