//! The typed navigators: each checks with rustc what its untyped twin of the same name in [`Path`] does.

use crate::collecting::Collects;
use crate::field::{Field, RecordLocation};
use crate::func::{Func, NamedFn, ReadExtra};
use crate::marker::SetLocation;
use crate::marker::{AllLocation, List, ListLocation, Map, MapLocation, NullLocation, PStateSchema, PairLocation, Set};
use crate::nav::custom::Custom;
use crate::path::Path;
use crate::typed::{Arm, ChangeArm, Condition, ExtraArgs, KeyOf, KeyPath, NullableVal, PathArg, PathTo, TransformTo};
use tantu_base::value::{Decode, Encode};

/// A map of the same shape, present.
type SubMap<L> = Map<<L as MapLocation>::Key, <L as MapLocation>::Val>;
/// A set of the same shape, present.
type SubSet<L> = Set<<L as SetLocation>::Element>;
/// A list of the same shape, present.
type SubList<L> = List<<L as ListLocation>::Element>;
/// What a set element is in Rust.
type ElementOf<L> = <<L as SetLocation>::Element as PStateSchema>::Plain;

/// The typed navigators. The numbers are the rows of the specification of paths.
#[diagnostic::on_unimplemented(message = "`{Self}` is nothing a path can start from")]
pub trait Navigate: Sized {
    /// Shape of where the path starts.
    type Root;
    /// Shape of where it stands now.
    type At: PStateSchema;

    /// The path so far.
    fn into_path_to(self) -> PathTo<Self::Root, Self::At>;

    /// Adds untyped navigators; that they lead to a `T` is the caller's word.
    fn navigate<T>(self, add: impl FnOnce(Path) -> Path) -> PathTo<Self::Root, T> {
        PathTo::from_untyped(add(self.into_path_to().into_untyped()))
    }

