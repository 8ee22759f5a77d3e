//! A word before each of the author's closures in paths and aggregators: where tests make user code fail.
//!
//! It is put into them before they are used, so that others have no trace of it.

use crate::agg::AggShape;
use crate::func::Functions;
use crate::path::Path;
use std::sync::Arc;

/// Called before a closure, on the thread that runs it. It may panic, as the closure might.
pub type Before = Arc<dyn Fn() + Send + Sync>;

impl Path {
    /// Calls `before` ahead of each closure of the path: functions of values, navigators of the author.
    pub fn interpose(&mut self, before: &Before) {
        for nav in &mut self.navs {
            if let Some(func) = &mut nav.func {
                func.interpose(before);
            }
            if let Some(custom) = &mut nav.custom {
                custom.interpose(before);
            }
            nav.paths.iter_mut().for_each(|path| path.interpose(before));
        }
    }
}

impl AggShape {
    /// Calls `before` ahead of each closure of its combiners and accumulators.
    pub fn interpose(&mut self, before: &Before) {
        match self {
            AggShape::Map(arms) => arms.iter_mut().for_each(|(_, shape)| shape.interpose(before)),
            AggShape::List(parts) => parts.iter_mut().for_each(|shape| shape.interpose(before)),
            AggShape::Leaf(leaf) => leaf.interpose(before),
        }
    }
}

impl Functions {
    /// Calls `before` ahead of each of them.
    pub fn interpose(&mut self, before: &Before) {
        self.each_mut().for_each(|func| func.interpose(before));
    }
}
