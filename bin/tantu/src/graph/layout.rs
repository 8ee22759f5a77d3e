//! Where boxes stand: in layers from top to bottom, each as close above and below its neighbours as the order in its
//! layer allows. All numbers are pixels.

use super::order;
use super::route::{self, Route};

/// Least space between boxes side by side.
const BOX_GAP: f64 = 30.0;
/// Least space around a line that passes a layer.
const LINE_GAP: f64 = 16.0;
/// Space between parts that nothing connects.
const GROUP_GAP: i64 = 56;
/// How often positions are adjusted to those of the neighbours.
const SWEEP_COUNT: usize = 24;
/// Space between lines at one box.
const PORT_STEP: i64 = 18;

/// A box as the layout sees it. Lines meet it in the middle of its main part.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoxSize {
    /// Half the width of the main part.
    pub(super) half: i64,
    /// How much wider it is on the right.
    pub(super) beside: i64,
    pub(super) height: i64,
}

/// A line as the layout sees it. It leads to a box of a greater number, unless it leads back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) is_back: bool,
    pub(super) label_width: i64,
}

/// Where everything is.
#[derive(Clone, Default, Debug)]
pub(super) struct Layout {
    /// By box: the middle of its main part, and its top.
    pub(super) boxes: Vec<(i64, i64)>,
    /// By line.
    pub(super) routes: Vec<Route>,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// A box, or the passage of a line through a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vertex {
    pub(super) layer: usize,
    pub(super) size: BoxSize,
    pub(super) is_box: bool,
}

/// A line's way from one layer to the next, with where it meets the vertices, from their middles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) line: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) out: i64,
    pub(super) into: i64,
}

/// A part of a chart that hangs together.
pub(super) struct Group {
    pub(super) vertices: Vec<Vertex>,
    pub(super) layers: Vec<Vec<usize>>,
    /// In the order of the lines, each from top to bottom.
    pub(super) segments: Vec<Segment>,
    /// Lines that lead back: only their ends are of the layers.
    pub(super) backs: Vec<Segment>,
    pub(super) middles: Vec<i64>,
}

/// How much room the labels of a box's lines need; see [`ports`].
pub(super) fn width_for_labels(widths: &[i64]) -> i64 {
    let widest = widths.iter().copied().max().unwrap_or(0);
    match widths.len() {
        0 | 1 => 0,
        2 => 2 * (PORT_STEP + widest + 6),
        count => (count as i64 - 1) * port_step(widths) + 2 * PORT_STEP,
    }
}

fn port_step(label_widths: &[i64]) -> i64 {
    // Of two labels one stands on either side; more stand each to the right of its line.
    let widest = label_widths.iter().copied().max().unwrap_or(0);
    if label_widths.len() > 2 && widest > 0 { widest + PORT_STEP } else { 2 * PORT_STEP }
}

/// Lays boxes and lines out.
pub(super) fn lay_out(boxes: &[BoxSize], lines: &[Line]) -> Layout {
    let mut whole = Layout { boxes: vec![(0, 0); boxes.len()], ..Layout::default() };
    let mut routes: Vec<(usize, Route)> = Vec::new();
    for members in parts(boxes.len(), lines) {
        let (local_lines, numbers): (Vec<Line>, Vec<usize>) = lines
            .iter()
            .enumerate()
            .filter_map(|(number, line)| {
                let from = members.binary_search(&line.from).ok()?;
                let to = members.binary_search(&line.to).ok()?;
                Some((Line { from, to, ..*line }, number))
            })
            .unzip();
        let sizes: Vec<BoxSize> = members.iter().map(|member| boxes[*member]).collect();
        let part = lay_out_part(&sizes, &local_lines);
        let shift = if whole.width == 0 { 0 } else { whole.width + GROUP_GAP };
        for (member, (x, y)) in members.iter().zip(part.boxes) {
            whole.boxes[*member] = (x + shift, y);
        }
        routes.extend(numbers.into_iter().zip(part.routes).map(|(number, route)| (number, route.shifted(shift))));
        whole.width = shift + part.width;
        whole.height = whole.height.max(part.height);
    }
    routes.sort_by_key(|(number, _)| *number);
    whole.routes = routes.into_iter().map(|(_, route)| route).collect();
    whole
}

