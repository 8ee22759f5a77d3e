//! A simulation in which the author's closures panic, one of each kind somewhere, and a topology is paused and goes on: what is
//! counted exactly is counted exactly all the same.

use std::collections::BTreeMap;
use std::time::Duration;
use tantu_client::{AckLevel, ClientError};
use tantu_flow::{Module, PStateOptions, Setup, StartFrom, Topologies, Var, hash_by};
use tantu_local::sim::{Sim, Told, seeds};
use tantu_path::{Map, NamedFn, Navigate, agg, path};

fn is_odd() -> NamedFn<i64, bool> {
    NamedFn::new("is_odd", |n: i64| n % 2 == 1)
}

/// Numbers are counted and added up, with a closure of each kind on the way.
struct Everything;

impl Module for Everything {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        setup.declare_function(&is_odd());
        let numbers = setup.declare_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
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
    let counts = entries(sim, "$$counts")?;
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
    let summary = seeds(600).of::<Everything>(story).tell(0, 600).unwrap_or_else(|failure| panic!("{failure}"));
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
