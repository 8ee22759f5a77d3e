//! Time series and a top list: views of pages by the minute, and queries over all pages.
//!
//! A page's minutes are a subindexed map: a range of them is read, the others are not. The query `top` runs on every
//! task; what each task finds goes to the task where the call started, which keeps the best.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::Result;

/// What is appended.
#[derive(Record)]
struct View {
    page: String,
    minute: i64,
}

/// By page, by minute, how often.
type Views = Map<String, Sub<Map<i64, i64>>>;

struct TopPages;

impl Module for TopPages {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let depot = setup.declare_depot::<View>("*views", hash_by(|view: &View| view.page.clone()));
        let mut counter = topologies.stream("counter");
        let views = counter.pstate::<Views>("$$views");
        counter.source(&depot, |b, view| {
            let page = b.view(view, |view| view.page.as_str());
            let minute = b.each(view, |view| view.minute);
            b.local_transform(views, path().key(page).key(minute).null_to_val(0).term(|count: i64| count + 1));
        });

        // The pages with the most views in the minutes from `from`, below `to`; the best first.
        topologies.query("top", |q, (from, to, least): (Var<i64>, Var<i64>, Var<i64>)| {
            q.name(from, "from");
            q.name(to, "to");
            q.name(least, "least");
            q.all_partition();
            let page = q.local_select(views, path().map_keys());
            q.name(page, "page");
            let minutes = q.local_select(views, path().must(page).sorted_map_range(from, to));
            let total = q.each(minutes, |minutes| minutes.values().sum::<i64>());
            q.name(total, "total");
            q.filter((total, least), |(total, least)| total >= least);
            q.origin_partition();
            let best = agg::limit(3).sort((total,)).reverse();
            q.agg::<List<(String, i64)>>(best.of::<(String, i64), _>((page, total)))
        });

        // One page's views in each hour of a range of minutes.
        topologies.query("hours", |q, (page, from, to): (Var<str>, Var<i64>, Var<i64>)| {
            q.hash_partition(page);
            let minutes = q.local_select(views, path().key(page).sorted_map_range(from, to));
            let hours = q.each(minutes, |minutes| {
                let mut hours = BTreeMap::new();
                for (minute, count) in minutes {
                    *hours.entry(minute / 60).or_insert(0) += count;
                }
                hours
            });
            q.origin_partition();
            hours
        });
    }
}

type Top = Vec<(String, i64)>;
type Hours = BTreeMap<i64, i64>;

/// A cluster that has seen a morning.
fn morning(task_count: u32) -> Result<InProcessCluster> {
    let cluster = InProcessCluster::create()?;
    let threads = task_count.min(2);
    cluster.launch::<TopPages>(LaunchConfig { tasks: task_count, threads, ..LaunchConfig::default() })?;
    let views = cluster.depot::<View>(&TopPages::name(), "*views")?;
    let mut pending = Vec::new();
    for minute in 0..180 {
        for (page, every) in [("/home", 2), ("/prices", 5), ("/help", 30), ("/jobs", 61), ("/legal", 90)] {
            if minute % every == 0 {
                pending.push(views.append_async(&View { page: page.to_string(), minute }, AckLevel::Ack)?);
            }
        }
    }
    for append in pending {
        append.wait()?;
    }
    Ok(cluster)
}

fn show() -> Result<()> {
    let cluster = morning(4)?;
    let top = cluster.query::<(i64, i64, i64), Top>(&TopPages::name(), "top")?;
    println!("the most viewed pages of the second hour:");
    for (page, count) in top.invoke(&(60, 120, 1))? {
        println!("  {count:3} {page}");
    }
    let hours = cluster.query::<(String, i64, i64), Hours>(&TopPages::name(), "hours")?;
    println!("views of /prices by the hour:");
    for (hour, count) in hours.invoke(&("/prices".to_string(), 0, 180))? {
        println!("  {hour}:00  {}", "#".repeat(usize::try_from(count)?));
    }
    cluster.close()?;
    Ok(())
}

tantu::main!(TopPages; run = show);

#[test]
fn the_best_pages_of_a_range_come_in_order_whatever_task_they_are_on() {
    for task_count in [1, 8] {
        let cluster = morning(task_count).unwrap();
        let top = cluster.query::<(i64, i64, i64), Top>(&TopPages::name(), "top").unwrap();
        let named = |pages: &[(&str, i64)]| pages.iter().map(|(page, n)| (page.to_string(), *n)).collect::<Top>();
        assert_eq!(top.invoke(&(60, 120, 1)).unwrap(), named(&[("/home", 30), ("/prices", 12), ("/help", 2)]));
        assert_eq!(top.invoke(&(61, 62, 1)).unwrap(), named(&[("/jobs", 1)]));
        assert_eq!(top.invoke(&(0, 180, 30)).unwrap(), named(&[("/home", 90), ("/prices", 36)]));
        assert_eq!(
            top.invoke(&(500, 600, 1)).unwrap(),
            named(&[]),
            "nothing happened then, and yet there is an answer"
        );
        cluster.close().unwrap();
    }
}

#[test]
fn minutes_are_added_up_to_hours() {
    let cluster = morning(4).unwrap();
    let hours = cluster.query::<(String, i64, i64), Hours>(&TopPages::name(), "hours").unwrap();
    let of = |page: &str, from, to| hours.invoke(&(page.to_string(), from, to)).unwrap();
    assert_eq!(of("/home", 0, 180), BTreeMap::from([(0, 30), (1, 30), (2, 30)]));
    assert_eq!(of("/home", 50, 64), BTreeMap::from([(0, 5), (1, 2)]));
    assert_eq!(of("/nowhere", 0, 180), BTreeMap::new());
    cluster.close().unwrap();
}

#[test]
fn the_module_is_drawn_as_it_was() {
    tantu_examples::assert_drawn::<TopPages>("top_pages");
}
