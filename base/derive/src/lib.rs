//! `#[derive(Record)]`: a Rust type that depots hold, topologies pass on and PStates index.
//!
//! The macro reads the type ([`read`]), and writes what a person would write by hand: how it is stored
//! ([`codec`]), what a PState may hold of it, and a typed constant for each field ([`path`]). What it writes names
//! everything by its full path, so it does not matter what the author's file imports.

mod codec;
mod path;
mod read;

use proc_macro::TokenStream;
use quote::quote;
use read::RecordType;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct with named fields, or an enum, a record: `Encode`, `Decode`, `Record` and `PStateSchema`, and a
/// constant for each field that paths can go along.
///
/// A struct is stored as its fields by id. Ids count from 1 in the order of the fields, or each field says its own
/// with `#[field(3)]`. An id is for ever: give a new field a new one, and do not use that of a field that is gone
/// (with ids by order, add at the end and take nothing away).
///
/// - A stored field the type does not have is passed over. It is dropped when the whole record is written again,
///   and kept when a path changes another field.
/// - A field that is not stored reads as `None` if it is an `Option`, and as its `Default` if it says
///   `#[field(default)]`. Any other is an error that names the type, the field and its id.
/// - A field that is `None` is not stored. So an `Option` that is added later changes nothing of what is stored,
///   not even the tasks that records are hashed to. As keys, records without a field sort after those with it.
///
/// An enum is stored as its variant's id, counted or said with `#[variant(3)]`, and what the variant holds: nothing, one
/// value, or named fields.
///
/// `Visit::USER` is the place of the field `user` of a `Visit`, for `path().key(…).field(Visit::USER)`; a variant with
/// one value has one too. Such a constant is as visible as its field, and an item of the same name beside it does not
/// compile: rename that one.
///
/// Types with parameters, tuple structs, unit structs and unions are refused. A program that does not depend on the crate
/// `tantu` under that name says where it is: `#[record(crate = some::path)]`.
#[proc_macro_derive(Record, attributes(record, field, variant))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let written = RecordType::read(&input).map(|of| {
        let (codec, path) = (codec::write(&of), path::write(&of));
        quote! { #codec #path }
    });
    written.unwrap_or_else(syn::Error::into_compile_error).into()
}
