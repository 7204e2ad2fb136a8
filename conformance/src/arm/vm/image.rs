//! The image of a virtual machine: a kernel and a root file system, made from packages of the machine's own sources.
//!
//! | module | what it is |
//! |---|---|
//! | `package` | Debian packages: downloaded and read, never installed |
//! | `kernel` | the uncompressed kernel |
//! | `modules` | the kernel's modules |
//! | `programs` | programs with their libraries |
//! | `elf` | what these need to know about ELF files |
//! | `tree` | files, and the archive that a kernel unpacks |

pub(super) mod elf;
mod kernel;
mod modules;
mod package;
mod programs;
pub(super) mod tree;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::package::{Apt, failed};
use self::tree::{MERGED, Node, Tree};
use crate::arm::ArmError;

/// Raised when images are made differently, so that older ones are made anew.
pub(super) const RECIPE: u32 = 1;

/// The kernel of an image unless another is requested: Debian's kernel for virtual machines, which is small and has IPVS.
pub const DEFAULT_KERNEL: &str = "linux-image-cloud-amd64";

/// The file with the description of an image. It is written last.
const DESCRIPTION: &str = "image.json";

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its folder.
    pub folder: PathBuf,
    /// What is in it.
    pub description: Description,
}

/// What an image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    recipe: u32,
    /// The package or file that was requested as kernel.
    pub requested: String,
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// Packages and their versions, the kernel's first.
    pub packages: Vec<(String, String)>,
}

/// A step of the preparation, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Package lists are downloaded.
    Lists,
    /// Packages of programs are downloaded.
    Programs,
    /// Packages of the kernel are downloaded.
    Kernel,
    /// Packages are unpacked.
    Unpack,
    /// The kernel is decompressed.
    Decompress,
    /// Modules and programs are selected, and the image is written.
    Write,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 6] =
        [Self::Lists, Self::Programs, Self::Kernel, Self::Unpack, Self::Decompress, Self::Write];

    /// What happens in it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lists => "downloading package lists",
            Self::Programs => "downloading programs",
            Self::Kernel => "downloading the kernel",
            Self::Unpack => "unpacking",
            Self::Decompress => "decompressing the kernel",
            Self::Write => "writing the image",
        }
    }
}

impl Image {
    /// The image in a cache folder; `None` if it has none, or one that this version would make differently.
    ///
    /// # Errors
    /// [`ArmError::Failed`] if the image's description cannot be read.
    pub fn find(cache: &Path) -> Result<Option<Self>, ArmError> {
        let folder = folder(cache);
        let path = folder.join(DESCRIPTION);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        let described = serde_json::from_str::<Description>(&text).ok();
        let current = described.filter(|description| description.recipe == RECIPE);
        Ok(current.map(|description| Self { folder, description }))
    }

    /// Makes the image of a cache folder from a kernel package, by name or as a file ending in `.deb`. `begin` is called at
    /// the beginning of every stage. An image that exists is replaced when the new one is complete.
    ///
    /// # Errors
    /// [`ArmError::Missing`] if the machine has no apt, [`ArmError::Refused`] if the file is not a kernel package,
    /// [`ArmError::Failed`] otherwise.
    pub fn prepare(cache: &Path, kernel: &str, begin: &mut dyn FnMut(Stage)) -> Result<Self, ArmError> {
        fs::create_dir_all(cache).map_err(|error| failed(cache, &error))?;
        let work = tempfile::Builder::new().prefix("vm-").tempdir_in(cache);
        let work = work.map_err(|error| failed(cache, &error))?;
        let apt = Apt::new(&work.path().join("apt"))?;
        begin(Stage::Lists);
        apt.update()?;
        begin(Stage::Programs);
        let programs = apt.download_all(&programs::PACKAGES.map(|(name, _)| name))?;
        begin(Stage::Kernel);
        let kernels = match kernel.ends_with(".deb") {
            true => vec![absolute(kernel)?],
            false => apt.download_kernel(kernel)?,
        };
        begin(Stage::Unpack);
        let (mut kernel_tree, mut tree) = (Tree::default(), Tree::default());
        kernels.iter().try_for_each(|deb| package::unpack(deb, &mut kernel_tree))?;
        programs.iter().try_for_each(|deb| package::unpack(deb, &mut tree))?;
        begin(Stage::Decompress);
        let (release, vmlinux) = kernel_of(&kernel_tree, kernel)?;
        begin(Stage::Write);
        let root = root(&kernel_tree, &tree, &release).map_err(ArmError::Failed)?;
        let new = work.path().join("new");
        let packages = kernels.iter().chain(&programs).map(|deb| package::version(deb));
        let packages = packages.collect::<Result<_, _>>()?;
        let description = Description { recipe: RECIPE, requested: kernel.to_owned(), release, packages };
        write(&new, &vmlinux, &root, &description)?;
        Self::remove(cache)?;
        let folder = folder(cache);
        fs::rename(&new, &folder).map_err(|error| failed(&folder, &error))?;
        Ok(Self { folder, description })
    }

