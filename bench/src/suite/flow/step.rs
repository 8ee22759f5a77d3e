//! What an aggregation step costs where nothing is stored: a count and a sum, by group or over all rows.

use super::{FlowArgs, timed, word_of};
use crate::Common;
use crate::error::BenchError;
use crate::report::Figures;
use crate::suite::flow::rmw::failed;
use std::collections::BTreeMap;
use tantu_base::value::{encoded, encoded_key};
use tantu_path::{AggShape, Arg, Fold, Leaf, Schema};

fn leaf(shape: AggShape) -> Leaf {
    match shape {
        AggShape::Leaf(leaf) => leaf,
        AggShape::Map(_) | AggShape::List(_) => unreachable!("one aggregator"),
    }
}

pub(super) fn tantu(args: &FlowArgs, common: &Common, is_grouped: bool) -> Result<Figures, BenchError> {
    let choices = args.choices(common);
    let keys: Vec<Vec<u8>> = (0..args.keys as u32).map(|n| encoded_key(&word_of(n))).collect();
    let argument = encoded(&5i64);
    let leaves = vec![(leaf(AggShape::count()), Schema::I64), (leaf(AggShape::sum(Arg::Slot(0))), Schema::I64)];
    let mut fold = if is_grouped { Fold::by_group(leaves) } else { Fold::of_all(leaves) };
    let mut all = || {
        for choice in &choices {
            let key: &[u8] = if is_grouped { &keys[*choice as usize] } else { &[] };
            fold.step_encoded(key, &argument).map_err(|error| failed("a step", error))?;
        }
        Ok(())
    };
    all()?;
    Ok(timed(args.events(common), all)?.figures())
}

pub(super) fn bound(args: &FlowArgs, common: &Common, is_grouped: bool) -> Result<Figures, BenchError> {
    let choices = args.choices(common);
    let keys: Vec<String> = (0..args.keys as u32).map(word_of).collect();
    let mut groups: BTreeMap<String, (i64, i64)> = keys.iter().map(|key| (key.clone(), (0, 0))).collect();
    let mut sums = (0i64, 0i64);
    let mut all = || {
        for choice in &choices {
            let state = match is_grouped {
                true => groups.get_mut(&keys[*choice as usize]).expect("every key is there"),
                false => &mut sums,
            };
            *state = std::hint::black_box((state.0 + 1, state.1 + 5));
        }
        Ok(())
    };
    all()?;
    Ok(timed(args.events(common), all)?.figures())
}
