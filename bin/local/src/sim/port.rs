//! A client's port into the simulated process: waiting on it lets the process go on.
//!
//! A connection may be sent to another thread, and a simulation may not: so a port names its client by a number, and the
//! world is found where it lives, on its own thread.

use crate::sim::world::{Arrival, World};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tantu_base::door::{Clock, LetterBatch, Peer};
use tantu_base::id::Category;
use tantu_client::{ReceiveHalf, SendHalf};
use tantu_weather::SimClock;

/// A world and its clock, which the author's code may ask for while the world is stepped.
type Lived = (Rc<RefCell<World>>, SimClock);

thread_local! {
    static WORLD: RefCell<Option<Lived>> = const { RefCell::new(None) };
}

/// Milliseconds since the Unix epoch in the simulation that runs on this thread, if one does.
pub fn simulated_wall_ms() -> Option<u64> {
    WORLD.with_borrow(|lived| lived.as_ref().map(|(_, clock)| clock.wall_ms()))
}

/// The world of this thread, as long as this lives.
pub(crate) struct Entered(());

impl Entered {
    /// Enters a world.
    ///
    /// # Panics
    /// If the thread is in one already.
    pub(crate) fn new(world: &Rc<RefCell<World>>) -> Self {
        let clock = world.borrow().weather().clock.clone();
        let before = WORLD.replace(Some((Rc::clone(world), clock)));
        assert!(before.is_none(), "a story cannot tell another story");
        Self(())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        WORLD.set(None);
    }
}

fn world<T>(act: impl FnOnce(&mut World) -> T) -> Option<T> {
    let world = WORLD.with_borrow(|lived| lived.as_ref().map(|(world, _)| Rc::clone(world)))?;
    Some(act(&mut world.borrow_mut()))
}

/// Either half of a client's port.
#[derive(Debug)]
pub(crate) struct SimPort {
    pub(crate) client: usize,
}

impl SendHalf for SimPort {
    fn send(&mut self, to: Peer, _: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        // A handle that outlives its story has nobody to send to.
        world(|world| world.send(self.client, to, batch)).unwrap_or(Ok(()))
    }

    fn ring_bells(&mut self) {}
}

impl ReceiveHalf for SimPort {
    fn receive_any(&mut self) -> Option<Arrival> {
        world(|world| world.receive(self.client)).flatten()
    }

    fn wait(&mut self, timeout: Duration) {
        let waited = world(|world| world.wait(self.client, timeout));
        assert!(waited.is_some(), "a simulated cluster is used on the thread of its story, and while it is told");
    }
}
