//! Query topologies, seen through the facade alone.

#![allow(clippy::unwrap_used, reason = "a story is a test")]

use std::collections::BTreeSet;
use tantu::prelude::*;

type Friends = Map<String, Map<String, i64>>;

/// Users and how well they know others. A query may hop between users, whoever's task that is.
struct Social;

impl Module for Social {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        type Edge = (String, String, i64);
        let edges = setup.declare_depot::<Edge>("*edges", hash_by(|edge: &Edge| edge.0.clone()));
        let mut s = topologies.stream("friends");
        let options = PStateOptions { private: true, ..PStateOptions::default() };
        let friends = s.pstate_with::<Friends>("$$friends", options);
        s.source(&edges, |b, edge| {
            let (from, to) = (b.each(edge, |edge| edge.0.clone()), b.each(edge, |edge| edge.1.clone()));
            let weight = b.each(edge, |edge| edge.2);
            b.compound_agg(friends, agg::key(from, agg::key(to, agg::sum(weight))));
        });
        topologies.query("weight", |q, (from, to): (Var<str>, Var<str>)| {
            q.hash_partition(from);
            let weight = q.local_select(friends, path().key(from).key(to).null_to_val(0));
            q.origin_partition();
            weight
        });
        topologies.query("weight-of-friends-friend", |q, (from, via, to): (Var<str>, Var<str>, Var<str>)| {
            q.hash_partition(from);
            let first = q.local_select(friends, path().key(from).must(via));
            q.hash_partition(via);
            let second = q.local_select(friends, path().key(via).must(to));
            let both = q.each((first, second), |(first, second)| first.min(second));
            q.origin_partition();
            q.each((both, from), |(both, from)| format!("{from} {both}"))
        });
        topologies.query("tasks", |q, ()| {
            q.all_partition();
            let task = q.current_task_id();
            q.origin_partition();
            task
        });
        // Rows of every task, aggregated where the call started.
        topologies.query("totals", |q, (least,): (Var<i64>,)| {
            q.all_partition();
            let all = q.local_select(friends, path().map_vals().all());
            let (friend, weight) = (q.each(all, |all| all.0.clone()), q.each(all, |all| all.1));
            q.filter((weight, least), |(weight, least)| weight >= least);
            q.origin_partition();
            let count = q.agg::<i64>(agg::count());
            let sum = q.agg::<i64>(agg::sum(weight));
            let names = q.agg::<Set<String>>(agg::set(friend));
            let average = q.agg::<Option<f64>>(agg::average(weight));
            q.each((count, sum, names, average, least), |(count, sum, names, average, least)| {
                (count, sum, names.clone(), *average, least)
            })
        });
        topologies.query("best-known", |q, ()| {
            q.all_partition();
            let all = q.local_select(friends, path().map_vals().all());
            let (friend, weight) = (q.each(all, |all| all.0.clone()), q.each(all, |all| all.1));
            let (friend, weight) = q.group_by(friend, |g| g.agg::<i64>(agg::sum(weight)));
            q.filter(weight, |weight| weight >= 6);
            q.origin_partition();
            q.each((friend, weight), |(friend, weight)| format!("{friend} {weight}"))
        });
        topologies.query("divide", |q, (a, b): (Var<i64>, Var<i64>)| {
            q.global_partition();
            let ratio = q.each((a, b), |(a, b)| a / b);
            q.origin_partition();
            ratio
        });
        topologies.query("start", |q, (task,): (Var<i64>,)| {
            q.direct_partition(task);
            let here = q.current_task_id();
            q.origin_partition();
            let origin = q.current_task_id();
            q.each((here, origin), |(here, origin)| (here, origin))
        });
    }
}

fn launched(tasks: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Social>(LaunchConfig { tasks, threads: 2.min(tasks), ..LaunchConfig::default() }).unwrap();
    let edges = cluster.depot::<(String, String, i64)>("Social", "*edges").unwrap();
    for (from, to, weight) in [("ann", "bob", 3), ("bob", "cid", 5), ("ann", "bob", 4), ("bob", "dan", 1)] {
        edges.append(&(from.to_string(), to.to_string(), weight)).unwrap();
    }
    cluster
}

