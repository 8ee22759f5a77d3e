//! Charts as one picture. It needs nothing beside itself, and follows the reader's light or dark page.

use super::chart::{Chart, Node, Shape, wrapped};
use super::layout::{BoxSize, Layout, Line, lay_out, width_for_labels};
use super::route::Route;
use std::fmt::Write;
use tantu_flow::{Access, NodeKind};

/// How wide a letter counts, in hundredths of a pixel: the widest of the usual fixed fonts at 12 pixels.
const LETTER_HUNDREDTHS: i64 = 730;
const LINE_HEIGHT: i64 = 16;
const PADDING_X: i64 = 12;
const PADDING_Y: i64 = 7;
/// Around the picture, and between charts.
const MARGIN: i64 = 28;
/// How far the sign of a partitioner reaches out of its box.
const WING: i64 = 22;
/// The line between a box and the PState beside it.
const LINK: i64 = 34;
/// How high the curved ends of a PState's cylinder are.
const CURVE: i64 = 5;
const STORE_HEIGHT: i64 = LINE_HEIGHT + 2 * PADDING_Y + 2 * CURVE;
/// Characters in a line of a box, and in one of the facts above a chart.
const LABEL_MAX: usize = 46;
const FACT_MAX: usize = 100;

/// A box with its text and its parts.
pub(super) struct Figure<'c> {
    node: &'c Node,
    /// Each with its class.
    lines: Vec<(&'static str, String)>,
    /// `:20`.
    place: String,
    width: i64,
    height: i64,
    store_width: i64,
}

/// Two corners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Area {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) right: i64,
    pub(super) bottom: i64,
}

fn text_width(text: &str) -> i64 {
    let letters: i64 = text.chars().map(|letter| if is_wide(letter) { 2 } else { 1 }).sum();
    (letters * LETTER_HUNDREDTHS + 99) / 100
}

/// Letters of some scripts, and pictures, take twice the room.
fn is_wide(letter: char) -> bool {
    matches!(
        letter,
        '\u{1100}'..='\u{115f}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff00}'..='\u{ff60}'
            | '\u{1f300}'..
    )
}

