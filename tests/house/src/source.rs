//! What a Rust file is made of, as far as the rules care: its functions with their lengths, its test
//! functions, and the modules it declares.

use syn::visit::Visit;

/// A function and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name, with the names of the modules inside the file in front: `tests::a_sentence`.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from the `fn` to its closing brace, both counted.
    pub line_count: usize,
    /// Whether it carries `#[test]`.
    pub is_test: bool,
}

/// A module kept in another file: `mod name;`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModuleFile {
    /// The names of the modules around it inside this file.
    pub inside: Vec<String>,
    /// Its own name.
    pub name: String,
    /// What a `#[path = "…"]` says.
    pub path: Option<String>,
}

/// What was found in one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outline {
    /// In the order of the file. A function inside a macro call is not seen, unless the macro is
    /// `proptest!`, whose tests are found by name only.
    pub functions: Vec<Function>,
    /// The modules in other files.
    pub modules: Vec<ModuleFile>,
}

/// Reads a file.
///
/// # Errors
/// What the parser says when it is not Rust.
pub fn outline(text: &str) -> Result<Outline, String> {
    let file = syn::parse_file(text).map_err(|e| format!("line {}: {e}", e.span().start().line))?;
    let mut reader = Reader { outline: Outline::default(), inside: Vec::new() };
    reader.visit_file(&file);
    Ok(reader.outline)
}

struct Reader {
    outline: Outline,
    inside: Vec<String>,
}

impl Reader {
    fn push(&mut self, name: &syn::Ident, block: &syn::Block, is_test: bool) {
        let line = name.span().start().line;
        let line_count = block.brace_token.span.close().end().line - line + 1;
        let mut path = self.inside.clone();
        path.push(name.to_string());
        self.outline.functions.push(Function { name: path.join("::"), line, line_count, is_test });
    }

    /// Inside `proptest! { … }` each `fn` that follows a `#[test]` is a test.
    fn push_proptests(&mut self, tokens: proc_macro2::TokenStream) {
        let words: Vec<_> = tokens.into_iter().collect();
        for pair in words.windows(2) {
            if let [proc_macro2::TokenTree::Ident(word), proc_macro2::TokenTree::Ident(name)] = pair
                && word == "fn"
            {
                let mut path = self.inside.clone();
                path.push(name.to_string());
                let line = name.span().start().line;
                self.outline.functions.push(Function { name: path.join("::"), line, line_count: 1, is_test: true });
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.push(&item.sig.ident, &item.block, has_attribute(&item.attrs, "test"));
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.push(&item.sig.ident, &item.block, false);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.push(&item.sig.ident, block, false);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() {
            let path = item.attrs.iter().find_map(path_attribute);
            self.outline.modules.push(ModuleFile { inside: self.inside.clone(), name: item.ident.to_string(), path });
        } else {
            self.inside.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.inside.pop();
        }
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        if item.path.segments.last().is_some_and(|segment| segment.ident == "proptest") {
            self.push_proptests(item.tokens.clone());
        }
    }
}

fn has_attribute(attributes: &[syn::Attribute], name: &str) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident(name))
}

fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    if !meta.path.is_ident("path") {
        return None;
    }
    match &meta.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r##"//! A sign.
mod other;
fn short() {}
struct S;
impl S {
    fn method(&self) -> u32 {
        let text = r#"}}}} fn not_one() {"#;
        text.len() as u32
    }
}
#[cfg(test)]
mod tests {
    #[path = "elsewhere.rs"]
    mod planted;
    #[test]
    fn a_sentence() {
        fn inner() {
        }
    }
    proptest! {
        #[test]
        fn a_property(x in 0..3) { }
    }
}
"##;

    #[test]
    fn functions_are_found_with_their_lengths() {
        let outline = outline(SOURCE).unwrap();
        let seen: Vec<_> =
            outline.functions.iter().map(|f| (f.name.as_str(), f.line, f.line_count, f.is_test)).collect();
        assert_eq!(
            seen,
            [
                ("short", 3, 1, false),
                ("method", 6, 4, false),
                ("tests::a_sentence", 16, 4, true),
                ("tests::inner", 17, 2, false),
                ("tests::a_property", 22, 1, true),
            ]
        );
    }

    #[test]
    fn modules_in_other_files_are_found() {
        let outline = outline(SOURCE).unwrap();
        assert_eq!(
            outline.modules,
            [
                ModuleFile { inside: vec![], name: "other".into(), path: None },
                ModuleFile { inside: vec!["tests".into()], name: "planted".into(), path: Some("elsewhere.rs".into()) },
            ]
        );
    }

    #[test]
    fn what_is_not_rust_is_an_error_with_its_line() {
        assert!(outline("fn a() {}\nfn ( {}").unwrap_err().starts_with("line 2"));
    }
}
