//! Watching task threads from outside: how busy they are, and what one stands in that does not come back.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tantu_base::id::Category;
use tantu_flow::ModuleRuntime;
use tantu_task::pulse::{Place, Pulse};

/// How often it looks, if a stall is not to be told sooner.
const LOOK: Duration = Duration::from_millis(250);

/// What a task thread did with its time since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadLoad {
    /// How long it has been up.
    pub up: Duration,
    /// The time it spent in turns of each category, in the order of [`Category::ALL`].
    pub by_category: [Duration; 5],
    /// Groups that its log has written, each at once and durably,
    pub log_groups: u64,
    /// and their bytes.
    pub log_size: u64,
}

impl ThreadLoad {
    /// The time it spent in turns of a category.
    pub fn of(&self, category: Category) -> Duration {
        self.by_category[category.index()]
    }

    /// The time it spent in turns.
    pub fn busy(&self) -> Duration {
        self.by_category.iter().sum()
    }

    /// The part of the time it was busy since an earlier look, from 0 to 1.
    pub fn fraction_since(&self, earlier: &ThreadLoad) -> f64 {
        let up = self.up.saturating_sub(earlier.up);
        if up.is_zero() {
            return 0.0;
        }
        let busy = self.busy().saturating_sub(earlier.busy());
        (busy.as_secs_f64() / up.as_secs_f64()).min(1.0)
    }
}

/// A thread that looks at the others now and then, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    _ends: Sender<()>,
}

/// A turn that was seen before.
struct Seen {
    turn: u64,
    since: Instant,
    /// How long it may go on before it is told again.
    next: Duration,
}

impl Watch {
    pub(crate) fn start(module: Arc<ModuleRuntime>, pulses: Vec<Arc<Pulse>>, stall: Duration) -> Watch {
        let (ends, ended) = channel::<()>();
        let look = LOOK.min(stall / 2).max(Duration::from_millis(1));
        let watching = std::thread::Builder::new().name("tantu-watch".to_string()).spawn(move || {
            let mut seen: Vec<Option<Seen>> = pulses.iter().map(|_| None).collect();
            while ended.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
                for ((thread, pulse), seen) in pulses.iter().enumerate().zip(&mut seen) {
                    look_at(thread, pulse.place(&module), seen, stall);
                }
            }
        });
        if let Err(error) = watching {
            tracing::warn!(%error, "nobody watches the task threads: stalls will not be told");
        }
        Watch { _ends: ends }
    }
}

/// Tells a turn that has gone on for too long, and again each time that has doubled.
fn look_at(thread: usize, place: Option<Place>, seen: &mut Option<Seen>, stall: Duration) {
    let Some(Place { turn, category, op }) = place else {
        *seen = None;
        return;
    };
    let now = Instant::now();
    match seen {
        Some(seen) if seen.turn == turn => {
            let since = now.duration_since(seen.since);
            if since >= seen.next {
                seen.next = since * 2;
                let (ms, category) = (since.as_millis() as u64, category.name());
                let op = op.unwrap_or_else(|| "the engine's own work".to_string());
                tracing::error!(thread, category, ms, op, "a task thread does not come back; everything on it waits");
            }
        }
        _ => *seen = Some(Seen { turn, since: now, next: stall }),
    }
}
