//! What the author wrote: the type's fields or variants, each with its id.

use quote::quote;
use std::collections::BTreeMap;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Ident, LitInt, Path, Result, Token, Type, Visibility};

/// A type to make a record of.
pub(crate) struct RecordType {
    pub(crate) name: Ident,
    /// Where the crate `tantu`, or what stands for it, is.
    pub(crate) home: Path,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    Struct(Vec<Field>),
    /// Ascending by id.
    Enum(Vec<Variant>),
}

/// A named field, ascending by id among its like.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) id: u32,
    /// Whether it reads as its default where it is not stored.
    pub(crate) default: bool,
    pub(crate) rust_type: Type,
    pub(crate) visibility: Visibility,
}

pub(crate) struct Variant {
    pub(crate) name: Ident,
    pub(crate) id: u32,
    pub(crate) holds: Holds,
}

/// What a variant holds.
pub(crate) enum Holds {
    Nothing,
    One(Box<Type>),
    Fields(Vec<Field>),
}

impl RecordType {
    pub(crate) fn read(input: &DeriveInput) -> Result<RecordType> {
        if let Some(parameter) = input.generics.params.first() {
            let message = "a record type has no parameters: what is stored is one type, not a family of them";
            return Err(Error::new(parameter.span(), message));
        }
        let shape = match &input.data {
            Data::Struct(data) => Shape::Struct(match &data.fields {
                syn::Fields::Named(fields) => read_fields(fields.named.iter())?,
                _ => {
                    return Err(Error::new(
                        input.ident.span(),
                        "a record needs fields with names, which are stored by id",
                    ));
                }
            }),
            Data::Enum(data) => Shape::Enum(read_variants(data)?),
            Data::Union(_) => return Err(Error::new(input.ident.span(), "a union cannot be a record")),
        };
        let of = RecordType { name: input.ident.clone(), home: read_home(&input.attrs)?, shape };
        of.check_constants()?;
        Ok(of)
    }

    /// The constants of fields and of variants that hold one value: its name, and of what.
    pub(crate) fn constants(&self) -> Vec<(Ident, &Ident)> {
        match &self.shape {
            Shape::Struct(fields) => fields.iter().map(|field| (constant(&field.name), &field.name)).collect(),
            Shape::Enum(variants) => variants
                .iter()
                .filter(|variant| matches!(variant.holds, Holds::One(_)))
                .map(|variant| (constant(&variant.name), &variant.name))
                .collect(),
        }
    }

    fn check_constants(&self) -> Result<()> {
        let mut seen: BTreeMap<String, &Ident> = BTreeMap::new();
        for (constant, of) in self.constants() {
            if let Some(other) = seen.insert(constant.to_string(), of) {
                let message = format!("`{other}` and `{of}` would both be `{}::{constant}` in paths", self.name);
                return Err(Error::new(of.span(), message));
            }
        }
        Ok(())
    }
}

/// `user_name` and `UserName` as a constant: `USER_NAME`.
pub(crate) fn constant(name: &Ident) -> Ident {
    let mut text = String::new();
    let mut after_small = false;
    for letter in name.unraw().to_string().chars() {
        if letter.is_uppercase() && after_small {
            text.push('_');
        }
        after_small = letter.is_lowercase() || letter.is_ascii_digit();
        text.extend(letter.to_uppercase());
    }
    Ident::new(&text, name.span())
}

fn read_fields<'a>(fields: impl Iterator<Item = &'a syn::Field>) -> Result<Vec<Field>> {
    let mut read = Vec::new();
    for field in fields {
        let name = field.ident.clone().ok_or_else(|| Error::new(field.span(), "a field without a name"))?;
        refuse(&field.attrs, "variant", "a field says `#[field(…)]`")?;
        let said = Said::of(&field.attrs, "field")?;
        let field =
            Field { name, id: 0, default: said.default, rust_type: field.ty.clone(), visibility: field.vis.clone() };
        read.push((field, said.id));
    }
    let mut fields = number(read, "field", |field: &mut Field, id| field.id = id, |field| &field.name)?;
    fields.sort_by_key(|field| field.id);
    Ok(fields)
}

