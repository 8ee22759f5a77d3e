//! Accounts with unique names: of all who want a name, one gets it.
//!
//! Registrations of one name are in one partition, so they are looked at one after the other on one task: look whether the name is
//! taken, then take it, needs no lock. The answer to the append says whether the account is the client's own: what the topology
//! returned for the record (`ack_return`). Each registration has an id of its own that the client makes, by which one that is tried
//! again is known for the same.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use tantu::prelude::*;
use tantu::uid::uuid_v7;
use tantu_examples::Result;

const TASK_COUNT: u32 = 4;

/// What is appended.
#[derive(Record, Clone)]
struct Registration {
    id: Uuid,
    name: String,
    email: String,
}

/// Who has a name.
#[derive(Record, Clone, PartialEq, Debug)]
struct Account {
    /// The registration that made it.
    by: Uuid,
    /// Its number, from 1 on each task.
    number: i64,
    email: String,
}

struct Accounts;

impl Module for Accounts {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let registrations =
            setup.declare_depot::<Registration>("*registrations", hash_by(|r: &Registration| r.name.clone()));
        let mut registrar = topologies.stream("registrar");
        let accounts = registrar.pstate::<Map<String, Account>>("$$accounts");
        let count = registrar.pstate_initial::<i64>("$$count", PStateOptions::default(), 0);
        registrar.source(&registrations, |b, registration| {
            let name = b.view(registration, |r| r.name.as_str());
            let owner =
                b.local_select(accounts, path().key(name).view(|of: Option<Account>| of.map(|account| account.by)));
            let is_own = b.each((registration, owner), |(r, owner)| owner.is_none_or(|by| by == r.id));
            b.ack_return(is_own);
            b.filter(owner, |owner| owner.is_none());
            b.local_transform(count, path().term(|count: i64| count + 1));
            let number = b.local_select(count, path());
            let account =
                b.each((registration, number), |(r, number)| Account { by: r.id, number, email: r.email.clone() });
            b.local_transform(accounts, path().key(name).term_val(account));
        });
    }
}

/// Asks for a name; true if the account is the asker's.
fn register(cluster: &InProcessCluster, registration: &Registration) -> Result<bool> {
    let registrations = cluster.depot::<Registration>(&Accounts::name(), "*registrations")?;
    // Returns when the registration has been looked at.
    let answer = registrations.append_ack(registration)?;
    Ok(answer.returns.get("registrar")?.unwrap_or(false))
}

fn registration(name: &str, email: &str) -> Registration {
    Registration { id: uuid_v7(), name: name.to_string(), email: email.to_string() }
}

fn show() -> Result<()> {
    let cluster = InProcessCluster::create()?;
    cluster.launch::<Accounts>(LaunchConfig { tasks: TASK_COUNT, threads: 2, ..LaunchConfig::default() })?;
    for (name, email) in [("ann", "ann@a.example"), ("bob", "bob@b.example"), ("ann", "anna@c.example")] {
        let is_own = register(&cluster, &registration(name, email))?;
        println!("{email} wants to be {name}: {}", if is_own { "welcome!" } else { "somebody else is." });
    }
    cluster.close()?;
    Ok(())
}

tantu::main!(Accounts; run = show);

#[test]
fn of_many_who_want_a_name_at_once_one_gets_it_and_a_second_try_of_a_registration_is_the_same() {
    let cluster = InProcessCluster::create().unwrap();
    cluster.launch::<Accounts>(LaunchConfig::new(TASK_COUNT, 2)).unwrap();
    let names = ["ann", "bob", "cleo", "dan"];
    let all: Vec<Registration> = (0..40).map(|n| registration(names[n % 4], &format!("{n}@x.example"))).collect();
    let own = std::thread::scope(|scope| {
        let askers: Vec<_> = all.iter().map(|asked| scope.spawn(|| register(&cluster, asked).unwrap())).collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect::<Vec<bool>>()
    });
    for name in names {
        let winners: Vec<_> = all.iter().zip(&own).filter(|(asked, own)| asked.name == name && **own).collect();
        assert_eq!(winners.len(), 1, "{name}");
        assert!(register(&cluster, winners[0].0).unwrap(), "{name}: tried again");
        let accounts = cluster.pstate::<Map<String, Account>>(&Accounts::name(), "$$accounts").unwrap();
        let account = accounts.select_one(path().key(name)).unwrap();
        assert_eq!(account.map(|account| account.by), Some(winners[0].0.id), "{name}: the answer was true");
    }
    let counts = cluster.pstate::<i64>(&Accounts::name(), "$$count").unwrap();
    let count: i64 = counts.select_all(path()).unwrap().into_iter().sum();
    assert_eq!(count, 4, "no other account was made");
    cluster.close().unwrap();
}
