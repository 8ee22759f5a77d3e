//! What one depot is sent: lines in order, and some of them again.

use std::collections::VecDeque;
use tantu_base::value::Encode;
use tantu_model::depot::{AppendId, History};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) texts: Vec<String>,
    /// Lines sent so far.
    pub(crate) sent: usize,
    /// Lines that may have been sent by the end of this life.
    pub(crate) quota: usize,
    pub(crate) again: VecDeque<AppendId>,
    /// Refused by a full disk.
    pub(crate) later: Vec<AppendId>,
    pub(crate) history: History,
}

impl Sheet {
    pub(crate) fn new(texts: Vec<String>) -> Self {
        Self { texts, ..Self::default() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.sent >= self.quota && self.again.is_empty() && self.later.is_empty()
    }

    /// Whether there is something to send now.
    pub(crate) fn could_send(&self) -> bool {
        self.sent < self.quota || !self.again.is_empty()
    }

    /// Each life has its share of the lines; what a full disk refused is sent again.
    pub(crate) fn begin_life(&mut self, life: u32, crash_count: u32) {
        self.quota = self.texts.len() * (life as usize + 1) / (crash_count as usize + 1);
        self.again.extend(self.later.drain(..));
    }

    pub(crate) fn next(&mut self) -> Option<AppendId> {
        if let Some(append) = self.again.pop_front() {
            self.history.sent_again(append);
            return Some(append);
        }
        let mut record = Vec::new();
        self.texts[..self.quota].get(self.sent)?.encode(&mut record);
        self.sent += 1;
        Some(self.history.sent(&record))
    }
}
