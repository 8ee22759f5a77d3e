//! The mesh with real threads: order, fairness, back-pressure, arrivals and departures, sleep.

use crate::mesh::{Mesh, RECEIVE_BURST_COUNT, RING_CAPACITY};
use crate::{Bell, ThreadPort};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tantu_base::door::{LetterBatch, Peer, Wire};
use tantu_base::id::Category;

const CLIENT: Category = Category::Client;

fn letter(n: u64) -> LetterBatch {
    LetterBatch { bytes: n.to_le_bytes().to_vec(), count: 1 }
}

fn number(batch: &LetterBatch) -> u64 {
    u64::from_le_bytes(batch.bytes[..].try_into().unwrap())
}

#[derive(Default)]
struct TestBell {
    rung: Mutex<u32>,
    changed: Condvar,
}

impl TestBell {
    /// Panics when nobody rings for a long time: a lost wake-up.
    fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let (mut rung, late) =
            self.changed.wait_timeout_while(rung, Duration::from_secs(20), |rung| *rung == 0).unwrap();
        assert!(!late.timed_out(), "a wake-up was lost");
        *rung = 0;
    }
}

impl Bell for TestBell {
    fn ring(&self) {
        *self.rung.lock().unwrap() += 1;
        self.changed.notify_one();
    }
}

fn with_bell(port: &ThreadPort) -> Arc<TestBell> {
    let bell = Arc::new(TestBell::default());
    port.set_bell(bell.clone());
    bell
}

#[test]
fn every_category_and_every_pair_has_its_own_order() {
    let (_mesh, mut ports) = Mesh::new(3);
    for n in 0..10 {
        for category in Category::ALL {
            for from in 0..3 {
                for to in 0..3 {
                    let value = n * 100 + category.index() as u64 * 10 + from as u64;
                    ports[from].send(Peer(to), category, letter(value)).unwrap();
                }
            }
        }
    }
    for port in &mut ports {
        for category in Category::ALL {
            let mut next = [0; 3];
            while let Some((peer, batch)) = port.receive(category) {
                let from = peer.0 as usize;
                assert_eq!(number(&batch), next[from] * 100 + category.index() as u64 * 10 + u64::from(peer.0));
                next[from] += 1;
            }
            assert_eq!(next, [10; 3], "{category:?}");
        }
        assert!(!port.has_letters());
    }
}

#[test]
fn a_full_ring_gives_the_batch_back_even_to_oneself() {
    let (_mesh, mut ports) = Mesh::new(2);
    for to in [0, 1] {
        for n in 0..RING_CAPACITY as u64 {
            ports[0].send(Peer(to), CLIENT, letter(n)).unwrap();
        }
        assert_eq!(ports[0].send(Peer(to), CLIENT, letter(7)), Err(letter(7)));
        ports[0].send(Peer(to), Category::LowLatency, letter(8)).unwrap();
        assert_eq!(ports[to as usize].receive(CLIENT), Some((Peer(0), letter(0))));
        ports[0].send(Peer(to), CLIENT, letter(9)).unwrap();
    }
}

#[test]
fn a_busy_source_cannot_starve_the_others() {
    let (mesh, mut ports) = Mesh::new(1);
    let mut clients: Vec<_> = (0..4).map(|_| mesh.attach()).collect();
    for client in &mut clients[1..] {
        client.send(Peer(0), CLIENT, letter(1)).unwrap();
    }
    ports[0].send(Peer(0), CLIENT, letter(1)).unwrap();
    for n in 0..200 {
        clients[0].send(Peer(0), CLIENT, letter(n)).unwrap();
    }
    let order: Vec<u32> = std::iter::from_fn(|| ports[0].receive(CLIENT)).map(|(peer, _)| peer.0).collect();
    assert_eq!(order.len(), 204);
    let last_quiet = order.iter().rposition(|peer| *peer != 1).unwrap();
    assert!(last_quiet < RECEIVE_BURST_COUNT + 4, "{order:?}");
}