    /// Removes the image of a cache folder; false if it has none.
    ///
    /// # Errors
    /// [`ArmError::Failed`] if it cannot be removed.
    pub fn remove(cache: &Path) -> Result<bool, ArmError> {
        let folder = folder(cache);
        match fs::remove_dir_all(&folder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(&folder, &error)),
        }
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// The root file system, as an archive that the kernel unpacks.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.cpio")
    }
}

/// The folder of the image in a cache folder.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("vm")
}

fn absolute(path: &str) -> Result<PathBuf, ArmError> {
    fs::canonicalize(path).map_err(|error| ArmError::Refused(format!("cannot read {path}: {error}")))
}

/// The kernel among the files of its packages, and its release.
fn kernel_of(tree: &Tree, requested: &str) -> Result<(String, Vec<u8>), ArmError> {
    let found = tree.iter().find_map(|(path, node)| {
        let release = path.strip_prefix("boot/vmlinuz-")?;
        match node {
            Node::File(bytes) => Some((release.to_owned(), bytes.clone())),
            Node::Link(_) => None,
        }
    });
    let (release, file) = found.ok_or_else(|| {
        ArmError::Refused(format!("{requested} has no kernel: no file boot/vmlinuz-… is in the package"))
    })?;
    Ok((release, kernel::bootable(file)))
}

fn root(kernel: &Tree, programs: &Tree, release: &str) -> Result<Tree, String> {
    let mut root = programs::select(programs)?;
    for (path, node) in modules::select(kernel, release)?.iter() {
        root.insert(path, node.clone());
    }
    for name in MERGED {
        root.insert(name, Node::Link(format!("usr/{name}")));
    }
    Ok(root)
}

fn write(folder: &Path, vmlinux: &[u8], root: &Tree, description: &Description) -> Result<(), ArmError> {
    let image = Image { folder: folder.to_owned(), description: description.clone() };
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    fs::write(image.kernel(), vmlinux).map_err(|error| failed(&image.kernel(), &error))?;
    let archive = || {
        let mut out = BufWriter::new(File::create(image.root())?);
        root.write_cpio(&mut out)?;
        out.flush()
    };
    archive().map_err(|error| failed(&image.root(), &error))?;
    let path = folder.join(DESCRIPTION);
    let text =
        serde_json::to_string_pretty(description).map_err(|error| ArmError::Internal(error.to_string()))?;
    fs::write(&path, text).map_err(|error| failed(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(recipe: u32) -> Description {
        Description {
            recipe,
            requested: DEFAULT_KERNEL.to_owned(),
            release: "6.1.0-57-cloud-amd64".to_owned(),
            packages: vec![("iproute2".to_owned(), "6.1.0-3".to_owned())],
        }
    }

    #[test]
    fn an_image_is_found_until_it_is_removed_or_out_of_date() {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let cache = cache.path();
        assert_eq!(Image::find(cache), Ok(None));
        assert_eq!(Image::remove(cache), Ok(false));
        for (recipe, is_found) in [(RECIPE, true), (RECIPE + 1, false)] {
            write(&folder(cache), b"kernel", &Tree::default(), &description(recipe))
                .expect("it can be written");
            let found = Image::find(cache).expect("it can be read");
            assert_eq!(found.map(|image| image.description), is_found.then(|| description(recipe)));
        }
        fs::write(folder(cache).join(DESCRIPTION), "nonsense").expect("it can be written");
        assert_eq!(Image::find(cache), Ok(None));
        assert_eq!(Image::remove(cache), Ok(true));
    }

    #[test]
    fn a_package_without_a_kernel_is_refused() {
        let mut tree = Tree::default();
        tree.insert("boot/vmlinuz-6.1", Node::Link("elsewhere".to_owned()));
        let Err(ArmError::Refused(message)) = kernel_of(&tree, "ip.deb") else { panic!("it has no kernel") };
        assert!(message.starts_with("ip.deb has no kernel"), "{message}");
        tree.insert("boot/vmlinuz-6.2", Node::File(b"MZ".to_vec()));
        assert_eq!(kernel_of(&tree, "x.deb"), Ok(("6.2".to_owned(), b"MZ".to_vec())));
    }
}
