//! Where lines run: down from a box, across in the space between two layers on a track of their own, down into the next.
//! A line that leads back runs up on the right of everything. So no line crosses a box.

use super::layout::{Group, Layout, Line, Segment};

/// Space between tracks.
const TRACK_STEP: i64 = 10;
/// Space below a layer before the first track, and above the next for arrows.
const MARGIN: i64 = 14;
/// Room for labels below a layer.
const LABEL_HEIGHT: i64 = 14;
/// Space between lines that lead back.
const LANE_STEP: i64 = 14;
/// Ends closer than this count as one above the other.
const CLOSE: i64 = 6;

/// A line's way.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Route {
    /// Its corners, from start to end.
    pub(super) points: Vec<(i64, i64)>,
    /// Its label stands left of where it starts; else right of it.
    pub(super) label_left: bool,
}

impl Route {
    pub(super) fn shifted(mut self, by: i64) -> Route {
        self.points.iter_mut().for_each(|(x, _)| *x += by);
        self
    }
}

/// A run across the space above a layer.
struct Run {
    /// Where it comes from above, or from the side.
    from: i64,
    to: i64,
    /// It comes down from a vertex of the layer above at `from`.
    comes_down: bool,
    /// It goes down into a vertex of the layer at `to`.
    goes_down: bool,
    track: i64,
}

/// The space above a layer; the last is the one below everything.
#[derive(Default)]
struct Gap {
    runs: Vec<Run>,
    has_labels: bool,
}

impl Gap {
    fn height(&self, is_outer: bool) -> i64 {
        let tracks = self.runs.iter().map(|run| run.track + 1).max().unwrap_or(0);
        if is_outer && tracks == 0 {
            return 0;
        }
        2 * MARGIN + tracks * TRACK_STEP + if self.has_labels { LABEL_HEIGHT } else { 0 }
    }

    /// The height of a track below the top of the gap.
    fn depth(&self, track: i64) -> i64 {
        MARGIN + track * TRACK_STEP + TRACK_STEP / 2 + if self.has_labels { LABEL_HEIGHT } else { 0 }
    }

    /// Gives each run the first track on which nothing is in its way.
    fn assign(&mut self) {
        let count = self.runs.len();
        let mut order: Vec<usize> = Vec::new();
        let mut done = vec![false; count];
        while order.len() < count {
            // What comes down where another goes down must have left that column before.
            let blocked = |at: usize| (0..count).any(|other| !done[other] && other != at && self.precedes(other, at));
            let open = || (0..count).filter(|at| !done[*at]);
            let next = open().filter(|at| !blocked(*at)).min_by_key(|at| self.span(*at).0).or_else(|| open().next());
            let Some(next) = next else { break };
            done[next] = true;
            let after = order.iter().filter(|other| self.precedes(**other, next));
            let mut track = after.map(|other| self.runs[*other].track + 1).max().unwrap_or(0);
            while order.iter().any(|other| self.runs[*other].track == track && self.overlap(*other, next)) {
                track += 1;
            }
            self.runs[next].track = track;
            order.push(next);
        }
    }

    fn precedes(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.runs[a], &self.runs[b]);
        a.comes_down && b.goes_down && (a.from - b.to).abs() < CLOSE
    }

    fn span(&self, at: usize) -> (i64, i64) {
        let run = &self.runs[at];
        (run.from.min(run.to), run.from.max(run.to))
    }

    fn overlap(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.span(a), self.span(b));
        a.0 < b.1 + CLOSE && b.0 < a.1 + CLOSE
    }
}