fn text(text: &str) -> String {
    text.to_string()
}

#[test]
fn a_query_reads_private_state_on_the_tasks_of_its_keys_and_answers_from_its_origin() {
    for tasks in [1, 4, 16] {
        let cluster = launched(tasks);
        let weight = cluster.query::<(String, String), i64>("Social", "weight").unwrap();
        for (from, to, expected) in [("ann", "bob", 7), ("bob", "cid", 5), ("cid", "ann", 0)] {
            assert_eq!(weight.invoke(&(text(from), text(to))).unwrap(), expected, "{from} {to} on {tasks} tasks");
        }
        let through = cluster.query::<(String, String, String), String>("Social", "weight-of-friends-friend").unwrap();
        assert_eq!(through.invoke(&(text("ann"), text("bob"), text("cid"))).unwrap(), "ann 5");
        assert_eq!(through.invoke(&(text("ann"), text("bob"), text("dan"))).unwrap(), "ann 1");
        cluster.close().unwrap();
    }
}

#[test]
fn a_call_needs_exactly_one_row_and_says_so() {
    let cluster = launched(4);
    let through = cluster.query::<(String, String, String), String>("Social", "weight-of-friends-friend").unwrap();
    let error = through.invoke(&(text("ann"), text("eve"), text("cid"))).unwrap_err();
    assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("without a result")), "{error}");
    let tasks = cluster.query::<(), i64>("Social", "tasks").unwrap();
    let error = tasks.invoke(&()).unwrap_err();
    assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("more than once")), "{error}");
    cluster.close().unwrap();
}

type Totals = (i64, i64, BTreeSet<String>, Option<f64>, i64);

#[test]
fn rows_of_every_task_are_aggregated_where_the_call_started() {
    for tasks in [1, 8] {
        let cluster = launched(tasks);
        let totals = cluster.query::<(i64,), Totals>("Social", "totals").unwrap();
        let names = |names: &[&str]| names.iter().map(|name| text(name)).collect::<BTreeSet<String>>();
        let all = (3, 13, names(&["bob", "cid", "dan"]), Some(13.0 / 3.0), 0);
        assert_eq!(totals.invoke(&(0,)).unwrap(), all, "ann knows bob, bob knows cid and dan");
        assert_eq!(totals.invoke(&(5,)).unwrap(), (2, 12, names(&["bob", "cid"]), Some(6.0), 5));
        let none = (0, 0, names(&[]), None, 100);
        assert_eq!(totals.invoke(&(100,)).unwrap(), none, "no rows, and yet one result");
        cluster.close().unwrap();
    }
}

#[test]
fn groups_go_on_one_by_one_with_their_keys() {
    let cluster = launched(8);
    let best = cluster.query::<(), String>("Social", "best-known").unwrap();
    assert_eq!(best.invoke(&()).unwrap(), "bob 7");
    let edges = cluster.depot::<(String, String, i64)>("Social", "*edges").unwrap();
    edges.append(&(text("eve"), text("cid"), 4)).unwrap();
    let error = best.invoke(&()).unwrap_err();
    assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("more than once")), "{error}");
    edges.append(&(text("zoe"), text("bob"), -7)).unwrap();
    assert_eq!(best.invoke(&()).unwrap(), "cid 9", "cid is known to bob and to eve, who are elsewhere");
    cluster.close().unwrap();
}

#[test]
fn a_panic_in_a_query_fails_the_call_and_nothing_else() {
    let cluster = launched(4);
    let divide = cluster.query::<(i64, i64), i64>("Social", "divide").unwrap();
    for round in 1..20 {
        let error = divide.invoke(&(1, 0)).unwrap_err();
        assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("divide by zero")), "{error}");
        assert_eq!(divide.invoke(&(6 * round, 3)).unwrap(), 2 * round);
    }
    cluster.close().unwrap();
}

