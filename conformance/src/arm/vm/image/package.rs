//! Debian packages: downloaded by apt-get from the machine's own package sources, read by dpkg-deb, never installed.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tar::{Archive, EntryType};

use super::tree::{Node, Tree, merged};
use crate::arm::ArmError;
use crate::arm::kernel::tool::find;

/// Programs that download and read packages; all of them are in the package `apt` or `dpkg`.
const PROGRAMS: [(&str, &str); 3] = [("apt-get", "apt"), ("apt-cache", "apt"), ("dpkg-deb", "dpkg")];

/// The package manager's state in a folder of ours: its own lists, and no package installed, so that dependencies are
/// downloaded as well. Only the sources and their keys are those of the machine.
#[derive(Debug)]
pub(super) struct Apt {
    folder: PathBuf,
}

/// The name and version of a package.
pub(super) type Version = (String, String);

impl Apt {
    /// Creates the folder.
    ///
    /// # Errors
    /// [`ArmError::Missing`] if the machine has no apt, [`ArmError::Failed`] if the folder cannot be created.
    pub(super) fn new(folder: &Path) -> Result<Self, ArmError> {
        for (program, package) in PROGRAMS {
            if find(program).is_none() {
                return Err(ArmError::Missing(format!(
                    "`{program}` is missing: the image is made from packages of Debian or Ubuntu, by the package {package}"
                )));
            }
        }
        for name in ["state/lists/partial", "cache/archives/partial"] {
            create_folder(&folder.join(name))?;
        }
        let status = folder.join("state/status");
        fs::write(&status, "").map_err(|error| failed(&status, &error))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Downloads the package lists.
    ///
    /// # Errors
    /// If a source does not answer.
    pub(super) fn update(&self) -> Result<(), ArmError> {
        self.run("apt-get", &["--quiet=2", "update"]).map(drop)
    }

    /// Downloads packages with all that they depend on; returns their files.
    ///
    /// # Errors
    /// If a package does not exist or cannot be downloaded.
    pub(super) fn download_all(&self, packages: &[&str]) -> Result<Vec<PathBuf>, ArmError> {
        let args = ["--quiet=2", "--yes", "--download-only", "--no-install-recommends", "install"];
        self.run("apt-get", &[&args[..], packages].concat())?;
        debs(&self.folder.join("cache/archives"))
    }

    /// Downloads a kernel: the package, or the packages of the image and its modules on which it depends.
    ///
    /// # Errors
    /// If a package does not exist or cannot be downloaded.
    pub(super) fn download_kernel(&self, package: &str) -> Result<Vec<PathBuf>, ArmError> {
        let (mut packages, mut index) = (vec![package.to_owned()], 0);
        while let Some(package) = packages.get(index) {
            let depends = self.run("apt-cache", &["depends", "--important", package])?;
            for name in depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")) {
                let is_part = name.starts_with("linux-image-") || name.starts_with("linux-modules-");
                if is_part && !packages.iter().any(|known| known == name) {
                    packages.push(name.to_owned());
                }
            }
            index += 1;
        }
        let folder = self.folder.join("kernel");
        create_folder(&folder)?;
        let names: Vec<&str> = packages.iter().map(String::as_str).collect();
        self.run_in(&folder, "apt-get", &[&["--quiet=2", "download"], &names[..]].concat())?;
        debs(&folder)
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String, ArmError> {
        self.run_in(&self.folder, program, args)
    }

    fn run_in(&self, folder: &Path, program: &str, args: &[&str]) -> Result<String, ArmError> {
        let own = |name: &str, path: &str| format!("{name}={}", self.folder.join(path).display());
        let options = [
            own("Dir::State", "state"),
            own("Dir::State::status", "state/status"),
            own("Dir::Cache", "cache"),
            "Acquire::Languages=none".to_owned(),
            // Without root, nothing else uses our folder.
            "Debug::NoLocking=1".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut command = Command::new(program);
        command.current_dir(folder).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        for option in options {
            command.arg("-o").arg(option);
        }
        output(command.args(args), &format!("{program} {}", args.join(" ")))
    }
}

/// Runs a program to its end; returns its output.
fn output(command: &mut Command, name: &str) -> Result<String, ArmError> {
    let ended = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } =
        ended.map_err(|error| ArmError::Failed(format!("{name}: {error}")))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(ArmError::Failed(format!("{name}: {status}: {}", String::from_utf8_lossy(&stderr).trim_end())))
}

fn create_folder(path: &Path) -> Result<(), ArmError> {
    fs::create_dir_all(path).map_err(|error| failed(path, &error))
}

/// A file or folder that cannot be read or written.
pub(super) fn failed(path: &Path, error: &io::Error) -> ArmError {
    ArmError::Failed(format!("{}: {error}", path.display()))
}

/// The packages in a folder, by name.
fn debs(folder: &Path) -> Result<Vec<PathBuf>, ArmError> {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "deb"));
    paths.sort();
    Ok(paths)
}

