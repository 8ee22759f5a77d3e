//! A simulation in which the author's closures panic, one of each kind somewhere, and a topology is paused and goes on: what is
//! counted exactly is counted exactly all the same.

use std::collections::BTreeMap;
use std::time::Duration;
use tantu_base::value::Value;
use tantu_client::{AckLevel, ClientError};
use tantu_flow::{
    DepotRef, Module, PStateOptions, Setup, SourceOptions, StartFrom, StreamEmit, Topologies, Var, hash_by,
};
use tantu_local::sim::{Sim, Told, seeds};
use tantu_path::{Custom, CustomNav, List, Map, NamedFn, Navigate, Rebuilt, Visited, agg, path};

fn is_odd() -> NamedFn<i64, bool> {
    NamedFn::new("is_odd", |n: i64| n % 2 == 1)
}

/// The value itself.
struct Here;

impl CustomNav for Here {
    fn select(&self, at: &Value, next: &mut dyn FnMut(&Value) -> Visited) -> Visited {
        next(at)
    }

    fn transform(&self, at: Option<Value>, next: &mut dyn FnMut(Option<Value>) -> Rebuilt) -> Rebuilt {
        next(at)
    }
}

/// A stream that counts the numbers at least once, with closures of the kinds that it has.
fn declare_loose(numbers: &DepotRef<i64>, topologies: &mut Topologies) {
    let mut loose = topologies.stream("loose");
    let seen = loose.pstate::<Map<i64, i64>>("$$seen");
    let last = loose.pstate::<Map<i64, List<i64>>>("$$last");
    let most = agg::combiner(0i64, |a: i64, b: i64| a.max(b));
    let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
    let returns = all.aggregate_returns(move |n: Var<i64>| most.of::<i64, _>(n));
    loose.source_with(numbers, returns, |b, n| {
        let answer = b.each_async(n, |n| async move { Ok::<_, &str>(n) });
        let odd = b.out_stream::<i64>("odd");
        let (even, odd) = b.emits_streams(answer, odd, move |n, out: &mut StreamEmit<'_, i64>| match n % 2 {
            0 => out.owned(n),
            _ => out.owned_on(odd, n),
        });
        let even = b.anchor(even);
        let odd = b.hook(&odd);
        let odd = b.anchor(odd);
        let n = b.unify([even, odd]);
        b.hash_partition(n);
        b.local_transform(
            seen,
            path().key(n).null_to_val(0).custom_nav::<i64>(Custom::new("here", Here)).term(|count: i64| count + 1),
        );
        let best = agg::top_monotonic::<i64>(2).id(|n: i64| n).sort_val(|n: i64| -n);
        b.compound_agg(last, agg::key(n, best.of(n)));
        b.ack_return(n);
    });
}

/// Numbers are counted and added up, with a closure of each kind on the way.
struct Everything;

impl Module for Everything {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        setup.declare_function(&is_odd());
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
        declare_loose(&numbers, topologies);
        let mut exact = topologies.microbatch("exact");
        let spread = |key: &i64, count: u32| key % i64::from(count);
        let sums = exact.pstate_partitioned::<Map<i64, i64>>("$$sums", PStateOptions::default(), spread);
        let counts = exact.pstate::<Map<i64, i64>>("$$counts");
        let groups = exact.pstate::<Map<i64, i64>>("$$groups");
        exact.source_from(&numbers, StartFrom::Beginning, |m, batch| {
            let before = m.anchor(());
            let n = m.explode_microbatch(batch);
            let kind = m.switch(n).case(|n| n % 2 == 0, |b| b.constant(0i64)).otherwise(|b| b.constant(1i64));
            let n = m.explode(n, |n| vec![n]);
            let text = m.each(n, |n| n.to_string());
            let text = m.unfold(text, true, |text: &str, is_first| std::mem::take(is_first).then_some(text));
            m.assert(text, |text| !text.is_empty(), "a number without digits");
            let next = m.each_async(n, |n| async move { Ok::<_, &str>(n + 1) });
            m.custom_partition(n, |count, n| (n + 1) % i64::from(count));
            let twice: Var<i64> = m.invoke_query("double", (next,));
            m.path_partition(sums, &path().key(kind));
            m.compound_agg(sums, agg::key(kind, agg::combiner(0i64, |a, b| a + b).of(twice)));
            m.hash_partition(n);
            m.local_transform(counts, path().key(n).null_to_val(0).term(|count: i64| count + 1));
            m.hook(&before);
            m.batch_block(|b| {
                let n = b.explode_microbatch(batch);
                let kind = b.each(n, |n| n % 3);
                let sum = agg::accumulator(0i64, |sum: i64, (n,): (i64,)| sum + n);
                let (kind, sum) = b.group_by(kind, |g| g.agg::<i64>(sum.of::<i64, _>((n,))));
                b.compound_agg(groups, agg::key(kind, agg::sum(sum)));
            });
        });
        topologies.query("double", |q, (n,): (Var<i64>,)| {
            q.shuffle_partition();
            let twice = q.each(n, |n| n * 2);
            q.origin_partition();
            twice
        });
    }
}

