//! The order of vertices in their layers, with few crossings: each is moved to the mean place of its neighbours, layer by
//! layer, down and up; the best order seen stays.

/// How often all layers are gone through.
const SWEEP_COUNT: usize = 12;

/// Orders the layers. `pairs` are the lines between neighbouring layers, each from the upper to the lower vertex.
pub(super) fn order(layers: &mut [Vec<usize>], pairs: &[(usize, usize)], vertex_count: usize) {
    let mut best = layers.to_vec();
    let mut best_crossings = crossings(&best, pairs, vertex_count);
    let mut now = best.clone();
    for sweep in 0..SWEEP_COUNT {
        if best_crossings == 0 {
            break;
        }
        let down = sweep % 2 == 0;
        let order: Vec<usize> =
            if down { (1..now.len()).collect() } else { (0..now.len().saturating_sub(1)).rev().collect() };
        for at in order {
            let places = places(&now, vertex_count);
            now[at].sort_by(|a, b| {
                let of = |vertex: usize| mean(&places, pairs, vertex, down).unwrap_or(places[vertex] as f64);
                of(*a).total_cmp(&of(*b)).then(places[*a].cmp(&places[*b]))
            });
        }
        let found = crossings(&now, pairs, vertex_count);
        if found < best_crossings {
            (best, best_crossings) = (now.clone(), found);
        }
    }
    layers.clone_from_slice(&best);
}

fn places(layers: &[Vec<usize>], vertex_count: usize) -> Vec<usize> {
    let mut places = vec![0; vertex_count];
    for layer in layers {
        layer.iter().enumerate().for_each(|(at, vertex)| places[*vertex] = at);
    }
    places
}

/// The mean place of the neighbours above, or below.
fn mean(places: &[usize], pairs: &[(usize, usize)], vertex: usize, above: bool) -> Option<f64> {
    let neighbour = |(from, to): &(usize, usize)| match above {
        true => (*to == vertex).then_some(*from),
        false => (*from == vertex).then_some(*to),
    };
    let found: Vec<usize> = pairs.iter().filter_map(neighbour).collect();
    let sum: usize = found.iter().map(|other| places[*other]).sum();
    (!found.is_empty()).then(|| sum as f64 / found.len() as f64)
}

/// How many pairs of lines cross.
fn crossings(layers: &[Vec<usize>], pairs: &[(usize, usize)], vertex_count: usize) -> usize {
    let places = places(layers, vertex_count);
    let mut layer_of = vec![0; vertex_count];
    for (at, layer) in layers.iter().enumerate() {
        layer.iter().for_each(|vertex| layer_of[*vertex] = at);
    }
    let crosses = |a: &(usize, usize), b: &(usize, usize)| {
        layer_of[a.0] == layer_of[b.0]
            && (places[a.0] < places[b.0] && places[a.1] > places[b.1]
                || places[a.0] > places[b.0] && places[a.1] < places[b.1])
    };
    pairs.iter().enumerate().map(|(at, a)| pairs[at + 1..].iter().filter(|b| crosses(a, b)).count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_need_not_cross_do_not() {
        let mut layers = vec![vec![0, 1, 2], vec![3, 4, 5]];
        let pairs = [(0, 5), (1, 4), (2, 3)];
        assert_eq!(crossings(&layers, &pairs, 6), 3);
        order(&mut layers, &pairs, 6);
        assert_eq!(crossings(&layers, &pairs, 6), 0);
        assert_eq!(layers[0], [0, 1, 2], "what need not move stays");
    }

    #[test]
    fn every_vertex_is_still_in_its_layer() {
        let mut layers = vec![vec![0, 1], vec![2, 3]];
        // Two that cross whatever is done.
        order(&mut layers, &[(0, 2), (0, 3), (1, 2), (1, 3)], 4);
        let sorted: Vec<Vec<usize>> = layers
            .into_iter()
            .map(|mut layer| {
                layer.sort();
                layer
            })
            .collect();
        assert_eq!(sorted, [vec![0, 1], vec![2, 3]]);
    }
}
