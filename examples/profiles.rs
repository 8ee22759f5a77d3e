//! Profiles: records as values of a PState, changed field by field, and a subindexed map that is read page by page.

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;
use tantu::prelude::*;
use tantu_examples::Result;

/// What is known of a person.
#[derive(Record, Clone, PartialEq, Debug)]
struct Profile {
    name: String,
    city: Option<String>,
    /// Came later: profiles that are older have 0.
    #[field(default)]
    post_count: i64,
}

/// What somebody wrote.
#[derive(Record, Clone, PartialEq, Debug)]
struct Post {
    text: String,
    at_ms: i64,
}

/// What is appended.
#[derive(Record, Clone)]
struct Change {
    user: String,
    what: What,
}

/// What changes.
#[derive(Record, Clone)]
enum What {
    #[variant(1)]
    Joined(String),
    #[variant(2)]
    Moved(String),
    #[variant(3)]
    Wrote(Post),
}

type ProfileMap = Map<String, Profile>;
/// By user, by number: any number of posts, each stored by itself.
type Posts = Map<String, Sub<Map<i64, Post>>>;

struct Profiles;

impl Module for Profiles {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let changes = setup.declare_depot::<Change>("*changes", hash_by(|change: &Change| change.user.clone()));
        let mut topology = topologies.stream("profiles");
        let profiles = topology.pstate::<ProfileMap>("$$profiles");
        let posts = topology.pstate::<Posts>("$$posts");
        topology.source(&changes, |b, change| {
            let user = b.view(change, |change| change.user.as_str());
            b.name(user, "user");
            let what = b.view(change, |change| &change.what);
            b.match_enum(what)
                .case(
                    |what| match what {
                        What::Joined(name) => Some(Profile { name: name.clone(), city: None, post_count: 0 }),
                        _ => None,
                    },
                    |b, profile| b.local_transform(profiles, path().key(user).term_val(profile)),
                )
                .part(
                    |what| match what {
                        What::Moved(city) => Some(city.as_str()),
                        _ => None,
                    },
                    // The other fields stay as they are, and are not looked at.
                    |b, city| b.local_transform(profiles, path().must(user).field(Profile::CITY).term_val(city)),
                )
                .part(
                    |what| match what {
                        What::Wrote(post) => Some(post),
                        _ => None,
                    },
                    |b, post| {
                        let count = path().must(user).field(Profile::POST_COUNT).null_to_val(0);
                        let number = b.local_select(profiles, count.clone());
                        b.name(number, "number");
                        let value = b.each(post, Post::clone);
                        b.local_transform(posts, path().key(user).key(number).term_val(value));
                        b.local_transform(profiles, count.term(|count| count + 1));
                    },
                )
                .end();
        });
    }
}

fn launched(changes: &[Change]) -> Result<InProcessCluster> {
    let cluster = InProcessCluster::create()?;
    cluster.launch::<Profiles>(LaunchConfig { tasks: 4, threads: 2, ..LaunchConfig::default() })?;
    let depot = cluster.depot::<Change>(&Profiles::name(), "*changes")?;
    for change in changes {
        depot.append(change)?;
    }
    Ok(cluster)
}

/// A page of a user's posts: so many from a number on.
fn page(posts: &tantu::client::PState<Posts>, user: &str, from: i64, count: u64) -> Result<BTreeMap<i64, Post>> {
    Ok(posts.select_one(path().key(user).sorted_map_range_from(from, Some(count)))?)
}

fn story() -> Vec<Change> {
    let by = |user: &str, what| Change { user: user.to_string(), what };
    let wrote = |n: i64| What::Wrote(Post { text: format!("my post number {n}"), at_ms: 1_000 * n });
    let mut changes = vec![
        by("ann", What::Joined("Ann Ash".to_string())),
        by("bob", What::Joined("Bob Birch".to_string())),
        by("ann", What::Moved("Oslo".to_string())),
    ];
    changes.extend((0..7).map(|n| by("ann", wrote(n))));
    changes
}

fn show() -> Result<()> {
    let cluster = launched(&story())?;
    let profiles = cluster.pstate::<ProfileMap>(&Profiles::name(), "$$profiles")?;
    let posts = cluster.pstate::<Posts>(&Profiles::name(), "$$posts")?;
    for user in ["ann", "bob"] {
        // One field of the record is read, wherever it is stored.
        let name = profiles.select_one(path().must(user).field(Profile::NAME))?;
        let city = profiles.select_one(path().must(user).field(Profile::CITY))?;
        println!("{name} lives in {}", city.unwrap_or_else(|| "parts unknown".to_string()));
    }
    let mut from = 0;
    loop {
        let page = page(&posts, "ann", from, 3)?;
        let Some((last, _)) = page.last_key_value() else { break };
        println!("a page of Ann's posts:");
        from = last + 1;
        for (number, post) in page {
            println!("  {number}: {}", post.text);
        }
    }
    cluster.close()?;
    Ok(())
}

tantu::main!(Profiles; run = show);

#[test]
fn a_field_changes_and_the_others_stay() {
    let cluster = launched(&story()).unwrap();
    let profiles = cluster.pstate::<ProfileMap>(&Profiles::name(), "$$profiles").unwrap();
    let of = |user: &str| profiles.select_one(path().key(user)).unwrap();
    let profile = |name: &str, city: Option<&str>, post_count| {
        Some(Profile { name: name.to_string(), city: city.map(str::to_string), post_count })
    };
    assert_eq!(of("ann"), profile("Ann Ash", Some("Oslo"), 7));
    assert_eq!(of("bob"), profile("Bob Birch", None, 0));
    assert_eq!(of("eve"), None);
    cluster.close().unwrap();
}

#[test]
fn posts_are_read_page_by_page() {
    let cluster = launched(&story()).unwrap();
    let posts = cluster.pstate::<Posts>(&Profiles::name(), "$$posts").unwrap();
    let numbers = |from, count| page(&posts, "ann", from, count).unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(numbers(0, 3), [0, 1, 2]);
    assert_eq!(numbers(5, 3), [5, 6]);
    assert_eq!(numbers(7, 3), [0i64; 0]);
    let post = posts.select_one(path().key("ann").must(4)).unwrap();
    assert_eq!(post, Post { text: "my post number 4".to_string(), at_ms: 4_000 });
    assert!(page(&posts, "bob", 0, 3).unwrap().is_empty());
    cluster.close().unwrap();
}
