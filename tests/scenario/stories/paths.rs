//! Paths from a client's request to a partition and back, seen through the facade alone.

#![allow(clippy::unwrap_used, reason = "a story is a test")]

use std::collections::BTreeMap;
use tantu::prelude::*;

type Readings = Map<String, Map<i64, i64>>; // sensor → minute → value

fn is_high() -> NamedFn<i64, bool> {
    NamedFn::new("is_high", |value| value > 50)
}

struct Sensors;

impl Module for Sensors {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let by_sensor = hash_by(|reading: &(String, i64, i64)| reading.0.clone());
        let readings = setup.declare_depot::<(String, i64, i64)>("*readings", by_sensor);
        setup.declare_function(&is_high());
        let mut s = topologies.stream("sensors");
        let values = s.pstate::<Readings>("$$values");
        let rises = s.pstate::<Map<String, i64>>("$$rises");
        s.source(&readings, |b, reading| {
            let sensor = b.each(reading, |reading| reading.0.clone());
            let minute = b.each(reading, |reading| reading.1);
            let value = b.each(reading, |reading| reading.2);
            let highest = path()
                .key(sensor)
                .key(minute)
                .null_to_val(0)
                .term_extra((value,), |old: i64, (new,): (i64,)| old.max(new));
            b.local_transform(values, highest);
            // The value of this minute beside that of the first.
            let span = b.local_select(
                values,
                path::<Readings>()
                    .key(sensor)
                    .collect_one(path().sorted_map_range_from_start(1).subselect(path().map_vals()))
                    .sorted_map_range_with(minute, true, minute, true)
                    .map_vals()
                    .collected(),
            );
            let rise = b.each(span, |span: &(Vec<i64>, i64)| span.1 - span.0[0]);
            b.local_transform(rises, path().key(sensor).term_val(rise));
        });
    }
}

struct Twice;

impl Module for Twice {
    fn define(setup: &mut Setup, _topologies: &mut Topologies) {
        setup.declare_function(&is_high());
        setup.declare_function(&NamedFn::new("is_high", |text: String| text == "high"));
    }
}

fn cluster() -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Sensors>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() }).unwrap();
    let readings = cluster.depot::<(String, i64, i64)>("Sensors", "*readings").unwrap();
    for (minute, value) in [(1, 10), (2, 60), (3, 40), (3, 30), (4, 90)] {
        readings.append(&("north".to_string(), minute, value)).unwrap();
    }
    readings.append(&("south".to_string(), 1, 70)).unwrap();
    cluster
}

#[test]
fn what_paths_collect_reaches_the_topology_and_the_client_as_tuples() {
    let cluster = cluster();
    let rises = cluster.pstate::<Map<String, i64>>("Sensors", "$$rises").unwrap();
    assert_eq!(rises.select_one(path().must("north")).unwrap(), 80);
    assert_eq!(rises.select_one(path().must("south")).unwrap(), 0);
    let values = cluster.pstate::<Readings>("Sensors", "$$values").unwrap();
    let north = path::<Readings>().key("north");
    let with_first = north.clone().collect_one(path().key(1)).sorted_map_range_from(3, None).all().collected();
    assert_eq!(values.select(with_first).unwrap(), [(Some(10), (3, 40)), (Some(10), (4, 90))]);
    let with_all = north.collect(path().map_keys()).must(2).collected();
    assert_eq!(values.select_one(with_all).unwrap(), (vec![1, 2, 3, 4], 60));
    cluster.close().unwrap();
}

#[test]
fn a_client_may_name_a_declared_function_and_no_other() {
    let cluster = cluster();
    let values = cluster.pstate::<Readings>("Sensors", "$$values").unwrap();
    let north = || path::<Readings>().key("north").map_vals();
    assert_eq!(values.select(north().filter_named(&is_high())).unwrap(), [60, 90]);
    assert_eq!(values.select(north().view_named(&is_high())).unwrap(), [false, true, false, true]);
    let unknown = NamedFn::new("is_higher", |value: i64| value > 80);
    let error = values.select(north().filter_named(&unknown)).unwrap_err().to_string();
    assert!(error.contains("no function named \"is_higher\""), "{error}");
    let error = values.select(north().filter_pred(|value| value > 80)).unwrap_err().to_string();
    assert!(error.contains("declare it in the module"), "{error}");
    cluster.close().unwrap();
}

#[test]
fn a_page_size_changes_nothing_of_what_a_client_finds() {
    let cluster = cluster();
    let values = cluster.pstate::<Readings>("Sensors", "$$values").unwrap();
    let every = |size: Option<u64>| -> BTreeMap<String, usize> {
        let counts = path::<Readings>().all();
        let counts = match size {
            Some(size) => path::<Readings>().with_page_size(size, counts),
            None => counts,
        };
        let found = (0..4).flat_map(|partition| values.select_on(partition, counts.clone()).unwrap());
        found.map(|(sensor, minutes)| (sensor, minutes.len())).collect()
    };
    assert_eq!(every(Some(1)), BTreeMap::from([("north".to_string(), 4), ("south".to_string(), 1)]));
    assert_eq!(every(Some(1)), every(None));
    cluster.close().unwrap();
}

#[test]
fn two_functions_of_one_name_are_a_mistake_of_the_module() {
    let text = define::<Twice>().expect_err("the module has a mistake").to_string();
    assert!(text.contains("is_high") && text.contains("paths.rs:"), "{text}");
}