impl<'c> Figure<'c> {
    fn of(chart: &Chart, node: &'c Node, at: usize) -> Figure<'c> {
        let mut lines: Vec<(&'static str, String)> =
            wrapped(&node.label, LABEL_MAX).into_iter().map(|line| ("label", line)).collect();
        lines.extend(node.notes.iter().flat_map(|note| wrapped(note, LABEL_MAX)).map(|line| ("note", line)));
        let place = node.place.map_or_else(String::new, |(_, line)| format!(":{line}"));
        let first = text_width(&lines[0].1) + if place.is_empty() { 0 } else { text_width(&place) + 14 };
        let text = lines.iter().map(|(_, line)| text_width(line)).max().unwrap_or(0).max(first);
        let labels: Vec<i64> = chart.leaving(at).map(|edge| text_width(&edge.label)).collect();
        let width = (text + 2 * PADDING_X).max(width_for_labels(&labels)).max(60);
        let mut height = lines.len() as i64 * LINE_HEIGHT + 2 * PADDING_Y;
        if node.store.is_some() {
            height = height.max(STORE_HEIGHT);
        }
        let store_width = node.store.as_ref().map_or(0, |(name, _)| text_width(name) + 2 * PADDING_X);
        Figure { node, lines, place, width: width + width % 2, height, store_width }
    }

    fn kind(&self) -> &'static str {
        match self.node.shape {
            Shape::Depot => "depot",
            Shape::Call => "call",
            Shape::Node(kind) => match kind {
                NodeKind::Operation => "operation",
                NodeKind::Filter => "filter",
                NodeKind::Choice => "choice",
                NodeKind::Assign => "assign",
                NodeKind::Loop => "loop",
                NodeKind::Fork => "fork",
                NodeKind::Emit => "emit",
                NodeKind::Access => "access",
                NodeKind::Aggregate => "aggregate",
                NodeKind::Partitioner => "partitioner",
                NodeKind::Later => "later",
                NodeKind::Check => "check",
                NodeKind::Result => "result",
            },
        }
    }

    fn is_partitioner(&self) -> bool {
        self.node.shape == Shape::Node(NodeKind::Partitioner)
    }

    fn size(&self) -> BoxSize {
        let wing = if self.is_partitioner() { WING } else { 0 };
        let beside = if self.store_width > 0 { LINK + self.store_width } else { 0 };
        BoxSize { half: self.width / 2 + wing, beside, height: self.height }
    }

    /// The main box, and the PState's.
    pub(super) fn areas(&self, (middle, top): (i64, i64)) -> (Area, Option<Area>) {
        let left = middle - self.width / 2;
        let main = Area { left, top, right: left + self.width, bottom: top + self.height };
        let store = (self.store_width > 0).then(|| {
            let left = main.right + LINK;
            let top = top + (self.height - STORE_HEIGHT) / 2;
            Area { left, top, right: left + self.store_width, bottom: top + STORE_HEIGHT }
        });
        (main, store)
    }
}

/// A chart with its figures where they belong.
pub(super) fn arranged(chart: &Chart) -> (Vec<Figure<'_>>, Layout) {
    let figures: Vec<Figure<'_>> =
        chart.nodes.iter().enumerate().map(|(at, node)| Figure::of(chart, node, at)).collect();
    let sizes: Vec<BoxSize> = figures.iter().map(Figure::size).collect();
    let line = |edge: &super::chart::Edge| {
        let label_width = if edge.label.is_empty() { 0 } else { text_width(&edge.label) };
        Line { from: edge.from, to: edge.to, is_back: edge.is_back, label_width }
    };
    let layout = lay_out(&sizes, &chart.edges.iter().map(line).collect::<Vec<_>>());
    (figures, layout)
}

pub(super) fn write(charts: &[Chart]) -> String {
    let mut body = String::new();
    let (mut width, mut y) = (0, MARGIN);
    for chart in charts {
        let (figures, layout) = arranged(chart);
        let _ = writeln!(body, "<g transform=\"translate({MARGIN} {y})\">");
        let (head_width, head_height) = heading(&mut body, chart);
        // Labels of lines may stand out on the left.
        let _ = writeln!(body, "<g transform=\"translate(0 {head_height})\">");
        for (edge, route) in chart.edges.iter().zip(&layout.routes) {
            line(&mut body, edge, route);
        }
        for (figure, at) in figures.iter().zip(&layout.boxes) {
            draw(&mut body, figure, *at);
        }
        body.push_str("</g>\n</g>\n");
        width = width.max(head_width).max(layout.width);
        y += head_height + layout.height + 2 * MARGIN;
    }
    let (width, height) = (width + 2 * MARGIN, (y - MARGIN).max(2 * MARGIN));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" xml:space=\"preserve\">\n<style>\n{STYLE}</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    text.push_str(&body);
    text.push_str("</svg>\n");
    text
}

/// What the chart is of; returns its width and height.
fn heading(out: &mut String, chart: &Chart) -> (i64, i64) {
    let title = format!("{} / {}", chart.module, chart.name);
    let _ = writeln!(out, "<text class=\"title\" x=\"0\" y=\"14\">{}</text>", escaped(&title));
    let facts = chart.stores.iter().map(|store| format!("{}  {}, {}", store.name, store.schema, store.use_of()));
    let mut width = text_width(&title) * 14 / 10;
    let mut y = 20;
    for fact in std::iter::once(chart.kind.to_string()).chain(facts) {
        for part in wrapped(&fact, FACT_MAX) {
            y += LINE_HEIGHT;
            width = width.max(text_width(&part));
            let _ = writeln!(out, "<text class=\"note\" x=\"0\" y=\"{y}\">{}</text>", escaped(&part));
        }
    }
    (width, y + MARGIN)
}

/// A line with round corners, its arrow and its label.
fn line(out: &mut String, edge: &super::chart::Edge, route: &Route) {
    const ROUND: i64 = 6;
    let points = &route.points;
    let (Some((x, y)), Some((end_x, end_y))) = (points.first(), points.last()) else { return };
    let mut path = format!("M{x} {y}");
    for corner in points.windows(3) {
        let [(ax, ay), (x, y), (bx, by)] = [corner[0], corner[1], corner[2]];
        let near = |to_x: i64, to_y: i64| {
            let (dx, dy) = (to_x - x, to_y - y);
            let length = (dx.abs() + dy.abs()).max(1);
            let round = ROUND.min(length / 2);
            (x + dx.signum() * round, y + dy.signum() * round)
        };
        let ((ax, ay), (bx, by)) = (near(ax, ay), near(bx, by));
        let _ = write!(path, "L{ax} {ay}Q{x} {y} {bx} {by}");
    }
    let _ = write!(path, "L{end_x} {}", end_y - 6);
    let class = if edge.is_back { "line back" } else { "line" };
    let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
    let _ = writeln!(out, "<path class=\"tip\" d=\"M{end_x} {end_y}l-4 -8h8z\"/>");
    if !edge.label.is_empty() {
        let (x, anchor) = if route.label_left { (x - 5, "end") } else { (x + 5, "start") };
        let label = escaped(&edge.label);
        let _ = writeln!(out, "<text class=\"way\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{label}</text>", y + 13);
    }
}

fn draw(out: &mut String, figure: &Figure<'_>, at: (i64, i64)) {
    let (main, store) = figure.areas(at);
    let Area { left, top, right, bottom } = main;
    let _ = writeln!(out, "<g class=\"{}\">", figure.kind());
    if let Some((file, line)) = figure.node.place {
        let _ = writeln!(out, "<title>{}</title>", escaped(&format!("{file}:{line}")));
    }
    shape(out, figure, main);
    let first = top + (figure.height - figure.lines.len() as i64 * LINE_HEIGHT) / 2 + 12;
    for (at, (class, line)) in figure.lines.iter().enumerate() {
        let (x, y) = (left + PADDING_X, first + at as i64 * LINE_HEIGHT);
        let _ = writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(line));
    }
    if !figure.place.is_empty() {
        let x = right - PADDING_X;
        let _ =
            writeln!(out, "<text class=\"place\" x=\"{x}\" y=\"{first}\" text-anchor=\"end\">{}</text>", figure.place);
    }
    if let (Some(store), Some((name, access))) = (store, &figure.node.store) {
        cylinder(out, store, name);
        let middle = (top + bottom) / 2;
        let (from, to, back) = match access {
            Access::Read => (store.left, right, 1),
            Access::Write => (right, store.left, -1),
        };
        let _ = writeln!(out, "<path class=\"link\" d=\"M{from} {middle}H{}\"/>", to + 6 * back);
        let _ = writeln!(out, "<path class=\"linktip\" d=\"M{to} {middle}l{} -4v8z\"/>", 8 * back);
    }
    out.push_str("</g>\n");
}

