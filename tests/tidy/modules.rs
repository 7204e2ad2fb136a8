//! The modules of every crate, and resolution of paths to files.

use std::collections::{BTreeMap, BTreeSet};

use syn::Item;

use crate::project::File;
use crate::rust::{Import, Names, defined_name, is_test};

/// The items that files import from other files: `(from, to)` and the names.
pub(crate) type Uses<'a> = BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>;

/// Every module compiled without `cfg(test)`, including inline modules.
pub(crate) struct Modules<'a> {
    files: BTreeMap<&'a str, &'a File>,
    modules: Vec<Module>,
    /// Library roots, by crate name.
    libraries: BTreeMap<String, ModuleId>,
}

/// Index of a module in [`Modules`].
type ModuleId = usize;

/// One module.
struct Module {
    /// The file that contains it.
    file: String,
    root: ModuleId,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
    /// Functions, types, traits, constants and macros defined here.
    defined: BTreeSet<String>,
    names: Names,
}

/// The target of a path.
#[derive(Clone, Copy)]
enum Target {
    Module(ModuleId),
    /// An item that this module defines.
    Item(ModuleId),
}

/// Maximum number of chained imports to follow; longer chains resolve to nothing.
const DEPTH_MAX: usize = 16;

impl<'a> Modules<'a> {
    /// Reads every crate among these files: each `src/lib.rs` and `src/main.rs` is a root.
    pub(crate) fn new(files: &'a [File]) -> Self {
        let files = files.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut modules = Self { files, modules: Vec::new(), libraries: BTreeMap::new() };
        let paths: Vec<&str> = modules.files.keys().copied().collect();
        for path in paths {
            let Some((folder, "lib.rs" | "main.rs")) = path.rsplit_once("src/") else { continue };
            let root = modules.modules.len();
            modules.read_file(path, None, root);
            if path.ends_with("lib.rs") {
                modules.libraries.insert(folder.trim_end_matches('/').replace('-', "_"), root);
            }
        }
        modules
    }

    /// The items that files import or name from other files. A module may use definitions of its parents, as it is part
    /// of them.
    pub(crate) fn uses(&self) -> Uses<'_> {
        let mut uses = Uses::new();
        for (id, module) in self.modules.iter().enumerate() {
            let imported = module.names.imports.iter().filter(|import| !import.is_reexport);
            let imported = imported.map(|import| &import.path);
            for path in imported.chain(&module.names.paths) {
                let Some((Target::Item(owner), name)) = self.resolve(id, &path.segments, DEPTH_MAX) else {
                    continue;
                };
                let to = self.modules[owner].file.as_str();
                if !self.is_inside(id, to) {
                    uses.entry((module.file.as_str(), to)).or_default().insert(name);
                }
            }
        }
        uses
    }

    /// True if a module, or one of its parents, is in a file.
    fn is_inside(&self, module: ModuleId, file: &str) -> bool {
        let mut around = std::iter::successors(Some(module), |id| self.modules[*id].parent);
        around.any(|id| self.modules[id].file == file)
    }

    fn read_file(&mut self, path: &str, parent: Option<ModuleId>, root: ModuleId) {
        if let Some(file) = self.files.get(path).copied() {
            self.read_module(path, parent, root, &file.syntax().items);
        }
    }

    fn read_module(&mut self, file: &str, parent: Option<ModuleId>, root: ModuleId, items: &[Item]) {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            root,
            parent,
            children: BTreeMap::new(),
            defined: items.iter().filter_map(defined_name).collect(),
            names: Names::of_module(items),
        });
        let folder = match file.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs")) => folder,
            Some(_) | None => file.trim_end_matches(".rs"),
        };
        for item in items {
            let Item::Mod(child) = item else { continue };
            if is_test(&child.attrs) {
                continue;
            }
            let (name, next) = (child.ident.to_string(), self.modules.len());
            match &child.content {
                Some((_, items)) => self.read_module(file, Some(id), root, items),
                None => self.read_file(&format!("{folder}/{name}.rs"), Some(id), root),
            }
            self.modules[id].children.insert(name, next);
        }
    }

    /// Resolves a path in a module. Returns the target and the last segment used; `None` for paths outside the project.
    fn resolve<'p>(&self, module: ModuleId, path: &'p [String], depth: usize) -> Option<(Target, &'p str)> {
        let (mut name, mut rest) = path.split_first()?;
        let mut target = match name.as_str() {
            "crate" => Target::Module(self.modules[module].root),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            first => {
                let in_scope = self.find(module, first, !rest.is_empty(), depth);
                in_scope.or_else(|| self.libraries.get(first).copied().map(Target::Module))?
            }
        };
        while let (Target::Module(id), Some((next, behind))) = (target, rest.split_first()) {
            target = match next.as_str() {
                "super" => Target::Module(self.modules[id].parent?),
                next => self.find(id, next, !behind.is_empty(), depth)?,
            };
            (name, rest) = (next, behind);
        }
        Some((target, name))
    }

    /// Resolves a name in a module. Before `::`, modules take precedence over items.
    fn find(&self, module: ModuleId, name: &str, is_prefix: bool, depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let scope = &self.modules[module];
        let child = scope.children.get(name).copied().map(Target::Module);
        let item = scope.defined.contains(name).then_some(Target::Item(module));
        let imported = |import: &Import| Some(self.resolve(module, &import.path.segments, depth)?.0);
        let by_name = || scope.names.imports.iter().filter(|import| import.name == name).find_map(imported);
        let by_glob = || {
            let globs = scope.names.imports.iter().filter(|import| import.name == "*");
            globs.filter_map(imported).find_map(|target| match target {
                Target::Module(id) => self.find(id, name, is_prefix, depth),
                Target::Item(_) => None,
            })
        };
        let own = if is_prefix { child.or(item) } else { item.or(child) };
        own.or_else(by_name).or_else(by_glob)
    }
}

#[test]
fn names_are_followed_to_the_file_that_defines_them() {
    let files = [
        File::new("sim/src/lib.rs", "pub mod wire;\nmod stack;\n#[cfg(test)]\nmod fixture;"),
        File::new("sim/src/wire.rs", "mod tcp;\npub use tcp::{Tcp as Segment, *};\npub struct Mac;"),
        File::new("sim/src/wire/tcp.rs", "use super::Mac;\npub struct Tcp(Mac);\npub struct Flags;"),
        File::new(
            "sim/src/stack.rs",
            "use crate::wire::{self, Segment};\nmod field { pub const LEN: usize = 1; }\n\
             fn f() -> usize { assert!(wire::Mac == g(wire::Flags)); field::LEN }\n\
             #[cfg(test)]\nfn g() { crate::fixture::f() }",
        ),
        File::new("sim/src/fixture.rs", "use crate::stack::f;"),
        File::new("src/main.rs", "fn main() { sim::wire::Mac; sim::stack::g(); std::process::exit(0) }"),
    ];
    let modules = Modules::new(&files);
    let uses: Vec<_> = modules.uses().into_iter().map(|((from, to), names)| (from, to, names)).collect();
    let names = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(
        uses,
        [
            ("sim/src/stack.rs", "sim/src/wire.rs", names(&["Mac"])),
            ("sim/src/stack.rs", "sim/src/wire/tcp.rs", names(&["Flags", "Segment"])),
            ("src/main.rs", "sim/src/wire.rs", names(&["Mac"])),
        ]
    );
}
