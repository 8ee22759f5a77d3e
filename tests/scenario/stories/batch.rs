//! Batch blocks in queries, and queries that call queries, seen through the facade alone.

#![allow(clippy::unwrap_used, reason = "a story is a test")]

use std::collections::{BTreeMap, BTreeSet};
use tantu::prelude::*;

type Names = Map<i64, String>;
type Orders = Map<i64, (i64, i64)>;

type NamesByCustomer = BTreeMap<i64, String>;
type OrdersByNumber = BTreeMap<i64, (i64, i64)>;

/// A customer or an order: number, customer or name.
type Entry = (i64, i64, i64, String);

/// Rows of a PState on every task.
fn customers(b: &mut BatchBlock, names: tantu::flow::PState<Names>) -> (Var<i64>, Var<str>) {
    b.all_partition();
    let entry = b.local_select(names, path().all());
    (b.each(entry, |entry| entry.0), b.each(entry, |entry| entry.1.clone()))
}

/// An order's number, its customer and its price.
fn orders(b: &mut BatchBlock, orders: tantu::flow::PState<Orders>) -> (Var<i64>, Var<i64>, Var<i64>) {
    b.all_partition();
    let entry = b.local_select(orders, path().all());
    (b.each(entry, |entry| entry.0), b.each(entry, |entry| entry.1.0), b.each(entry, |entry| entry.1.1))
}

/// Customers and orders, each kept where its own number lives.
struct Shop;

impl Module for Shop {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let entries = setup.declare_depot::<Entry>("*entries", random());
        let mut s = topologies.stream("shop");
        let names_of = s.pstate::<Names>("$$names");
        let orders_of = s.pstate::<Orders>("$$orders");
        s.source(&entries, |b, entry| {
            let number = b.each(entry, |entry| entry.0);
            b.hash_partition(number);
            let is_order = b.each(entry, |entry| entry.3.is_empty());
            b.if_else(
                is_order,
                |b| {
                    let order = b.each(entry, |entry| (entry.1, entry.2));
                    b.local_transform(orders_of, path().key(number).term_val(order));
                },
                |b| {
                    let name = b.each(entry, |entry| entry.3.clone());
                    b.local_transform(names_of, path().key(number).term_val(name));
                },
            );
        });
        topologies.query("named-orders", |q, (least,): (Var<i64>,)| {
            let names = q.source(|b| customers(b, names_of));
            let orders = q.source(|b| {
                let (order, customer, price) = orders(b, orders_of);
                b.filter((price, least), |(price, least)| price >= least);
                (order, customer, price)
            });
            let ((order, _, price), (_, name)) = q.join(orders, names, |order, name| (order.1, name.0));
            let line = q.each((order, price, name), |(order, price, name)| (order, price, name.to_string()));
            q.origin_partition();
            q.agg::<List<(i64, i64, String)>>(agg::list(line))
        });
        // Every customer and every order, with a partner or without; totals by name, then the best of them.
        topologies.query("everything", |q, ()| {
            let names = q.source(|b| customers(b, names_of));
            let orders = q.source(|b| orders(b, orders_of));
            let (customer, (_, name), (order, _, _)) = q.full_join(names, orders, |name, order| (name.0, order.1));
            let line = q.each((customer, name, order), |(customer, name, order)| (customer, name.clone(), *order));
            q.origin_partition();
            q.agg::<List<(i64, Option<String>, Option<i64>)>>(agg::list(line))
        });
        topologies.query("best", |q, ()| {
            let totals = q.sub_batch(|b| {
                let (_, customer, price) = orders(b, orders_of);
                b.group_by(customer, |g| g.agg::<i64>(agg::sum(price)))
            });
            let names = q.source(|b| customers(b, names_of));
            let ((_, total), (_, name)) = q.left_join(totals, names, |total, name| (total.0, name.0));
            let line = q.each((total, name), |(total, name)| (total, name.clone().unwrap_or_default()));
            q.origin_partition();
            q.agg::<Option<(i64, String)>>(agg::max(line))
        });
        declare_counts(topologies, orders_of);
        declare_calls_in_joins(topologies, names_of, orders_of);
    }
}