/// The boxes that lines connect, together; each part and all of them in the order of their boxes.
fn parts(box_count: usize, lines: &[Line]) -> Vec<Vec<usize>> {
    let mut part: Vec<usize> = (0..box_count).collect();
    loop {
        let mut changed = false;
        for line in lines {
            let least = part[line.from].min(part[line.to]);
            changed |= part[line.from] != least || part[line.to] != least;
            (part[line.from], part[line.to]) = (least, least);
        }
        if !changed {
            break;
        }
    }
    let heads = (0..box_count).filter(|at| part[*at] == *at);
    heads.map(|head| (0..box_count).filter(|at| part[*at] == head).collect()).collect()
}

fn lay_out_part(boxes: &[BoxSize], lines: &[Line]) -> Layout {
    let mut group = grouped(boxes, lines);
    let pairs: Vec<(usize, usize)> = group.segments.iter().map(|segment| (segment.from, segment.to)).collect();
    order::order(&mut group.layers, &pairs, group.vertices.len());
    ports(&mut group, lines);
    group.middles = middles(&group);
    let mut layout = route::route(&group, lines);
    layout.boxes.truncate(boxes.len());
    layout
}

/// The layer of each box: one below the lowest above it. A start stands right above what it starts.
fn layers_of(box_count: usize, lines: &[Line]) -> Vec<usize> {
    let mut layers = vec![0; box_count];
    let mut forward: Vec<&Line> = lines.iter().filter(|line| !line.is_back).collect();
    forward.sort_by_key(|line| line.from);
    for line in &forward {
        layers[line.to] = layers[line.to].max(layers[line.from] + 1);
    }
    for at in 0..box_count {
        if forward.iter().all(|line| line.to != at) {
            let below = forward.iter().filter(|line| line.from == at).map(|line| layers[line.to]).min();
            layers[at] = below.map_or(0, |below| below - 1);
        }
    }
    layers
}

fn grouped(boxes: &[BoxSize], lines: &[Line]) -> Group {
    let of_box = layers_of(boxes.len(), lines);
    let mut vertices: Vec<Vertex> =
        boxes.iter().zip(&of_box).map(|(size, layer)| Vertex { layer: *layer, size: *size, is_box: true }).collect();
    let (mut segments, mut backs) = (Vec::new(), Vec::new());
    for (number, line) in lines.iter().enumerate() {
        let segment = |from: usize, to: usize| Segment { line: number, from, to, out: 0, into: 0 };
        if line.is_back {
            backs.push(segment(line.from, line.to));
            continue;
        }
        let mut from = line.from;
        for layer in of_box[line.from] + 1..of_box[line.to] {
            let size = BoxSize { half: 0, beside: 0, height: 0 };
            vertices.push(Vertex { layer, size, is_box: false });
            segments.push(segment(from, vertices.len() - 1));
            from = vertices.len() - 1;
        }
        segments.push(segment(from, line.to));
    }
    let layer_count = of_box.iter().max().map_or(0, |last| last + 1);
    let mut layers = vec![Vec::new(); layer_count];
    vertices.iter().enumerate().for_each(|(at, vertex)| layers[vertex.layer].push(at));
    Group { vertices, layers, segments, backs, middles: Vec::new() }
}

/// Says where lines meet boxes: side by side, in the order of their other ends; those that lead back on the right.
fn ports(group: &mut Group, lines: &[Line]) {
    let mut place = vec![0; group.vertices.len()];
    for layer in &group.layers {
        layer.iter().enumerate().for_each(|(at, vertex)| place[*vertex] = at);
    }
    let count = group.segments.len();
    let at =
        |group: &Group, index: usize| if index < count { group.segments[index] } else { group.backs[index - count] };
    for vertex in 0..group.vertices.len() {
        if !group.vertices[vertex].is_box {
            continue;
        }
        let size = group.vertices[vertex].size;
        let all: Vec<usize> = (0..count + group.backs.len()).collect();
        let key = |index: usize, other: usize| if index < count { (0, place[other]) } else { (1, index) };
        let mut outs: Vec<usize> = all.iter().copied().filter(|index| at(group, *index).from == vertex).collect();
        outs.sort_by_key(|index| key(*index, at(group, *index).to));
        let mut ins: Vec<usize> = all.iter().copied().filter(|index| at(group, *index).to == vertex).collect();
        ins.sort_by_key(|index| key(*index, at(group, *index).from));
        let widths: Vec<i64> = outs.iter().map(|index| lines[at(group, *index).line].label_width).collect();
        let out = spread(outs.len(), port_step(&widths), size.half);
        let into = spread(ins.len(), PORT_STEP, size.half);
        for (index, offset) in outs.into_iter().zip(out) {
            segment_mut(group, index).out = offset;
        }
        for (index, offset) in ins.into_iter().zip(into) {
            segment_mut(group, index).into = offset;
        }
    }
}