fn entries(sim: &Sim, pstate: &str) -> Result<BTreeMap<i64, i64>, ClientError> {
    let pstate = sim.pstate::<Map<i64, i64>>(pstate)?;
    let mut all = BTreeMap::new();
    for task in 0..sim.task_count() {
        all.extend(pstate.select_on(task, path().all())?);
    }
    Ok(all)
}

/// While it is paused no microbatch is finished, whatever happens to the process.
fn pause(sim: &Sim) -> Told {
    let exact = sim.microbatch("exact")?;
    if exact.pause().is_ok() {
        let before = sim.insist(|| exact.status())?;
        sim.run_for(Duration::from_millis(200));
        let after = sim.insist(|| exact.status())?;
        assert!(after.paused, "a pause that was answered outlives the process");
        assert_eq!(before.finished, after.finished, "a microbatch was finished while its topology was paused");
    }
    sim.insist(|| exact.resume())?;
    assert!(!sim.insist(|| exact.status())?.paused, "so does that it goes on");
    Ok(())
}

fn story(sim: &Sim) -> Told {
    let numbers = sim.depot::<i64>("*numbers")?;
    let counts = sim.pstate::<Map<i64, i64>>("$$counts")?;
    let mut told = 0;
    for n in 0..24 {
        told += i64::from(numbers.append_with(&n, AckLevel::AppendAck).is_ok());
        if n % 8 == 7 {
            pause(sim)?;
        }
        match counts.select_on((n % i64::from(sim.task_count())) as u32, path().map_vals().filter_named(&is_odd())) {
            Ok(found) => assert!(found.iter().all(|count| count % 2 == 1)),
            // A function that panics fails its read; and a process may end.
            Err(ClientError::Refused(text)) => return Err(text.into()),
            Err(_) => {}
        }
    }
    sim.settle();
    // A record that failed more than once is tried again a little later.
    sim.run_for(Duration::from_secs(3));
    sim.settle();
    let (counts, seen) = (entries(sim, "$$counts")?, entries(sim, "$$seen")?);
    for (n, count) in &counts {
        assert!(seen.get(n).is_some_and(|seen| seen >= count), "{n} is there {count} times: {:?}", seen.get(n));
    }
    let held: i64 = (0..sim.task_count())
        .map(|task| numbers.offsets(task).map(|of| (of.end.0 - of.start.0) as i64))
        .sum::<Result<_, _>>()?;
    assert_eq!(counts.values().sum::<i64>(), held, "each number is counted once");
    assert!(held >= told, "{told} were acknowledged, {held} are there");
    let (mut sums, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for (n, count) in counts {
        *sums.entry(n % 2).or_default() += count * 2 * (n + 1);
        *groups.entry(n % 3).or_default() += count * n;
    }
    assert_eq!((entries(sim, "$$sums")?, entries(sim, "$$groups")?), (sums, groups));
    Ok(())
}

#[test]
fn a_closure_of_each_kind_panics_in_some_story_and_every_number_is_counted_once() {
    let summary = seeds(200).of::<Everything>(story).tell(0, 200).unwrap_or_else(|failure| panic!("{failure}"));
    for kind in [
        "function",
        "case",
        "emit",
        "iterator",
        "check",
        "partitioner",
        "key partitioner",
        "async",
        "future",
        "path function",
        "aggregator",
        "declared function",
    ] {
        let mark = format!("panicked {kind}");
        assert!(summary.count(&mark) > 0, "no {kind} ever panicked:\n{summary}");
    }
}
