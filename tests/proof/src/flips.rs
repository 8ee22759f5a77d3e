//! Every bit of a stretch of each file is flipped, one at a time.

use crate::form::Form;
use std::path::Path;
use tantu_weather::Image;

/// Bytes of a file that the long form flips, at most.
pub const SAMPLE_SIZE_MAX: u64 = 64 << 10;

/// What became of a flipped bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// An error named the file, and where in it.
    Reported,
    /// The end of a log was taken for a torn write, which is documented.
    Cut,
    /// Nothing depends on the bit, which is documented.
    Unharmed,
}

/// How many bits had which outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    /// See [`Outcome::Reported`].
    pub reported: u64,
    /// See [`Outcome::Cut`].
    pub cut: u64,
    /// See [`Outcome::Unharmed`].
    pub unharmed: u64,
}

impl Outcomes {
    /// Says how many there were of a file.
    pub fn report(&self, form: &Form, path: &Path) {
        let Self { reported, cut, unharmed } = *self;
        let counts = [("bits reported", reported), ("cut off", cut), ("without use", unharmed)];
        form.report_of(path.display(), &counts);
    }

    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reported => self.reported += 1,
            Outcome::Cut => self.cut += 1,
            Outcome::Unharmed => self.unharmed += 1,
        }
    }
}

/// Flips the bits of a file, from its start on: in the short form every `step`-th one, in the long form all of them.
/// `judge` gets the damaged files and the byte that changed.
///
/// # Panics
/// If `judge` does, after the bit was named.
pub fn flip(form: &Form, image: &Image, path: &Path, step: u64, judge: impl Fn(Image, u64) -> Outcome) -> Outcomes {
    let size = image.read(path).map_or(0, |bytes| bytes.len() as u64);
    assert!(size > 0, "{} is no file with bytes", path.display());
    let mut outcomes = Outcomes::default();
    let step = if form.is_long() { 1 } else { step };
    let bits: Box<dyn Iterator<Item = u64>> = match form.state() {
        Some(bit) => Box::new(bit.iter().copied()),
        None => Box::new((0..size.min(SAMPLE_SIZE_MAX) * 8).step_by(step as usize)),
    };
    for bit in bits.filter(|bit| *bit < size * 8).take_while(|_| !form.is_over()) {
        let _place = form.at(bit);
        let _file = form.also(path.display());
        let mut bad = image.clone();
        bad.flip_bit(path, bit / 8, (bit % 8) as u8);
        outcomes.add(judge(bad, bit / 8));
    }
    outcomes
}

/// Whether an error about a unit that starts at `offset` can be about a byte.
pub fn names(offset: u64, byte: u64) -> bool {
    offset <= byte && byte - offset < SAMPLE_SIZE_MAX
}
