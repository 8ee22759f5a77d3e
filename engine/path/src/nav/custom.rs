//! Navigators of a module's author (PTH-43).

use super::{PLAIN, Rule};
use crate::error::PathError;
use crate::interpose::Before;
use crate::path::Nav;
use crate::walk::{Cx, Rebuilt, Visited};
use std::fmt;
use std::sync::Arc;
use tantu_base::value::Value;

/// A navigator of one's own. It decides where to go; the path goes on from each value handed to `next`.
///
/// ```
/// use std::ops::ControlFlow;
/// use tantu_base::value::Value;
/// use tantu_path::{Custom, CustomNav, NoArgs, Path, Rebuilt, Visited, select, transform};
///
/// /// The element in the middle of a list, or nowhere.
/// struct Middle;
///
/// impl CustomNav for Middle {
///     fn select(&self, at: &Value, next: &mut dyn FnMut(&Value) -> Visited) -> Visited {
///         match at.elements().and_then(|elements| elements.get(elements.len() / 2)) {
///             Some(element) => next(element),
///             None => Ok(ControlFlow::Continue(())),
///         }
///     }
///
///     fn transform(&self, at: Option<Value>, next: &mut dyn FnMut(Option<Value>) -> Rebuilt) -> Rebuilt {
///         let Some(Value::List(mut elements)) = at else { return Ok(at) };
///         let middle = elements.len() / 2;
///         if !elements.is_empty() {
///             match next(Some(elements[middle].clone()))? {
///                 Some(element) => elements[middle] = element,
///                 None => drop(elements.remove(middle)),
///             }
///         }
///         Ok(Some(Value::List(elements)))
///     }
/// }
///
/// let list = |of: &[i64]| Value::List(of.iter().copied().map(Value::I64).collect());
/// let middle = Path::new().custom_nav(Custom::new("middle", Middle));
/// assert_eq!(select(&middle, &list(&[1, 2, 3]), &NoArgs)?, [Value::I64(2)]);
/// assert_eq!(transform(&middle.term_void(), list(&[1, 2, 3]), &NoArgs)?, list(&[1, 3]));
/// # Ok::<(), tantu_path::PathError>(())
/// ```
pub trait CustomNav: Send + Sync {
    /// Calls `next` for each value it navigates to, in order, and gives back what the last call gave. Once a call
    /// gave [`ControlFlow::Break`](std::ops::ControlFlow::Break), there is no further one.
    fn select(&self, at: &Value, next: &mut dyn FnMut(&Value) -> Visited) -> Visited;

    /// Calls `next` for each place it navigates to and gives back what the whole became. An absent place is
    /// `None` on the way in; `None` on the way back removes it.
    fn transform(&self, at: Option<Value>, next: &mut dyn FnMut(Option<Value>) -> Rebuilt) -> Rebuilt;
}

type Build = dyn Fn(&[Value]) -> Result<Arc<dyn CustomNav>, String> + Send + Sync;

/// A navigator of one's own, ready to stand in a path.
#[derive(Clone)]
pub struct Custom {
    name: &'static str,
    build: Arc<Build>,
}

impl Custom {
    /// One that is always the same. `name` appears in messages and descriptions.
    pub fn new(name: &'static str, navigator: impl CustomNav + 'static) -> Custom {
        let navigator: Arc<dyn CustomNav> = Arc::new(navigator);
        Custom { name, build: Arc::new(move |_| Ok(navigator.clone())) }
    }

    /// One that is built from arguments whenever the path is evaluated; what `build` refuses fails the path.
    pub fn builder<N, F>(name: &'static str, build: F) -> Custom
    where
        N: CustomNav + 'static,
        F: Fn(&[Value]) -> Result<N, String> + Send + Sync + 'static,
    {
        Custom { name, build: Arc::new(move |args| Ok(Arc::new(build(args)?))) }
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Has `before` called ahead of it.
    pub(crate) fn interpose(&mut self, before: &Before) {
        let (build, before) = (Arc::clone(&self.build), Arc::clone(before));
        self.build = Arc::new(move |args| {
            before();
            build(args)
        });
    }

    fn built(&self, nav: &Nav, cx: &Cx<'_>) -> Result<Arc<dyn CustomNav>, PathError> {
        let args = (0..nav.args.len()).map(|index| cx.arg(nav, index).map(|value| value.into_owned()));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        (self.build)(&args).map_err(|what| PathError::Custom { navigator: self.name, what })
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Custom({})", self.name)
    }
}

/// Two are equal when they are the same object.
impl PartialEq for Custom {
    fn eq(&self, other: &Custom) -> bool {
        Arc::ptr_eq(&self.build, &other.build)
    }
}

/// Wherever its author wants.
pub(crate) static CUSTOM_NAV: Rule = Rule {
    code: 160,
    name: "custom_nav",
    args: (0, usize::MAX),
    func: true,
    select: |nav, at, cx, next| {
        let custom = custom_of(nav).built(nav, cx)?;
        custom.select(at, &mut |value| next(cx, value))
    },
    transform: |nav, at, cx, swap| {
        let custom = custom_of(nav).built(nav, cx)?;
        custom.transform(at, &mut |place| swap(cx, place))
    },
    ..PLAIN
};

fn custom_of(nav: &Nav) -> &Custom {
    nav.custom.as_ref().expect("invariant: only the builder of custom_nav makes one")
}
