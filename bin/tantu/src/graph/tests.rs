//! What a drawing must be, whatever is drawn: whole, readable, the same every time.

use super::chart::{Chart, charts};
use super::svg::{Area, arranged};
use super::*;
use crate::prelude::*;

/// Every construct, among them lines that pass layers, two loops one in the other, and two sources.
struct Everything;

impl Module for Everything {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let words = setup.declare_depot::<String>("*words & <more>", random());
        let numbers = setup.declare_global_depot::<i64>("*numbers", hash_by(|n: &i64| *n));
        let mut s = topologies.stream("stream");
        let counts = s.pstate::<Map<String, i64>>("$$counts");
        let sums = s.pstate::<Map<i64, Map<String, i64>>>("$$sums");
        s.source(&words, |b, word| {
            let bad = b.out_stream::<str>("bad");
            let long = b.out_stream::<str>("long");
            let (number, (bad, long)) =
                b.emits_streams(word, (bad, long), move |word, out: &mut StreamEmit<'_, i64>| {
                    match word.parse::<i64>() {
                        Ok(number) => out.owned(number),
                        Err(_) if word.len() > 9 => out.emit_on(long, word),
                        Err(_) => out.emit_on(bad, word),
                    }
                });
            b.name(number, "number");
            let root = b.anchor(());
            b.branch(&root, |b, ()| {
                b.atomic_block(|b| b.filter(number, |number| number > 1));
                b.all_partition();
                b.compound_agg(sums, agg::key(number, agg::key("every \"task\"", agg::count())));
            });
            let shown = b.each(number, |number| number.to_string());
            let shown = b.anchor(shown);
            let bad = b.hook(&bad);
            let bad = b.each(bad, |bad| format!("bad {bad}"));
            let bad = b.anchor(bad);
            let long = b.hook(&long);
            let long = b.anchor(long);
            let text = b.unify([shown, bad, long]);
            b.name(text, "text");
            b.hash_partition(text);
            b.compound_agg(counts, agg::key(text, agg::count()));
            b.yield_if_overtime();
            let answer = b.each_async(text, |text| {
                let length = text.len() as i64;
                async move { if length > 0 { Ok(length) } else { Err("nothing") } }
            });
            b.assert(answer, |answer| answer > 0, "no answer");
        });
        s.source(&numbers, |b, n| {
            let kind = b.switch(n).case(|n| n < 0, |b| b.constant("less")).otherwise_fail("none");
            b.hash_partition(n);
            b.repeat(n, |b, outer, left| {
                b.filter(left, |left| left > 0);
                let found = b.looped(left, |b, inner, n| {
                    let more = b.each(n, |n| n > 0);
                    b.if_true(more, |b| {
                        b.emit_loop(inner, n);
                        let less = b.each(n, |n| n - 1);
                        b.continue_loop(inner, less);
                    });
                });
                b.hash_partition(found);
                b.compound_agg(sums, agg::key(found, agg::key(kind, agg::sum(found))));
                let less = b.each(left, |left| left - 1);
                b.continue_loop(outer, less);
            });
        });
        by_word(topologies, counts);
        pairs(topologies, counts);
        totalled(topologies, &numbers);
    }
}

fn by_word(topologies: &mut Topologies, counts: tantu_flow::PState<Map<String, i64>>) {
    topologies.query("by-word", |q, (least,): (Var<i64>,)| {
        q.name(least, "least");
        q.all_partition();
        let (word, count) = {
            let entry = q.local_select(counts, path().all());
            q.expand(entry, |(word, count)| (word.clone(), *count))
        };
        let (word, sum) = q.group_by(word, |g| g.agg::<i64>(agg::sum(count)));
        q.filter((sum, least), |(sum, least)| sum > least);
        q.origin_partition();
        q.each((word, sum), |(word, sum)| format!("{word} {sum}"))
    });
}

/// A microbatch topology with code behind its batch block.
fn totalled(topologies: &mut Topologies, numbers: &DepotRef<i64>) {
    let mut totalled = topologies.microbatch("totalled");
    let totals = totalled.pstate::<Map<i64, i64>>("$$totals");
    totalled.source(numbers, |m, batch| {
        m.batch_block(|b| {
            let n = b.explode_microbatch(batch);
            let (n, count) = b.group_by(n, |g| g.agg::<i64>(agg::count()));
            b.local_transform(totals, path().key(n).term_val(count));
        });
        let id = m.current_microbatch_id();
        m.hash_partition(id);
        m.compound_agg(totals, agg::key(id, agg::count()));
    });
}