/// Outer joins whose sources call a query, on either side and behind the join.
fn declare_calls_in_joins(
    topologies: &mut Topologies,
    names_of: tantu::flow::PState<Names>,
    orders_of: tantu::flow::PState<Orders>,
) {
    // The length of a customer's name; nobody has the length 0.
    topologies.query("length", |q, (customer,): (Var<i64>,)| {
        q.hash_partition(customer);
        let name = q.local_select(names_of, path().key(customer).null_to_val(String::new()));
        let length = q.each(name, |name| name.len() as i64);
        q.origin_partition();
        length
    });
    topologies.query("lengths", |q, ()| {
        let names = q.source(|b| {
            let (customer, _) = customers(b, names_of);
            let length: Var<i64> = b.invoke_query("length", (customer,));
            b.filter(length, |length| length == 7);
            (customer, length)
        });
        let orders = q.source(|b| {
            let (order, customer, _) = orders(b, orders_of);
            let length: Var<i64> = b.invoke_query("length", (customer,));
            (order, customer, length)
        });
        let (customer, (order, _, of_order), (_, of_name)) =
            q.full_join(orders, names, |order, name| (order.1, name.0));
        let again: Var<i64> = q.invoke_query("length", (customer,));
        let line = q
            .each((customer, order, of_order, of_name, again), |(customer, order, of_order, of_name, again)| {
                (customer, *order, *of_order, *of_name, again)
            });
        q.origin_partition();
        q.agg::<List<Line>>(agg::list(line))
    });
}

/// A customer, an order, the length of the name as the order's side knows it, as the name's side does, and as it is.
type Line = (i64, Option<i64>, Option<i64>, Option<i64>, i64);

/// Counts on one task and on every task.
fn declare_counts(topologies: &mut Topologies, orders_of: tantu::flow::PState<Orders>) {
    // Rows go nowhere in particular before they are counted: each task counts its own.
    topologies.query("counts", |q, ()| {
        let counts = q.sub_batch(|b| {
            let (order, _, _) = orders(b, orders_of);
            b.hash_partition(order);
            let count = b.agg::<i64>(agg::count());
            let task = b.current_task_id();
            b.each((task, count), |(task, count)| (task, count))
        });
        let count = q.rows(counts);
        q.origin_partition();
        q.agg::<List<(i64, i64)>>(agg::list(count))
    });
    topologies.query("count", |q, ()| {
        let counts = q.sub_batch(|b| {
            let (order, _, _) = orders(b, orders_of);
            b.global_partition();
            b.agg::<i64>(agg::count());
            b.agg::<i64>(agg::sum(order))
        });
        let sum = q.rows(counts);
        let task = q.current_task_id();
        let one = q.each((task, sum), |(task, sum)| (task, sum));
        q.origin_partition();
        q.agg::<List<(i64, i64)>>(agg::list(one))
    });
}

/// A shop with these customers' names and orders.
fn shop(tasks: u32) -> (InProcessCluster, NamesByCustomer, OrdersByNumber) {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Shop>(LaunchConfig { tasks, threads: 2.min(tasks), ..LaunchConfig::default() }).unwrap();
    let depot = cluster.depot::<Entry>("Shop", "*entries").unwrap();
    let names: BTreeMap<i64, String> = (0..20).map(|n| (n, format!("name {n}"))).collect();
    // Customers 20 to 24 have no name, some of the others have no orders.
    let orders: BTreeMap<i64, (i64, i64)> = (100..160).map(|n| (n, (n * 7 % 25, n % 13))).collect();
    for (number, name) in &names {
        depot.append(&(*number, 0, 0, name.clone())).unwrap();
    }
    for (number, (customer, price)) in &orders {
        depot.append(&(*number, *customer, *price, String::new())).unwrap();
    }
    (cluster, names, orders)
}

#[test]
fn sources_are_joined_across_tasks_with_and_without_partners() {
    for tasks in [1, 8] {
        let (cluster, names, orders) = shop(tasks);
        let named = cluster.query::<(i64,), Vec<(i64, i64, String)>>("Shop", "named-orders").unwrap();
        for least in [0, 6, 100] {
            let mut expected = Vec::new();
            for (order, (customer, price)) in orders.iter().filter(|(_, (_, price))| *price >= least) {
                expected.extend(names.get(customer).map(|name| (*order, *price, name.clone())));
            }
            let mut found = named.invoke(&(least,)).unwrap();
            found.sort();
            assert_eq!(found, expected, "at least {least} on {tasks} tasks");
        }
        let everything = cluster.query::<(), Vec<(i64, Option<String>, Option<i64>)>>("Shop", "everything").unwrap();
        let mut expected: Vec<_> = orders
            .iter()
            .map(|(order, (customer, _))| (*customer, names.get(customer).cloned(), Some(*order)))
            .collect();
        let served: BTreeSet<i64> = orders.values().map(|(customer, _)| *customer).collect();
        let alone = names.iter().filter(|(number, _)| !served.contains(number));
        expected.extend(alone.map(|(number, name)| (*number, Some(name.clone()), None)));
        expected.sort();
        let mut found = everything.invoke(&()).unwrap();
        found.sort();
        assert_eq!(found, expected);
        cluster.close().unwrap();
    }
}

