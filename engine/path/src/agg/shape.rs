//! Where in a PState to go and what to fold in there, untyped.

use super::Aggregator;
use super::leaf::Leaf;
use crate::arg::Arg;
use crate::error::AggError;

/// Where to go and what to do there.
#[derive(Clone, PartialEq, Debug)]
pub enum AggShape {
    /// In a map, under each key its own shape; a missing key is created.
    Map(Vec<(Arg, AggShape)>),
    /// In a list of exactly as many elements, at each its own shape; a missing list is created.
    List(Vec<AggShape>),
    /// Fold in one row's arguments.
    Leaf(Leaf),
}

impl AggShape {
    /// Under one key of a map.
    pub fn key(key: impl Into<Arg>, shape: AggShape) -> AggShape {
        AggShape::Map(vec![(key.into(), shape)])
    }

    /// An aggregator of these arguments.
    ///
    /// # Panics
    /// If they are not as many as it takes.
    #[track_caller]
    pub fn leaf(aggregator: Aggregator, args: Vec<Arg>) -> AggShape {
        AggShape::Leaf(Leaf::new(aggregator, args))
    }

    /// How many times this was aggregated.
    pub fn count() -> AggShape {
        AggShape::leaf(Aggregator::Count, vec![])
    }

    /// The sum of the arguments.
    pub fn sum(argument: impl Into<Arg>) -> AggShape {
        AggShape::leaf(Aggregator::Sum, vec![argument.into()])
    }

    /// Removes what is there.
    pub fn void() -> AggShape {
        AggShape::leaf(Aggregator::Void, vec![])
    }

    /// The top-level key of a shape with one, for routing.
    pub fn leading_key(&self) -> Option<&Arg> {
        match self {
            AggShape::Map(arms) if arms.len() == 1 => Some(&arms[0].0),
            _ => None,
        }
    }

    /// The aggregators, in the order of the shape.
    pub fn leaves(&self) -> Vec<&Leaf> {
        match self {
            AggShape::Map(arms) => arms.iter().flat_map(|(_, shape)| shape.leaves()).collect(),
            AggShape::List(parts) => parts.iter().flat_map(AggShape::leaves).collect(),
            AggShape::Leaf(leaf) => vec![leaf],
        }
    }

    /// Whether rows may be aggregated in two phases: every aggregator is a combiner (AGG-09).
    pub fn is_combiner(&self) -> bool {
        self.leaves().iter().all(|leaf| leaf.aggregator().is_combiner())
    }

    /// Whether partial states grow with what they take in (AGG-10).
    pub fn is_flush_required(&self) -> bool {
        self.leaves().iter().any(|leaf| leaf.aggregator().is_flush_required())
    }

    /// The same shape where each aggregator takes in the partial state that `next` names for it, in the order of
    /// [`AggShape::leaves`], instead of a row.
    pub fn of_partials(&self, next: &mut dyn FnMut(&Leaf) -> Arg) -> AggShape {
        match self {
            AggShape::Map(arms) => {
                AggShape::Map(arms.iter().map(|(key, shape)| (key.clone(), shape.of_partials(next))).collect())
            }
            AggShape::List(parts) => AggShape::List(parts.iter().map(|shape| shape.of_partials(next)).collect()),
            AggShape::Leaf(leaf) => AggShape::Leaf(leaf.of_partial(next(leaf))),
        }
    }

    /// The same shape, where a number at the top that is not there is an error instead of 0 (AGG-05).
    pub fn into_value(self) -> AggShape {
        match self {
            AggShape::Leaf(leaf) => AggShape::Leaf(leaf.into_value()),
            compound => compound,
        }
    }

    /// Whether what an evaluation changes is one key path with its new values (AGG-12): at most one key in each map, and
    /// at most one map in each list.
    pub fn check_capture(&self) -> Result<(), AggError> {
        match self {
            AggShape::Leaf(_) => Ok(()),
            AggShape::Map(arms) => match &arms[..] {
                [(_, shape)] => shape.check_capture(),
                _ => Err(AggError::Capture { what: "several keys in one map" }),
            },
            AggShape::List(parts) => {
                if parts.iter().filter(|part| part.has_map()).count() > 1 {
                    return Err(AggError::Capture { what: "several maps in one list" });
                }
                parts.iter().try_for_each(AggShape::check_capture)
            }
        }
    }

    fn has_map(&self) -> bool {
        match self {
            AggShape::Map(_) => true,
            AggShape::List(parts) => parts.iter().any(AggShape::has_map),
            AggShape::Leaf(_) => false,
        }
    }

    /// Calls `visit` with every slot the shape reads.
    pub fn each_slot(&self, visit: &mut dyn FnMut(u32)) {
        let mut see = |arg: &Arg| {
            if let Arg::Slot(slot) = arg {
                visit(*slot);
            }
        };
        match self {
            AggShape::Map(arms) => arms.iter().for_each(|(key, shape)| {
                if let Arg::Slot(slot) = key {
                    visit(*slot);
                }
                shape.each_slot(visit);
            }),
            AggShape::List(parts) => parts.iter().for_each(|shape| shape.each_slot(visit)),
            AggShape::Leaf(leaf) => leaf.args().iter().for_each(&mut see),
        }
    }

    /// Written as it is built, its slots under the names that `name` gives them: `key(word, count())`.
    ///
    /// ```
    /// use tantu_path::{AggShape, Arg};
    /// let shape = AggShape::key(Arg::Slot(1), AggShape::sum(Arg::Slot(2)));
    /// assert_eq!(shape.show(&|slot| format!("v{slot}")), "key(v1, sum(v2))");
    /// ```
    pub fn show(&self, name: &dyn Fn(u32) -> String) -> String {
        let parts = |shapes: &[AggShape]| shapes.iter().map(|shape| shape.show(name)).collect::<Vec<_>>().join(", ");
        match self {
            AggShape::Map(arms) => {
                let arm = |(key, shape): &(Arg, AggShape)| format!("key({}, {})", key.show(name), shape.show(name));
                arms.iter().map(arm).collect::<Vec<_>>().join(" and ")
            }
            AggShape::List(shapes) => format!("[{}]", parts(shapes)),
            AggShape::Leaf(leaf) => leaf.show(name),
        }
    }

    /// The same shape with its slots renumbered.
    pub fn map_slots(&self, rename: &mut dyn FnMut(u32) -> u32) -> AggShape {
        match self {
            AggShape::Map(arms) => {
                AggShape::Map(arms.iter().map(|(key, shape)| (renamed(key, rename), shape.map_slots(rename))).collect())
            }
            AggShape::List(parts) => AggShape::List(parts.iter().map(|shape| shape.map_slots(rename)).collect()),
            AggShape::Leaf(leaf) => AggShape::Leaf(leaf.map_args(&mut |arg| renamed(arg, rename))),
        }
    }

    /// What it goes into, for messages.
    pub(super) fn wants(&self) -> &'static str {
        match self {
            AggShape::Map(_) => "map",
            AggShape::List(_) => "list",
            AggShape::Leaf(leaf) => leaf.name(),
        }
    }
}

fn renamed(arg: &Arg, rename: &mut dyn FnMut(u32) -> u32) -> Arg {
    match arg {
        Arg::Slot(slot) => Arg::Slot(rename(*slot)),
        Arg::Const(value) => Arg::Const(value.clone()),
    }
}