fn segment_mut(group: &mut Group, index: usize) -> &mut Segment {
    let count = group.segments.len();
    if index < count { &mut group.segments[index] } else { &mut group.backs[index - count] }
}

/// So many offsets around the middle, within the box.
fn spread(count: usize, step: i64, half: i64) -> Vec<i64> {
    let spaces = count.saturating_sub(1) as i64;
    let step = if spaces == 0 { 0 } else { step.min((2 * half - 20).max(0) / spaces) };
    (0..count as i64).map(|at| at * step - spaces * step / 2).collect()
}

/// The middle of each vertex. A sweep moves each layer to where its neighbours above, then below, would have it.
fn middles(group: &Group) -> Vec<i64> {
    let mut x = vec![0.0; group.vertices.len()];
    for layer in &group.layers {
        let settled = settle(group, layer, &vec![(0.0, 1.0); layer.len()]);
        layer.iter().zip(settled).for_each(|(vertex, at)| x[*vertex] = at);
    }
    for sweep in 0..SWEEP_COUNT {
        // The last one goes down alone, so that what follows something stands straight below it.
        let down = sweep % 2 == 0 || sweep + 1 == SWEEP_COUNT;
        let both = (SWEEP_COUNT - 5..SWEEP_COUNT - 1).contains(&sweep);
        let order: Vec<usize> =
            if down { (0..group.layers.len()).collect() } else { (0..group.layers.len()).rev().collect() };
        for at in order {
            let layer = &group.layers[at];
            let wishes: Vec<(f64, f64)> = layer.iter().map(|vertex| wish(group, &x, *vertex, down, both)).collect();
            let settled = settle(group, layer, &wishes);
            layer.iter().zip(settled).for_each(|(vertex, at)| x[*vertex] = at);
        }
    }
    let left = |at: usize| x[at] - group.vertices[at].size.half as f64;
    let least = (0..x.len()).map(left).fold(f64::INFINITY, f64::min);
    x.iter().map(|at| (at - least).round() as i64).collect()
}

/// Where a vertex would like to be, and how much.
fn wish(group: &Group, x: &[f64], vertex: usize, down: bool, both: bool) -> (f64, f64) {
    let (mut sum, mut weight) = (0.0, 0.0);
    for segment in &group.segments {
        let (other, at) = if segment.to == vertex && (down || both) {
            (segment.from, x[segment.from] + segment.out as f64 - segment.into as f64)
        } else if segment.from == vertex && (!down || both) {
            (segment.to, x[segment.to] + segment.into as f64 - segment.out as f64)
        } else {
            continue;
        };
        // Long lines are straight before all else.
        let passages = [vertex, other].iter().filter(|at| !group.vertices[**at].is_box).count();
        let importance = [1.0, 2.0, 8.0][passages];
        sum += importance * at;
        weight += importance;
    }
    if weight == 0.0 { (x[vertex], 0.1) } else { (sum / weight, weight) }
}

/// Places as near to the wishes as the order and the space between them allow: neighbours that would come too close
/// move as one block to the mean of their wishes.
fn settle(group: &Group, layer: &[usize], wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut offset = 0.0;
    let mut offsets = Vec::with_capacity(layer.len());
    for (at, vertex) in layer.iter().enumerate() {
        if at > 0 {
            let (before, this) = (group.vertices[layer[at - 1]], group.vertices[*vertex]);
            let gap = if before.is_box && this.is_box { BOX_GAP } else { LINE_GAP };
            offset += (before.size.half + before.size.beside + this.size.half) as f64 + gap;
        }
        offsets.push(offset);
    }
    // Blocks: the sum of weighted wishes, the weight, and how many.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for ((wish, weight), offset) in wishes.iter().zip(&offsets) {
        blocks.push(((wish - offset) * weight, *weight, 1));
        while let [.., before, last] = blocks.as_slice() {
            if before.0 / before.1 <= last.0 / last.1 {
                break;
            }
            let joined = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let places = blocks.iter().flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, *count));
    places.zip(offsets).map(|(place, offset)| place + offset).collect()
}
