//! The files of the project, and the findings of checks.

use std::cell::OnceCell;
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use crate::rust;

/// A text file.
pub(crate) struct File {
    /// Path relative to the root of the project, with `/`.
    pub(crate) path: String,
    /// The content.
    pub(crate) text: String,
    syntax: OnceCell<syn::File>,
    paths: OnceCell<Vec<(usize, String)>>,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self::of(path.to_owned(), text.to_owned())
    }

    fn of(path: String, text: String) -> Self {
        Self { path, text, syntax: OnceCell::new(), paths: OnceCell::new() }
    }

    /// The syntax tree of a Rust file.
    pub(crate) fn syntax(&self) -> &syn::File {
        let parse = || syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path));
        self.syntax.get_or_init(parse)
    }

    /// Every path in a Rust file with its line: complete imports, and paths in code, macros and attributes.
    pub(crate) fn paths(&self) -> &[(usize, String)] {
        self.paths.get_or_init(|| rust::paths(self.syntax()))
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True for test code: `tests.rs`, files in a `tests` folder, and samples that only tests use.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs" || self.path.split('/').any(|part| part == "tests")
    }

    /// The crate folder of the file; the root package is `hairpin`.
    pub(crate) fn crate_name(&self) -> &str {
        match self.path.split('/').next() {
            Some(folder) if CRATES.contains(&folder) => folder,
            Some(_) | None => "hairpin",
        }
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub(crate) fn found(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }
}

/// Crates with their own folder.
pub(crate) const CRATES: [&str; 5] = ["proxy-core", "sim", "conformance", "reports", "fuzz"];

/// A violation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Every text file of the checkout except build output and `.git`, in path order.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let entries = std::fs::read_dir(folder).expect("the checkout can be read");
    for entry in entries {
        let entry = entry.expect("the checkout can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("the checkout can be read");
        if kind.is_dir() && !matches!(&*name, ".git" | "target") {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() && !name.ends_with(".snap.new") && name != ".git" {
            // Files that are not UTF-8 are not text.
            if let Ok(text) = std::fs::read_to_string(entry.path()) {
                files.push(File::of(path, text));
            }
        }
    }
}
