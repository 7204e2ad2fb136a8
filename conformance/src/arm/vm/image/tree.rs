//! A tree of files in memory, written as a cpio archive that a kernel unpacks as its root file system (initramfs).

use std::collections::BTreeMap;
use std::io::{self, Write};

use cpio::newc;

/// Permissions of a file that may be executed; all files belong to root.
const EXECUTABLE: u32 = 0o755;

/// Maximum number of links from a path to a file, as in Linux (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS_MAX: usize = 40;

/// A file or a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A file, with its contents.
    File(Vec<u8>),
    /// A symbolic link, with its target as written.
    Link(String),
}

/// Files by their path from the root, without a leading slash. Folders exist as parts of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Adds or replaces a file.
    pub(crate) fn insert(&mut self, path: impl Into<String>, node: Node) {
        self.nodes.insert(path.into(), node);
    }

    /// The file or link with this path.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All paths with their nodes, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The path and contents of the file that a path denotes, after following links.
    pub(crate) fn file(&self, path: &str) -> Option<(String, &[u8])> {
        let mut path = path.to_owned();
        for _ in 0..LINKS_MAX {
            match self.nodes.get(&path)? {
                Node::File(bytes) => return Some((path, bytes)),
                Node::Link(target) => path = target_of(&path, target),
            }
        }
        None
    }

    /// Writes the tree as a cpio archive of the format `newc`. Equal trees give equal bytes.
    ///
    /// # Errors
    /// Those of the writer; also if a file is larger than 4 GiB, the limit of the format.
    pub(crate) fn write_cpio(&self, mut out: impl Write) -> io::Result<()> {
        let mut last_folder = String::new();
        for (number, (path, node)) in (0_u32..).zip(&self.nodes) {
            out = write_folders(path, &mut last_folder, out)?;
            let (kind, bytes) = match node {
                Node::File(bytes) => (newc::ModeFileType::Regular, bytes.as_slice()),
                Node::Link(target) => (newc::ModeFileType::Symlink, target.as_bytes()),
            };
            let len = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
            let entry = newc::Builder::new(path).ino(number + 1).mode(EXECUTABLE).set_mode_file_type(kind);
            let mut file = entry.write(out, len);
            file.write_all(bytes)?;
            out = file.finish()?;
        }
        newc::trailer(out)?.flush()
    }
}

/// Writes the folders of a path that the previous path did not have. Paths are in order, so each folder is written once
/// for each group of paths; a kernel ignores folders that exist.
fn write_folders<W: Write>(path: &str, last: &mut String, mut out: W) -> io::Result<W> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder == last {
        return Ok(out);
    }
    let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
    for end in ends.filter(|end| *end > 0) {
        let entry = newc::Builder::new(&folder[..end]).mode(EXECUTABLE).nlink(2);
        out = entry.set_mode_file_type(newc::ModeFileType::Directory).write(out, 0).finish()?;
    }
    folder.clone_into(last);
    Ok(out)
}

/// The path that a link at `path` denotes.
pub(super) fn target_of(path: &str, target: &str) -> String {
    let folder = match target.strip_prefix('/') {
        Some(_) => "",
        None => path.rsplit_once('/').map_or("", |(folder, _)| folder),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    merged(&parts.join("/"))
}

/// The path below `usr/` of a path in a root folder that has become a link there (`/bin` is `/usr/bin`; Debian: usrmerge).
pub(super) fn merged(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) && first != path { format!("usr/{path}") } else { path.to_owned() }
}

/// Folders that are links to the folder of the same name in `usr/`.
pub(super) const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_as_in_a_file_system() {
        for (path, target, expected) in [
            ("usr/lib/x/liba.so", "liba.so.1", "usr/lib/x/liba.so.1"),
            ("usr/sbin/iptables", "../sbin/./xtables", "usr/sbin/xtables"),
            ("usr/sbin/iptables", "/bin/busybox", "usr/bin/busybox"),
            ("a", "../../b", "b"),
            ("usr/lib64/ld.so", "/lib/x/ld.so.2", "usr/lib/x/ld.so.2"),
            ("etc/x", "/lib", "lib"),
        ] {
            assert_eq!(target_of(path, target), expected, "{path} -> {target}");
        }
        let mut tree = Tree::default();
        tree.insert("usr/bin/a", Node::Link("b".to_owned()));
        tree.insert("usr/bin/b", Node::Link("../lib/c".to_owned()));
        tree.insert("usr/lib/c", Node::File(b"c".to_vec()));
        tree.insert("loop", Node::Link("loop".to_owned()));
        tree.insert("broken", Node::Link("nothing".to_owned()));
        assert_eq!(tree.file("usr/bin/a"), Some(("usr/lib/c".to_owned(), &b"c"[..])));
        assert_eq!((tree.file("loop"), tree.file("broken")), (None, None));
    }

    #[test]
    fn an_archive_has_every_folder_before_its_files() {
        let mut tree = Tree::default();
        tree.insert("usr/bin/sh", Node::Link("busybox".to_owned()));
        tree.insert("usr/bin/busybox", Node::File(b"\x7fELF".to_vec()));
        tree.insert("init", Node::File(Vec::new()));
        let mut archive = Vec::new();
        tree.write_cpio(&mut archive).expect("memory has room");
        let mut read = &archive[..];
        let mut found = Vec::new();
        loop {
            let reader = newc::Reader::new(read).expect("an entry");
            if reader.entry().is_trailer() {
                break;
            }
            found.push((reader.entry().name().to_owned(), reader.entry().mode(), reader.entry().file_size()));
            read = reader.finish().expect("the next entry");
        }
        let expected = [
            ("init", 0o100_755, 0),
            ("usr", 0o040_755, 0),
            ("usr/bin", 0o040_755, 0),
            ("usr/bin/busybox", 0o100_755, 4),
            ("usr/bin/sh", 0o120_755, 7),
        ];
        assert_eq!(found, expected.map(|(name, mode, size)| (name.to_owned(), mode, size)));
    }
}