/// Two sources that are joined.
fn pairs(topologies: &mut Topologies, counts: tantu_flow::PState<Map<String, i64>>) {
    topologies.query("pairs", |q, ()| {
        let side = |b: &mut BatchBlock| {
            b.all_partition();
            let entry = b.local_select(counts, path().all());
            b.expand(entry, |(word, count)| (word.clone(), *count))
        };
        let (left, right) = (q.source(side), q.source(side));
        let ((word, _), (_, count)) = q.join(left, right, |left, right| (left.0, right.0));
        let line = q.each((word, count), |(word, count)| format!("{word} {count}"));
        q.origin_partition();
        q.agg::<List<String>>(agg::list(line))
    });
}

fn drawn() -> Vec<Chart> {
    charts(&define::<Everything>().unwrap())
}

fn overlap(a: Area, b: Area) -> bool {
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

#[test]
fn no_box_stands_on_another() {
    for chart in drawn() {
        let (figures, layout) = arranged(&chart);
        let mut areas = Vec::new();
        for (figure, at) in figures.iter().zip(&layout.boxes) {
            let (main, store) = figure.areas(*at);
            areas.push(main);
            areas.extend(store);
        }
        assert!(areas.len() > 5, "{} has boxes", chart.path());
        for (at, a) in areas.iter().enumerate() {
            assert!(a.left >= 0 && a.top >= 0 && a.right <= layout.width && a.bottom <= layout.height, "{a:?}");
            for b in &areas[at + 1..] {
                assert!(!overlap(*a, *b), "{}: {a:?} and {b:?}", chart.path());
            }
        }
    }
}

#[test]
fn no_line_runs_through_a_box_and_every_line_meets_its_own() {
    for chart in drawn() {
        let (figures, layout) = arranged(&chart);
        let areas: Vec<_> = figures.iter().zip(&layout.boxes).map(|(figure, at)| figure.areas(*at)).collect();
        for (edge, route) in chart.edges.iter().zip(&layout.routes) {
            for pair in route.points.windows(2) {
                let [(ax, ay), (bx, by)] = [pair[0], pair[1]];
                assert!(ax == bx || ay == by, "lines are upright or level");
                let line = Area { left: ax.min(bx), right: ax.max(bx), top: ay.min(by), bottom: ay.max(by) };
                for (main, store) in &areas {
                    // What only touches the border does not count.
                    for area in std::iter::once(main).chain(store) {
                        let through = line.left < area.right
                            && area.left < line.right.max(line.left + 1)
                            && line.top < area.bottom
                            && area.top < line.bottom.max(line.top + 1);
                        assert!(!through, "{}: {line:?} runs through {area:?}", chart.path());
                    }
                }
            }
            let ((start_x, start_y), (end_x, end_y)) = (route.points[0], route.points[route.points.len() - 1]);
            let (from, to) = (areas[edge.from].0, areas[edge.to].0);
            assert!(start_y == from.bottom && (from.left..=from.right).contains(&start_x), "{from:?} {start_x}");
            assert!(end_y == to.top && (to.left..=to.right).contains(&end_x), "{to:?} {end_x}");
        }
    }
}

/// Fails unless the text is a tree of elements; returns the text of all of them.
fn text_of(svg: &str) -> String {
    let mut open: Vec<String> = Vec::new();
    let (mut text, mut rest) = (String::new(), svg);
    while let Some(start) = rest.find('<') {
        let between = &rest[..start];
        for (at, _) in between.match_indices('&') {
            let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
            assert!(known.iter().any(|known| between[at..].starts_with(known)), "{between}");
        }
        assert!(!between.contains('>'), "{between}");
        text.push_str(&between.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"));
        let end = start + rest[start..].find('>').expect("every tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "elements end in the order in which they began");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap_or_default().to_string());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    text
}

#[test]
fn the_picture_is_well_formed_and_every_label_is_in_it() {
    let module = define::<Everything>().unwrap();
    let svg = draw(&[module], None, Format::Svg).unwrap();
    let text: String = text_of(&svg).split_whitespace().collect();
    for chart in drawn() {
        let nodes = chart.nodes.iter();
        let of_nodes = nodes
            .flat_map(|node| std::iter::once(&node.label).chain(&node.notes).chain(node.store.iter().map(|of| &of.0)));
        for label in of_nodes.chain(chart.edges.iter().map(|edge| &edge.label)) {
            let label: String = label.split_whitespace().collect();
            assert!(text.contains(&label), "{label} is missing");
        }
    }
    for word in
        ["*words&<more>", "globaldepotofi64,hash_by", "key(\"every\\\"task\\\"\",count())", "Everything/by-word"]
    {
        assert!(text.contains(word), "{word} is missing");
    }
}

#[test]
fn the_same_module_is_drawn_the_same() {
    for format in [Format::Svg, Format::Dot, Format::Text] {
        let once = || draw(&[define::<Everything>().unwrap()], None, format).unwrap();
        assert_eq!(once(), once());
    }
}

#[test]
fn topologies_are_chosen_by_name_or_with_their_module() {
    let modules = [define::<Everything>().unwrap(), define::<crate::demo::WordCount>().unwrap()];
    let text = |name: &str| draw(&modules, Some(name), Format::Text);
    assert!(text("counter").unwrap().starts_with("WordCount: stream topology counter\n"));
    assert_eq!(text("counter"), text("WordCount/counter"));
    assert!(text("Everything/counter").is_err());
    let known = ["stream", "totalled", "by-word", "pairs"].map(|name| format!("Everything/{name}"));
    let known = known.into_iter().chain(["WordCount/counter".to_string()]).collect();
    assert_eq!(text("no").unwrap_err(), GraphError::UnknownTopology { name: "no".to_string(), known });
}

#[test]
fn the_text_says_what_travels_and_where_ways_lead() {
    let text = draw(&[define::<Everything>().unwrap()], Some("by-word"), Format::Text).unwrap();
    for part in [
        "1  call of by-word  → least: i64\n",
        "all_partition()  carries nothing ",
        "hash_partition(v2)  carries v2: str, v3: i64 ",
        "origin_partition()  carries v4: str, v5: i64 ",
        "group_by(v2) sum(v3)",
        "reads $$counts",
        "$$counts  Map<String, i64>, read\n",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
}

#[test]
fn batch_blocks_lead_from_what_they_start_to_what_comes_behind_them() {
    let modules = [define::<Everything>().unwrap()];
    let text = |name: &str| draw(&modules, Some(name), Format::Text).unwrap();
    let parts = [
        ("pairs", "2  batch_block  [batch: to 3, batch: to 7]"),
        ("pairs", "6  hash_partition(v2)  carries v2: str, v3: i64  [to 11]"),
        ("pairs", "10  hash_partition(v5)  carries v5: str, v6: i64 "),
        ("pairs", "11  join  → v7: str, v8: str, v9: i64, v10: str, v11: i64 "),
        ("totalled", "2  batch_block  [batch: to 3, then: to 8]"),
        ("totalled", "4  explode_microbatch *numbers  → v1: i64 "),
        ("totalled", "7  local_transform key(v2).term_val(v3)  writes $$totals  [ends]"),
        ("totalled", "8  current_microbatch_id()  → v4: i64 "),
    ];
    for (topology, part) in parts {
        assert!(text(topology).contains(part), "{part} is missing from\n{}", text(topology));
    }
    assert!(text("pairs").contains("1  call of pairs\n"), "the call leads to the block: {}", text("pairs"));
}

/// A microbatch that appends what it counts, and one whose rows are combined.
struct Appends;

impl Module for Appends {
    fn define(setup: &mut Setup, topologies: &mut Topologies) {
        let words = setup.declare_depot::<String>("*words", random());
        let seen = setup.declare_depot::<String>("*seen", random());
        let mut m = topologies.microbatch("m");
        let counts = m.pstate::<Map<String, i64>>("$$counts");
        m.source(&words, |m, batch| {
            m.batch_block(|b| {
                let word = b.explode_microbatch(batch);
                b.name(word, "word");
                b.depot_partition_append(seen, word, AckLevel::None);
                b.hash_partition(word);
                b.compound_agg(counts, agg::key(word, agg::count()));
            });
        });
    }
}

#[test]
fn an_append_stands_beside_its_depot_and_what_rows_were_combined_to_crosses() {
    let charts = charts(&define::<Appends>().unwrap());
    let chart = &charts[0];
    let stores: Vec<String> =
        chart.stores.iter().map(|store| format!("{} {}, {}", store.name, store.schema, store.use_of())).collect();
    assert_eq!(stores, ["$$counts Map<String, i64>, written", "*seen depot of String, written"]);
    let of = |word: &str| chart.nodes.iter().find(|node| node.label.contains(word)).unwrap();
    assert_eq!(of("append").store, Some(("*seen".to_string(), tantu_flow::Access::Write)));
    assert_eq!(of("combined").notes, ["carries word: str, v1: i64"]);
    assert!(super::svg::write(&charts).contains(">*seen<"), "it is drawn");
}
