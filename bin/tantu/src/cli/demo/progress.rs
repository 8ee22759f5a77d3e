//! The bar a person watches. It goes to stderr, and only when that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Acks between two looks at the bar.
const STEP: u64 = 256;

#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    acked: u64,
}

impl Progress {
    pub(super) fn new(line_count: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(line_count), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} lines, {per_sec}, {eta} left");
        bar.set_style(style.expect("invariant: the template is a constant and well formed"));
        Progress { bar, acked: 0 }
    }

    pub(super) fn acked(&mut self) {
        self.acked += 1;
        if self.acked.is_multiple_of(STEP) {
            self.bar.set_position(self.acked);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
