//! What a module author and a client can rely on, seen through the facade alone.

#![allow(clippy::unwrap_used, reason = "a story is a test")]

use tantu::prelude::*;

/// Launches a module on a cluster of its own.
fn cluster_of<M: Module>(tasks: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<M>(LaunchConfig { tasks, threads: 2.min(tasks), ..LaunchConfig::default() }).unwrap();
    cluster
}

/// Everything wrong with a module, as one text.
fn mistakes<M: Module>() -> String {
    define::<M>().expect_err("the module has mistakes").to_string()
}

struct Bank;

impl Module for Bank {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let by_account = hash_by(|transfer: &(String, i64)| transfer.0.clone());
        let transfers = setup.declare_depot::<(String, i64)>("*transfers", by_account);
        setup.declare_depot::<String>("*closed", disallow());
        setup.declare_depot::<i64>("*chosen", custom(|record: &i64, _count| *record));
        let totals = setup.declare_global_depot::<i64>("*totals", random());
        let mut s = topologies.stream("bank");
        let balances = s.pstate::<Map<String, i64>>("$$balances");
        let largest = s.pstate::<Map<String, i64>>("$$largest");
        let total = s.pstate_with::<i64>("$$total", PStateOptions { global: true, ..PStateOptions::default() });
        s.source(&transfers, |b, transfer| {
            b.filter(transfer, |transfer| transfer.1 != 0);
            let account = b.each(transfer, |transfer| transfer.0.clone());
            let amount = b.each(transfer, |transfer| transfer.1);
            b.compound_agg(balances, agg::key(account, agg::sum(amount)));
            let held = b.local_select(largest, path().key(account).null_to_val(0));
            let more = b.each((held, amount), |(held, amount)| amount > held);
            b.if_true(more, |b| b.local_transform(largest, path().key(account).term_val(amount)));
            b.global_partition();
            b.compound_agg(total, agg::sum(amount));
        });
        s.source(&totals, |b, amount| {
            b.compound_agg(total, agg::sum(amount));
        });
    }
}

#[test]
fn sums_selects_transforms_and_conditions_do_what_they_say() {
    let cluster = cluster_of::<Bank>(4);
    let transfers = cluster.depot::<(String, i64)>("Bank", "*transfers").unwrap();
    for (account, amount) in [("ann", 5), ("bob", 7), ("ann", 20), ("ann", -3), ("bob", 0), ("bob", 2)] {
        transfers.append(&(account.to_string(), amount)).unwrap();
    }
    cluster.depot::<i64>("Bank", "*totals").unwrap().append(&100).unwrap();
    let balances = cluster.pstate::<Map<String, i64>>("Bank", "$$balances").unwrap();
    let largest = cluster.pstate::<Map<String, i64>>("Bank", "$$largest").unwrap();
    for (account, balance, top) in [("ann", Some(22), Some(20)), ("bob", Some(9), Some(7)), ("eve", None, None)] {
        assert_eq!(balances.select_one(path().key(account)).unwrap(), balance, "{account}");
        assert_eq!(largest.select_one(path().key(account)).unwrap(), top, "{account}");
    }
    let total = cluster.pstate::<i64>("Bank", "$$total").unwrap();
    assert_eq!(total.partition_count(), 1, "a global PState has one partition");
    assert_eq!(total.select_one(path()).unwrap(), 131);
    cluster.close().unwrap();
}

#[test]
fn clients_may_not_append_to_a_depot_that_disallows_it() {
    let cluster = cluster_of::<Bank>(2);
    let error = cluster.depot::<String>("Bank", "*closed").unwrap().append(&"x".to_string()).unwrap_err();
    assert!(matches!(&error, ClientError::Refused(text) if text.contains("*closed")), "{error}");
    cluster.close().unwrap();
}

#[test]
fn a_custom_depot_partitioner_chooses_and_a_partition_out_of_range_is_refused() {
    let cluster = cluster_of::<Bank>(4);
    let chosen = cluster.depot::<i64>("Bank", "*chosen").unwrap();
    for partition in [3, 3, 0] {
        chosen.append(&partition).unwrap();
    }
    let offsets = [3, 0].map(|partition| chosen.append(&partition).unwrap().0);
    assert_eq!(offsets, [2, 1], "offsets are dense in each partition");
    for out_of_range in [4, -1] {
        let error = chosen.append(&out_of_range).unwrap_err();
        assert!(matches!(&error, ClientError::Refused(text) if text.contains("of 4")), "{error}");
    }
    cluster.close().unwrap();
}

#[test]
fn a_select_needs_a_key_and_select_one_exactly_one_value() {
    let cluster = cluster_of::<Bank>(4);
    let balances = cluster.pstate::<Map<String, i64>>("Bank", "$$balances").unwrap();
    assert!(matches!(balances.select(path().all()), Err(ClientError::NoKey)));
    assert!(matches!(balances.select_one(path().must("ann")), Err(ClientError::NotOne { count: 0 })));
    assert!(matches!(balances.select_on(4, path().all()), Err(ClientError::NoPartition { index: 4, count: 4 })));
    cluster.close().unwrap();
}

