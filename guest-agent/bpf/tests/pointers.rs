// SPDX-License-Identifier: Apache-2.0
//! Pointers that the kernel gives to the hooks, and which of them may be NULL.
//!
//! In: the sources of the hooks. The verifier takes each such pointer for one that is never NULL, drops
//! a plain test of it, and lets the kernel fault. So each pointer that a program uses stands here,
//! with a reason, and those that may be NULL are asked about with `is_null` alone. Newer kernels mark
//! them `__nullable`.

use std::{collections::BTreeSet, fs, io, path::Path};

/// Arguments that may be NULL, and when.
const NULLABLE: [(&str, &str, &str); 1] = [("mmap_file", "file", "anonymous memory")];

/// Arguments that never are: who calls the hook has followed them before.
const SOUND: [(&str, &str); 31] = [
    ("bprm_check_security", "bprm"),
    ("bprm_committed_creds", "bprm"),
    ("exec_arguments", "bprm"),
    ("file_open", "file"),
    ("file_mprotect", "vma"),
    ("inode_copy_up", "src"),
    ("inode_free_security", "inode"),
    ("sb_mount", "path"),
    ("move_mount", "to_path"),
    ("sb_kern_mount", "sb"),
    ("capable", "cred"),
    ("inode_link", "old_dentry"),
    ("path_rename", "old_dir"),
    ("path_rename", "old_dentry"),
    ("path_rename", "new_dir"),
    ("path_rename", "new_dentry"),
    ("path_link", "old_dentry"),
    ("path_link", "new_dir"),
    ("path_link", "new_dentry"),
    ("path_unlink", "dir"),
    ("path_unlink", "dentry"),
    ("path_rmdir", "dir"),
    ("path_rmdir", "dentry"),
    ("path_mkdir", "dir"),
    ("path_mkdir", "dentry"),
    ("path_symlink", "dir"),
    ("path_symlink", "dentry"),
    ("path_mknod", "dir"),
    ("path_mknod", "dentry"),
    ("inode_setattr", "dentry"),
    ("task_alloc", "task"),
];

/// More of them: files by their paths, and processes.
const SOUND_TOO: [(&str, &str); 14] = [
    ("path_truncate", "path"),
    ("path_chmod", "path"),
    ("path_chown", "path"),
    ("ptrace_access_check", "child"),
    ("inode_setattr", "attr"),
    ("inode_setxattr", "dentry"),
    ("inode_removexattr", "dentry"),
    ("inode_set_acl", "dentry"),
    ("inode_remove_acl", "dentry"),
    ("unix_stream_connect", "other"),
    ("unix_may_send", "other"),
    ("mmap_backing_file", "vma"),
    ("mmap_backing_file", "backing"),
    ("mmap_backing_file", "front"),
];

/// A program, its pointers and its body.
struct Program {
    name: String,
    pointers: Vec<String>,
    body: String,
}

fn sources(directory: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(directory)?.map(|file| fs::read_to_string(file?.path())).collect()
    };
    read().expect("the sources are there")
}

fn programs() -> Vec<Program> {
    let sources = sources("hooks");
    let texts = sources.iter().flat_map(|source| source.split("BPF_PROG(").skip(1));
    texts.map(|text| program(text).expect("a program has arguments and a body")).collect()
}

fn program(text: &str) -> Option<Program> {
    let (head, rest) = text.split_once(")\n{")?;
    let mut arguments = head.split(',').map(str::trim);
    let name = arguments.next()?.into();
    let pointers = arguments
        .filter_map(|argument| argument.split_once('*'))
        .map(|(_, pointer)| pointer.trim_matches('*').into());
    let body = rest.split_once("\n}")?.0.into();
    Some(Program { name, pointers: pointers.collect(), body })
}

fn uses(body: &str, name: &str) -> bool {
    body.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

#[test]
fn every_pointer_that_a_program_uses_is_known_to_be_sound_or_asked_about() {
    let sound: BTreeSet<_> = SOUND.into_iter().chain(SOUND_TOO).collect();
    let mut met = BTreeSet::new();
    for Program { name, pointers, body } in programs() {
        for pointer in pointers.iter().filter(|pointer| uses(&body, pointer)) {
            let same = |(hook, argument): &&(&str, &str)| *hook == name && *argument == pointer;
            if let Some(known) = sound.iter().find(same) {
                met.insert(*known);
                continue;
            }
            let nullable =
                NULLABLE.iter().any(|(hook, argument, _)| *hook == name && **argument == **pointer);
            assert!(nullable, "{name} uses `{pointer}`: may it be NULL?");
            assert!(
                body.contains(&format!("is_null({pointer})")),
                "{name} does not ask whether `{pointer}` is NULL"
            );
        }
    }
    assert_eq!(met, sound, "each that is listed is used");
}

/// The verifier says that a dentry has an inode, but that of a name to come has none.
#[test]
fn the_inode_of_a_name_is_read_by_one_function() {
    let reads: usize = ["hooks", "lib"]
        .into_iter()
        .flat_map(sources)
        .map(|source| source.matches("->d_inode").count())
        .sum();
    // That one, and the root of a task, which the verifier knows nothing of.
    assert_eq!(reads, 2, "use inode_of()");
}
