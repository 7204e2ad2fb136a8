//! Takes a kernel out of the compressed file that a boot loader loads.
//!
//! A compressed kernel unpacks itself, which takes most of the boot time under emulation. QEMU can enter the uncompressed
//! one directly.

use std::io::Read;

use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use super::elf::has_pvh_entry;

/// Compressed data begins with one of these.
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const LZ4: &[u8] = b"\x02\x21\x4c\x18";

/// The size of a block of LZ4's legacy format, except the last (lib/decompress_unlz4.c).
const LZ4_BLOCK: usize = 8 << 20;

/// Fields of the setup header (Documentation/arch/x86/boot.rst): offset of each.
mod field {
    pub(super) const SETUP_SECTS: usize = 0x1f1;
    pub(super) const MAGIC: usize = 0x202;
    pub(super) const VERSION: usize = 0x206;
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
}

/// The first version of the setup header that says where the compressed kernel is.
const VERSION_WITH_PAYLOAD: u16 = 0x208;

/// The kernel to boot: uncompressed where QEMU can enter it, else the file as it is.
pub(super) fn bootable(file: Vec<u8>) -> Vec<u8> {
    payload(&file).and_then(decompressed).filter(|kernel| has_pvh_entry(kernel)).unwrap_or(file)
}

/// The compressed kernel in a file that a boot loader loads.
fn payload(file: &[u8]) -> Option<&[u8]> {
    if file.get(field::MAGIC..field::MAGIC + 4)? != b"HdrS" {
        return None;
    }
    let version = u16::from_le_bytes(file.get(field::VERSION..field::VERSION + 2)?.try_into().ok()?);
    let number = |at: usize| {
        let bytes = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let (offset, len) = (number(field::PAYLOAD_OFFSET)?, number(field::PAYLOAD_LENGTH)?);
    // The 16-bit part is the boot sector and that many more sectors.
    let protected_mode = (usize::from(*file.get(field::SETUP_SECTS)?) + 1) * 512;
    let start = protected_mode.checked_add(offset)?;
    (version >= VERSION_WITH_PAYLOAD).then(|| file.get(start..start.checked_add(len)?)).flatten()
}

/// Decompresses xz, zstd, or the legacy format of LZ4; `None` for anything else. The size of a kernel follows the
/// compressed data, and is ignored.
pub(super) fn decompressed(data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if data.starts_with(XZ) {
        XzReader::new(data, false).read_to_end(&mut bytes).ok()?;
    } else if data.starts_with(ZSTD) {
        StreamingDecoder::new(data).ok()?.read_to_end(&mut bytes).ok()?;
    } else if let Some(blocks) = data.strip_prefix(LZ4) {
        bytes = lz4_blocks(blocks)?;
    } else {
        return None;
    }
    Some(bytes)
}

/// Blocks, each after its compressed size, until the last one, which is not full.
fn lz4_blocks(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let (len, rest) = data.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let block = lz4_flex::block::decompress(rest.get(..len)?, LZ4_BLOCK).ok()?;
        bytes.extend_from_slice(&block);
        data = &rest[len..];
        // A full last block is followed by the kernel's size only.
        if block.len() < LZ4_BLOCK || data.len() <= size_of::<u32>() {
            return Some(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf hairpin`, compressed by `xz`, `zstd` and `lz4 -l`.
    const HAIRPIN: [&[u8]; 3] = [
        b"\x02\x21\x4c\x18\x08\x00\x00\x00\x70hairpin",
        b"\xfd7zXZ\x00\x00\x01i\"\xde6\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x06hairpin\x00\x00\xc9\x88M\xf9\x00\x01\x1b\x07\x12\xeb\xd4\x17\x90B\x99\x0d\x01\x00\x00\x00\x00\x01YZ",
        b"(\xb5/\xfd\x04X9\x00\x00hairpin\x87&\xdb\xc4",
    ];

    fn file(version: u16, payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 1024];
        file[field::SETUP_SECTS] = 1;
        file[field::MAGIC..field::MAGIC + 4].copy_from_slice(b"HdrS");
        file[field::VERSION..field::VERSION + 2].copy_from_slice(&version.to_le_bytes());
        file[field::PAYLOAD_OFFSET..field::PAYLOAD_OFFSET + 4].copy_from_slice(&3_u32.to_le_bytes());
        let len = u32::try_from(payload.len()).expect("a small payload");
        file[field::PAYLOAD_LENGTH..field::PAYLOAD_LENGTH + 4].copy_from_slice(&len.to_le_bytes());
        file.extend_from_slice(b"...");
        file.extend_from_slice(payload);
        file.extend_from_slice(b"what follows");
        file
    }

    #[test]
    fn a_payload_is_found_and_decompressed() {
        for compressed in HAIRPIN {
            assert_eq!(payload(&file(0x20f, compressed)), Some(compressed));
            assert_eq!(decompressed(compressed).as_deref(), Some(&b"hairpin"[..]));
        }
    }

    #[test]
    fn what_qemu_cannot_enter_stays_as_it_is() {
        for file in [b"MZ".to_vec(), file(0x207, HAIRPIN[0]), file(0x20f, HAIRPIN[0]), file(0x20f, b"lz4")] {
            assert_eq!(bootable(file.clone()), file);
        }
        let mut cut = file(0x20f, HAIRPIN[0]);
        cut.truncate(1_030);
        assert_eq!(payload(&cut), None);
    }
}