/// The name and version of a package.
///
/// # Errors
/// If the file is not a package.
pub(super) fn version(deb: &Path) -> Result<Version, ArmError> {
    let show = "--showformat=${Package}\\n${Version}\\n";
    let name = format!("dpkg-deb --show {}", deb.display());
    let text = output(Command::new("dpkg-deb").args(["--show", show]).arg(deb), &name)?;
    let mut lines = text.lines().map(str::to_owned);
    lines.next().zip(lines.next()).ok_or_else(|| ArmError::Failed(format!("{name}: no version")))
}

/// Adds the files of a package to a tree, except documentation.
///
/// # Errors
/// If the file is not a package, or is damaged.
pub(super) fn unpack(deb: &Path, tree: &mut Tree) -> Result<(), ArmError> {
    let fault = |error: io::Error| failed(deb, &error);
    let mut command = Command::new("dpkg-deb");
    command.arg("--fsys-tarfile").arg(deb).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| ArmError::Failed(format!("dpkg-deb: {error}")))?;
    let read = child.stdout.take().map_or(Ok(()), |stdout| read_tar(stdout, tree));
    // A message of dpkg-deb is short, so that it cannot block.
    let Output { status, stderr, .. } = child.wait_with_output().map_err(fault)?;
    if !status.success() {
        let message = String::from_utf8_lossy(&stderr).trim_end().to_owned();
        return Err(ArmError::Failed(format!("{}: {message}", deb.display())));
    }
    read.map_err(fault)
}

fn read_tar(tar: impl Read, tree: &mut Tree) -> io::Result<()> {
    for entry in Archive::new(tar).entries()? {
        let mut entry = entry?;
        let path = path_of(&entry.path()?);
        if path.starts_with("usr/share/") {
            continue;
        }
        let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
        match (entry.header().entry_type(), target) {
            (EntryType::Regular, _) => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                tree.insert(path, Node::File(bytes));
            }
            (EntryType::Symlink, Some(target)) => tree.insert(path, Node::Link(target)),
            (EntryType::Link, Some(target)) => {
                let same = tree.get(&path_of(Path::new(&target))).cloned();
                tree.insert(path, same.ok_or(io::ErrorKind::NotFound)?);
            }
            // Folders are parts of paths, and packages have no devices.
            (_, _) => {}
        }
    }
    Ok(())
}

fn path_of(path: &Path) -> String {
    let path = path.to_string_lossy();
    merged(path.trim_start_matches("./").trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |kind, path: &str, link: Option<&str>, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            match link {
                Some(target) => builder.append_link(&mut header, path, target),
                None => builder.append_data(&mut header, path, bytes),
            }
            .expect("memory has room");
        };
        add(EntryType::Directory, "./sbin/", None, b"");
        add(EntryType::Regular, "./sbin/ip", None, b"ip");
        add(EntryType::Symlink, "./bin/ip", Some("/sbin/ip"), b"");
        add(EntryType::Link, "./usr/sbin/again", Some("./sbin/ip"), b"");
        add(EntryType::Regular, "./usr/share/doc/iproute2/README", None, b"text");
        builder.into_inner().expect("memory has room")
    }

    #[test]
    fn files_are_below_usr_and_documentation_is_left_out() {
        let mut tree = Tree::default();
        read_tar(&archive()[..], &mut tree).expect("an archive");
        let paths: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["usr/bin/ip", "usr/sbin/again", "usr/sbin/ip"]);
        for path in paths {
            assert_eq!(tree.file(path).map(|(_, bytes)| bytes), Some(&b"ip"[..]), "{path}");
        }
    }

    #[test]
    fn a_file_that_is_not_a_package_is_named() {
        if find("dpkg-deb").is_none() {
            return;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kernel.deb");
        fs::write(&path, "not a package").expect("it can be written");
        for result in [unpack(&path, &mut Tree::default()), version(&path).map(drop)] {
            let Err(ArmError::Failed(message)) = result else { panic!("{result:?}") };
            assert!(message.contains("kernel.deb"), "{message}");
        }
    }
}