#[test]
fn sources_of_an_outer_join_call_queries_and_so_does_the_code_behind_it() {
    for tasks in [1, 4] {
        let (cluster, names, orders) = shop(tasks);
        let length = |customer: i64| names.get(&customer).map_or(0, |name| name.len() as i64);
        // Names of seven letters have two digits.
        let is_long = |customer: i64| length(customer) == 7;
        let mut expected: Vec<Line> = Vec::new();
        for (order, (customer, _)) in &orders {
            let of_name = is_long(*customer).then_some(7);
            expected.push((*customer, Some(*order), Some(length(*customer)), of_name, length(*customer)));
        }
        let served: BTreeSet<i64> = orders.values().map(|(customer, _)| *customer).collect();
        let alone = names.keys().filter(|customer| is_long(**customer) && !served.contains(customer));
        expected.extend(alone.map(|customer| (*customer, None, None, Some(7), 7)));
        expected.sort();
        let mut found = cluster.query::<(), Vec<Line>>("Shop", "lengths").unwrap().invoke(&()).unwrap();
        found.sort();
        assert_eq!(found, expected, "on {tasks} tasks");
        cluster.close().unwrap();
    }
}

#[test]
fn results_of_a_sub_batch_are_rows_of_the_batch_around_it() {
    let (cluster, names, orders) = shop(4);
    let mut totals = BTreeMap::<i64, i64>::new();
    orders.values().for_each(|(customer, price)| *totals.entry(*customer).or_default() += price);
    let best = totals.iter().map(|(customer, total)| (*total, names.get(customer).cloned().unwrap_or_default())).max();
    let found = cluster.query::<(), Option<(i64, String)>>("Shop", "best").unwrap().invoke(&()).unwrap();
    assert_eq!(found, best);
    cluster.close().unwrap();
}

#[test]
fn aggregators_run_on_one_task_or_on_every_task_as_their_partitioner_says() {
    let (cluster, _, orders) = shop(16);
    let counts = cluster.query::<(), Vec<(i64, i64)>>("Shop", "counts").unwrap().invoke(&()).unwrap();
    let tasks: BTreeSet<i64> = counts.iter().map(|(task, _)| *task).collect();
    assert_eq!((counts.len(), tasks), (16, (0..16).collect()), "each task once, also those without a row");
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<i64>(), orders.len() as i64);
    let count = cluster.query::<(), Vec<(i64, i64)>>("Shop", "count").unwrap().invoke(&()).unwrap();
    assert_eq!(count, [(0, orders.keys().sum::<i64>())], "on task 0 alone");
    cluster.close().unwrap();
}

/// Queries that call themselves and each other, and a stream that calls one.
struct Numbers;

impl Module for Numbers {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let numbers = setup.declare_depot::<i64>("*numbers", random());
        let mut s = topologies.stream("numbers");
        let fibonacci = s.pstate::<Map<i64, i64>>("$$fibonacci");
        let notes =
            s.pstate_with::<Map<i64, i64>>("$$notes", PStateOptions { unchecked: true, ..PStateOptions::default() });
        s.source(&numbers, |b, n| {
            // Something is written first: the call leaves when that is durable.
            b.compound_agg(notes, agg::key(n, agg::count()));
            let value: Var<i64> = b.invoke_query("fibonacci", (n,));
            let name: Var<str> = b.invoke_query("parity", (value,));
            let even = b.each(name, |name| name == "even");
            b.hash_partition(n);
            let value = b.each((value, even), |(value, even)| if even { -value } else { value });
            b.local_transform(fibonacci, path().key(n).term_val(value));
        });
        topologies.query("fibonacci", |q, (n,): (Var<i64>,)| {
            q.shuffle_partition();
            let small = q.each(n, |n| n < 2);
            let value = q.if_else(
                small,
                |b| b.each(n, |n| n),
                |b| {
                    let (one, two) = (b.each(n, |n| n - 1), b.each(n, |n| n - 2));
                    let one: Var<i64> = b.invoke_query("fibonacci", (one,));
                    let two: Var<i64> = b.invoke_query("fibonacci", (two,));
                    b.each((one, two), |(one, two)| one + two)
                },
            );
            q.origin_partition();
            value
        });
        topologies.query("parity", |q, (n,): (Var<i64>,)| {
            q.origin_partition();
            q.each(n, |n| if n % 2 == 0 { "even" } else { "odd" })
        });
        declare_calls_that_end_otherwise(topologies);
    }
}

