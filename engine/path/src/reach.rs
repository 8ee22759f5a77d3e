//! A stored top-level map as far as one path can touch it.
//!
//! For the paths that have no faster way of their own, the entries a path can reach are read into a small map
//! and the path is followed on that map as on any value. Every navigator sees the same as on the whole map,
//! because what it looks at was read and what was read besides is the whole map's too.

use crate::arg::Args;
use crate::error::{EvalError, PathError};
use crate::gather::{Rows, Stretch};
use crate::limit::IMAGE_SIZE_MAX;
use crate::nav::range::{Span, Take};
use crate::nav::{Reach, term};
use crate::path::Nav;
use crate::store::Store;
use crate::walk::{Cx, put_key_form};
use std::collections::BTreeMap;
use std::ops::Bound;
use tantu_base::id::ObjectId;
use tantu_base::value::Value;

/// Entries by key form.
pub(crate) type Image = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a path can touch.
#[derive(Default, Debug)]
struct Reads {
    keys: Vec<Vec<u8>>,
    spans: Vec<Span>,
}

/// Navigators, and those that follow them.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub(crate) navs: &'a [Nav],
    pub(crate) rest: Option<&'a Chain<'a>>,
}

impl<'a> Chain<'a> {
    /// The first navigator and the chain behind it.
    pub(crate) fn split_first(&self) -> Option<(&'a Nav, Chain<'a>)> {
        match (self.navs.split_first(), self.rest) {
            (Some((nav, navs)), rest) => Some((nav, Chain { navs, rest })),
            (None, Some(rest)) => rest.split_first(),
            (None, None) => None,
        }
    }

    /// The first navigator.
    pub(crate) fn first(&self) -> Option<&'a Nav> {
        self.split_first().map(|(nav, _)| nav)
    }
}

/// Reads what the navigators can touch. In a transform one branch may remove an entry that another branch's
/// limited range counts, so with more than one thing to touch a range is read without its limit.
pub(crate) fn read_image<S: Store + ?Sized>(
    store: &mut S,
    object: ObjectId,
    navs: &[Nav],
    args: &dyn Args,
    removes: bool,
) -> Result<Image, EvalError> {
    let mut reads = Reads::default();
    collect(&Chain { navs, rest: None }, &Cx::new(args), &mut reads)
        .map_err(|source| EvalError::Path { object, source })?;
    if removes && reads.keys.len() + reads.spans.len() > 1 {
        reads.spans.iter_mut().for_each(|span| span.take = Take::All);
    }
    let mut image = Image::new();
    let mut value = Vec::new();
    let mut size = 0;
    for key in reads.keys {
        if store.get(object, &key, &mut value)? {
            size += key.len() + value.len();
            if size > IMAGE_SIZE_MAX {
                return Err(EvalError::TooMuch { object });
            }
            image.insert(key, value.clone());
        }
    }
    let mut rows = Rows::default();
    for span in reads.spans {
        let (from, to) = (key_bound(&span.from), key_bound(&span.to));
        let mut stretch = Stretch::all(borrowed(&from), borrowed(&to));
        stretch.size_max = IMAGE_SIZE_MAX - size;
        match span.take {
            Take::Last(count) => rows.read_last(store, object, stretch, count)?,
            Take::First(count) => {
                stretch.count_max = count;
                rows.read_fully(store, object, stretch)?;
            }
            Take::All => {
                rows.read_fully(store, object, stretch)?;
            }
        }
    }
    image.extend(rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
    Ok(image)
}

/// A bound on values as a bound on key forms.
pub(crate) fn key_bound(bound: &Bound<Value>) -> Bound<Vec<u8>> {
    let key_form = |value: &Value| {
        let mut key = Vec::new();
        value.encode_key(&mut key);
        key
    };
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(value) => Bound::Included(key_form(value)),
        Bound::Excluded(value) => Bound::Excluded(key_form(value)),
    }
}

/// A bound as a store takes it.
pub(crate) fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

fn collect(chain: &Chain<'_>, cx: &Cx<'_>, reads: &mut Reads) -> Result<(), PathError> {
    let Some((nav, rest)) = chain.navs.split_first() else {
        return match chain.rest {
            Some(rest) => collect(rest, cx, reads),
            None => {
                reads.whole();
                Ok(())
            }
        };
    };
    let rest = Chain { navs: rest, rest: chain.rest };
    match nav.rule.reach {
        Reach::Nothing => {}
        Reach::Whole => reads.whole(),
        Reach::Rest => collect(&rest, cx, reads)?,
        // Replacing a value blindly needs no read: what is not in the image is simply written.
        Reach::Key if nav.is(&crate::nav::map::KEY) && starts_with_term_val(&rest) => {}
        Reach::Key => {
            let mut key = Vec::new();
            put_key_form(&nav.args[0], cx.args, &mut key);
            reads.keys.push(key);
        }
        Reach::Keys => {
            for key in cx.arg(nav, 0)?.elements().unwrap_or_default() {
                let mut key_form = Vec::new();
                key.encode_key(&mut key_form);
                reads.keys.push(key_form);
            }
        }
        Reach::Span => reads.spans.push(Span::of(nav, cx)?),
        Reach::Branches | Reach::Aside => {
            for (index, path) in nav.paths.iter().enumerate() {
                let rest = (nav.rule.continues)(index).then_some(&rest);
                collect(&Chain { navs: &path.navs, rest }, cx, reads)?;
            }
            if nav.rule.reach == Reach::Aside {
                collect(&rest, cx, reads)?;
            }
        }
    }
    Ok(())
}

fn starts_with_term_val(chain: &Chain<'_>) -> bool {
    match (chain.navs.first(), chain.rest) {
        (Some(nav), _) => nav.is(&term::TERM_VAL),
        (None, Some(rest)) => starts_with_term_val(rest),
        (None, None) => false,
    }
}

impl Reads {
    fn whole(&mut self) {
        self.spans.push(Span { from: Bound::Unbounded, to: Bound::Unbounded, take: Take::All });
    }
}
