//! All the rings of one process.
//!
//! Task threads are peers `0..thread_count` and get their [`ThreadPort`]s when the mesh is made; foreign threads
//! attach while the task threads run and get the numbers after them, each number once. Attaching leaves the
//! thread's ends of the new rings at its *desk*, behind a mutex the thread takes only when the desk's generation
//! has moved.

use crate::bell::Sleeper;
use crate::client_port::ClientPort;
use crate::lane::Lane;
use crate::link::{Link, LinkEnd, Links};
use crate::sync::Padded;
use crate::thread_port::ThreadPort;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tantu_base::door::Peer;
use tantu_base::id::Category;

/// Batches one ring holds, and batches a thread may have sent to itself, per category.
pub const RING_CAPACITY: usize = 256;
/// Batches a receiver takes from one source before it looks at the next.
pub const RECEIVE_BURST_COUNT: usize = 8;

const _: () = assert!(RING_CAPACITY.is_power_of_two());
const _: () = assert!(RECEIVE_BURST_COUNT > 0 && RECEIVE_BURST_COUNT < RING_CAPACITY);

/// A task thread's ends of the rings to and from a port that has attached.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: Peer,
    pub(crate) link: Link,
    pub(crate) ends: LinkEnd,
}

/// A task thread as foreign threads see it.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) sleeper: Arc<Sleeper>,
    arrivals: Mutex<Vec<Arrival>>,
    generation: AtomicU64,
    gone: AtomicBool,
}

impl Desk {
    /// Moves with every arrival and departure.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals())
    }

    /// Dropped at once if the thread has ended, so that the port sees nobody receives.
    fn leave(&self, arrival: Arrival) {
        let mut arrivals = self.arrivals();
        if !self.is_gone() {
            arrivals.push(arrival);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the thread that a port has dropped its ends.
    pub(crate) fn note_departure(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        crate::announce();
        self.sleeper.wake();
    }

    /// The thread has ended; what still lay here is its last.
    pub(crate) fn close(&self) -> Vec<Arrival> {
        let mut arrivals = self.arrivals();
        self.gone.store(true, Ordering::Release);
        std::mem::take(&mut *arrivals)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
pub(crate) struct Desks {
    pub(crate) desks: Box<[Padded<Desk>]>,
    peer_next: AtomicU32,
}

/// All the rings of one process; cloned as a handle to attach to it.
#[derive(Clone, Debug)]
pub struct Mesh {
    shared: Arc<Desks>,
}

impl Mesh {
    /// A mesh of so many task threads, and the port of each.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(thread_count: u32) -> (Mesh, Vec<ThreadPort>) {
        assert!(thread_count > 0, "a mesh has at least one thread");
        let desks = (0..thread_count).map(|_| Padded::default()).collect();
        let shared = Arc::new(Desks { desks, peer_next: AtomicU32::new(thread_count) });
        let mut lanes: Vec<_> =
            (0..thread_count).map(|n| Category::ALL.map(|category| Lane::new(Peer(n), category))).collect();
        let mut links: Vec<_> = (0..thread_count).map(|_| Links::default()).collect();
        for from in 0..thread_count {
            for to in (0..thread_count).filter(|to| *to != from) {
                let sleeper = Arc::clone(&shared.desks[to as usize].sleeper);
                let (link, ends) = Link::new(Peer(from), Peer(to), sleeper);
                links[from as usize].add(link);
                for (lane, end) in lanes[to as usize].iter_mut().zip(ends) {
                    lane.add(Peer(from), end);
                }
            }
        }
        let ports = (0..thread_count)
            .zip(lanes.into_iter().zip(links))
            .map(|(n, (lanes, links))| ThreadPort::new(Arc::clone(&shared), n, lanes, links))
            .collect();
        (Mesh { shared }, ports)
    }

    /// How many task threads there are.
    pub fn thread_count(&self) -> u32 {
        u32::try_from(self.shared.desks.len()).expect("invariant: made from a u32")
    }

    /// A port for a foreign thread, a peer with a number of its own that is never used again. It may be attached
    /// at any time; dropping it detaches.
    ///
    /// # Panics
    /// When all the 2^32 numbers were used.
    pub fn attach(&self) -> ClientPort {
        let peer = Peer(self.shared.peer_next.fetch_add(1, Ordering::Relaxed));
        assert!(peer.0 >= self.thread_count(), "all peer numbers are used");
        let sleeper = Arc::new(Sleeper::new());
        let mut lanes = Category::ALL.map(|category| Lane::new(peer, category));
        let mut links = Links::default();
        for (n, desk) in (0..).zip(self.shared.desks.iter()) {
            let (to_thread, thread_ends) = Link::new(peer, Peer(n), Arc::clone(&desk.sleeper));
            let (to_port, port_ends) = Link::new(Peer(n), peer, Arc::clone(&sleeper));
            links.add(to_thread);
            for (lane, end) in lanes.iter_mut().zip(port_ends) {
                lane.add(Peer(n), end);
            }
            desk.leave(Arrival { peer, link: to_port, ends: thread_ends });
        }
        ClientPort::new(&self.shared, peer, sleeper, lanes, links)
    }
}