/// Routes all lines and says how high everything is.
pub(super) fn route(group: &Group, lines: &[Line]) -> Layout {
    let layer_count = group.layers.len();
    let mut gaps: Vec<Gap> = (0..=layer_count).map(|_| Gap::default()).collect();
    let lanes = lanes(group);
    let lane = |at: usize| lanes[at];
    let start = |segment: &Segment| group.middles[segment.from] + segment.out;
    let end = |segment: &Segment| group.middles[segment.to] + segment.into;
    // By segment, its run, if it has one.
    let mut runs: Vec<Option<usize>> = Vec::new();
    for segment in &group.segments {
        let gap = &mut gaps[group.vertices[segment.to].layer];
        gap.has_labels |= lines[segment.line].label_width > 0 && group.vertices[segment.from].is_box;
        let (from, to) = (start(segment), end(segment));
        runs.push((from != to).then(|| {
            gap.runs.push(Run { from, to, comes_down: true, goes_down: true, track: 0 });
            gap.runs.len() - 1
        }));
    }
    let mut back_runs = Vec::new();
    for (at, segment) in group.backs.iter().enumerate() {
        let below = &mut gaps[group.vertices[segment.from].layer + 1];
        below.has_labels |= lines[segment.line].label_width > 0;
        below.runs.push(Run { from: start(segment), to: lane(at), comes_down: true, goes_down: false, track: 0 });
        let down = below.runs.len() - 1;
        let above = &mut gaps[group.vertices[segment.to].layer];
        above.runs.push(Run { from: lane(at), to: end(segment), comes_down: false, goes_down: true, track: 0 });
        back_runs.push((down, above.runs.len() - 1));
    }
    gaps.iter_mut().for_each(Gap::assign);
    let heights = Heights::of(group, &gaps);
    let mut routes = vec![Route::default(); lines.len()];
    for (segment, run) in group.segments.iter().zip(&runs) {
        let points = &mut routes[segment.line].points;
        if points.is_empty() {
            points.push((start(segment), heights.bottom(group, segment.from)));
        }
        if let Some(run) = run {
            let y = heights.track(&gaps, group.vertices[segment.to].layer, *run);
            points.extend([(start(segment), y), (end(segment), y)]);
        }
        if group.vertices[segment.to].is_box {
            points.push((end(segment), heights.top(group, segment.to)));
        }
    }
    for (at, (segment, (down, up))) in group.backs.iter().zip(back_runs).enumerate() {
        let low = heights.track(&gaps, group.vertices[segment.from].layer + 1, down);
        let high = heights.track(&gaps, group.vertices[segment.to].layer, up);
        routes[segment.line].points = vec![
            (start(segment), heights.bottom(group, segment.from)),
            (start(segment), low),
            (lane(at), low),
            (lane(at), high),
            (end(segment), high),
            (end(segment), heights.top(group, segment.to)),
        ];
    }
    label_sides(group, &mut routes);
    let boxes = (0..group.vertices.len()).map(|at| (group.middles[at], heights.top(group, at))).collect();
    let edge = (0..group.vertices.len()).map(|at| right_of(group, at)).max().unwrap_or(0);
    let width = lanes.iter().map(|lane| lane + LANE_STEP / 2).max().unwrap_or(0).max(edge);
    Layout { boxes, routes, width, height: heights.height }
}

fn right_of(group: &Group, at: usize) -> i64 {
    group.middles[at] + group.vertices[at].size.half + group.vertices[at].size.beside
}

/// Where each line that leads back runs up: right of all that it passes, the shorter ones nearer.
fn lanes(group: &Group) -> Vec<i64> {
    let span = |at: usize| {
        let segment = &group.backs[at];
        (group.vertices[segment.to].layer, group.vertices[segment.from].layer)
    };
    let mut order: Vec<usize> = (0..group.backs.len()).collect();
    order.sort_by_key(|at| (span(*at).1 - span(*at).0, *at));
    let mut lanes = vec![0; group.backs.len()];
    for (done, at) in order.iter().enumerate() {
        let (top, bottom) = span(*at);
        let passed = (0..group.vertices.len()).filter(|of| (top..=bottom).contains(&group.vertices[*of].layer));
        let boxes = passed.map(|of| right_of(group, of) + 20);
        let others = order[..done].iter().filter(|other| span(**other).0 <= bottom && top <= span(**other).1);
        lanes[*at] = boxes.chain(others.map(|other| lanes[*other] + LANE_STEP)).max().unwrap_or(0);
    }
    lanes
}

/// Of two lines that leave a box, the left one has its label on the left.
fn label_sides(group: &Group, routes: &mut [Route]) {
    let boxes = (0..group.vertices.len()).filter(|at| group.vertices[*at].is_box);
    for at in boxes {
        let leaving: Vec<&Segment> =
            group.segments.iter().chain(&group.backs).filter(|segment| segment.from == at).collect();
        if let [a, b] = leaving.as_slice() {
            let left = if a.out < b.out { a } else { b };
            routes[left.line].label_left = true;
        }
    }
}

struct Heights {
    /// By gap: its top.
    gap_tops: Vec<i64>,
    /// By layer: its top and its height.
    layers: Vec<(i64, i64)>,
    height: i64,
}

impl Heights {
    fn of(group: &Group, gaps: &[Gap]) -> Heights {
        let (mut gap_tops, mut layers, mut y) = (Vec::new(), Vec::new(), 0);
        for (at, gap) in gaps.iter().enumerate() {
            gap_tops.push(y);
            y += gap.height(at == 0 || at + 1 == gaps.len());
            if let Some(layer) = group.layers.get(at) {
                let height = layer.iter().map(|vertex| group.vertices[*vertex].size.height).max().unwrap_or(0);
                layers.push((y, height));
                y += height;
            }
        }
        Heights { gap_tops, layers, height: y }
    }

    /// Boxes stand in the middle of their layer.
    fn top(&self, group: &Group, vertex: usize) -> i64 {
        let (top, height) = self.layers[group.vertices[vertex].layer];
        top + (height - group.vertices[vertex].size.height) / 2
    }

    fn bottom(&self, group: &Group, vertex: usize) -> i64 {
        self.top(group, vertex) + group.vertices[vertex].size.height
    }

    fn track(&self, gaps: &[Gap], gap: usize, run: usize) -> i64 {
        self.gap_tops[gap] + gaps[gap].depth(gaps[gap].runs[run].track)
    }
}
