//! This program, packed for the guest with the libraries that it has loaded.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::GuestTime;
use super::image::Image;
use super::image::elf::{interpreter, library_name, loaded_part};
use super::image::tree::{Node, Tree};
use crate::arm::ArmError;

/// The folder of the agent in the guest. Its libraries are those of this machine, which may be newer than the image's.
const FOLDER: &str = "agent";

/// How the guest's kernel starts this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agent {
    /// False for a static program, which needs no dynamic loader.
    has_loader: bool,
}

impl Agent {
    /// The kernel's parameters that start the agent as the first process.
    pub(super) fn parameters(self, time: GuestTime) -> String {
        let time = match time {
            GuestTime::Virtual => "",
            GuestTime::WallClock => " --wall-clock",
        };
        let command = format!("lab vm guest{time}");
        let [program, arguments] = start(self.has_loader);
        format!("rdinit={program} -- {arguments} {command}").replace("--  ", "-- ")
    }
}

/// The program to start, and the arguments that precede those of this program.
fn start(has_loader: bool) -> [String; 2] {
    match has_loader {
        true => [format!("/{FOLDER}/loader"), format!("--library-path /{FOLDER}/lib /{FOLDER}/hairpin")],
        false => [format!("/{FOLDER}/hairpin"), String::new()],
    }
}

/// In the guest: the program that is this program, and the arguments that precede its own.
pub(super) fn own_command() -> (PathBuf, Vec<String>) {
    let [program, arguments] = start(Path::new(&format!("/{FOLDER}/loader")).exists());
    (program.into(), arguments.split_ascii_whitespace().map(str::to_owned).collect())
}

/// The root file system of the image, followed by this program, in memory: a kernel unpacks one archive after the other.
/// The descriptor is inherited, so that QEMU can read it.
///
/// # Errors
/// [`ArmError::Failed`] if a file cannot be read.
pub(super) fn root(image: &Image) -> Result<(File, Agent), ArmError> {
    let (tree, agent) =
        tree().map_err(|error| ArmError::Failed(format!("cannot pack this program: {error}")))?;
    let path = image.root();
    let join = || -> io::Result<File> {
        let mut all = File::from(memfd_create(c"hairpin-root", MFdFlags::empty())?);
        io::copy(&mut File::open(&path)?, &mut all)?;
        tree.write_cpio(&mut io::BufWriter::new(&mut all))?;
        all.flush()?;
        all.rewind()?;
        Ok(all)
    };
    let all = join().map_err(|error| ArmError::Failed(format!("{}: {error}", path.display())))?;
    Ok((all, agent))
}

fn tree() -> io::Result<(Tree, Agent)> {
    let program = fs::read("/proc/self/exe")?;
    let loader = interpreter(&program);
    let mut tree = Tree::default();
    let mut add = |path: String, bytes: &[u8]| {
        tree.insert(format!("{FOLDER}/{path}"), Node::File(loaded_part(bytes).to_vec()));
    };
    if let Some(loader) = &loader {
        add("loader".to_owned(), &fs::read(loader)?);
        for path in libraries(&fs::read_to_string("/proc/self/maps")?) {
            let bytes = fs::read(&path)?;
            add(format!("lib/{}", library_name(&bytes).unwrap_or_else(|| file_name(&path))), &bytes);
        }
    }
    add("hairpin".to_owned(), &program);
    Ok((tree, Agent { has_loader: loader.is_some() }))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files of shared libraries among the mappings of a process (proc(5), `/proc/PID/maps`), each once.
fn libraries(maps: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let at = line.find('/')?;
        let path = PathBuf::from(&line[at..]);
        let name = file_name(&path);
        (name.ends_with(".so") || name.contains(".so.")).then_some(path)
    };
    let mut paths: Vec<PathBuf> = maps.lines().filter_map(path).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_of_the_process() {
        let maps = "5581-5582 r--p 0000 fd:00 11 /usr/bin/hairpin.sort\n\
                    7f01-7f02 r--p 0000 fd:00 12 /usr/lib/libc.so.6\n\
                    7f02-7f03 r-xp 0000 fd:00 12 /usr/lib/libc.so.6\n\
                    7f04-7f05 r--p 0000 fd:00 13 /usr/lib/libm-2.31.so\n\
                    7f06-7f07 rw-p 0000 00:00 0 [stack]\n";
        let expected = ["/usr/lib/libc.so.6", "/usr/lib/libm-2.31.so"];
        assert_eq!(libraries(maps), expected.map(PathBuf::from));
    }

    #[test]
    fn a_dynamic_program_starts_by_its_loader() {
        for (has_loader, time, expected) in [
            (
                true,
                GuestTime::Virtual,
                "rdinit=/agent/loader -- --library-path /agent/lib /agent/hairpin lab vm guest",
            ),
            (false, GuestTime::WallClock, "rdinit=/agent/hairpin -- lab vm guest --wall-clock"),
        ] {
            assert_eq!(Agent { has_loader }.parameters(time), expected);
        }
    }

    #[test]
    fn this_program_is_packed_with_its_loader_and_libraries() {
        let (tree, agent) = tree().expect("this program can be read");
        assert_eq!(agent, Agent { has_loader: true });
        for path in ["agent/hairpin", "agent/loader", "agent/lib/libc.so.6"] {
            assert!(tree.get(path).is_some(), "{path}");
        }
    }
}
