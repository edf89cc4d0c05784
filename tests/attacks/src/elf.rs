// SPDX-License-Identifier: Apache-2.0
//! Programs of a few hundred bytes, made here so that no compiler, libc or image decides what a
//! target is. Each prints one line and ends. Position-independent: it also runs from any memory
//! that its bytes were put into, when jumped to at [`ENTRY`]; the dynamic loader accepts it too.

use attacks::places::LOADER;

/// What the target prints, and nobody else.
pub(crate) const TARGET_MARK: &[u8; MARK_BYTES] = b"attack: the target itself has run";

/// What the allowed program prints.
pub(crate) const ALLOWED_MARK: &[u8; MARK_BYTES] = b"attack: an allowed program's run\n";

const MARK_BYTES: usize = 33;

/// `write(1, mark, 33); exit_group(0)`; the mark follows the code.
const CODE: [u8; 33] = [
    0xb8, 1, 0, 0, 0, // mov eax, 1
    0xbf, 1, 0, 0, 0, // mov edi, 1
    0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea rsi, [rip + 16]
    0xba, 33, 0, 0, 0, // mov edx, 33
    0x0f, 0x05, // syscall
    0xb8, 231, 0, 0, 0, // mov eax, 231
    0x31, 0xff, // xor edi, edi
    0x0f, 0x05, // syscall
];

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
/// Room for the program headers of every variant.
const PROGRAM_HEADERS: u64 = 4;
/// The loader wants a dynamic section, with tables of strings and symbols: here without entries.
const DYNAMIC: u64 = HEADER + PROGRAM_HEADERS * PROGRAM_HEADER;
const DYNAMIC_BYTES: u64 = 5 * 16;
/// 24 zeros: the empty string, and the symbol that every table begins with.
const TABLES: u64 = DYNAMIC + DYNAMIC_BYTES;

/// Where the code begins, in the file as in memory.
pub(crate) const ENTRY: usize = TABLES as usize + 24;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const READ: u32 = 4;
const READ_WRITE: u32 = 6;
const READ_EXECUTE: u32 = 5;

/// The target. Another tag makes a file of other content that does the same.
pub(crate) fn target(tag: &str) -> Vec<u8> {
    let mut bytes = elf(TARGET_MARK, None);
    bytes.extend_from_slice(tag.as_bytes());
    bytes
}

/// A target that the kernel starts through the dynamic loader.
pub(crate) fn loaded_target(tag: &str) -> Vec<u8> {
    let mut bytes = elf(TARGET_MARK, Some(LOADER));
    bytes.extend_from_slice(tag.as_bytes());
    bytes
}

/// A program that no rule speaks of.
pub(crate) fn allowed() -> Vec<u8> {
    elf(ALLOWED_MARK, None)
}

/// An allowed program that the kernel starts through an interpreter.
pub(crate) fn interpreted_by(interpreter: &str) -> Vec<u8> {
    elf(ALLOWED_MARK, Some(interpreter))
}

/// The target's code without a file around it.
pub(crate) fn target_code() -> Vec<u8> {
    [&CODE[..], TARGET_MARK].concat()
}

fn elf(mark: &[u8; MARK_BYTES], interpreter: Option<&str>) -> Vec<u8> {
    let body = ENTRY + CODE.len() + MARK_BYTES;
    let interpreter_bytes = interpreter.map_or(0, |path| path.len() + 1);
    let size = (body + interpreter_bytes) as u64;
    let mut out = header(if interpreter.is_some() { 4 } else { 3 });
    if interpreter.is_some() {
        program_header(&mut out, (PT_INTERP, READ), (body as u64, interpreter_bytes as u64));
    }
    program_header(&mut out, (PT_LOAD, READ_EXECUTE), (0, size));
    program_header(&mut out, (PT_DYNAMIC, READ), (DYNAMIC, DYNAMIC_BYTES));
    program_header(&mut out, (PT_GNU_STACK, READ_WRITE), (0, 0));
    out.resize(DYNAMIC as usize, 0);
    // DT_STRTAB, DT_STRSZ, DT_SYMTAB, DT_SYMENT, DT_NULL
    for word in [5, TABLES, 10, 1, 6, TABLES, 11, 24, 0, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.resize(ENTRY, 0);
    out.extend_from_slice(&CODE);
    out.extend_from_slice(mark);
    if let Some(path) = interpreter {
        out.extend_from_slice(path.as_bytes());
        out.push(0);
    }
    out
}

/// A shared object for x86-64, which is how position-independent programs are marked.
fn header(program_headers: u16) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend_from_slice(&3u16.to_le_bytes());
    out.extend_from_slice(&62u16.to_le_bytes());
    out.extend_from_slice(&1u32.to_le_bytes());
    for word in [ENTRY as u64, HEADER, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, program_headers, 64, 0, 0] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    out
}

/// Memory as in the file.
fn program_header(out: &mut Vec<u8>, (kind, flags): (u32, u32), (offset, size): (u64, u64)) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    let align = if kind == PT_LOAD { 4096 } else { 8 };
    for word in [offset, offset, offset, size, size, align] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;

    fn program(directory: &TempDir, name: &str, bytes: Vec<u8>) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn each_program_prints_its_own_mark() {
        let directory = TempDir::new().unwrap();
        let target = program(&directory, "target", target(""));
        let interpreted = interpreted_by(target.to_str().unwrap());
        let interpreted = program(&directory, "interpreted", interpreted);
        let allowed = program(&directory, "allowed", allowed());
        for (path, mark) in
            [(&target, TARGET_MARK), (&interpreted, TARGET_MARK), (&allowed, ALLOWED_MARK)]
        {
            let output = Command::new(path).output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", path.display());
            assert_eq!(output.stdout, mark, "{}", path.display());
        }
    }

    #[test]
    fn the_dynamic_loader_runs_the_target() {
        let directory = TempDir::new().unwrap();
        let target = program(&directory, "target", loaded_target("tag"));
        // One that may not be executed is loaded nevertheless.
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        let output = Command::new(LOADER).arg(target).output().unwrap();
        assert_eq!(output.stdout, TARGET_MARK, "{output:?}");
    }

    #[test]
    fn a_tag_changes_the_content_and_not_the_code() {
        let [one, other] = ["", "x"].map(target);
        assert!(one != other && other.starts_with(&one));
        assert!(one[ENTRY..].starts_with(&target_code()));
    }
}
