//! Falling asleep without missing a letter.
//!
//! A receiver *lies down*: it raises its `asleep` flag, fences, looks at its rings once more, and only then
//! sleeps. A sender publishes, fences ([`announce`](crate::announce)), looks at the flag, and rings only if it
//! is up. Of the two fences one comes first, so that either the receiver sees the letter or the sender sees the
//! flag. The sender that lowers the flag is the one that rings: a sleep costs one ring, however many send.

use crate::mail::Mail;
use crate::sync::{AtomicBool, Ordering, fence};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Wakes one sleeping peer. A ring before the sleep must not be lost: it ends the next sleep at once.
pub trait Bell: Send + Sync {
    /// Rings.
    fn ring(&self);
}

/// One peer's sleep, and which of its rings may hold something, as those who send to it see it.
#[derive(Default)]
pub struct Sleeper {
    /// See [`Mail`].
    pub mail: Mail,
    asleep: AtomicBool,
    bell: OnceLock<Arc<dyn Bell>>,
}

impl Sleeper {
    /// An awake peer without a bell: it cannot sleep before it has one.
    pub fn new() -> Self {
        Self { mail: Mail::default(), asleep: AtomicBool::new(false), bell: OnceLock::new() }
    }

    /// Gives the peer its bell.
    ///
    /// # Panics
    /// If it has one already.
    pub fn set_bell(&self, bell: Arc<dyn Bell>) {
        assert!(self.bell.set(bell).is_ok(), "a peer has one bell");
    }

    /// The receiver's half of the protocol. With `true` it may now sleep until its bell rings; with `false`
    /// something has come and it stays awake.
    ///
    /// # Panics
    /// Without a bell.
    pub fn lie_down(&self, has_come: impl FnOnce() -> bool) -> bool {
        assert!(self.bell.get().is_some(), "a peer without a bell would never wake up");
        // A read-modify-write joins the flag's own order: it follows, or is followed by, every sender's look at it.
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if has_come() {
            self.get_up();
            return false;
        }
        true
    }

    /// After a sleep, and whenever the receiver stays awake after all.
    pub fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// The sender's half: rings if the peer sleeps. The sender has published and called
    /// [`announce`](crate::announce) before.
    #[inline]
    pub fn wake(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

impl fmt::Debug for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleeper")
    }
}

/// The bell of an ordinary thread.
#[derive(Debug, Default)]
pub struct ThreadBell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl ThreadBell {
    /// Blocks until the bell was rung since the last wait, or the time is over.
    pub fn wait(&self, timeout: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) =
            self.changed.wait_timeout_while(rung, timeout, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

impl Bell for ThreadBell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}