/// Queries that fail, never end, or keep state.
fn declare_calls_that_end_otherwise(topologies: &mut Topologies) {
    topologies.query("endless", |q, (n,): (Var<i64>,)| {
        let next = q.each(n, |n| n + 1);
        let value: Var<i64> = q.invoke_query("endless", (next,));
        q.origin_partition();
        value
    });
    topologies.query("divides", |q, (n,): (Var<i64>,)| {
        let value: Var<i64> = q.invoke_query("divide", (n,));
        q.origin_partition();
        value
    });
    topologies.query("divide", |q, (n,): (Var<i64>,)| {
        q.global_partition();
        let value = q.each(n, |n| 100 / n);
        q.origin_partition();
        value
    });
    // Each letter of the text once, in whichever order it came.
    topologies.query("distinct", |q, (text,): (Var<str>,)| {
        let seen = q.temporary::<Map<String, i64>>();
        let letter = q.explode(text, |text| text.chars().map(|c| c.to_string()).collect::<Vec<_>>());
        q.hash_partition(letter);
        q.compound_agg(seen, agg::key(letter, agg::count()));
        let times = q.local_select(seen, path().key(letter).null_to_val(0));
        q.filter(times, |times| times == 1);
        q.origin_partition();
        q.agg::<Set<String>>(agg::set(letter));
        q.agg::<i64>(agg::count())
    });
}

fn numbers(tasks: u32) -> InProcessCluster {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Numbers>(LaunchConfig { tasks, threads: 2.min(tasks), ..LaunchConfig::default() }).unwrap();
    cluster
}

#[test]
fn a_query_calls_itself_from_wherever_it_is_and_goes_on_there() {
    let cluster = numbers(4);
    let fibonacci = cluster.query::<(i64,), i64>("Numbers", "fibonacci").unwrap();
    for (n, expected) in [(0, 0), (1, 1), (2, 1), (10, 55), (15, 610)] {
        assert_eq!(fibonacci.invoke(&(n,)).unwrap(), expected, "fibonacci {n}");
    }
    cluster.close().unwrap();
}

#[test]
fn a_stream_goes_on_with_the_results_of_queries() {
    let cluster = numbers(4);
    let depot = cluster.depot::<i64>("Numbers", "*numbers").unwrap();
    for n in 0..12 {
        depot.append(&n).unwrap();
    }
    let fibonacci = cluster.pstate::<Map<i64, i64>>("Numbers", "$$fibonacci").unwrap();
    let expected = [0, 1, 1, -2, 3, 5, -8, 13, 21, -34, 55, 89];
    for (n, expected) in expected.into_iter().enumerate() {
        assert_eq!(fibonacci.select_one(path().key(n as i64)).unwrap(), Some(expected), "of {n}");
    }
    cluster.close().unwrap();
}

#[test]
fn a_call_within_a_call_that_fails_or_never_ends_fails_the_outer_one() {
    let cluster = numbers(2);
    let divides = cluster.query::<(i64,), i64>("Numbers", "divides").unwrap();
    let endless = cluster.query::<(i64,), i64>("Numbers", "endless").unwrap();
    for _ in 0..3 {
        assert_eq!(divides.invoke(&(5,)).unwrap(), 20);
        let error = divides.invoke(&(0,)).unwrap_err();
        assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("divide by zero")), "{error}");
        let error = endless.invoke(&(0,)).unwrap_err();
        assert!(matches!(&error, ClientError::QueryFailed(text) if text.contains("deep")), "{error}");
    }
    cluster.close().unwrap();
}

