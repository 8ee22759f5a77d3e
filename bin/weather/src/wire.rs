//! Simulated rings: a lane per (from, to, category), first in, first out, with delays.
//!
//! A lane keeps what the wire door promises (once, whole, in order) and nothing else: lanes overtake each other, a
//! lane may stand still for long, a full lane gives a batch back, and now and then one that is not full does too.
//! Letters to a peer that is gone are lost, as on a real ring.

use crate::chance::SimEntropy;
use crate::{Marks, Weather, mark};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use tantu_base::door::{LetterBatch, Nanos, Peer, Wire};
use tantu_base::id::Category;

/// How rings behave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireWeather {
    /// Batches a lane holds.
    pub lane_capacity: usize,
    /// How long a batch is under way, drawn evenly.
    pub delay_ns: Range<u64>,
    /// Batches that are under way for [`WireWeather::long_delay_ns`], per million.
    pub long_delay_ppm: u32,
    /// How long those are under way.
    pub long_delay_ns: Range<u64>,
    /// Batches given back though there is room, per million.
    pub refuse_ppm: u32,
    /// A promise broken, to see that a test notices: batches delivered twice, per million.
    pub twice_ppm: u32,
}

impl Default for WireWeather {
    /// Short random delays, wide lanes, no refusals.
    fn default() -> Self {
        Self {
            lane_capacity: 256,
            delay_ns: 100..20_000,
            long_delay_ppm: 0,
            long_delay_ns: 1_000_000..500_000_000,
            refuse_ppm: 0,
            twice_ppm: 0,
        }
    }
}

type Lanes = BTreeMap<Peer, VecDeque<(Nanos, LetterBatch)>>;

/// All rings of a simulated process. Cloning shares them.
#[derive(Clone, Debug)]
pub struct SimMesh {
    rings: Rc<RefCell<Rings>>,
}

#[derive(Debug)]
struct Rings {
    world: Weather,
    weather: WireWeather,
    chance: SimEntropy,
    /// By receiver and category, then by sender.
    lanes: BTreeMap<(Peer, Category), Lanes>,
    present: BTreeSet<Peer>,
    thread_count: u32,
    /// Clients that are gone, by the task threads that are not told yet.
    departed: BTreeMap<Peer, Vec<Peer>>,
    next_peer: u32,
    /// Batches sent so far, and the first of them that is lost with all that follow.
    sent_count: u64,
    stop_at: u64,
}

/// One peer's door to the rings.
#[derive(Debug)]
pub struct SimWire {
    mesh: SimMesh,
    peer: Peer,
}

impl SimMesh {
    /// Rings among task threads `0..thread_count`, which are present from the start, and clients that come later.
    pub fn new(world: &Weather, weather: WireWeather, thread_count: u32) -> Self {
        let rings = Rings {
            chance: world.entropy(),
            world: world.clone(),
            weather,
            lanes: BTreeMap::new(),
            present: (0..thread_count).map(Peer).collect(),
            thread_count,
            departed: BTreeMap::new(),
            next_peer: thread_count,
            sent_count: 0,
            stop_at: u64::MAX,
        };
        Self { rings: Rc::new(RefCell::new(rings)) }
    }

    /// The door of a task thread.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn thread(&self, index: u32) -> SimWire {
        let peer = Peer(index);
        assert!(self.rings.borrow().present.contains(&peer), "no peer {index}");
        SimWire { mesh: self.clone(), peer }
    }

    /// The door of a client that attaches now, with a number nobody had before.
    pub fn client(&self) -> SimWire {
        let mut rings = self.rings.borrow_mut();
        let peer = Peer(rings.next_peer);
        rings.next_peer += 1;
        rings.present.insert(peer);
        SimWire { mesh: self.clone(), peer }
    }

    /// Lets a peer go: what is under way to it, and what others send it later, is lost.
    pub fn leave(&self, peer: Peer) {
        let mut rings = self.rings.borrow_mut();
        rings.present.remove(&peer);
        let thread_count = rings.thread_count;
        for thread in (0..thread_count).filter(|_| peer.0 >= thread_count).map(Peer) {
            rings.departed.entry(thread).or_default().push(peer);
        }
        let lost: usize = rings
            .lanes
            .iter()
            .filter(|((to, _), _)| *to == peer)
            .flat_map(|(_, lanes)| lanes.values())
            .map(VecDeque::len)
            .sum();
        rings.world.marks.hit_many(mark::LOST_BATCH, lost as u64);
        rings.lanes.retain(|(to, _), _| *to != peer);
    }

    /// Changes delays and capacity from here on.
    pub fn set_weather(&self, weather: WireWeather) {
        self.rings.borrow_mut().weather = weather;
    }

    /// Lets nothing through from this batch on, counted from the first that was ever sent: the power goes there.
    pub fn stop_at(&self, batch: u64) {
        self.rings.borrow_mut().stop_at = batch;
    }

    /// Whether a batch was lost that way.
    pub fn has_stopped(&self) -> bool {
        let rings = self.rings.borrow();
        rings.sent_count > rings.stop_at
    }

    /// When the next batch for a peer can be received, if one is under way.
    pub fn next_due(&self, peer: Peer) -> Option<Nanos> {
        let rings = self.rings.borrow();
        let heads = rings.lanes.iter().filter(|((to, _), _)| *to == peer).flat_map(|(_, lanes)| lanes.values());
        heads.filter_map(|lane| lane.front().map(|(due, _)| *due)).min()
    }

    /// Which faults happened how often.
    pub fn marks(&self) -> Marks {
        self.rings.borrow().world.marks.clone()
    }

    /// Batches under way to anybody.
    pub fn in_flight_count(&self) -> usize {
        self.rings.borrow().lanes.values().flat_map(BTreeMap::values).map(VecDeque::len).sum()
    }
}