fn shape(out: &mut String, figure: &Figure<'_>, Area { left, top, right, bottom }: Area) {
    let (width, height, middle) = (right - left, bottom - top, (top + bottom) / 2);
    let rect = |out: &mut String, class: &str, dx: i64, round: i64| {
        let (x, y) = (left + dx, top + dx);
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
        );
    };
    match figure.node.shape {
        Shape::Depot => {
            rect(out, "box", 0, 3);
            let (a, b) = (left + 4, right - 4);
            let _ = writeln!(out, "<path class=\"mark\" d=\"M{a} {top}V{bottom}M{b} {top}V{bottom}\"/>");
        }
        Shape::Node(NodeKind::Partitioner) => {
            let (a, b) = (left - WING, right + WING);
            let _ = writeln!(out, "<path class=\"wing\" d=\"M{a} {middle}H{left}M{right} {middle}H{b}\"/>");
            rect(out, "box", 0, 3);
        }
        Shape::Node(NodeKind::Choice) => {
            let (a, b) = (left + 8, right - 8);
            let _ = writeln!(
                out,
                "<path class=\"box\" d=\"M{left} {middle}L{a} {top}H{b}L{right} {middle}L{b} {bottom}H{a}Z\"/>"
            );
        }
        Shape::Node(NodeKind::Filter) => {
            let (a, b) = (left + 10, right - 10);
            let _ = writeln!(out, "<path class=\"box\" d=\"M{left} {top}H{right}L{b} {bottom}H{a}Z\"/>");
        }
        Shape::Node(NodeKind::Emit) => {
            rect(out, "box", 3, 5);
            rect(out, "box", 0, 5);
        }
        Shape::Call | Shape::Node(NodeKind::Loop | NodeKind::Result) => rect(out, "box", 0, 14.min(height / 2)),
        Shape::Node(_) => rect(out, "box", 0, 5),
    }
}