#[test]
fn temporary_state_is_that_of_one_call() {
    let cluster = numbers(8);
    let distinct = cluster.query::<(String,), i64>("Numbers", "distinct").unwrap();
    let texts = ["abracadabra", "", "zzz", "the quick brown fox"];
    let calls: Vec<_> = (0..200).map(|n| distinct.invoke_async(&(texts[n % 4].to_string(),)).unwrap()).collect();
    for (n, call) in calls.into_iter().enumerate() {
        let letters: BTreeSet<char> = texts[n % 4].chars().collect();
        assert_eq!(call.wait().unwrap(), letters.len() as i64, "{:?}", texts[n % 4]);
    }
    cluster.close().unwrap();
}

/// What cannot be a batch.
struct Mistaken;

impl Module for Mistaken {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<i64>("*numbers", random());
        topologies.stream("s").source(&depot, |b, n| {
            b.batch_block(|b| b.each(n, |n| n + 1));
        });
        topologies.query("stray", |q, (n,): (Var<i64>,)| {
            q.each(n, |n| n + 1);
            let source = q.source(|b| b.each(n, |n| n + 2));
            let n = q.rows(source);
            q.origin_partition();
            n
        });
        topologies.query("nobody-takes", |q, (n,): (Var<i64>,)| {
            let left = q.source(|b| b.each(n, |n| n + 2));
            drop(left);
            q.origin_partition();
            n
        });
        topologies.query("no-keys", |q, (n,): (Var<i64>,)| {
            let left = q.source(|b| b.each(n, |n| n + 2));
            let right = q.source(|b| b.each(n, |n| n + 2));
            let (left, _) = q.join(left, right, |_, _| ((), ()));
            q.origin_partition();
            left
        });
        topologies.query("not-home", |q, (n,): (Var<i64>,)| {
            let left = q.source(|b| b.each(n, |n| n + 2));
            let right = q.source(|b| b.each(n, |n| n + 2));
            q.join(left, right, |left, right| (left, right)).0
        });
        declare_more(topologies);
    }
}

/// The other half of what cannot be a batch.
fn declare_more(topologies: &mut Topologies) {
    topologies.query("groups-stay", |q, (n,): (Var<i64>,)| q.group_by(n, |g| g.agg::<i64>(agg::count())).1);
    topologies.query("leads-on", |q, (n,): (Var<i64>,)| {
        let (n, count) = q.group_by(n, |g| g.agg::<i64>(agg::count()));
        q.hash_partition(n);
        q.origin_partition();
        count
    });
    topologies.query("counts-in-a-source", |q, (n,): (Var<i64>,)| {
        let counted = q.source(|b| {
            b.hash_partition(n);
            b.agg::<i64>(agg::count())
        });
        let count = q.rows(counted);
        q.origin_partition();
        count
    });
    topologies.query("binds-twice", |q, (n,): (Var<i64>,)| {
        q.named(|d| {
            d.import("*n", n);
            d.each("*n", &["*n"], |v| v[0].clone());
        });
        q.origin_partition();
        n
    });
    topologies.query("calls-nobody", |q, (n,): (Var<i64>,)| {
        let _: Var<i64> = q.invoke_query("nobody", (n,));
        let _: Var<str> = q.invoke_query("no-keys", (n,));
        q.origin_partition();
        n
    });
    topologies.query("seven-keys", |q, (n,): (Var<i64>,)| {
        let (_, count) = q.group_by((n, n, n, n, n, n, n), |g| g.agg::<i64>(agg::count()));
        q.origin_partition();
        count
    });
    topologies.query("keeps", |q, (n,): (Var<i64>,)| {
        q.materialize(n);
        q.origin_partition();
        n
    });
}

#[test]
fn what_cannot_be_a_batch_is_refused_with_its_line() {
    let text = define::<Mistaken>().unwrap_err().to_string();
    for mistake in [
        "a batch block stands in a microbatch topology",
        "stray branch: what was recorded before `source`",
        "stray branch: nobody takes the rows of this source",
        "no possible joins",
        "`not-home` goes on elsewhere",
        "`groups-stay` goes on elsewhere",
        "goes on elsewhere after its aggregators",
        "a `source` has no aggregators",
        "`*n` is bound already",
        "no query `nobody`",
        "the query `no-keys` is (i64) -> i64, not (i64) -> str",
        "a query is one block",
        "`group_by` has 7 keys, the most is 6",
    ] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(mistake)).collect();
        assert_eq!(lines.len(), 1, "{mistake}: {text}");
        assert!(lines[0].contains("batch.rs:"), "{mistake}: {text}");
    }
    assert_eq!(text.lines().count(), 1 + 13, "{text}");
}

