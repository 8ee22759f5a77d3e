//! The modules of the stories: words of lines, counted on the tasks that own them.

use crate::bank::Bank;
use crate::errand::Errands;
use crate::flood::Flood;
use crate::registry::Registry;
use crate::swarm::{Kind, Swarm};
use crate::user::{self, UserOp};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tantu_base::door::Disk;
use tantu_base::id::AckLevel;
use tantu_flow::{
    DepotOptions, DepotRef, MicrobatchObjects, MicrobatchOptions, Module, ModuleDef, ModuleRuntime, PState,
    PStateOptions, Setup, SourceOptions, StartFrom, Topologies, Var, define, disallow, random,
};
use tantu_model::word::words;
use tantu_path::{Map, Navigate, agg, path};
use tantu_state::meta::{DocumentError, ObjectKind, ObjectMeta, read_module, write_module};

/// Counts by word; the only PState of [`Plain`], the first of [`Noting`].
pub const COUNTS: u16 = 0;

/// The only query: how often a word was counted.
pub const COUNT: u16 = 0;

fn declare_count(topologies: &mut Topologies, counts: PState<Map<String, i64>>) {
    topologies.query("count", |q, (word,): (Var<str>,)| {
        q.hash_partition(word);
        let count = q.local_select(counts, path().key(word).null_to_val(0));
        let count = q.each(count, |count| {
            user::at(UserOp::AnswerCount);
            count
        });
        q.origin_partition();
        count
    });
}

/// The same answer by way of a batch within the batch and a join: rows wait on several tasks, behind barriers.
fn declare_count_in_stages(topologies: &mut Topologies, counts: PState<Map<String, i64>>) {
    topologies.query("count", |q, (word,): (Var<str>,)| {
        let counted = q.sub_batch(|b| {
            b.hash_partition(word);
            let count = b.local_select(counts, path().key(word).null_to_val(0));
            b.group_by(word, |g| g.agg::<i64>(agg::sum(count)))
        });
        let asked = q.source(|b| {
            b.shuffle_partition();
            b.each(word, str::to_string)
        });
        let (_, (_, count)) = q.join(asked, counted, |asked, (counted, _)| (asked, counted));
        q.origin_partition();
        count
    });
}

/// The counts of the microbatch topology: the last PState.
pub fn exact_pstate(swarm: &Swarm) -> u16 {
    if swarm.noting { 2 } else { 1 }
}

/// The place of the depot with the lines that the microbatch topology appends: each line once, on its task, in order.
pub const ECHO: usize = 1;

/// Counts every word of every line once, across partitions and whatever fails. Words travel by way of their line's task.
fn declare_exact(lines: DepotRef<String>, setup: &mut Setup, topologies: &mut Topologies) {
    let echo = setup.declare_depot::<String>("*echo", disallow());
    let options = MicrobatchOptions { max_records: 9, ..MicrobatchOptions::default() };
    let mut exact = topologies.microbatch_with("exact", options);
    let counts = exact.pstate::<Map<String, i64>>("$$exact");
    exact.source_from(&lines, StartFrom::Beginning, |m, batch| {
        let line = m.explode_microbatch(batch);
        m.depot_partition_append(echo, line, AckLevel::None);
        m.hash_partition(line);
        // Some of them ask the query how often they were counted as a word: for all but those of one word, never.
        let asks = m.each(line, |line| line.len() % 4 == 0);
        m.if_true(asks, |b| {
            let found: Var<i64> = b.invoke_query("count", (line,));
            b.assert(
                (found, line),
                |(found, line)| {
                    user::at(UserOp::Called);
                    found == 0 || (found > 0 && words(line).count() == 1)
                },
                "a query answered with another count",
            );
        });
        let word = m.explode(line, |line| {
            user::at(UserOp::SplitExact);
            words(line).map(str::to_string).collect::<Vec<_>>()
        });
        m.hash_partition(word);
        let one = m.constant(1i64);
        let combine = agg::combiner(0i64, |a: i64, b: i64| {
            user::at(UserOp::Combine);
            a + b
        });
        m.compound_agg(counts, agg::key(word, combine.of(one)));
    });
}

/// Every line hops at once: nothing is written where it starts.
#[derive(Debug)]
pub struct Plain<const EXACT: bool>;

impl<const EXACT: bool> Module for Plain<EXACT> {
    fn name() -> String {
        "Plain".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        counter.source_with(&lines, all, |b, line| {
            let word = b.explode(line, |line| {
                user::at(UserOp::Split);
                words(line).map(str::to_string).collect::<Vec<_>>()
            });
            b.hash_partition(word);
            b.compound_agg(counts, agg::key(word, agg::count()));
        });
        declare_count(topologies, counts);
        if EXACT {
            declare_exact(lines, setup, topologies);
        }
    }
}

/// Every line is noted where it starts before its words hop, so the hops wait for a flush. It hops twice.
#[derive(Debug)]
pub struct Noting<const EXACT: bool>;