#[test]
fn a_port_attaches_while_the_thread_runs_and_is_forgotten_after_it_left() {
    let (mesh, mut ports) = Mesh::new(2);
    let mut port = ports.remove(0);
    assert_eq!(port.known_ports(), (1, 1));
    let mut first = mesh.attach();
    let second = mesh.attach();
    assert_eq!((first.peer(), second.peer()), (Peer(2), Peer(3)));
    first.send(Peer(0), CLIENT, letter(1)).unwrap();
    first.send(Peer(0), CLIENT, letter(2)).unwrap();
    assert!(port.has_letters());
    assert_eq!(port.receive(CLIENT), Some((Peer(2), letter(1))));
    port.send(Peer(2), CLIENT, letter(10)).unwrap();
    assert_eq!(first.receive_any(), Some((Peer(0), CLIENT, letter(10))));
    assert_eq!(port.known_ports(), (3, 3));
    assert_eq!(port.departed(), None);
    drop(first);
    drop(second);
    assert_eq!(port.receive(CLIENT), Some((Peer(2), letter(2))), "what was sent before leaving still arrives");
    let mut departed: Vec<Peer> = std::iter::from_fn(|| port.departed()).collect();
    departed.sort_unstable();
    assert_eq!(departed, [Peer(2), Peer(3), Peer(3)], "at once, and when nothing of them is left");
    assert_eq!(port.receive(CLIENT), None);
    assert_eq!((port.departed(), port.departed()), (Some(Peer(2)), None));
    assert_eq!(port.known_ports(), (1, 1));
    port.send(Peer(2), CLIENT, letter(11)).unwrap();
    assert_eq!(mesh.attach().peer(), Peer(4), "numbers are never used again");
}

#[test]
fn a_thread_answers_a_port_it_only_heard_of_from_another_thread() {
    let (mesh, mut ports) = Mesh::new(2);
    let mut client = mesh.attach();
    client.send(Peer(0), CLIENT, letter(1)).unwrap();
    let (from, _) = ports[0].receive(CLIENT).unwrap();
    ports[1].send(from, CLIENT, letter(2)).unwrap();
    assert_eq!(client.receive(CLIENT), Some((Peer(1), letter(2))));
}

#[test]
fn a_port_sees_that_a_thread_is_gone_and_never_blocks_on_it() {
    let (mesh, mut ports) = Mesh::new(2);
    let mut before = mesh.attach();
    ports.pop();
    let mut after = mesh.attach();
    for client in [&mut before, &mut after] {
        assert!(client.is_thread_gone(Peer(1)) && !client.is_thread_gone(Peer(0)));
        for n in 0..2 * RING_CAPACITY as u64 {
            client.send(Peer(1), CLIENT, letter(n)).unwrap();
        }
        client.ring_bells();
    }
    for n in 0..2 * RING_CAPACITY as u64 {
        ports[0].send(Peer(1), CLIENT, letter(n)).unwrap();
    }
}

#[test]
fn a_waiting_port_wakes_when_a_thread_ends() {
    let (mesh, mut ports) = Mesh::new(1);
    let mut client = mesh.attach();
    let port = ports.pop().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(move || {
            while !client.is_thread_gone(Peer(0)) {
                client.wait(Duration::from_secs(20));
            }
        });
        std::thread::yield_now();
        drop(port);
        waiting.join().unwrap();
    });
}

#[test]
fn a_wait_ends_with_its_time() {
    let (mesh, _ports) = Mesh::new(1);
    assert!(!mesh.attach().wait(Duration::from_millis(20)));
}

#[test]
fn two_threads_that_sleep_after_each_letter_lose_no_wake_up() {
    const ROUNDS: u64 = 20_000;
    let (_mesh, mut ports) = Mesh::new(2);
    let bells: Vec<_> = ports.iter().map(with_bell).collect();
    ports[0].send(Peer(1), CLIENT, letter(0)).unwrap();
    std::thread::scope(|threads| {
        for (mut port, bell) in ports.into_iter().zip(bells) {
            threads.spawn(move || {
                loop {
                    if let Some((peer, batch)) = port.receive(CLIENT) {
                        let n = number(&batch);
                        if n <= ROUNDS {
                            port.send(peer, CLIENT, letter(n + 1)).unwrap();
                            port.ring_bells();
                        }
                        if n >= ROUNDS {
                            break;
                        }
                    } else if port.lie_down() {
                        bell.wait();
                        port.get_up();
                    }
                }
            });
        }
    });
}

/// An echo thread; it ends when told to.
fn echo(mut port: ThreadPort, bell: &TestBell, stop: &AtomicBool) {
    let mut held: Option<(Peer, LetterBatch)> = None;
    while !stop.load(Ordering::Relaxed) {
        let mut busy = false;
        while let Some((peer, batch)) = held.take().or_else(|| port.receive(CLIENT)) {
            busy = true;
            if let Err(batch) = port.send(peer, CLIENT, batch) {
                held = Some((peer, batch));
                break;
            }
        }
        port.ring_bells();
        if held.is_some() {
            std::thread::yield_now();
        } else if !busy && port.lie_down() {
            bell.wait();
            port.get_up();
        }
    }
}

#[test]
fn ports_come_talk_and_go_while_the_threads_sleep_and_wake() {
    const ROUNDS: u64 = 60;
    const LETTERS: u64 = 400;
    let (mesh, ports) = Mesh::new(2);
    let bells: Vec<_> = ports.iter().map(with_bell).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for (port, bell) in ports.into_iter().zip(&bells) {
            let stop = &stop;
            threads.spawn(move || echo(port, bell, stop));
        }
        let talkers: Vec<_> = (0..6)
            .map(|_| {
                let mesh = mesh.clone();
                threads.spawn(move || (0..ROUNDS).for_each(|_| talk(&mesh, LETTERS)))
            })
            .collect();
        for talker in talkers {
            talker.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        bells.iter().for_each(|bell| bell.ring());
    });
}

