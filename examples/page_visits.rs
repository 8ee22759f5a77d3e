//! Page visits: a PState of a nested shape, kept on the tasks where the records already are.
//!
//! The depot is partitioned by user, with the same hash as the PState's keys. So the topology needs no partitioner:
//! every visit starts on the task that owns its user.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use tantu::prelude::*;
use tantu_examples::Result;

/// What is appended.
#[derive(Record)]
struct Visit {
    user: String,
    page: String,
}

/// By user, by page, how often.
type Visits = Map<String, Map<String, i64>>;

struct PageVisits;

impl Module for PageVisits {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let visits = setup.declare_depot::<Visit>("*visits", hash_by(|visit: &Visit| visit.user.clone()));
        let mut topology = topologies.stream("visits");
        let by_user = topology.pstate::<Visits>("$$visits");
        topology.source(&visits, |b, visit| {
            let user = b.view(visit, |visit| visit.user.as_str());
            let page = b.view(visit, |visit| visit.page.as_str());
            b.compound_agg(by_user, agg::key(user, agg::key(page, agg::count())));
        });
    }
}

/// What a client learns about a user.
struct Answer {
    /// How often the user saw the page; `None` if the PState holds nothing there.
    times: Option<i64>,
    /// All pages of the user, and how often.
    pages: Vec<(String, i64)>,
}

/// Appends the visits, then asks.
fn ask(visits: &[(&str, &str)], user: &str, page: &str) -> Result<Answer> {
    let cluster = InProcessCluster::create()?;
    cluster.launch::<PageVisits>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<Visit>(&PageVisits::name(), "*visits")?;
    for (user, page) in visits {
        depot.append(&Visit { user: (*user).to_string(), page: (*page).to_string() })?;
    }
    let by_user = cluster.pstate::<Visits>(&PageVisits::name(), "$$visits")?;
    let times = by_user.select_one(path().key(user).key(page))?;
    let pages = by_user.select(path().key(user).all())?;
    cluster.close()?;
    Ok(Answer { times, pages })
}

const VISITS: [(&str, &str); 5] =
    [("ann", "/home"), ("bob", "/home"), ("ann", "/prices"), ("ann", "/home"), ("bob", "/help")];

fn show() -> Result<()> {
    let Answer { times, pages } = ask(&VISITS, "ann", "/home")?;
    println!("ann saw /home {} times; all her pages:", times.unwrap_or(0));
    for (page, times) in pages {
        println!("  {page}: {times}");
    }
    Ok(())
}

tantu::main!(PageVisits; run = show);

#[test]
fn visits_are_counted_by_user_and_page() {
    let Answer { times, pages } = ask(&VISITS, "ann", "/home").unwrap();
    assert_eq!(times, Some(2));
    assert_eq!(pages, [("/home".to_string(), 2), ("/prices".to_string(), 1)]);
}

#[test]
fn a_user_who_never_came_has_no_pages() {
    let Answer { times, pages } = ask(&VISITS, "eve", "/home").unwrap();
    assert_eq!(times, None);
    assert_eq!(pages, []);
}