    /// The value under a key; null if there is none (PTH-01).
    fn key<A: PathArg<KeyOf<Self::At>>>(self, key: A) -> PathTo<Self::Root, NullableVal<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.key(key.into_arg()))
    }

    /// The value under a key, or nowhere (PTH-02).
    fn must<A: PathArg<KeyOf<Self::At>>>(self, key: A) -> PathTo<Self::Root, <Self::At as MapLocation>::Val>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.must(key.into_arg()))
    }

    /// A field of a record; null if the field or the record is not there (PST-04).
    fn field<F: PStateSchema>(
        self,
        field: Field<<Self::At as RecordLocation>::Record, F>,
    ) -> PathTo<Self::Root, <Self::At as RecordLocation>::At<F>>
    where
        Self::At: RecordLocation,
    {
        self.navigate(|path| path.field(field.id()))
    }

    /// A field of a record, or nowhere (PST-04).
    fn must_field<F: PStateSchema>(self, field: Field<<Self::At as RecordLocation>::Record, F>) -> PathTo<Self::Root, F>
    where
        Self::At: RecordLocation,
    {
        self.navigate(|path| path.must_field(field.id()))
    }

    /// The key itself, if present; replacing it renames (PTH-07).
    fn map_key<A: PathArg<KeyOf<Self::At>>>(self, key: A) -> PathTo<Self::Root, <Self::At as MapLocation>::Key>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.map_key(key.into_arg()))
    }

    /// Every element of a list or set, every key and value of a map (PTH-05).
    fn all(self) -> PathTo<Self::Root, <Self::At as AllLocation>::Element>
    where
        Self::At: AllLocation,
    {
        self.navigate(Path::all)
    }

    /// Every value (PTH-06).
    fn map_vals(self) -> PathTo<Self::Root, <Self::At as MapLocation>::Val>
    where
        Self::At: MapLocation,
    {
        self.navigate(Path::map_vals)
    }

    /// Every key (PTH-06).
    fn map_keys(self) -> PathTo<Self::Root, <Self::At as MapLocation>::Key>
    where
        Self::At: MapLocation,
    {
        self.navigate(Path::map_keys)
    }

    /// How many elements or entries there are; null has none (PTH-24). Of a subindexed structure that tracks its size, and
    /// of a subindexed list, it is one read; others are counted. It cannot be changed.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use tantu_path::{List, Map, Navigate, path, select_value};
    ///
    /// let scores = BTreeMap::from([("ann".to_string(), vec![3, 9]), ("bob".to_string(), vec![])]);
    /// assert_eq!(select_value(&scores, &path::<Map<String, List<i64>>>().size())?, [2]);
    /// assert_eq!(select_value(&scores, &path::<Map<String, List<i64>>>().map_vals().size())?, [2, 0]);
    /// # Ok::<(), tantu_path::PathError>(())
    /// ```
    fn size(self) -> PathTo<Self::Root, u64>
    where
        Self::At: AllLocation,
    {
        self.navigate(Path::size)
    }

    /// The value under several keys, each inside the value of the one before (PTH-01).
    fn key_path<K: KeyPath<Self::At>>(self, keys: K) -> PathTo<Self::Root, K::To> {
        self.navigate(|path| path.keys(keys.into_args()))
    }

    /// The sub-map of these keys (PTH-15).
    fn submap<A: PathArg<Vec<KeyOf<Self::At>>>>(self, keys: A) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.submap(keys.into_arg()))
    }

    /// The sub-map of keys in `[from, to)` (PTH-16).
    fn sorted_map_range<A, B>(self, from: A, to: B) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
        B: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range(from.into_arg(), to.into_arg()))
    }

    /// The sub-map of keys between two, each included or not (PTH-16).
    fn sorted_map_range_with<A, B>(
        self,
        from: A,
        from_included: bool,
        to: B,
        to_included: bool,
    ) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
        B: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_with(from.into_arg(), from_included, to.into_arg(), to_included))
    }

    /// From a key on: the sub-map of at most the first `count_max` keys at or after it (PTH-17).
    fn sorted_map_range_from<A>(self, from: A, count_max: Option<u64>) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_from(from.into_arg(), true, count_max))
    }

    /// Up to a key: the sub-map of at most the `count_max` keys nearest before it (PTH-18).
    fn sorted_map_range_to<A>(self, to: A, count_max: Option<u64>) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_to(to.into_arg(), false, count_max))
    }

    /// [`Navigate::sorted_map_range_from`] that says whether the key is part of it (PTH-17).
    fn sorted_map_range_from_with<A>(
        self,
        from: A,
        from_included: bool,
        count_max: Option<u64>,
    ) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_from(from.into_arg(), from_included, count_max))
    }

    /// [`Navigate::sorted_map_range_to`] that says whether the key is part of it (PTH-18).
    fn sorted_map_range_to_with<A>(
        self,
        to: A,
        to_included: bool,
        count_max: Option<u64>,
    ) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
        A: PathArg<KeyOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_map_range_to(to.into_arg(), to_included, count_max))
    }

    /// The sub-map of the first keys (PTH-19).
    fn sorted_map_range_from_start<A: PathArg<u64>>(self, count: A) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.sorted_map_range_from_start(count.into_arg()))
    }

    /// The sub-map of the last keys (PTH-19).
    fn sorted_map_range_to_end<A: PathArg<u64>>(self, count: A) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(|path| path.sorted_map_range_to_end(count.into_arg()))
    }

    /// The subset of elements in `[from, to)` (PTH-20).
    fn sorted_set_range<A, B>(self, from: A, to: B) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
        A: PathArg<ElementOf<Self::At>>,
        B: PathArg<ElementOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_set_range(from.into_arg(), to.into_arg()))
    }

    /// The subset of elements between two, each included or not (PTH-20).
    fn sorted_set_range_with<A, B>(
        self,
        from: A,
        from_included: bool,
        to: B,
        to_included: bool,
    ) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
        A: PathArg<ElementOf<Self::At>>,
        B: PathArg<ElementOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_set_range_with(from.into_arg(), from_included, to.into_arg(), to_included))
    }

    /// From an element on, which is part of it or not: at most the first `count_max` elements (PTH-20).
    fn sorted_set_range_from<A>(
        self,
        from: A,
        from_included: bool,
        count_max: Option<u64>,
    ) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
        A: PathArg<ElementOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_set_range_from(from.into_arg(), from_included, count_max))
    }

    /// Up to an element, which is part of it or not: at most the `count_max` elements nearest to it (PTH-20).
    fn sorted_set_range_to<A>(
        self,
        to: A,
        to_included: bool,
        count_max: Option<u64>,
    ) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
        A: PathArg<ElementOf<Self::At>>,
    {
        self.navigate(|path| path.sorted_set_range_to(to.into_arg(), to_included, count_max))
    }

    /// The subset of the first elements (PTH-20).
    fn sorted_set_range_from_start<A: PathArg<u64>>(self, count: A) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
    {
        self.navigate(|path| path.sorted_set_range_from_start(count.into_arg()))
    }

    /// The subset of the last elements (PTH-20).
    fn sorted_set_range_to_end<A: PathArg<u64>>(self, count: A) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
    {
        self.navigate(|path| path.sorted_set_range_to_end(count.into_arg()))
    }

    /// The subset of these elements (PTH-15).
    fn subset<A: PathArg<Vec<ElementOf<Self::At>>>>(self, elements: A) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
    {
        self.navigate(|path| path.subset(elements.into_arg()))
    }

    /// A set element, if present (PTH-08).
    fn set_elem<A: PathArg<ElementOf<Self::At>>>(
        self,
        element: A,
    ) -> PathTo<Self::Root, <Self::At as SetLocation>::Element>
    where
        Self::At: SetLocation,
    {
        self.navigate(|path| path.set_elem(element.into_arg()))
    }

    /// The virtual place of a new set element (PTH-09).
    fn void_set_elem(self) -> PathTo<Self::Root, <<Self::At as SetLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: SetLocation,
    {
        self.navigate(Path::void_set_elem)
    }

    /// The element at an index; an error outside (PTH-03).
    fn nth<A: PathArg<u64>>(self, index: A) -> PathTo<Self::Root, <Self::At as ListLocation>::Element>
    where
        Self::At: ListLocation,
    {
        self.navigate(|path| path.nth(index.into_arg()))
    }

    /// The first element of a list or pair, or nowhere (PTH-04).
    fn first(self) -> PathTo<Self::Root, <Self::At as PairLocation>::First>
    where
        Self::At: PairLocation,
    {
        self.navigate(Path::first)
    }

    /// The last element of a list or pair, or nowhere (PTH-04).
    fn last(self) -> PathTo<Self::Root, <Self::At as PairLocation>::Last>
    where
        Self::At: PairLocation,
    {
        self.navigate(Path::last)
    }

    /// The virtual place before the first element (PTH-10).
    fn before_elem(self) -> PathTo<Self::Root, <<Self::At as ListLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::before_elem)
    }

    /// The virtual place after the last element (PTH-10).
    fn after_elem(self) -> PathTo<Self::Root, <<Self::At as ListLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::after_elem)
    }

    /// The sub-list `[from, to)` (PTH-13).
    fn sublist<A, B>(self, from: A, to: B) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
        A: PathArg<u64>,
        B: PathArg<u64>,
    {
        self.navigate(|path| path.sublist(from.into_arg(), to.into_arg()))
    }

    /// The sub-list between bounds that the closure makes of the list (PTH-13).
    fn sublist_by<F>(self, bounds: F) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
        F: Fn(<SubList<Self::At> as PStateSchema>::Value) -> (u64, u64) + Send + Sync + 'static,
    {
        self.navigate(|path| path.sublist_between(Func::unary(bounds)))
    }

    /// The virtual place before an index (PTH-11).
    fn before_index<A>(
        self,
        index: A,
    ) -> PathTo<Self::Root, <<Self::At as ListLocation>::Element as PStateSchema>::Nullable>
    where
        Self::At: ListLocation,
        A: PathArg<u64>,
    {
        self.navigate(|path| path.before_index(index.into_arg()))
    }

    /// The empty sub-list at the start (PTH-12).
    fn beginning(self) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::beginning)
    }

    /// The empty sub-list at the end (PTH-12).
    fn end(self) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::end)
    }

    /// The list of the elements from which the path selects something (PTH-14).
    fn filtered_list<T>(
        self,
        selected: PathTo<<Self::At as ListLocation>::Element, T>,
    ) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
    {
        self.navigate(|path| path.filtered_list(selected.into_untyped()))
    }

    /// The index itself, if there is an element; replacing it moves the element (PTH-34).
    fn index_nav<A: PathArg<u64>>(self, index: A) -> PathTo<Self::Root, u64>
    where
        Self::At: ListLocation,
    {
        self.navigate(|path| path.index_nav(index.into_arg()))
    }

    /// Every index with its element; replacing an index moves the element (PTH-34).
    fn indexed_vals(self) -> PathTo<Self::Root, (u64, <Self::At as ListLocation>::Element)>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::indexed_vals)
    }

    /// Each longest run of neighbours from which the path selects something, as a list of its own (PTH-34).
    fn continuous_subseqs<T>(
        self,
        selected: PathTo<<Self::At as ListLocation>::Element, T>,
    ) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
    {
        self.navigate(|path| path.continuous_subseqs(selected.into_untyped()))
    }

    /// Reads void as this value, in a transform (PTH-27).
    fn void_to_val<A>(self, default: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.void_to_val(default.into_arg()))
    }

    /// Reads null as this value (PTH-26).
    fn null_to_val<A>(self, default: A) -> PathTo<Self::Root, <Self::At as NullLocation>::Present>
    where
        Self::At: NullLocation,
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.null_to_val(default.into_arg()))
    }

    /// Reads null as an empty list (PTH-26).
    fn null_to_list(self) -> PathTo<Self::Root, SubList<Self::At>>
    where
        Self::At: ListLocation,
    {
        self.navigate(Path::null_to_list)
    }

    /// Reads null as an empty set (PTH-26).
    fn null_to_set(self) -> PathTo<Self::Root, SubSet<Self::At>>
    where
        Self::At: SetLocation,
    {
        self.navigate(Path::null_to_set)
    }

    /// Reads null as an empty map (PTH-26).
    fn null_to_map(self) -> PathTo<Self::Root, SubMap<Self::At>>
    where
        Self::At: MapLocation,
    {
        self.navigate(Path::null_to_map)
    }

    /// Continues if the value equals the argument (PTH-22).
    fn filter_equal<A: PathArg<<Self::At as PStateSchema>::Plain>>(self, other: A) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_equal(other.into_arg()))
    }

    /// Continues if the value differs from the argument (PTH-22).
    fn filter_not_equal<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_not_equal(other.into_arg()))
    }

    /// Continues if the value is less (PTH-22).
    fn filter_less_than<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_less_than(other.into_arg()))
    }

    /// Continues if the value is less or equal (PTH-22).
    fn filter_less_than_or_equal<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_less_than_or_equal(other.into_arg()))
    }

    /// Continues if the value is greater (PTH-22).
    fn filter_greater_than<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_greater_than(other.into_arg()))
    }

    /// Continues if the value is greater or equal (PTH-22).
    fn filter_greater_than_or_equal<A>(self, other: A) -> PathTo<Self::Root, Self::At>
    where
        A: PathArg<<Self::At as PStateSchema>::Plain>,
    {
        self.navigate(|path| path.filter_greater_than_or_equal(other.into_arg()))
    }

    /// Continues if the closure says so (PTH-21).
    fn filter_pred<F>(self, test: F) -> PathTo<Self::Root, Self::At>
    where
        F: Fn(<Self::At as PStateSchema>::Value) -> bool + Send + Sync + 'static,
    {
        self.navigate(|path| path.filter_pred(Func::unary(test)))
    }

    /// [`Navigate::filter_pred`] with more arguments for the closure, up to seven of them (PTH-21).
    fn filter_pred_extra<X, A, F>(self, extra: A, test: F) -> PathTo<Self::Root, Self::At>
    where
        X: ReadExtra,
        A: ExtraArgs<X>,
        F: Fn(<Self::At as PStateSchema>::Value, X) -> bool + Send + Sync + 'static,
    {
        self.navigate(|path| path.filter_pred_extra(Func::extra(test), extra.into_args()))
    }

    /// Continues if a function says so that has a name, so that a client can send the path (PTH-21).
    fn filter_named(self, test: &NamedFn<<Self::At as PStateSchema>::Value, bool>) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_pred(test.func().clone()))
    }

    /// Continues if the path selects something from here (PTH-23).
    fn filter_selected<T>(self, selected: PathTo<Self::At, T>) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_selected(selected.into_untyped()))
    }

    /// Continues if the path selects nothing from here (PTH-23).
    fn filter_not_selected<T>(self, selected: PathTo<Self::At, T>) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.filter_not_selected(selected.into_untyped()))
    }

    /// Continues at the closure's answer, a schema's own Rust type (PTH-24).
    fn view<R, F>(self, view: F) -> PathTo<Self::Root, R>
    where
        R: PStateSchema + Encode,
        F: Fn(<Self::At as PStateSchema>::Value) -> R + Send + Sync + 'static,
    {
        self.navigate(|path| path.view(Func::unary(view), vec![]))
    }

    /// [`Navigate::view`] with more arguments for the closure, up to seven of them (PTH-24).
    fn view_extra<X, R, A, F>(self, extra: A, view: F) -> PathTo<Self::Root, R>
    where
        X: ReadExtra,
        R: PStateSchema + Encode,
        A: ExtraArgs<X>,
        F: Fn(<Self::At as PStateSchema>::Value, X) -> R + Send + Sync + 'static,
    {
        self.navigate(|path| path.view(Func::extra(view), extra.into_args()))
    }

    /// Continues at the answer of a function that has a name, so that a client can send the path (PTH-24).
    fn view_named<R>(self, view: &NamedFn<<Self::At as PStateSchema>::Value, R>) -> PathTo<Self::Root, R>
    where
        R: PStateSchema + Encode,
    {
        self.navigate(|path| path.view(view.func().clone(), vec![]))
    }

    /// Continues at what a transform path makes of the value; writes nothing (PTH-25).
    fn transformed(self, change: TransformTo<Self::At>) -> PathTo<Self::Root, Self::At> {
        self.navigate(|path| path.transformed(change.into_untyped()))
    }

    /// Where it is (PTH-28).
    fn stay(self) -> PathTo<Self::Root, Self::At> {
        self.navigate(Path::stay)
    }

    /// Nowhere (PTH-28).
    fn stop(self) -> PathTo<Self::Root, Self::At> {
        self.navigate(Path::stop)
    }

    /// Along another path from here.
    fn then<T>(self, next: PathTo<Self::At, T>) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.then(next.into_untyped()))
    }

    /// Along the path; a select that comes in pages reads so many entries at a time (PTH-37).
    fn with_page_size<T>(self, entry_count: u64, paged: PathTo<Self::At, T>) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.with_page_size(entry_count, paged.into_untyped()))
    }

    /// A navigator of one's own; that it leads to a `T` is the caller's word (PTH-43).
    fn custom_nav<T>(self, custom: Custom) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.custom_nav(custom))
    }

    /// A navigator of one's own that is built from arguments, up to seven of them (PTH-43).
    fn custom_nav_with<T, X, A: ExtraArgs<X>>(self, custom: Custom, args: A) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.custom_nav_with(custom, args.into_args()))
    }

    /// Sets the one value of the path aside, for the result and for the closure at the end (PTH-35).
    fn collect_one<C>(self, one: PathTo<Self::At, C>) -> PathTo<<Self::Root as Collects<C>>::Out, Self::At>
    where
        Self::Root: Collects<C>,
    {
        self.navigate_from(|path| path.collect_one(one.into_untyped()))
    }

    /// Sets the list of everything the path selects aside (PTH-35).
    fn collect<C: PStateSchema>(
        self,
        all: PathTo<Self::At, C>,
    ) -> PathTo<<Self::Root as Collects<List<C>>>::Out, Self::At>
    where
        Self::Root: Collects<List<C>>,
    {
        self.navigate_from(|path| path.collect(all.into_untyped()))
    }

    /// Sets an argument of shape `C` aside (PTH-35).
    fn put_collected<C, A>(self, value: A) -> PathTo<<Self::Root as Collects<C>>::Out, Self::At>
    where
        Self::Root: Collects<C>,
        C: PStateSchema,
        A: PathArg<C::Plain>,
    {
        self.navigate_from(|path| path.put_collected(value.into_arg()))
    }

    /// Sets the value it stands on aside (PTH-35).
    fn val(self) -> PathTo<<Self::Root as Collects<Self::At>>::Out, Self::At>
    where
        Self::Root: Collects<Self::At>,
    {
        self.navigate_from(Path::val)
    }

    /// [`Navigate::navigate`] where the navigators also change what the path starts from; that it does is the
    /// caller's word.
    fn navigate_from<R, T>(self, add: impl FnOnce(Path) -> Path) -> PathTo<R, T> {
        PathTo::from_untyped(add(self.into_path_to().into_untyped()))
    }

    /// If the condition selects something, along the one path, else along the other (PTH-29).
    fn if_path<T>(
        self,
        cond: impl Into<Condition<Self::At>>,
        then: PathTo<Self::At, T>,
        otherwise: PathTo<Self::At, T>,
    ) -> PathTo<Self::Root, T> {
        self.navigate(|path| {
            path.if_path(cond.into().into_untyped(), then.into_untyped(), Some(otherwise.into_untyped()))
        })
    }

    /// If the condition selects something, along the path, else nowhere (PTH-29).
    fn if_then<T>(self, cond: impl Into<Condition<Self::At>>, then: PathTo<Self::At, T>) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.if_path(cond.into().into_untyped(), then.into_untyped(), None))
    }

    /// Along the path of the first condition that selects something (PTH-30).
    fn cond_path<T, const N: usize>(self, arms: [Arm<Self::At, T>; N]) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.cond_path(arms.map(|(cond, then)| (cond.into_untyped(), then.into_untyped()))))
    }

    /// If the condition selects something, the one change, else the other (PTH-29).
    fn if_change(
        self,
        cond: impl Into<Condition<Self::At>>,
        then: TransformTo<Self::At>,
        otherwise: Option<TransformTo<Self::At>>,
    ) -> TransformTo<Self::Root> {
        let otherwise = otherwise.map(TransformTo::into_untyped);
        self.change(|path| path.if_path(cond.into().into_untyped(), then.into_untyped(), otherwise))
    }

    /// The change of the first condition that selects something (PTH-30).
    fn cond_change<const N: usize>(self, arms: [ChangeArm<Self::At>; N]) -> TransformTo<Self::Root> {
        self.change(|path| path.cond_path(arms.map(|(cond, then)| (cond.into_untyped(), then.into_untyped()))))
    }

    /// Along each path in turn (PTH-31).
    fn multi_path<T, const N: usize>(self, paths: [PathTo<Self::At, T>; N]) -> PathTo<Self::Root, T> {
        self.navigate(|path| path.multi_path(paths.map(|inner| inner.into_untyped())))
    }

    /// Several changes of one location, in turn (PTH-31).
    fn multi<const N: usize>(self, changes: [TransformTo<Self::At>; N]) -> TransformTo<Self::Root> {
        self.change(|path| path.multi_path(changes.map(|inner| inner.into_untyped())))
    }

    /// Everything the path selects, as one list (PTH-32).
    fn subselect<T: PStateSchema>(self, selected: PathTo<Self::At, T>) -> PathTo<Self::Root, List<T>> {
        self.navigate(|path| path.subselect(selected.into_untyped()))
    }

    /// Ends the path with a change that was made elsewhere.
    fn then_change(self, next: TransformTo<Self::At>) -> TransformTo<Self::Root> {
        self.change(|path| path.then(next.into_untyped()))
    }

    /// Ends the path with untyped term navigators.
    fn change(self, add: impl FnOnce(Path) -> Path) -> TransformTo<Self::Root> {
        TransformTo::from_untyped(add(self.into_path_to().into_untyped()))
    }

    /// Replaces by a value (PTH-38).
    fn term_val<A: PathArg<<Self::At as PStateSchema>::Plain>>(self, value: A) -> TransformTo<Self::Root> {
        self.change(|path| path.term_val(value.into_arg()))
    }

    /// Replaces by the closure's answer (PTH-39).
    fn term<F>(self, f: F) -> TransformTo<Self::Root>
    where
        F: Fn(<Self::At as PStateSchema>::Value) -> <Self::At as PStateSchema>::Plain + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::unary(f), vec![]))
    }

    /// Replaces by the closure's answer to the value and one more argument (PTH-39).
    fn term_with<X, A, F>(self, argument: A, f: F) -> TransformTo<Self::Root>
    where
        X: Decode,
        A: PathArg<X>,
        F: Fn(<Self::At as PStateSchema>::Value, X) -> <Self::At as PStateSchema>::Plain + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::binary(f), vec![argument.into_arg()]))
    }

    /// Replaces by the closure's answer to the value and up to seven more arguments, which come as a tuple
    /// (PTH-39).
    fn term_extra<X, A, F>(self, extra: A, f: F) -> TransformTo<Self::Root>
    where
        X: ReadExtra,
        A: ExtraArgs<X>,
        F: Fn(<Self::At as PStateSchema>::Value, X) -> <Self::At as PStateSchema>::Plain + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::extra(f), extra.into_args()))
    }

    /// Replaces by the closure's answer, or removes if that is `None` (PTH-39).
    fn term_or_void<F>(self, f: F) -> TransformTo<Self::Root>
    where
        F: Fn(<Self::At as PStateSchema>::Value) -> Option<<Self::At as PStateSchema>::Plain> + Send + Sync + 'static,
    {
        self.change(|path| path.term(Func::unary_or_void(f), vec![]))
    }

    /// Removes (PTH-40).
    fn term_void(self) -> TransformTo<Self::Root> {
        self.change(Path::term_void)
    }
}

impl<S, T: PStateSchema> Navigate for PathTo<S, T> {
    type Root = S;
    type At = T;

    fn into_path_to(self) -> PathTo<S, T> {
        self
    }
}
