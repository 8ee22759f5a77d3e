//! An artifact: an executable that a cluster can be given. `cargo run --example artifact -- describe` prints what is in it.

use tantu::prelude::*;

struct Greetings;

impl Module for Greetings {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let names = setup.declare_depot::<String>("*names", hash_by(|name: &String| name.clone()));
        let mut greeter = topologies.stream("greeter");
        let greeted = greeter.pstate::<Map<String, i64>>("$$greeted");
        greeter.source(&names, |b, name| {
            b.filter(name, |name| !name.is_empty());
            b.compound_agg(greeted, agg::key(name, agg::count()));
        });
    }
}

tantu::main!(Greetings);

#[test]
fn the_artifact_describes_its_module() {
    let text = tantu::artifact::describe(&[tantu::artifact::entry::<Greetings>()]).unwrap();
    for part in ["Greetings", "*names", "hash_by", "$$greeted", "greeter", "filter"] {
        assert!(text.contains(part), "{part} is missing from {text}");
    }
}
