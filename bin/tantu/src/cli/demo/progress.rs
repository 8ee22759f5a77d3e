//! The bar a person watches. It goes to stderr, and only when that is a terminal.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

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
        let style =
            ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} lines, {rate} lines/s, {eta} left");
        let style = style.expect("invariant: the template is a constant and well formed");
        bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
        }));
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