/// Sends to both threads, 50 in flight at most, and checks that each echoes in order.
fn talk(mesh: &Mesh, letters: u64) {
    let mut client = mesh.attach();
    let (mut sent, mut got) = (0, [0; 2]);
    while got[0] + got[1] < letters {
        while sent < letters && sent - got[0] - got[1] < 50 {
            client.send(Peer((sent % 2) as u32), CLIENT, letter(sent / 2)).unwrap();
            sent += 1;
        }
        client.ring_bells();
        while let Some((peer, category, batch)) = client.receive_any() {
            assert_eq!((category, number(&batch)), (CLIENT, got[peer.0 as usize]));
            got[peer.0 as usize] += 1;
        }
        // With nothing in flight nothing would come.
        if got[0] + got[1] < sent {
            client.wait(Duration::from_secs(20));
        }
    }
}

#[test]
fn the_halves_of_a_port_work_on_two_threads_and_leave_one_by_one() {
    let (mesh, mut ports) = Mesh::new(1);
    let (mut sender, mut receiver) = mesh.attach().split();
    let receiving = std::thread::spawn(move || {
        let mut got = 0;
        while got < 100 {
            match receiver.receive_any() {
                Some((_, _, batch)) => {
                    assert_eq!(number(&batch), got);
                    got += 1;
                }
                None => drop(receiver.wait(Duration::from_secs(20))),
            }
        }
    });
    for n in 0..100 {
        sender.send(Peer(0), CLIENT, letter(n)).unwrap();
        let (peer, batch) = ports[0].receive(CLIENT).unwrap();
        ports[0].send(peer, CLIENT, batch).unwrap();
        ports[0].ring_bells();
    }
    receiving.join().unwrap();
    assert_eq!(ports[0].receive(CLIENT), None);
    assert_eq!(ports[0].known_ports(), (0, 1), "only the receiving half left");
    drop(sender);
    assert_eq!(ports[0].receive(CLIENT), None);
    assert_eq!(ports[0].known_ports(), (0, 0));
}

/// Prints batches per second from one thread to another; run by hand in release mode.
#[test]
#[ignore = "a measurement, not a check"]
fn throughput_of_one_ring_of_the_mesh() {
    const COUNT: u64 = 50_000_000;
    for port_count in [0, 16] {
        let (mesh, mut ports) = Mesh::new(2);
        let _clients: Vec<_> = (0..port_count).map(|_| mesh.attach()).collect();
        let mut to = ports.pop().unwrap();
        let mut from = ports.pop().unwrap();
        #[allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
        let start = std::time::Instant::now();
        std::thread::scope(|threads| {
            threads.spawn(move || {
                for n in 0..COUNT {
                    while from.send(Peer(1), CLIENT, LetterBatch::default()).is_err() {
                        std::hint::spin_loop();
                    }
                    if n % 16 == 0 {
                        from.ring_bells();
                    }
                }
            });
            let mut got = 0;
            while got < COUNT {
                match to.receive(CLIENT) {
                    Some(_) => got += 1,
                    None => std::hint::spin_loop(),
                }
            }
        });
        let rate = COUNT as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!("{port_count} idle client ports: {rate:.1} M batches/s");
    }
}

#[test]
fn an_emptied_buffer_comes_back_to_its_sender_unless_it_is_large_or_there_are_enough() {
    let (_mesh, mut ports) = Mesh::new(2);
    let (mut a, mut b) = (ports.remove(0), ports.remove(0));
    for to_itself in [false, true] {
        let (from, to) = if to_itself { (Peer(0), Peer(0)) } else { (Peer(0), Peer(1)) };
        let mut pass = |size: usize| {
            a.send(to, CLIENT, LetterBatch { bytes: Vec::with_capacity(size), count: 1 }).unwrap();
            let receiver = if to_itself { &mut a } else { &mut b };
            let (peer, batch) = receiver.receive(CLIENT).unwrap();
            assert_eq!(peer, from);
            receiver.give_back(peer, CLIENT, batch.bytes);
        };
        pass(1 << 20);
        (0..40).for_each(|_| pass(100));
        let back = std::iter::from_fn(|| Some(a.buffer(to, CLIENT)).filter(|bytes| bytes.capacity() > 0));
        let back: Vec<_> = back.collect();
        assert_eq!(back.len(), 16, "to itself: {to_itself}");
        assert!(back.iter().all(|bytes| bytes.is_empty() && bytes.capacity() < 1 << 16));
    }
}
