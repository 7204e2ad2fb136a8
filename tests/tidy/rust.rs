//! The names in a Rust file: imports and paths.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemUse, UseTree, Visibility};

/// A path as written, without generic arguments.
pub(crate) struct Path {
    /// Line of its first segment.
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// A leaf of a `use` tree.
pub(crate) struct Import {
    /// Its name in the module; `*` for all names.
    pub(crate) name: String,
    pub(crate) path: Path,
    /// True for `pub use`, which does not by itself make the module use the item.
    pub(crate) is_reexport: bool,
}

/// The paths used by the items of a module, without child modules.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) imports: Vec<Import>,
    pub(crate) paths: Vec<Path>,
    /// Test code and child modules count too.
    has_everything: bool,
}

impl Names {
    /// The paths of a module, without test code.
    pub(crate) fn of_module(items: &[Item]) -> Self {
        let mut names = Self::default();
        items.iter().for_each(|item| names.visit_item(item));
        names
    }

    /// The paths of a file, including test code and inline modules.
    pub(crate) fn of_file(file: &syn::File) -> Self {
        let mut names = Self { has_everything: true, ..Self::default() };
        names.visit_file(file);
        names
    }

    fn add_use(&mut self, tree: &UseTree, prefix: &[String], is_reexport: bool) {
        let joined = |name: &syn::Ident| prefix.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        let (name, segments, span) = match tree {
            UseTree::Path(path) => return self.add_use(&path.tree, &joined(&path.ident), is_reexport),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.add_use(tree, prefix, is_reexport));
            }
            UseTree::Name(name) if name.ident == "self" => {
                (prefix.last().cloned().unwrap_or_default(), prefix.to_vec(), name.ident.span())
            }
            UseTree::Name(name) => (name.ident.to_string(), joined(&name.ident), name.ident.span()),
            UseTree::Rename(name) if name.ident == "self" => {
                (name.rename.to_string(), prefix.to_vec(), name.ident.span())
            }
            UseTree::Rename(name) => (name.rename.to_string(), joined(&name.ident), name.ident.span()),
            UseTree::Glob(glob) => ("*".to_owned(), prefix.to_vec(), glob.star_token.spans[0]),
        };
        self.imports.push(Import { name, path: path_at(span, segments), is_reexport });
    }

    /// Paths among the tokens of a macro or an attribute.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(first) => {
                    let mut segments = vec![first.to_string()];
                    while tokens.next_if(is_colon).is_some() {
                        match tokens.next_if(|token| matches!(token, TokenTree::Ident(_))) {
                            Some(next) => segments.push(next.to_string()),
                            None => continue,
                        }
                    }
                    self.paths.push(path_at(first.span(), segments));
                }
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

fn path_at(span: Span, segments: Vec<String>) -> Path {
    Path { line: span.start().line, segments }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let is_foreign = matches!(item, Item::Mod(_)) || is_test(attributes(item));
        if self.has_everything || !is_foreign {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if self.has_everything || !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.paths.extend(path.segments.first().map(|first| path_at(first.ident.span(), segments)));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.visit_path(attribute.path());
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(list.tokens.clone());
        }
    }

    // The path of `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// True if these are attributes of test code.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

/// The attributes of an item.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::ExternCrate(_)
        | Item::ForeignMod(_)
        | Item::TraitAlias(_)
        | Item::Union(_)
        | Item::Verbatim(_)
        | _ => &[],
    }
}

/// The name that an item defines, unless it is a module or test code.
pub(crate) fn defined_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::ExternCrate(_)
        | Item::ForeignMod(_)
        | Item::Impl(_)
        | Item::Mod(_)
        | Item::TraitAlias(_)
        | Item::Union(_)
        | Item::Use(_)
        | Item::Verbatim(_)
        | _ => return None,
    };
    (!is_test(attributes(item))).then(|| name.to_string())
}

/// Every path of a file with its line: complete imports, and paths in code, macros and attributes.
pub(crate) fn paths(file: &syn::File) -> Vec<(usize, String)> {
    let names = Names::of_file(file);
    let imported = names.imports.iter().map(|import| match import.name.as_str() {
        "*" => (import.path.line, format!("{}::*", import.path.segments.join("::"))),
        _ => (import.path.line, import.path.segments.join("::")),
    });
    imported.chain(names.paths.iter().map(|path| (path.line, path.segments.join("::")))).collect()
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use std::{fs, net::{IpAddr, TcpStream as S}};\npub use sim::trace;\n// std::io\n\
                #[derive(serde::Serialize)]\nstruct A<T: x::B>(Vec<y::C>);\n\
                fn f() { std::env::var(\"std::io\");\n assert!(a.b == p::q(&z::W { v: 1 })) }\n";
    let found: Vec<_> =
        paths(&syn::parse_file(text).unwrap()).into_iter().filter(|(_, path)| path.contains("::")).collect();
    let expected = [
        (1, "std::fs"),
        (1, "std::net::IpAddr"),
        (1, "std::net::TcpStream"),
        (2, "sim::trace"),
        (4, "serde::Serialize"),
        (5, "x::B"),
        (5, "y::C"),
        (6, "std::env::var"),
        (7, "p::q"),
        (7, "z::W"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
}
