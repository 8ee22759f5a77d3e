//! What a PState may hold of the type, and where its fields are for paths.

use crate::read::{Field, Holds, RecordType, Shape, constant};
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

pub(crate) fn write(of: &RecordType) -> TokenStream {
    let RecordType { name, home, shape } = of;
    let (fields, constants) = match shape {
        Shape::Struct(fields) => (schemas(fields), field_constants(of, fields)),
        Shape::Enum(variants) => {
            let schemas = variants.iter().map(|variant| {
                let (id, name) = (variant.id, variant.name.unraw().to_string());
                let schema = match &variant.holds {
                    Holds::Nothing => quote! { __path::Schema::Record(::std::vec::Vec::new()) },
                    Holds::One(of) => quote! { <#of as __path::PStateSchema>::schema() },
                    Holds::Fields(fields) => {
                        let fields = schemas(fields);
                        quote! { __path::Schema::Record(#fields) }
                    }
                };
                quote! { __path::FieldSchema { id: #id, name: ::std::string::String::from(#name), schema: #schema } }
            });
            (quote! { ::std::vec![#(#schemas),*] }, variant_constants(of))
        }
    };
    quote! {
        const _: () = {
            use #home::path as __path;

            #[automatically_derived]
            impl __path::PStateSchema for #name {
                type Value = Self;
                type Plain = Self;
                type Nullable = ::core::option::Option<Self>;

                fn schema() -> __path::Schema {
                    __path::record_schema::<Self>(|| #fields)
                }
            }

            #[automatically_derived]
            impl __path::OneValue for #name {}

            #[automatically_derived]
            impl __path::RecordLocation for #name {
                type Record = Self;
                type At<F: __path::PStateSchema> = F;
            }
        };

        #[automatically_derived]
        #[allow(dead_code, reason = "a constant for each field, whether a path goes along it or not")]
        impl #name { #constants }
    }
}

/// A list of the schemas of fields.
fn schemas(fields: &[Field]) -> TokenStream {
    let schemas = fields.iter().map(|field| {
        let (id, name, of) = (field.id, field.name.unraw().to_string(), &field.rust_type);
        let schema = quote! { <#of as __path::PStateSchema>::schema() };
        quote! { __path::FieldSchema { id: #id, name: ::std::string::String::from(#name), schema: #schema } }
    });
    quote! { ::std::vec![#(#schemas),*] }
}

/// A field with a default may not be stored, so a path reads it as an `Option`.
fn field_constants(of: &RecordType, fields: &[Field]) -> TokenStream {
    let home = &of.home;
    let constants = fields.iter().map(|field| {
        let (name, id, rust_type, visibility) = (constant(&field.name), field.id, &field.rust_type, &field.visibility);
        let text = field.name.unraw().to_string();
        let doc = format!("Where `{text}` is, for paths.");
        let shape = if field.default {
            quote! { <#rust_type as #home::path::PStateSchema>::Nullable }
        } else {
            quote! { #rust_type }
        };
        quote! {
            #[doc = #doc]
            #visibility const #name: #home::path::Field<Self, #shape> = #home::path::Field::new(#id, #text);
        }
    });
    quote! { #(#constants)* }
}

/// A variant with one value is there or not, so a path reads it as an `Option`.
fn variant_constants(of: &RecordType) -> TokenStream {
    let (home, Shape::Enum(variants)) = (&of.home, &of.shape) else {
        return TokenStream::new();
    };
    let constants = variants.iter().filter_map(|variant| {
        let Holds::One(held) = &variant.holds else {
            return None;
        };
        let (name, id, text) = (constant(&variant.name), variant.id, variant.name.unraw().to_string());
        let doc = format!("Where the value of `{text}` is, for paths; null in other variants.");
        let shape = quote! { <#held as #home::path::PStateSchema>::Nullable };
        Some(quote! {
            #[doc = #doc]
            pub const #name: #home::path::Field<Self, #shape> = #home::path::Field::new(#id, #text);
        })
    });
    quote! { #(#constants)* }
}
