//! Invitations: who brings somebody in gets points, and half as many go to who brought them in, and so on up the chain.
//!
//! It shows a branch, a call of a service elsewhere that the task does not wait for, and a loop that goes from task to
//! task: each person in the chain is looked up and rewarded where their state is.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::Result;

/// What is appended.
#[derive(Record)]
struct SignUp {
    user: String,
    /// Nobody, for those who came by themselves.
    invited_by: Option<String>,
}

/// What the first in the chain gets.
const REWARD: i64 = 8;

type Names = Map<String, String>;
type Numbers = Map<String, i64>;

/// Stands for a service that knows whom to let in. It answers when it likes; the task does other things until then.
async fn may_enter(user: String) -> std::result::Result<bool, String> {
    if user.is_empty() { Err("who is that?".to_string()) } else { Ok(!user.starts_with("bot")) }
}

struct Invitations;

impl Module for Invitations {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let sign_ups = setup.declare_depot::<SignUp>("*sign_ups", hash_by(|sign_up: &SignUp| sign_up.user.clone()));
        let mut topology = topologies.stream("invitations");
        let inviters = topology.pstate::<Names>("$$inviters");
        let points = topology.pstate::<Numbers>("$$points");
        let refused = topology.pstate::<Numbers>("$$refused");
        topology.source(&sign_ups, |b, sign_up| {
            let user = b.view(sign_up, |sign_up| sign_up.user.as_str());
            let by = b.each(sign_up, |sign_up| sign_up.invited_by.clone().unwrap_or_default());
            let welcome = b.each_async(user, |user| may_enter(user.to_string()));
            b.name(user, "user");
            b.name(by, "by");
            b.name(welcome, "welcome");
            // Both ways go on below, with the points that there are to give.
            let reward = b.if_else(
                welcome,
                |b| {
                    b.local_transform(inviters, path().key(user).term_val(by));
                    b.constant(REWARD)
                },
                |b| {
                    b.compound_agg(refused, agg::key(user, agg::count()));
                    b.constant(0i64)
                },
            );
            b.name(reward, "reward");
            b.repeat((by, reward), |b, chain, (person, share)| {
                b.name(person, "person");
                b.name(share, "share");
                b.filter((person, share), |(person, share)| !person.is_empty() && share > 0);
                b.hash_partition(person);
                b.compound_agg(points, agg::key(person, agg::sum(share)));
                let next = b.local_select(inviters, path().must(person));
                let half = b.each(share, |share| share / 2);
                b.continue_loop(chain, (next, half));
            });
        });
    }
}

/// Everybody's points, and who was refused how often.
fn after(sign_ups: &[(&str, Option<&str>)]) -> Result<(BTreeMap<String, i64>, BTreeMap<String, i64>)> {
    const TASK_COUNT: u32 = 4;
    let cluster = InProcessCluster::create()?;
    cluster.launch::<Invitations>(LaunchConfig { tasks: TASK_COUNT, threads: 2, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<SignUp>(&Invitations::name(), "*sign_ups")?;
    for (user, by) in sign_ups {
        depot.append(&SignUp { user: user.to_string(), invited_by: by.map(str::to_string) })?;
    }
    let all = |name: &str| -> Result<BTreeMap<String, i64>> {
        let numbers = cluster.pstate::<Numbers>(&Invitations::name(), name)?;
        Ok(numbers.select_all(path().all())?.into_iter().collect())
    };
    let found = (all("$$points")?, all("$$refused")?);
    cluster.close()?;
    Ok(found)
}

const SIGN_UPS: [(&str, Option<&str>); 6] = [
    ("ann", None),
    ("bob", Some("ann")),
    ("cid", Some("bob")),
    ("dan", Some("cid")),
    ("bot-7", Some("dan")),
    ("eve", Some("bob")),
];

fn show() -> Result<()> {
    let (points, refused) = after(&SIGN_UPS)?;
    for (person, points) in points {
        println!("{person} has {points} points");
    }
    for (user, times) in refused {
        println!("{user} was refused {times} times");
    }
    Ok(())
}

tantu::main!(Invitations; run = show);

#[test]
fn rewards_go_up_the_chain_and_halve() {
    let (points, refused) = after(&SIGN_UPS).unwrap();
    // Bob, Cid, Dan and Eve came with 8 for who brought them, 4 for who brought those, and so on.
    let expected = [("ann", 8 + 4 + 2 + 4), ("bob", 8 + 4 + 8), ("cid", 8)];
    assert_eq!(points, expected.map(|(person, points)| (person.to_string(), points)).into());
    assert_eq!(refused, BTreeMap::from([("bot-7".to_string(), 1)]));
}

#[test]
fn a_chain_that_is_longer_than_the_reward_lasts_ends_where_nothing_is_left() {
    let chain: Vec<String> = (0..7).map(|n| format!("user{n}")).collect();
    let mut sign_ups: Vec<(&str, Option<&str>)> = vec![(&chain[0], None)];
    sign_ups.extend(chain.windows(2).map(|pair| (pair[1].as_str(), Some(pair[0].as_str()))));
    let (points, _) = after(&sign_ups).unwrap();
    let first = points.get("user0").copied();
    assert_eq!(first, Some(8 + 4 + 2 + 1), "the fifth below brings nothing any more");
    assert_eq!(points.get("user6"), None);
}

#[test]
fn a_service_that_fails_fails_the_sign_up() {
    let error = after(&[("", None)]).unwrap_err().to_string();
    assert!(error.contains("who is that?"), "{error}");
}

#[test]
fn the_module_is_drawn_as_it_was() {
    tantu_examples::assert_drawn::<Invitations>("invitations");
}
