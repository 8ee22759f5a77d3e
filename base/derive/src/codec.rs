//! How the type is stored: `Encode`, `Decode` and `Record`.

use crate::read::{Field, Holds, RecordType, Shape, Variant};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;

pub(crate) fn write(of: &RecordType) -> TokenStream {
    let RecordType { name, home, shape } = of;
    let (encode, encode_key, decode) = match shape {
        Shape::Struct(fields) => {
            let names: Vec<&Ident> = fields.iter().map(|field| &field.name).collect();
            let take_apart = quote! { let Self { #(#names),* } = self; };
            let (value, key) = (put_fields(fields), put_key_fields(fields));
            let decode = read_fields(&name.unraw().to_string(), fields);
            let decode = quote! { #decode ::core::result::Result::Ok(Self { #(#names),* }) };
            (quote! { #take_apart #value }, quote! { #take_apart #key }, decode)
        }
        Shape::Enum(variants) => (
            put_variants(variants, false),
            put_variants(variants, true),
            read_variants(&name.unraw().to_string(), variants),
        ),
    };
    quote! {
        const _: () = {
            use #home::base::value as __value;

            #[automatically_derived]
            impl __value::Encode for #name {
                fn encode(&self, __out: &mut ::std::vec::Vec<u8>) { #encode }
                fn encode_key(&self, __out: &mut ::std::vec::Vec<u8>) { #encode_key }
            }

            #[automatically_derived]
            impl __value::Decode for #name {
                fn decode(
                    __reader: &mut __value::Reader<'_>,
                ) -> ::core::result::Result<Self, __value::DecodeError> { #decode }
            }

            #[automatically_derived]
            impl #home::flow::Record for #name {}
        };
    }
}

/// Writes a record of fields that are bound by reference to their names.
fn put_fields(fields: &[Field]) -> TokenStream {
    let (names, ids) = names_and_ids(fields);
    quote! {
        let __count = 0usize #(+ usize::from(!__value::Encode::is_null(#names)))*;
        let mut __record = __value::RecordWriter::start(__out, __count);
        #(__record.field(__out, #ids, #names);)*
        __record.finish(__out);
    }
}

fn put_key_fields(fields: &[Field]) -> TokenStream {
    let (names, ids) = names_and_ids(fields);
    quote! {
        __value::put_key_record_start(__out);
        #(__value::put_key_field(__out, #ids, #names);)*
        __value::put_key_end(__out);
    }
}

fn names_and_ids(fields: &[Field]) -> (Vec<&Ident>, Vec<u32>) {
    fields.iter().map(|field| (&field.name, field.id)).unzip()
}

/// Reads a record and binds its fields to their names. `record` is what messages call it.
fn read_fields(record: &str, fields: &[Field]) -> TokenStream {
    let (names, ids) = names_and_ids(fields);
    let count = fields.len();
    let index: Vec<usize> = (0..count).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.rust_type).collect();
    let texts: Vec<String> = names.iter().map(|name| name.unraw().to_string()).collect();
    let type_texts = types.iter().map(|of| as_written(of));
    let found: Vec<Ident> = index.iter().map(|index| format_ident!("__found_{index}")).collect();
    let read = fields.iter().zip(&index).zip(&found).map(|((field, index), found)| {
        let read = quote! { #found = ::core::option::Option::Some(__reader.field(&__FIELDS[#index])?) };
        if field.default {
            quote! { if !__reader.null() { #read } }
        } else {
            quote! { #read }
        }
    });
    let absent = fields.iter().zip(&index).map(|(field, index)| {
        if field.default {
            quote! { ::core::default::Default::default() }
        } else {
            quote! { __FIELDS[#index].missing(__offset)? }
        }
    });
    quote! {
        static __FIELDS: [__value::FieldName; #count] = [#(__value::FieldName {
            record: #record,
            name: #texts,
            id: #ids,
            rust_type: #type_texts,
        }),*];
        let __offset = __reader.position();
        let mut __fields = __reader.fields()?;
        #(let mut #found: ::core::option::Option<#types> = ::core::option::Option::None;)*
        while let ::core::option::Option::Some(__id) = __fields.next(__reader)? {
            match __id {
                #(#ids => #read,)*
                _ => __fields.skip(__reader)?,
            }
        }
        #(let #names: #types = match #found {
            ::core::option::Option::Some(__data) => __data,
            ::core::option::Option::None => #absent,
        };)*
        let _ = __offset;
    }
}

/// A type as people space it: `Option<String>`.
fn as_written(rust_type: &syn::Type) -> String {
    let spaced = rust_type.to_token_stream().to_string();
    let mut text = String::new();
    for letter in spaced.chars().filter(|letter| !letter.is_whitespace()) {
        text.push(letter);
        if matches!(letter, ',' | ';') {
            text.push(' ');
        }
    }
    text
}

/// Writes a record of one field: the variant's id, and what it holds.
fn put_variants(variants: &[Variant], as_key: bool) -> TokenStream {
    let arms = variants.iter().map(|variant| {
        let (name, id) = (&variant.name, variant.id);
        let (pattern, put) = match (&variant.holds, as_key) {
            (Holds::Nothing, false) => (quote! {}, put_fields(&[])),
            (Holds::Nothing, true) => (quote! {}, put_key_fields(&[])),
            (Holds::One(_), false) => (quote! { (__held) }, quote! { __value::Encode::encode(__held, __out); }),
            (Holds::One(_), true) => (quote! { (__held) }, quote! { __value::Encode::encode_key(__held, __out); }),
            (Holds::Fields(fields), as_key) => {
                let names = fields.iter().map(|field| &field.name);
                (quote! { { #(#names),* } }, if as_key { put_key_fields(fields) } else { put_fields(fields) })
            }
        };
        let put_id = if as_key {
            quote! { __value::put_key_field_id(__out, #id); }
        } else {
            quote! { __variant.id(__out, #id); }
        };
        quote! { Self::#name #pattern => { #put_id #put } }
    });
    let (start, end) = if as_key {
        (quote! { __value::put_key_record_start(__out); }, quote! { __value::put_key_end(__out); })
    } else {
        let start = quote! { let mut __variant = __value::RecordWriter::start(__out, 1); };
        (start, quote! { __variant.finish(__out); })
    };
    quote! { #start match self { #(#arms)* } #end }
}

fn read_variants(of: &str, variants: &[Variant]) -> TokenStream {
    let arms = variants.iter().map(|variant| {
        let (name, id) = (&variant.name, variant.id);
        let record = format!("{of}::{}", name.unraw());
        let read = match &variant.holds {
            Holds::Nothing => {
                let read = read_fields(&record, &[]);
                quote! { #read Self::#name }
            }
            Holds::One(_) => quote! { Self::#name(__value::Decode::decode(__reader)?) },
            Holds::Fields(fields) => {
                let names = fields.iter().map(|field| &field.name);
                let read = read_fields(&record, fields);
                quote! { #read Self::#name { #(#names),* } }
            }
        };
        quote! { ::core::option::Option::Some(#id) => { #read } }
    });
    quote! {
        let __start = __reader.position();
        let mut __variants = __reader.fields()?;
        let __data = match __variants.next(__reader)? {
            #(#arms)*
            __id => return ::core::result::Result::Err(__value::DecodeError::UnknownVariant {
                offset: __start,
                of: #of,
                id: __id.unwrap_or(0),
            }),
        };
        match __variants.next(__reader)? {
            ::core::option::Option::None => ::core::result::Result::Ok(__data),
            ::core::option::Option::Some(_) => ::core::result::Result::Err(__value::DecodeError::Unfit {
                offset: __start,
                what: "more than one variant of an enum",
            }),
        }
    }
}