impl<const EXACT: bool> Module for Noting<EXACT> {
    fn name() -> String {
        "Noting".to_string()
    }

    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let lines = setup.declare_depot::<String>("*lines", random());
        let mut counter = topologies.stream("counter");
        let counts = counter.pstate::<Map<String, i64>>("$$counts");
        // Notes stay where their line starts, which is not the task of their key.
        let here = PStateOptions { unchecked: true, ..PStateOptions::default() };
        let notes = counter.pstate_with::<Map<String, i64>>("$$notes", here);
        let all = SourceOptions { start: StartFrom::Beginning, ..SourceOptions::default() };
        counter.source_with(&lines, all, |b, line| {
            b.compound_agg(notes, agg::key(line, agg::count()));
            b.hash_partition(line);
            let word = b.explode(line, |line| {
                user::at(UserOp::Split);
                words(line).map(str::to_string).collect::<Vec<_>>()
            });
            b.hash_partition(word);
            b.compound_agg(counts, agg::key(word, agg::count()));
        });
        declare_count_in_stages(topologies, counts);
        if EXACT {
            declare_exact(lines, setup, topologies);
        }
    }
}

/// The functions of the user that the modules of words have.
pub const OPS: [UserOp; 5] = [UserOp::Split, UserOp::SplitExact, UserOp::Called, UserOp::Combine, UserOp::AnswerCount];

/// Where the module lives on the simulated disk.
pub fn dir() -> PathBuf {
    PathBuf::from("data/modules/words")
}

/// The module's definition.
///
/// # Errors
/// What is wrong with it.
pub fn definition(swarm: &Swarm) -> Result<ModuleDef, String> {
    let def = match (swarm.noting, swarm.exact) {
        _ if swarm.kind == Kind::Bank => define::<Bank>(),
        _ if swarm.kind == Kind::Flood => define::<Flood>(),
        (true, _) if swarm.kind == Kind::Registry => define::<Registry<true>>(),
        (false, _) if swarm.kind == Kind::Registry => define::<Registry<false>>(),
        (in_order, _) if swarm.kind == Kind::Errands => match (in_order, swarm.further.1) {
            (true, true) => define::<Errands<true, true>>(),
            (true, false) => define::<Errands<true, false>>(),
            (false, true) => define::<Errands<false, true>>(),
            (false, false) => define::<Errands<false, false>>(),
        },
        (true, true) => define::<Noting<true>>(),
        (true, false) => define::<Noting<false>>(),
        (false, true) => define::<Plain<true>>(),
        (false, false) => define::<Plain<false>>(),
    };
    let mut def = def.map_err(|errors| errors.to_string())?;
    for depot in &mut def.depots {
        depot.tick = depot.tick.map(|_| Duration::from_nanos(swarm.period_ns));
    }
    if let Some((max_entries, period_ms)) = swarm.trim {
        let trim_period = Duration::from_millis(period_ms);
        def.depots[0].options =
            DepotOptions { max_entries: Some(max_entries), excess_percent: 50, trim_period, ..DepotOptions::default() };
    }
    Ok(def)
}

/// The module as its threads know it; its durable ids are read from the disk or written there.
///
/// # Errors
/// What the disk answers.
pub fn prepare(
    disk: &mut dyn Disk,
    def: ModuleDef,
    tasks: u32,
    threads: u32,
) -> Result<Arc<ModuleRuntime>, DocumentError> {
    let path: &Path = &dir().join("module.meta");
    let found = read_module(disk, path)?;
    let mut meta = found.clone().unwrap_or_default();
    meta.module.clone_from(&def.name);
    meta.task_count = tasks;
    meta.thread_count = threads;
    let depots = def.depots.iter().map(|depot| meta.object(ObjectKind::Depot, &depot.name, &[])).collect();
    let pstates = def.pstates.iter().map(|pstate| meta.object(ObjectKind::PState, &pstate.name, &[])).collect();
    let name = |depot: usize, id: Option<&String>| {
        let depot = def.depots[depot].name.clone();
        id.map_or_else(|| depot.clone(), |id| format!("{depot}/{id}"))
    };
    let sources = def.streams.iter().flat_map(|stream| &stream.sources);
    let sources = sources.map(|source| name(source.depot, source.id.as_ref()));
    let sources = sources.map(|name| meta.object(ObjectKind::Source, &name, &[])).collect();
    let microbatches = def.microbatches.iter().map(|microbatch| {
        let topology = meta.object(ObjectKind::Microbatch, &microbatch.name, &[]);
        let names = microbatch.sources.iter().map(|source| name(source.depot, source.id.as_ref()));
        let names = names.map(|name| format!("{}/{name}", microbatch.name));
        let sources = names.map(|name| meta.object(ObjectKind::Source, &name, &[])).collect();
        MicrobatchObjects { topology, sources }
    });
    let microbatches = microbatches.collect();
    if found.as_ref() != Some(&meta) {
        write_module(disk, path, &meta)?;
    }
    let (task_count, thread_count) = (tasks, threads);
    let of_microbatches = meta.objects.iter().filter(|object| object.kind == ObjectKind::Microbatch);
    let is_here = |object: &ObjectMeta| def.microbatches.iter().any(|microbatch| microbatch.name == object.name);
    let removed_microbatches = of_microbatches.filter(|object| !is_here(object)).map(|object| object.id).collect();
    Ok(Arc::new(ModuleRuntime {
        def,
        task_count,
        thread_count,
        depots,
        pstates,
        sources,
        microbatches,
        removed_microbatches,
    }))
}