impl SimWire {
    /// Whose door it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// When the next batch can be received, if one is under way.
    pub fn next_due(&self) -> Option<Nanos> {
        self.mesh.next_due(self.peer)
    }

    /// Whether a lane to this peer is full.
    pub fn is_full(&self) -> bool {
        let rings = self.mesh.rings.borrow();
        let own = rings.lanes.iter().filter(|((to, _), _)| *to == self.peer);
        let mut lanes = own.flat_map(|(_, lanes)| lanes.values());
        lanes.any(|lane| lane.len() >= rings.weather.lane_capacity)
    }

    /// Leaves, and comes back as somebody nobody has seen before.
    pub fn come_anew(&mut self) {
        self.mesh.leave(self.peer);
        self.peer = self.mesh.client().peer;
    }
}

impl Wire for SimWire {
    fn send(&mut self, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        self.mesh.rings.borrow_mut().send(self.peer, to, category, batch)
    }

    fn receive(&mut self, category: Category) -> Option<(Peer, LetterBatch)> {
        self.mesh.rings.borrow_mut().receive(self.peer, category)
    }

    fn departed(&mut self) -> Option<Peer> {
        self.mesh.rings.borrow_mut().departed.get_mut(&self.peer)?.pop()
    }

    fn ring_bells(&mut self) {
        // Nobody sleeps here: the simulator looks at `next_due`.
        self.mesh.rings.borrow().world.trace.note(u64::from(self.peer.0));
    }
}

impl Rings {
    fn send(&mut self, from: Peer, to: Peer, category: Category, batch: LetterBatch) -> Result<(), LetterBatch> {
        if !self.present.contains(&to) {
            self.world.marks.hit(mark::LOST_BATCH);
            return Ok(());
        }
        let refused = self.chance.chance_ppm(self.weather.refuse_ppm);
        let long = self.chance.chance_ppm(self.weather.long_delay_ppm);
        let lane = self.lanes.entry((to, category)).or_default().entry(from).or_default();
        if lane.len() >= self.weather.lane_capacity || refused {
            self.world.marks.hit(if refused { mark::REFUSED_BATCH } else { mark::FULL_RING });
            return Err(batch);
        }
        self.sent_count += 1;
        if self.sent_count > self.stop_at {
            self.world.marks.hit(mark::LOST_BATCH);
            return Ok(());
        }
        if long {
            self.world.marks.hit(mark::DELAYED_BATCH);
        }
        let delay = if long { self.weather.long_delay_ns.clone() } else { self.weather.delay_ns.clone() };
        let due = Nanos(self.world.clock.time().0 + self.chance.within(delay));
        let due = lane.back().map_or(due, |(before, _)| due.max(*before));
        let trace = &self.world.trace;
        trace.note(
            u64::from(from.0) | u64::from(to.0) << 16 | (category.index() as u64) << 32 | u64::from(batch.count) << 40,
        );
        trace.note_bytes(&batch.bytes);
        if self.chance.chance_ppm(self.weather.twice_ppm) {
            lane.push_back((due, batch.clone()));
        }
        lane.push_back((due, batch));
        Ok(())
    }