fn cylinder(out: &mut String, area: Area, name: &str) {
    let Area { left, top, right, bottom } = area;
    let radius = (right - left) / 2;
    let (upper, lower) = (top + CURVE, bottom - CURVE);
    let _ = writeln!(
        out,
        "<path class=\"store\" d=\"M{left} {upper}A{radius} {CURVE} 0 0 1 {right} {upper}V{lower}\
         A{radius} {CURVE} 0 0 1 {left} {lower}Z\"/>"
    );
    let _ = writeln!(out, "<path class=\"rim\" d=\"M{left} {upper}A{radius} {CURVE} 0 0 0 {right} {upper}\"/>");
    let (x, y) = ((left + right) / 2, upper + PADDING_Y + 12);
    let _ = writeln!(out, "<text class=\"label\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escaped(name));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Colours that read on a light page, and those for a dark one.
const STYLE: &str = "\
text { font: 12px ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1d2330; }
.title { font: bold 16px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; }
.page { fill: #ffffff; }
.note { fill: #58627a; }
.place { fill: #8b94a8; font-size: 10px; }
.way { fill: #58627a; font-size: 11px; font-style: italic; }
.line { fill: none; stroke: #8791a5; stroke-width: 1.4; }
.back { stroke-dasharray: 5 3; }
.tip { fill: #8791a5; }
.box { fill: #f4f5f8; stroke: #aab2c2; stroke-width: 1.2; }
.mark { fill: none; stroke: #4a7fc1; }
.depot .box, .call .box { fill: #e2edfb; stroke: #4a7fc1; }
.emit .box { fill: #e6f4fa; stroke: #4295b4; }
.filter .box, .choice .box { fill: #f0ebfb; stroke: #8b70c6; }
.loop .box { fill: #eaecfe; stroke: #6c79d3; }
.assign .box, .fork .box { fill: #ffffff; stroke: #c3c9d5; stroke-dasharray: 2 2; }
.partitioner .box { fill: #fff1cc; stroke: #c68a14; stroke-width: 1.8; }
.wing { fill: none; stroke: #c68a14; stroke-width: 3; stroke-dasharray: 7 4; }
.later .box { fill: #fdeee3; stroke: #cd7838; stroke-dasharray: 7 4; }
.check .box { fill: #fdeaeb; stroke: #cb5560; }
.access .box, .aggregate .box { fill: #f0f9f3; stroke: #429a66; }
.result .box { fill: #daf1eb; stroke: #2c8d78; stroke-width: 1.8; }
.store { fill: #d9f0e1; stroke: #429a66; stroke-width: 1.2; }
.rim { fill: none; stroke: #429a66; }
.link { fill: none; stroke: #429a66; stroke-width: 1.4; stroke-dasharray: 3 2; }
.linktip { fill: #429a66; }
@media (prefers-color-scheme: dark) {
text { fill: #e3e7ee; }
.page { fill: #14171d; }
.note, .way { fill: #a3adbf; }
.place { fill: #7d879a; }
.line { stroke: #77829a; }
.tip { fill: #77829a; }
.box { fill: #222731; stroke: #515b6e; }
.depot .box, .call .box { fill: #1b2d45; stroke: #5f94d6; }
.mark { stroke: #5f94d6; }
.emit .box { fill: #17313c; stroke: #4fa5c5; }
.filter .box, .choice .box { fill: #2b2440; stroke: #9f86da; }
.loop .box { fill: #23284a; stroke: #808ce4; }
.assign .box, .fork .box { fill: #14171d; stroke: #515b6e; }
.partitioner .box { fill: #3b2f10; stroke: #d9a233; }
.wing { stroke: #d9a233; }
.later .box { fill: #3a2718; stroke: #dc8c4e; }
.check .box { fill: #3d1f23; stroke: #dd6b76; }
.access .box, .aggregate .box { fill: #182b20; stroke: #55ad78; }
.result .box { fill: #14352e; stroke: #43a991; }
.store { fill: #1c3a29; stroke: #55ad78; }
.rim, .link { stroke: #55ad78; }
.linktip { fill: #55ad78; }
}
";