type Kept = Map<i64, List<(String, i64)>>;

/// Words with a number, and queries that gather them into maps.
struct Gathered;

impl Module for Gathered {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let words = setup.declare_depot::<(String, i64)>("*words", random());
        let mut s = topologies.stream("keep");
        let kept = s.pstate_with::<Kept>("$$kept", PStateOptions { unchecked: true, ..PStateOptions::default() });
        s.source(&words, |b, word| b.local_transform(kept, path().key(0).null_to_list().after_elem().term_val(word)));

        // One phase would do; combiners are combined before they leave.
        topologies.query("counts", |q, (): ()| {
            q.all_partition();
            let (word, n) = rows_of(q, kept);
            q.origin_partition();
            let counts = q.agg::<Map<String, (i64, i64)>>(agg::key(word, agg::tuple((agg::count(), agg::sum(n)))));
            let most = q.agg::<Option<i64>>(agg::max(n));
            q.each((counts, most), |(counts, most)| (counts.clone(), *most))
        });
        // A list makes it an accumulator: rows travel as they are.
        topologies.query("groups", |q, (least,): (Var<i64>,)| {
            let groups = q.sub_batch(|b| {
                b.all_partition();
                let (word, n) = rows_of(b, kept);
                let is_even = b.each(n, |n| n % 2 == 0);
                let (is_even, (by_word, count)) = b.group_by(is_even, |g| {
                    let by_word = g.agg::<Map<String, Set<i64>>>(agg::key(word, agg::set(n)));
                    (by_word, g.agg::<i64>(agg::count()))
                });
                b.filter((count, least), |(count, least)| count >= least);
                (is_even, by_word)
            });
            let (is_even, by_word) = q.rows(groups);
            q.origin_partition();
            q.agg::<Map<bool, Map<String, Set<i64>>>>(agg::key(is_even, agg::last(by_word)))
        });
    }
}

/// Rows of a partition, as two vars.
fn rows_of(q: &mut QueryBlock, kept: tantu::flow::PState<Kept>) -> (Var<str>, Var<i64>) {
    let row = q.local_select(kept, path().key(0).null_to_list().all());
    (q.each(row, |row| row.0.clone()), q.each(row, |row| row.1))
}

#[test]
fn a_compound_shape_over_rows_is_a_map_for_all_rows_and_for_each_group() {
    type Counts = (BTreeMap<String, (i64, i64)>, Option<i64>);
    type Groups = BTreeMap<bool, BTreeMap<String, BTreeSet<i64>>>;
    for tasks in [1, 4] {
        let cluster = InProcessCluster::create().unwrap();
        cluster.launch::<Gathered>(LaunchConfig::new(tasks, tasks.min(2))).unwrap();
        let counts = cluster.query::<(), Counts>("Gathered", "counts").unwrap();
        let groups = cluster.query::<(i64,), Groups>("Gathered", "groups").unwrap();
        assert_eq!(counts.invoke(&()).unwrap(), (BTreeMap::new(), None), "without rows");
        assert_eq!(groups.invoke(&(0,)).unwrap(), BTreeMap::new());
        let words = cluster.depot::<(String, i64)>("Gathered", "*words").unwrap();
        let rows: Vec<(String, i64)> = (0..60).map(|n: i64| (format!("w{}", n * n % 7), n * 5 % 11)).collect();
        for row in &rows {
            words.append(row).unwrap();
        }
        let (mut by_word, mut by_group) = (BTreeMap::<_, (i64, i64)>::new(), Groups::new());
        for (word, n) in &rows {
            let (count, sum) = by_word.entry(word.clone()).or_default();
            (*count, *sum) = (*count + 1, *sum + n);
            by_group.entry(n % 2 == 0).or_default().entry(word.clone()).or_default().insert(*n);
        }
        assert_eq!(counts.invoke(&()).unwrap(), (by_word, Some(10)));
        assert_eq!(groups.invoke(&(0,)).unwrap(), by_group);
        assert_eq!(groups.invoke(&(1_000,)).unwrap(), BTreeMap::new(), "no group has so many");
        cluster.close().unwrap();
    }
}