#[test]
fn a_leading_partitioner_chooses_where_a_call_starts() {
    let cluster = launched(8);
    let start = cluster.query::<(i64,), (i64, i64)>("Social", "start").unwrap();
    for task in 0..8 {
        assert_eq!(start.invoke(&(task,)).unwrap(), (task, task), "it starts where it goes first");
    }
    let error = start.invoke(&(8,)).unwrap_err();
    assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("chose task 8")), "{error}");
    cluster.close().unwrap();
}

#[test]
fn many_calls_are_out_at_once_and_each_gets_its_own_answer() {
    let cluster = launched(4);
    let divide = cluster.query::<(i64, i64), i64>("Social", "divide").unwrap();
    let calls: Vec<_> = (0..5_000).map(|n| divide.invoke_async(&(2 * n, 2)).unwrap()).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().unwrap(), n as i64);
    }
    cluster.close().unwrap();
}

#[test]
fn a_query_is_asked_for_by_its_name_and_types() {
    let cluster = launched(2);
    let error = cluster.query::<(String,), i64>("Social", "weight").unwrap_err().to_string();
    assert!(error.contains("(str, str) -> i64, not (str) -> i64"), "{error}");
    let error = cluster.query::<(), i64>("Social", "wait").unwrap_err().to_string();
    assert!(error.contains("wait") && error.contains("weight-of-friends-friend"), "{error}");
    cluster.close().unwrap();
}

struct Astray;

impl Module for Astray {
    fn define(_: &mut Setup, topologies: &mut Topologies) {
        let balances = topologies.stream("s").pstate::<Map<String, i64>>("$$balances");
        topologies.query("no-way-home", |q, (user,): (Var<str>,)| {
            q.hash_partition(user);
            q.constant(1)
        });
        topologies.query("away-again", |q, (user,): (Var<str>,)| {
            q.origin_partition();
            q.hash_partition(user);
            q.constant(1)
        });
        topologies.query("leaves-again", |q, (user,): (Var<str>,)| {
            q.origin_partition();
            let count = q.agg::<i64>(agg::count());
            q.hash_partition(user);
            count
        });
        topologies.query("counts-nowhere", |q, ()| {
            q.origin_partition();
            let one = q.constant(1i64);
            q.agg::<i64>(agg::sum(one))
        });
        topologies.query("half-way", |q, (user,): (Var<str>,)| {
            let long = q.each(user, |user| user.len() > 3);
            q.if_true(long, |b| b.global_partition());
            q.agg::<i64>(agg::count())
        });
        topologies.query("forgets", |q, (user,): (Var<str>,)| {
            let length = q.each(user, |user| user.len() as i64);
            q.origin_partition();
            q.agg::<i64>(agg::count());
            length
        });
        topologies.query("writes", |q, (user,): (Var<str>,)| {
            q.local_transform(balances, path().key(user).term_val(1));
            q.origin_partition();
            q.constant(1)
        });
        topologies.query("s", |q, ()| {
            q.origin_partition();
            q.constant(1)
        });
    }
}

#[test]
fn a_query_that_does_not_come_home_or_writes_is_refused_with_its_line() {
    let text = define::<Astray>().unwrap_err().to_string();
    for mistake in ["`no-way-home` goes on elsewhere", "`away-again` goes on elsewhere", "which alone may write it"] {
        assert!(text.contains(mistake), "{mistake}: {text}");
    }
    for mistake in [
        "the block goes on elsewhere after its aggregators",
        "need a partitioner directly before",
        "missing needed var",
    ] {
        assert!(text.contains(mistake), "{mistake}: {text}");
    }
    assert!(text.contains("a topology `s` already"), "{text}");
    let nowhere = text.matches("need a partitioner directly before").count();
    assert_eq!(nowhere, 2, "no row may reach aggregators without one, on no way: {text}");
    assert_eq!(text.lines().count(), 1 + 8, "{text}");
}
