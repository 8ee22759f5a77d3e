//! The author's code panics where no event runs: in a client's read, when rows arrive, when variables are read. What it was for
//! fails, and the task thread goes on.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a story is a test, on the real machine")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tantu::base::value::{Decode, DecodeError, Encode, Reader};
use tantu::prelude::*;

const LONG: Duration = Duration::from_secs(60);

/// How many rows an aggregator of a microbatch panics at, before it does well.
static BAD_ROWS: AtomicI64 = AtomicI64::new(0);
static BAD_PARTIALS: AtomicI64 = AtomicI64::new(0);
/// How often a type of the author cannot be read.
static BAD_READS: AtomicI64 = AtomicI64::new(0);
/// The tests share them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
/// Whether the futures of a query may end.
static MAY_END: AtomicBool = AtomicBool::new(false);

fn panics_if_left(of: &AtomicI64) {
    let takes_one = of.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| (left > 0).then(|| left - 1)).is_ok();
    assert!(!takes_one, "planned");
}

/// A number that is written and read by the author's own code.
struct Moody(i64);

impl Encode for Moody {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Moody {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        panics_if_left(&BAD_READS);
        i64::decode(reader).map(Moody)
    }
}

impl Record for Moody {}

fn is_fine() -> NamedFn<i64, bool> {
    NamedFn::new("is_fine", |n| {
        assert!(n != 13, "13 is not");
        n > 0
    })
}

fn sum_of_moody_rows(n: Var<i64>) -> agg::AggOn<i64> {
    let sum = agg::accumulator(0i64, |sum: i64, (n,): (i64,)| {
        panics_if_left(&BAD_ROWS);
        sum + n
    });
    sum.of((n,))
}

fn count_with_moody_states(one: Var<i64>) -> agg::AggOn<i64> {
    let count = agg::combiner(0i64, |a: i64, b: i64| {
        if a > 0 && b > 1 {
            panics_if_left(&BAD_PARTIALS);
        }
        a + b
    });
    count.of(one)
}

struct Panics;

impl Module for Panics {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        setup.declare_function(&is_fine());
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
        let mut kept = topologies.stream("kept");
        let values = kept.pstate::<Map<i64, i64>>("$$values");
        kept.source(&numbers, |b, n| {
            b.hash_partition(n);
            b.local_transform(values, path().key(n).term_val(n));
        });
        let mut sums = topologies.microbatch("sums");
        let totals = sums.pstate::<Map<i64, i64>>("$$totals");
        sums.source(&numbers, |m, batch| {
            m.batch_block(|b| {
                let n = b.explode_microbatch(batch);
                let kind = b.each(n, |n| n % 4);
                let moody = b.each(n, Moody);
                b.shuffle_partition();
                let n = b.each(moody, |moody: &Moody| moody.0);
                // Rows meet this one where they arrive.
                let (kind, sum) = b.group_by(kind, |g| g.agg::<i64>(sum_of_moody_rows(n)));
                b.compound_agg(totals, agg::key(kind, agg::sum(sum)));
            });
        });
        let mut counts = topologies.microbatch("counts");
        let counted = counts.pstate::<Map<i64, i64>>("$$counted");
        counts.source(&numbers, |m, batch| {
            m.batch_block(|b| {
                let n = b.explode_microbatch(batch);
                let (kind, one) = (b.each(n, |n| n % 4), b.constant(1i64));
                // Rows are combined where they are; what was made of many meets its like where it arrives.
                let (kind, count) = b.group_by(kind, |g| g.agg::<i64>(count_with_moody_states(one)));
                b.compound_agg(counted, agg::key(kind, agg::sum(count)));
            });
        });
        topologies.query("sum", |q, (bad,): (Var<i64>,)| {
            q.all_partition();
            let n = q.local_select(values, path().map_vals());
            q.origin_partition();
            let sum = agg::accumulator(0i64, |sum: i64, (n, bad): (i64, i64)| {
                assert!(n != bad, "a bad row");
                sum + n
            });
            q.agg::<i64>(sum.of::<i64, _>((n, bad)))
        });
        topologies.query("product", |q, (bad,): (Var<i64>,)| {
            q.all_partition();
            let task = q.current_task_id();
            let n = q.each((task, bad), |(task, bad)| if task == bad { 1_000 } else { task + 1 });
            q.origin_partition();
            // Each task sends one: they meet when they arrive.
            let product = agg::combiner(1i64, |a: i64, b: i64| {
                assert!(a.max(b) < 1_000 || a.min(b) == 1, "a bad state");
                a * b
            });
            q.agg::<i64>(product.of::<i64, _>(n))
        });
        topologies.query("read", |q, (n,): (Var<i64>,)| {
            let moody = q.each(n, Moody);
            q.global_partition();
            let n = q.each(moody, |moody: &Moody| moody.0);
            q.origin_partition();
            n
        });
        declare_deep(topologies);
    }
}