fn read_variants(data: &syn::DataEnum) -> Result<Vec<Variant>> {
    let mut read = Vec::new();
    for variant in &data.variants {
        refuse(&variant.attrs, "field", "a variant says `#[variant(…)]`")?;
        let said = Said::of(&variant.attrs, "variant")?;
        if said.default {
            return Err(Error::new(variant.ident.span(), "a variant has no default"));
        }
        let holds = match &variant.fields {
            syn::Fields::Unit => Holds::Nothing,
            syn::Fields::Named(fields) => Holds::Fields(read_fields(fields.named.iter())?),
            syn::Fields::Unnamed(fields) => match fields.unnamed.iter().collect::<Vec<_>>()[..] {
                [one] => Holds::One(Box::new(one.ty.clone())),
                _ => {
                    let message = "a variant of a record holds nothing, one value, or fields with names";
                    return Err(Error::new(variant.span(), message));
                }
            },
        };
        read.push((Variant { name: variant.ident.clone(), id: 0, holds }, said.id));
    }
    if read.is_empty() {
        return Err(Error::new(data.enum_token.span(), "an enum without variants has nothing to store"));
    }
    let mut variants = number(read, "variant", |variant: &mut Variant, id| variant.id = id, |variant| &variant.name)?;
    variants.sort_by_key(|variant| variant.id);
    Ok(variants)
}

/// Gives everything its id: the one it says, or its place from 1 where none says any.
fn number<T>(
    read: Vec<(T, Option<(u32, LitInt)>)>,
    what: &str,
    set: fn(&mut T, u32),
    name: fn(&T) -> &Ident,
) -> Result<Vec<T>> {
    let said = read.iter().filter(|(_, id)| id.is_some()).count();
    let mut seen: BTreeMap<u32, Ident> = BTreeMap::new();
    let mut numbered = Vec::new();
    for ((mut item, id), place) in read.into_iter().zip(1..) {
        if id.is_none() && said > 0 {
            let message = format!("either every {what} says its id, or none: `#[{what}(…)]` is missing here");
            return Err(Error::new(name(&item).span(), message));
        }
        let span = id.as_ref().map_or_else(|| name(&item).span(), |(_, literal)| literal.span());
        let id = id.map_or(place, |(id, _)| id);
        if let Some(other) = seen.insert(id, name(&item).clone()) {
            return Err(Error::new(span, format!("the id {id} is that of `{other}` already")));
        }
        set(&mut item, id);
        numbered.push(item);
    }
    Ok(numbered)
}

/// What a `#[field(…)]` or a `#[variant(…)]` says.
#[derive(Default)]
struct Said {
    id: Option<(u32, LitInt)>,
    default: bool,
}

/// One word of it.
enum Word {
    Id(u32, LitInt),
    Default(Ident),
}

impl Parse for Word {
    fn parse(input: ParseStream<'_>) -> Result<Word> {
        if input.peek(LitInt) {
            let literal: LitInt = input.parse()?;
            return match literal.base10_parse() {
                Ok(id) if id > 0 => Ok(Word::Id(id, literal)),
                _ => Err(Error::new(literal.span(), "an id is a number from 1 to 4294967295")),
            };
        }
        let word: Ident = input.call(Ident::parse_any)?;
        if word != "default" {
            return Err(Error::new(word.span(), format!("`{word}` means nothing here: an id, `default`, or both")));
        }
        Ok(Word::Default(word))
    }
}

impl Said {
    fn of(attributes: &[Attribute], name: &str) -> Result<Said> {
        let mut said = Said::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
            for word in attribute.parse_args_with(Punctuated::<Word, Token![,]>::parse_terminated)? {
                match word {
                    Word::Id(_, literal) if said.id.is_some() => {
                        return Err(Error::new(literal.span(), "one id is enough"));
                    }
                    Word::Default(word) if said.default => return Err(Error::new(word.span(), "once is enough")),
                    Word::Id(id, literal) => said.id = Some((id, literal)),
                    Word::Default(_) => said.default = true,
                }
            }
        }
        Ok(said)
    }
}

fn refuse(attributes: &[Attribute], name: &str, message: &str) -> Result<()> {
    match attributes.iter().find(|attribute| attribute.path().is_ident(name)) {
        Some(attribute) => Err(Error::new(attribute.span(), message)),
        None => Ok(()),
    }
}

/// Where `#[record(crate = …)]` says the crate is; `::tantu` where nothing does.
fn read_home(attributes: &[Attribute]) -> Result<Path> {
    let mut home = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("record")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("the only word here is `crate = some::path`"));
            }
            home = Some(meta.value()?.call(Path::parse_mod_style)?);
            Ok(())
        })?;
    }
    match home {
        Some(home) => Ok(home),
        None => syn::parse2(quote! { ::tantu }),
    }
}
