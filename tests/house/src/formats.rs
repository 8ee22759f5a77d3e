//! Every kind of file on disk has its page in `docs/formats/` and a golden file an earlier build wrote.
//!
//! The kinds are read from the enum that numbers them, so a new kind without its birth certificate
//! fails here.

use syn::visit::Visit;

/// A kind of file: its name in the enum and its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kind {
    /// As in `ReplogSegment`.
    pub name: String,
    /// The number that goes into checksums.
    pub number: u64,
}

impl Kind {
    /// The name as pages and golden files spell it: `replog-segment`.
    pub fn dashed(&self) -> String {
        let mut out = String::new();
        for letter in self.name.chars() {
            if letter.is_ascii_uppercase() && !out.is_empty() {
                out.push('-');
            }
            out.push(letter.to_ascii_lowercase());
        }
        out
    }
}

/// The kinds an enum `FileKind` in `text` declares.
///
/// # Errors
/// No such enum, or a kind without a number.
pub fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    let file = syn::parse_file(text).map_err(|e| e.to_string())?;
    let mut reader = Reader { found: None };
    reader.visit_file(&file);
    reader.found.ok_or("no enum FileKind")?.into_iter().collect()
}

struct Reader {
    found: Option<Vec<Result<Kind, String>>>,
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if item.ident != "FileKind" {
            return;
        }
        let kind = |variant: &syn::Variant| {
            let name = variant.ident.to_string();
            let Some((_, syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }))) = &variant.discriminant
            else {
                return Err(format!("the kind {name} has no number"));
            };
            Ok(Kind { number: number.base10_parse().map_err(|e| format!("{name}: {e}"))?, name })
        };
        self.found = Some(item.variants.iter().map(kind).collect());
    }
}

/// Kinds without a page, or whose page does not give their number.
pub fn without_page(kinds: &[Kind], page: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for kind in kinds {
        let path = format!("docs/formats/{}.md", kind.dashed());
        match page(&path) {
            None => found.push(format!("{} has no page {path}", kind.name)),
            Some(text) => {
                let number = format!("kind {}", kind.number);
                if !text.contains(&number) {
                    found.push(format!("{path} does not say \"{number}\""));
                }
                if !text.contains("| ") {
                    found.push(format!("{path} has no byte table"));
                }
            }
        }
    }
    found
}

/// Kinds without a golden file: none of `names` starts with the kind's name.
pub fn without_golden(kinds: &[Kind], names: &[String]) -> Vec<String> {
    let has_golden = |kind: &Kind| names.iter().any(|name| name.starts_with(&format!("{}.", kind.dashed())));
    kinds
        .iter()
        .filter(|kind| !has_golden(kind))
        .map(|kind| format!("{} has no golden file {}.*", kind.name, kind.dashed()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "pub enum FileKind { /// x\n ReplogSegment = 1, Table = 3 }";

    #[test]
    fn the_kinds_are_read_with_their_numbers() {
        let kinds = kinds(SOURCE).unwrap();
        let seen: Vec<_> = kinds.iter().map(|kind| (kind.dashed(), kind.number)).collect();
        assert_eq!(seen, [("replog-segment".to_string(), 1), ("table".to_string(), 3)]);
        assert!(super::kinds("pub enum FileKind { Table }").is_err());
        assert!(super::kinds("pub enum Other { Table = 1 }").is_err());
    }

    #[test]
    fn a_kind_without_its_page_or_its_number_is_named() {
        let kinds = kinds(SOURCE).unwrap();
        let pages = |path: &str| match path {
            "docs/formats/replog-segment.md" => Some("kind 1\n| a | b |".to_string()),
            "docs/formats/table.md" => Some("kind 2\n| a | b |".to_string()),
            _ => None,
        };
        assert_eq!(without_page(&kinds, pages).len(), 1);
        assert_eq!(without_page(&kinds, |_| None).len(), 2);
        assert_eq!(without_page(&kinds, |_| Some("kind 1, kind 3, no table".into())).len(), 2);
    }

    #[test]
    fn a_kind_without_a_golden_file_is_named() {
        let kinds = kinds(SOURCE).unwrap();
        assert_eq!(without_golden(&kinds, &["replog-segment.v1.bin".into()]).len(), 1);
        assert_eq!(without_golden(&kinds, &["replog-segment.v1.bin".into(), "table.v1.bin".into()]).len(), 0);
    }
}
