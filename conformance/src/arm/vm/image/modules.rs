//! Kernel modules of an image: which ones, and the tables by which modprobe finds them.

use std::collections::{BTreeMap, BTreeSet};

use super::elf::module_info;
use super::kernel::decompressed;
use super::tree::{Node, Tree};

/// Folders below `kernel/` all of whose modules belong to the image: rules, proxy modes and scenarios load them by name.
const FOLDERS: [&str; 6] =
    ["net/802", "net/bridge", "net/ipv4/netfilter", "net/ipv6/netfilter", "net/llc", "net/netfilter"];

/// Further modules, and why. Some kernels have them built in.
const MODULES: [(&str, &str); 10] = [
    ("virtio_pci", "the device of the message port"),
    ("virtio_console", "the message port"),
    ("veth", "links"),
    ("dummy", "kube-ipvs0 of the IPVS mode"),
    ("vxlan", "overlay networks"),
    ("ipip", "tunnelling of IPVS"),
    ("sch_netem", "latency of links"),
    ("af_packet", "captures"),
    ("sctp", "SCTP sockets"),
    ("crc32c_generic", "checksums of SCTP, requested by algorithm"),
];

/// The modules that are not built in: where each is, and what it says about itself.
struct Index<'a> {
    paths: BTreeMap<String, &'a str>,
    tree: &'a Tree,
}

/// A module of the image.
struct Module {
    /// Its path below `usr/lib/modules/RELEASE/`, uncompressed.
    path: String,
    bytes: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

/// The modules of an image and their tables, from the unpacked kernel packages.
///
/// # Errors
/// The name of a module that cannot be read.
pub(super) fn select(tree: &Tree, release: &str) -> Result<Tree, String> {
    let index = Index::of(tree, release);
    let mut modules = BTreeMap::new();
    let mut wanted: Vec<String> = index.first();
    while let Some(name) = wanted.pop() {
        if modules.contains_key(&name) {
            continue;
        }
        // What is not there is built in, or this kernel does not have it: then the first run says what is missing.
        if let Some(module) = index.read(&name, release)? {
            wanted.extend(module.depends.iter().cloned());
            modules.insert(name, module);
        }
    }
    let root = folder(release);
    let mut selected = Tree::default();
    let table = |lines: Vec<String>| Node::File(lines.concat().into_bytes());
    selected.insert(format!("{root}modules.dep"), table(dependencies(&modules)));
    selected.insert(format!("{root}modules.alias"), table(aliases(&modules)));
    for module in modules.into_values() {
        selected.insert(format!("{root}{}", module.path), Node::File(module.bytes));
    }
    Ok(selected)
}

fn folder(release: &str) -> String {
    format!("usr/lib/modules/{release}/")
}

/// `nf-nat` and `nf_nat` name the same module.
fn module_name(file: &str) -> Option<String> {
    let name = file.rsplit('/').next()?;
    let stem = ["", ".xz", ".zst"].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix(".ko"))?;
    Some(stem.replace('-', "_"))
}

impl<'a> Index<'a> {
    fn of(tree: &'a Tree, release: &str) -> Self {
        let root = folder(release);
        let paths = tree.iter().filter(|(path, _)| path.starts_with(&root));
        let paths = paths.filter_map(|(path, _)| Some((module_name(path)?, path))).collect();
        Self { paths, tree }
    }

    fn first(&self) -> Vec<String> {
        let is_in_folder =
            |path: &str| FOLDERS.iter().any(|folder| path.contains(&format!("/kernel/{folder}/")));
        let of_folders =
            self.paths.iter().filter(|(_, path)| is_in_folder(path)).map(|(name, _)| name.clone());
        of_folders.chain(MODULES.iter().map(|(name, _)| (*name).to_owned())).collect()
    }

    fn read(&self, name: &str, release: &str) -> Result<Option<Module>, String> {
        let Some(path) = self.paths.get(name) else { return Ok(None) };
        let Some((_, bytes)) = self.tree.file(path) else { return Err(format!("{path} is not a file")) };
        let (plain, bytes) = match path.strip_suffix(".ko") {
            Some(_) => (*path, bytes.to_vec()),
            None => {
                let plain = path.rsplit_once('.').map_or(*path, |(plain, _)| plain);
                let bytes = decompressed(bytes).ok_or_else(|| format!("{path} cannot be decompressed"))?;
                (plain, bytes)
            }
        };
        let path = plain.strip_prefix(&folder(release)).unwrap_or(plain).to_owned();
        let info = module_info(&bytes);
        let values = |wanted: &'static str| {
            info.iter().filter(move |(key, _)| key == wanted).map(|(_, value)| value.clone())
        };
        let depends = values("depends").flat_map(|list| split(&list)).collect();
        let aliases = values("alias").collect();
        Ok(Some(Module { path, bytes, depends, aliases }))
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Lines of `modules.dep`: a module, and what must be loaded before it, the first one last (depmod(8)).
fn dependencies(modules: &BTreeMap<String, Module>) -> Vec<String> {
    let line = |(name, module): (&String, &Module)| {
        let mut before = Vec::new();
        visit(name, modules, &mut BTreeSet::new(), &mut before);
        let paths: String = before.iter().rev().skip(1).map(|path| format!(" {path}")).collect();
        format!("{}:{paths}\n", module.path)
    };
    modules.iter().map(line).collect()
}

/// Appends a module after all that it depends on.
fn visit<'a>(
    name: &'a str,
    modules: &'a BTreeMap<String, Module>,
    seen: &mut BTreeSet<&'a str>,
    order: &mut Vec<&'a str>,
) {
    let Some(module) = modules.get(name).filter(|_| seen.insert(name)) else { return };
    for needed in &module.depends {
        visit(needed, modules, seen, order);
    }
    order.push(&module.path);
}

/// Lines of `modules.alias`: the names by which the kernel requests modules.
fn aliases(modules: &BTreeMap<String, Module>) -> Vec<String> {
    let lines = |(name, module): (&String, &Module)| {
        module.aliases.iter().map(|alias| format!("alias {alias} {name}\n")).collect::<Vec<_>>()
    };
    modules.iter().flat_map(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_the_name_of_their_module() {
        for (file, expected) in [
            ("usr/lib/modules/6.1.0/kernel/net/netfilter/nf-nat.ko", Some("nf_nat")),
            ("kernel/drivers/net/veth.ko.xz", Some("veth")),
            ("veth.ko.zst", Some("veth")),
            ("modules.dep", None),
            ("veth.ko.sig", None),
        ] {
            assert_eq!(module_name(file).as_deref(), expected, "{file}");
        }
        assert_eq!(split("nf-nat,x_tables"), ["nf_nat", "x_tables"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn what_must_be_loaded_first_is_last_in_its_line() {
        let module = |name: &str, depends: &str, alias: &str| {
            let aliases = split(alias);
            let module =
                Module { path: format!("{name}.ko"), bytes: Vec::new(), depends: split(depends), aliases };
            (name.to_owned(), module)
        };
        let modules = BTreeMap::from([
            module("nat", "ct,tables", "ipt_MASQUERADE"),
            module("ct", "defrag", ""),
            module("defrag", "", ""),
            // `built_in` is not a file.
            module("tables", "built_in", "ip_tables"),
        ]);
        let expected =
            ["ct.ko: defrag.ko\n", "defrag.ko:\n", "nat.ko: tables.ko ct.ko defrag.ko\n", "tables.ko:\n"];
        assert_eq!(dependencies(&modules), expected);
        assert_eq!(aliases(&modules), ["alias ipt_MASQUERADE nat\n", "alias ip_tables tables\n"]);
    }
}