/// Calls of a query within each other, the deepest of which waits.
fn declare_deep(topologies: &mut Topologies) {
    topologies.query("deep", |q, (n,): (Var<i64>,)| {
        let more = q.each(n, |n| n > 0);
        let value = q.if_else(
            more,
            |b| {
                let less = b.each(n, |n| n - 1);
                b.invoke_query::<_, i64>("deep", (less,))
            },
            |b| {
                b.each_async(n, |n| async move {
                    while !MAY_END.load(Ordering::Acquire) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Ok::<_, &str>(n)
                })
            },
        );
        q.origin_partition();
        value
    });
}

fn launched(threads: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Panics>(LaunchConfig { tasks: 4, threads, ..LaunchConfig::default() }).unwrap();
    cluster
}

fn append(cluster: &InProcessCluster, count: i64) {
    let numbers = cluster.depot::<i64>("Panics", "*numbers").unwrap();
    let made: Vec<_> = (0..count).map(|n| numbers.append_async(&n, AckLevel::Ack).unwrap()).collect();
    assert!(made.into_iter().all(|append| append.wait().is_ok()));
}

#[test]
fn a_declared_function_that_panics_fails_the_read_and_the_next_one_is_answered() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = launched(threads);
        append(&cluster, 20);
        let values = cluster.pstate::<Map<i64, i64>>("Panics", "$$values").unwrap();
        for _ in 0..3 {
            for n in 1..20i64 {
                let found = values.select(path().must(n).filter_named(&is_fine()));
                match n {
                    13 => {
                        let error = found.unwrap_err();
                        assert!(
                            matches!(&error, ClientError::ReadFailed(text) if text.contains("13 is not")),
                            "{error}"
                        );
                    }
                    _ => assert_eq!(found.unwrap(), [n]),
                }
            }
        }
        cluster.close().unwrap();
    }
}

#[test]
fn an_aggregator_that_panics_where_rows_arrive_fails_the_call() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = launched(threads);
        append(&cluster, 10);
        let sum = cluster.query::<(i64,), i64>("Panics", "sum").unwrap();
        let product = cluster.query::<(i64,), i64>("Panics", "product").unwrap();
        for _ in 0..3 {
            let error = sum.invoke(&(7,)).unwrap_err();
            assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("a bad row")), "{error}");
            let error = product.invoke(&(3,)).unwrap_err();
            assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("a bad state")), "{error}");
            assert_eq!((sum.invoke(&(-1,)).unwrap(), product.invoke(&(-1,)).unwrap()), (45, 24));
        }
        cluster.close().unwrap();
    }
}

#[test]
fn aggregators_and_types_that_panic_fail_the_attempt_and_its_records_are_tried_again() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = launched(threads);
        cluster.pause_microbatch_topology("Panics", "sums").unwrap();
        cluster.pause_microbatch_topology("Panics", "counts").unwrap();
        append(&cluster, 400);
        [&BAD_ROWS, &BAD_PARTIALS, &BAD_READS].iter().for_each(|of| of.store(2, Ordering::SeqCst));
        cluster.resume_microbatch_topology("Panics", "sums").unwrap();
        cluster.resume_microbatch_topology("Panics", "counts").unwrap();
        cluster.wait_for_microbatch_processed_count("Panics", "sums", 400, LONG).unwrap();
        cluster.wait_for_microbatch_processed_count("Panics", "counts", 400, LONG).unwrap();
        let left = [&BAD_ROWS, &BAD_PARTIALS, &BAD_READS].map(|of| of.load(Ordering::SeqCst));
        assert_eq!(left, [0, 0, 0]);
        let totals = cluster.pstate::<Map<i64, i64>>("Panics", "$$totals").unwrap();
        let counted = cluster.pstate::<Map<i64, i64>>("Panics", "$$counted").unwrap();
        for kind in 0..4i64 {
            let expected: i64 = (0..400).filter(|n| n % 4 == kind).sum();
            assert_eq!(totals.select_one(path().key(kind)).unwrap(), Some(expected));
            assert_eq!(counted.select_one(path().key(kind)).unwrap(), Some(100));
        }
        // The same where a query goes on elsewhere.
        let read = cluster.query::<(i64,), i64>("Panics", "read").unwrap();
        BAD_READS.store(1, Ordering::SeqCst);
        let failed = (0..8).filter(|n| read.invoke(&(*n,)).is_err()).count();
        assert_eq!((failed, read.invoke(&(8,)).unwrap()), (1, 8));
        cluster.close().unwrap();
    }
}

#[test]
fn a_deep_nest_of_calls_ends_with_the_outermost() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|error| error.into_inner());
    for threads in [1, 2] {
        let cluster = launched(threads);
        MAY_END.store(false, Ordering::Release);
        let calls = || cluster.client_work("Panics").unwrap().calls;
        let deep = cluster.query::<(i64,), i64>("Panics", "deep").unwrap();
        let call = deep.invoke_async(&(990,)).unwrap();
        let until = |what: &str, count: usize| {
            let began = Instant::now();
            while calls() != count {
                assert!(began.elapsed() < LONG, "{what}: {}", calls());
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        until("they wait for each other", 991);
        drop(call);
        until("they end together", 0);
        MAY_END.store(true, Ordering::Release);
        assert_eq!(deep.invoke(&(5,)).unwrap(), 0);
        cluster.close().unwrap();
    }
}