    fn receive(&mut self, to: Peer, category: Category) -> Option<(Peer, LetterBatch)> {
        let now = self.world.clock.time();
        let lanes = self.lanes.get_mut(&(to, category))?;
        let arrived = lanes.iter().filter(|(_, lane)| lane.front().is_some_and(|(due, _)| *due <= now));
        let senders: Vec<Peer> = arrived.map(|(from, _)| *from).collect();
        if senders.is_empty() {
            return None;
        }
        let from = *self.chance.pick(&senders);
        let (_, batch) = lanes.get_mut(&from).and_then(VecDeque::pop_front).expect("invariant: a batch has arrived");
        self.world.trace.note(u64::from(to.0) << 32 | u64::from(from.0));
        Some((from, batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u32) -> LetterBatch {
        LetterBatch { bytes: number.to_le_bytes().to_vec(), count: 1 }
    }

    fn number(batch: &LetterBatch) -> u32 {
        u32::from_le_bytes(batch.bytes[..].try_into().unwrap())
    }

    fn storm() -> WireWeather {
        WireWeather { lane_capacity: 5, long_delay_ppm: 50_000, refuse_ppm: 50_000, ..WireWeather::default() }
    }

    /// Three senders send 200 numbers each to one receiver; what arrived, in order, by sender.
    fn exchange(seed: u64, world: &Weather) -> Vec<(Peer, u32)> {
        let mesh = SimMesh::new(world, storm(), 3);
        let mut chance = SimEntropy::new(seed);
        let mut doors: Vec<SimWire> = vec![mesh.thread(0), mesh.thread(1), mesh.thread(2), mesh.client()];
        let (mut next, mut received) = ([0u32; 3], Vec::new());
        while received.len() < 600 {
            let from = chance.below(3) as usize;
            if next[from] < 200 && doors[from].send(Peer(3), Category::Client, batch(next[from])).is_ok() {
                next[from] += 1;
            }
            if chance.percent(40) {
                received.extend(doors[3].receive(Category::Client).map(|(from, batch)| (from, number(&batch))));
                assert!(doors[3].receive(Category::LowLatency).is_none());
            }
            world.clock.advance(1_000);
            if chance.percent(1) {
                doors[3].next_due().into_iter().for_each(|due| world.clock.advance_to(due));
            }
        }
        assert_eq!(mesh.in_flight_count(), 0);
        received
    }

    #[test]
    fn a_lane_delivers_once_and_in_order_while_lanes_overtake_each_other() {
        let world = Weather::new(1);
        let received = exchange(1, &world);
        for from in 0..3 {
            let lane: Vec<u32> =
                received.iter().filter(|(peer, _)| *peer == Peer(from)).map(|(_, number)| *number).collect();
            assert!(lane.into_iter().eq(0..200));
        }
        assert!(
            received.windows(2).any(|pair| pair[0].0 > pair[1].0)
                && received.windows(2).any(|pair| pair[0].0 < pair[1].0)
        );
        world.marks.assert_all_hit(&[mark::FULL_RING, mark::REFUSED_BATCH, mark::DELAYED_BATCH]);
    }

    #[test]
    fn the_same_seed_delivers_in_the_same_order() {
        let (one, two, other) = (Weather::new(5), Weather::new(5), Weather::new(6));
        assert_eq!(exchange(5, &one), exchange(5, &two));
        assert_eq!(one.trace.hash(), two.trace.hash());
        exchange(6, &other);
        assert_ne!(one.trace.hash(), other.trace.hash());
    }

    #[test]
    fn from_the_batch_at_which_the_power_goes_nothing_arrives() {
        let world = Weather::new(3);
        let mesh = SimMesh::new(&world, WireWeather::default(), 2);
        mesh.stop_at(3);
        let (mut from, mut to) = (mesh.thread(0), mesh.thread(1));
        for number in 0..5 {
            assert_eq!(mesh.has_stopped(), number > 3);
            from.send(Peer(1), Category::LowLatency, batch(number)).unwrap();
        }
        world.clock.advance(1_000_000);
        let received: Vec<u32> =
            std::iter::from_fn(|| to.receive(Category::LowLatency)).map(|(_, batch)| number(&batch)).collect();
        assert_eq!(received, [0, 1, 2]);
    }

    #[test]
    fn letters_to_a_peer_that_left_are_lost_and_numbers_are_not_used_again() {
        let world = Weather::new(2);
        let mesh = SimMesh::new(&world, WireWeather::default(), 1);
        let client = mesh.client();
        assert_eq!(client.peer(), Peer(1));
        let mut thread = mesh.thread(0);
        thread.send(Peer(1), Category::Client, batch(1)).unwrap();
        let mut client = client;
        client.come_anew();
        thread.send(Peer(1), Category::Client, batch(2)).unwrap();
        assert_eq!(client.peer(), Peer(2));
        assert_eq!((thread.departed(), thread.departed()), (Some(Peer(1)), None));
        assert_eq!(mesh.in_flight_count(), 0);
        assert_eq!(world.marks.count(mark::LOST_BATCH), 2);
        for number in 0..WireWeather::default().lane_capacity as u32 {
            assert!(!client.is_full());
            thread.send(Peer(2), Category::Client, batch(number)).unwrap();
        }
        assert!(client.is_full());
    }
}
