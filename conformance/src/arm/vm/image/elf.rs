//! What an image needs to know about ELF files: libraries, module information, and entry points.

use object::elf::{self, FileHeader64};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _};

/// The note with the address at which a hypervisor enters a kernel (`XEN_ELFNOTE_PHYS32_ENTRY`,
/// include/xen/interface/elfnote.h).
const PHYS32_ENTRY: elf::NoteType = elf::NoteType(18);

/// The shared libraries and the dynamic loader that a program or library names; empty for a static program and for a file
/// that is not ELF.
pub(super) fn needed(bytes: &[u8]) -> Vec<String> {
    let mut names = dynamic(bytes, elf::DT_NEEDED);
    let loader = interpreter(bytes).and_then(|path| Some(path.rsplit_once('/')?.1.to_owned()));
    let is_new = |loader: &String| !names.contains(loader);
    let loader = loader.filter(is_new);
    names.extend(loader);
    names
}

/// The name by which programs need a library (`DT_SONAME`).
pub(crate) fn library_name(bytes: &[u8]) -> Option<String> {
    dynamic(bytes, elf::DT_SONAME).pop()
}

/// The strings with this tag in the dynamic section.
fn dynamic(bytes: &[u8], tag: elf::DynamicTag) -> Vec<String> {
    let Ok(file) = ElfFile64::<Endianness>::parse(bytes) else { return Vec::new() };
    let (endian, sections) = (file.endian(), file.elf_section_table());
    let Ok(Some((entries, strings))) = sections.dynamic(endian, bytes) else { return Vec::new() };
    let strings = sections.strings(endian, bytes, strings).unwrap_or_default();
    let text =
        |at: u64| Some(String::from_utf8_lossy(strings.get(u32::try_from(at).ok()?).ok()?).into_owned());
    let tagged = entries.iter().filter(|entry| entry.d_tag.get(endian) == tag);
    tagged.filter_map(|entry| text(entry.d_val.get(endian))).collect()
}

/// The path of the dynamic loader that a program names.
pub(crate) fn interpreter(bytes: &[u8]) -> Option<String> {
    let file = ElfFile64::<Endianness>::parse(bytes).ok()?;
    let path = file.section_by_name(".interp")?.data().ok()?;
    Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned())
}

/// The lines `KEY=VALUE` in which a kernel module describes itself (`MODULE_INFO`, include/linux/moduleparam.h).
pub(super) fn module_info(bytes: &[u8]) -> Vec<(String, String)> {
    let Ok(file) = ElfFile64::<Endianness>::parse(bytes) else { return Vec::new() };
    let section = file.section_by_name(".modinfo").and_then(|section| section.data().ok());
    let lines = section.unwrap_or_default().split(|byte| *byte == 0);
    let pair = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    lines.filter_map(pair).collect()
}

/// True if QEMU can enter this kernel directly (PVH), without the boot loader part of a compressed kernel.
pub(super) fn has_pvh_entry(bytes: &[u8]) -> bool {
    let Ok(header) = FileHeader64::<Endianness>::parse(bytes) else { return false };
    let Ok(endian) = header.endian() else { return false };
    let segments = header.program_headers(endian, bytes).unwrap_or_default();
    let notes = segments.iter().filter_map(|segment| segment.notes(endian, bytes).ok().flatten());
    notes.into_iter().any(|mut notes| {
        std::iter::from_fn(|| notes.next().ok().flatten())
            .any(|note| note.n_type(endian) == PHYS32_ENTRY && note.name() == b"Xen")
    })
}

/// The part of a program that is loaded when it runs: without symbols and debug information, which follow it.
pub(crate) fn loaded_part(bytes: &[u8]) -> &[u8] {
    let Ok(header) = FileHeader64::<Endianness>::parse(bytes) else { return bytes };
    let Ok(endian) = header.endian() else { return bytes };
    let segments = header.program_headers(endian, bytes).unwrap_or_default();
    let end = |segment: &elf::ProgramHeader64<Endianness>| {
        segment.p_offset(endian).saturating_add(segment.p_filesz(endian))
    };
    let len = segments.iter().map(end).max().and_then(|end| usize::try_from(end).ok());
    len.and_then(|len| bytes.get(..len)).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn the_libraries_of_this_program_are_found() {
        let own = fs::read("/proc/self/exe").expect("this program can be read");
        let needed = needed(&own);
        let loader = interpreter(&own).expect("tests are linked dynamically");
        for library in ["libc.so.6", loader.rsplit('/').next().expect("a name")] {
            assert!(needed.iter().any(|name| name == library), "{library} in {needed:?}");
        }
        assert!(!has_pvh_entry(&own));
        assert_eq!(module_info(&own), []);
    }

    #[test]
    fn a_program_runs_without_the_part_that_is_not_loaded() {
        let own = fs::read("/proc/self/exe").expect("this program can be read");
        let part = loaded_part(&own);
        assert!(part.len() < own.len(), "tests have symbols");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("program");
        fs::copy("/proc/self/exe", &path).expect("it can be copied");
        fs::write(&path, part).expect("it can be written");
        let output = loop {
            match Command::new(&path).arg("--list").output() {
                // A process that another test forks meanwhile has the file open for writing until it executes its program.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
                result => break result.expect("it starts"),
            }
        };
        assert!(output.status.success());
    }

    #[test]
    fn text_is_not_elf() {
        let text = b"#!/bin/sh\n";
        assert_eq!((needed(text), interpreter(text)), (Vec::new(), None));
        assert_eq!(loaded_part(text), text);
    }
}