#[test]
fn a_select_of_all_partitions_brings_what_each_of_them_brings_in_their_order() {
    let cluster = cluster_of::<Bank>(4);
    let transfers = cluster.depot::<(String, i64)>("Bank", "*transfers").unwrap();
    for n in 1..=40 {
        transfers.append(&(format!("account {n}"), n)).unwrap();
    }
    let balances = cluster.pstate::<Map<String, i64>>("Bank", "$$balances").unwrap();
    let all = balances.select_all(path().all()).unwrap();
    let each: Vec<_> = (0..4).flat_map(|partition| balances.select_on(partition, path().all()).unwrap()).collect();
    assert_eq!((all.len(), all), (40, each));
    assert_eq!(balances.select_all(path().size()).unwrap().len(), 4, "one of each");
    assert_eq!(cluster.pstate::<i64>("Bank", "$$total").unwrap().select_all(path()).unwrap(), [820], "it is global");
    let hint = balances.select(path().all()).unwrap_err().to_string();
    assert!(hint.contains("select_all"), "{hint}");
    cluster.close().unwrap();
}

#[test]
fn names_and_schemas_that_do_not_fit_are_refused_with_what_there_is() {
    let cluster = cluster_of::<Bank>(2);
    let error = cluster.depot::<String>("Banc", "*transfers").unwrap_err().to_string();
    assert!(error.contains("Banc") && error.contains("not alive") && error.contains("Bank"), "{error}");
    let error = cluster.depot::<String>("Bank", "*transfer").unwrap_err().to_string();
    assert!(error.contains("*transfer") && error.contains("*transfers"), "{error}");
    let error = cluster.pstate::<Map<String, String>>("Bank", "$$balances").unwrap_err().to_string();
    assert!(error.contains("$$balances") && error.contains("schema"), "{error}");
    cluster.close().unwrap();
}

struct Thief;

impl Module for Thief {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<String>("*depot", random());
        let owned = topologies.stream("owner").pstate::<Map<String, i64>>("$$owned");
        topologies.stream("thief").source(&depot, |b, key| b.compound_agg(owned, agg::key(key, agg::count())));
    }
}

#[test]
fn only_the_owner_of_a_pstate_may_write_it() {
    let text = mistakes::<Thief>();
    assert!(text.contains("$$owned") && text.contains("owner") && text.contains("language.rs:"), "{text}");
}

struct Leak;

impl Module for Leak {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*depot", random());
        let mut s = topologies.stream("s");
        let seen = s.pstate::<Map<i64, i64>>("$$seen");
        s.source(&depot, |b, n| {
            let even = b.each(n, |n| n % 2 == 0);
            let mut inner = None;
            b.if_true(even, |b| inner = Some(b.each(n, |n| n / 2)));
            b.compound_agg(seen, agg::key(inner.unwrap(), agg::count()));
        });
    }
}

#[test]
fn a_var_used_outside_the_branch_that_bound_it_is_named() {
    let text = mistakes::<Leak>();
    assert!(text.contains("needed var") && text.contains("language.rs:"), "{text}");
}

struct Secret;

impl Module for Secret {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<String>("*depot", random());
        let mut s = topologies.stream("s");
        let options = PStateOptions { private: true, ..PStateOptions::default() };
        let hidden = s.pstate_with::<Map<String, i64>>("$$hidden", options);
        s.source(&depot, |b, key| {
            b.hash_partition(key);
            b.compound_agg(hidden, agg::key(key, agg::count()));
        });
    }
}

#[test]
fn a_private_pstate_cannot_be_read_by_a_client() {
    let cluster = cluster_of::<Secret>(2);
    cluster.depot::<String>("Secret", "*depot").unwrap().append(&"x".to_string()).unwrap();
    let read =
        cluster.pstate::<Map<String, i64>>("Secret", "$$hidden").map(|hidden| hidden.select_one(path().key("x")));
    assert!(!matches!(&read, Ok(Ok(_))), "a client read a private PState: {read:?}");
    cluster.close().unwrap();
}

#[test]
fn what_was_appended_and_counted_is_there_when_the_directory_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let cluster = InProcessCluster::open(dir.path()).unwrap();
        cluster.launch::<Bank>(LaunchConfig { tasks: 4, threads: round as u32, ..LaunchConfig::default() }).unwrap();
        let transfers = cluster.depot::<(String, i64)>("Bank", "*transfers").unwrap();
        let level = [AckLevel::Ack, AckLevel::AppendAck][round as usize % 2];
        transfers.append_with(&("ann".to_string(), 10), level).unwrap();
        transfers.append_async(&("ann".to_string(), 1), AckLevel::Ack).unwrap().wait().unwrap();
        let balances = cluster.pstate::<Map<String, i64>>("Bank", "$$balances").unwrap();
        assert_eq!(balances.select_one(path().key("ann")).unwrap(), Some(11 * round), "round {round}");
        cluster.close().unwrap();
    }
}
