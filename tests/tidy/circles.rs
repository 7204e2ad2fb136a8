//! Files that import each other in a circle cannot be read, tested or changed separately.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::{Modules, Uses};
use crate::project::{File, Finding};

/// The allowed circles.
const ALLOWED: [Allowed; 1] = [Allowed {
    within: &["sim/src/bridge.rs", "sim/src/bridge/", "sim/src/stack.rs", "sim/src/stack/"],
    reason: "as in Linux, a bridge hands frames up to IP, and IP sends by a bridge",
}];

/// An allowed circle.
struct Allowed {
    /// Files, and folders ending in `/`. They contain all members, and each contains a member.
    within: &'static [&'static str],
    /// Why.
    reason: &'static str,
}

impl Allowed {
    fn has(place: &str, file: &str) -> bool {
        place == file || place.ends_with('/') && file.starts_with(place)
    }

    fn is_this(&self, circle: &BTreeSet<&str>) -> bool {
        circle.iter().all(|file| self.within.iter().any(|place| Self::has(place, file)))
    }

    /// The places without a member.
    fn unused(&self, circle: &BTreeSet<&str>) -> Vec<&'static str> {
        let has_member = |place: &&str| circle.iter().any(|file| Self::has(place, file));
        self.within.iter().copied().filter(|place| !has_member(place)).collect()
    }
}

/// Circles that are not allowed, and allowed ones that no longer exist.
pub(crate) fn of_files(files: &[File]) -> Vec<Finding> {
    check(files, &ALLOWED)
}

fn check(files: &[File], allowed: &[Allowed]) -> Vec<Finding> {
    let modules = Modules::new(files);
    let uses = modules.uses();
    let circles = circles(&uses);
    let file = |path: &str| files.iter().find(|file| file.path == path).expect("a file of the project");
    let surplus = circles.iter().filter(|circle| !allowed.iter().any(|one| one.is_this(circle)));
    let mut findings: Vec<Finding> = surplus
        .map(|circle| {
            let first = circle.first().expect("a circle has members");
            file(first).found(1, format!("{} files in a circle:{}", circle.len(), ties(&uses, circle)))
        })
        .collect();
    for one in allowed {
        let circle = circles.iter().find(|circle| one.is_this(circle)).cloned().unwrap_or_default();
        let unused = one.unused(&circle).into_iter().map(|place| {
            let what = format!("{place} is not in a circle any more, but listed as allowed ({})", one.reason);
            File::new("tests/tidy/circles.rs", "").found(1, what)
        });
        findings.extend(unused);
    }
    findings
}

/// The imports between the members of a circle, one line per pair.
fn ties(uses: &Uses<'_>, circle: &BTreeSet<&str>) -> String {
    let inner = uses.iter().filter(|((from, to), _)| circle.contains(from) && circle.contains(to));
    inner
        .map(|((from, to), names)| {
            let names: Vec<&str> = names.iter().copied().collect();
            format!("\n    {from} -> {to}: {}", names.join(", "))
        })
        .collect()
}

/// The largest sets of two or more files in which each leads to every other (Tarjan 1972).
fn circles<'a>(uses: &Uses<'a>) -> Vec<BTreeSet<&'a str>> {
    let mut search = Search::default();
    for (from, to) in uses.keys() {
        search.next.entry(from).or_default().push(to);
    }
    let starts: Vec<&str> = search.next.keys().copied().collect();
    for start in starts {
        if !search.index.contains_key(start) {
            search.visit(start);
        }
    }
    search.circles
}

#[derive(Default)]
struct Search<'a> {
    next: BTreeMap<&'a str, Vec<&'a str>>,
    /// The order in which files were reached.
    index: BTreeMap<&'a str, usize>,
    /// Files whose circle is not known yet.
    open: Vec<&'a str>,
    circles: Vec<BTreeSet<&'a str>>,
}

impl<'a> Search<'a> {
    /// The lowest index of an open file that a file leads to.
    fn visit(&mut self, file: &'a str) -> usize {
        let (index, depth) = (self.index.len(), self.open.len());
        self.index.insert(file, index);
        self.open.push(file);
        let mut lowest = index;
        for next in self.next.get(file).cloned().unwrap_or_default() {
            match self.index.get(next) {
                None => lowest = lowest.min(self.visit(next)),
                Some(index) if self.open.contains(&next) => lowest = lowest.min(*index),
                Some(_) => {}
            }
        }
        if lowest == index {
            let circle: BTreeSet<&str> = self.open.split_off(depth).into_iter().collect();
            self.circles.extend((circle.len() > 1).then_some(circle));
        }
        lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` and `b` import each other through a re-export of `b`'s parent; `d` imports them, and its child imports `d`.
    fn project() -> [File; 5] {
        [
            File::new("sim/src/lib.rs", "mod a;\nmod c;\nmod d;"),
            File::new("sim/src/a.rs", "use crate::c::B;\npub struct A(B);"),
            File::new("sim/src/c.rs", "mod b;\npub use b::B;\npub struct C;"),
            File::new("sim/src/c/b.rs", "pub struct B;\nfn f() { crate::a::A; super::C; }"),
            File::new("sim/src/d.rs", "mod e { use super::D; }\nuse crate::{a::A, c::B};\nstruct D;"),
        ]
    }

    #[test]
    fn a_circle_is_found_with_what_ties_it() {
        let what = "2 files in a circle:\n    sim/src/a.rs -> sim/src/c/b.rs: B\n    sim/src/c/b.rs -> sim/src/a.rs: A";
        assert_eq!(check(&project(), &[]), [File::new("sim/src/a.rs", "").found(1, what)]);
    }

    #[test]
    fn an_allowed_circle_is_not_found_but_must_exist() {
        let allow = |within| [Allowed { within, reason: "so it is" }];
        assert_eq!(check(&project(), &allow(&["sim/src/a.rs", "sim/src/c/"])), []);
        let too_wide = check(&project(), &allow(&["sim/src/a.rs", "sim/src/c/", "sim/src/d.rs"]));
        assert_eq!(
            too_wide,
            [File::new("tests/tidy/circles.rs", "")
                .found(1, "sim/src/d.rs is not in a circle any more, but listed as allowed (so it is)")]
        );
        assert_eq!(check(&project(), &allow(&["sim/src/a.rs"])).len(), 2);
    }
}
