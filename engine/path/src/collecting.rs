//! Types of paths that collect: what was set aside so far stands in the type of where the path starts, so that
//! nothing is selected before it is clear what becomes of it.
//!
//! ```
//! use std::collections::BTreeMap;
//! use tantu_path::{Map, Navigate, PathTo, TransformTo, path, select_value, transform_value};
//!
//! type Stock = Map<String, Map<String, i64>>; // shelf → thing → how many
//!
//! let stock = BTreeMap::from([("top".to_string(), BTreeMap::from([("cups".to_string(), 5), ("min".to_string(), 7)]))]);
//!
//! // Each result is a tuple of what was collected and where the path leads.
//! let with_min: PathTo<Stock, (i64, i64)> =
//!     path::<Stock>().must("top").collect_one(path().must("min")).must("cups").collected();
//! assert_eq!(select_value(&stock, &with_min)?, [(7, 5)]);
//!
//! // A closure at the end gets the same.
//! let fill: TransformTo<Stock> = path::<Stock>()
//!     .must("top")
//!     .collect_one(path().must("min"))
//!     .must("cups")
//!     .term_collected(|(min,), cups| cups.max(min));
//! assert_eq!(transform_value(stock, &fill)?["top"]["cups"], 7);
//! # Ok::<(), tantu_path::PathError>(())
//! ```

use crate::func::{Func, ReadExtra};
use crate::marker::PStateSchema;
use crate::navigate::Navigate;
use crate::path::Path;
use crate::typed::{PathTo, TransformTo};
use std::marker::PhantomData;
use tantu_base::value::Encode;

/// A start of shape `S`, with values of the shapes in the tuple `C` set aside since.
#[derive(Debug)]
pub struct Collecting<S, C>(PhantomData<fn() -> (S, C)>);

/// A start from which one more value of shape `C` can be set aside.
#[diagnostic::on_unimplemented(message = "a typed path sets at most five values aside")]
pub trait Collects<C> {
    /// The start with it.
    type Out;
}

/// The shapes of what was set aside, a tuple.
pub trait SetAside {
    /// The tuple of its values, as a closure gets them.
    type Values: ReadExtra;
    /// The tuple of them and of a value of shape `T`: a result.
    type With<T: PStateSchema>: PStateSchema;
}

impl<S: PStateSchema, C> Collects<C> for S {
    type Out = Collecting<S, (C,)>;
}

macro_rules! set_aside {
    ($($part:ident)+) => {
        impl<$($part: PStateSchema),+> SetAside for ($($part,)+) {
            type Values = ($($part::Value,)+);
            type With<T: PStateSchema> = ($($part,)+ T,);
        }
    };
}

macro_rules! collects {
    ($($part:ident)+) => {
        impl<Root, $($part,)+ More> Collects<More> for Collecting<Root, ($($part,)+)> {
            type Out = Collecting<Root, ($($part,)+ More,)>;
        }
    };
}

set_aside!(A);
set_aside!(A B);
set_aside!(A B C);
set_aside!(A B C D);
set_aside!(A B C D E);
collects!(A);
collects!(A B);
collects!(A B C);
collects!(A B C D);

impl<S, C: SetAside, T: PStateSchema> PathTo<Collecting<S, C>, T> {
    /// The tuple of what was set aside and the value it stands on, as one value (PTH-35). In a transform the last
    /// part of what comes back takes the value's place.
    pub fn collected(self) -> PathTo<S, C::With<T>> {
        self.navigate_from(Path::collected)
    }

    /// Forgets what was set aside (PTH-36).
    pub fn dispense_collected(self) -> PathTo<S, T> {
        self.navigate_from(Path::dispense_collected)
    }

    /// Continues if the closure says so of what was set aside (PTH-36).
    pub fn is_collected<F>(self, test: F) -> PathTo<Collecting<S, C>, T>
    where
        C::Values: tantu_base::value::Decode,
        F: Fn(C::Values) -> bool + Send + Sync + 'static,
    {
        self.navigate_from(|path| path.is_collected(Func::unary(test)))
    }

    /// Replaces by the closure's answer to what was set aside and the value (PTH-36, PTH-39).
    pub fn term_collected<F>(self, f: F) -> TransformTo<S>
    where
        T::Plain: Encode,
        F: Fn(C::Values, T::Value) -> T::Plain + Send + Sync + 'static,
    {
        TransformTo::from_untyped(self.into_untyped().term(Func::collected(f), vec![]))
    }

    /// Along the path with nothing set aside; after it, with what there was before (PTH-36).
    pub fn with_fresh_collected<U>(self, fresh: PathTo<T, U>) -> PathTo<Collecting<S, C>, U> {
        self.navigate_from(|path| path.with_fresh_collected(fresh.into_untyped()))
    }
}
