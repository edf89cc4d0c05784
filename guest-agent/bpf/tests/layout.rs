// SPDX-License-Identifier: Apache-2.0
//! The Rust mirror has the layout of `lib/abi.h`: sizes and offsets as a C compiler sees them.

use std::{env, fs, mem::offset_of, process::Command};

use guest_bpf::abi;

/// What one side says of every structure and field, a line each.
type Layout = Vec<String>;

macro_rules! layouts {
    ($($rust:ident = $c:literal { $($field:ident),+ $(,)? })+) => {
        /// As rustc lays them out.
        fn of_rust() -> Layout {
            let mut lines = Layout::new();
            $(
                lines.push(format!("{} {}", $c, size_of::<abi::$rust>()));
                $(lines.push(format!(
                    "{}.{} {}", $c, stringify!($field), offset_of!(abi::$rust, $field)
                ));)+
            )+
            lines
        }

        /// A program that prints how C lays them out.
        fn c_program() -> String {
            let mut program = String::from(
                "#include <stdio.h>\n#include <stddef.h>\n#include \"lib/abi.h\"\nint main(void) {\n",
            );
            $(
                program += &format!(
                    "printf(\"{0} %zu\\n\", sizeof(struct {0}));\n", $c
                );
                $(program += &format!(
                    "printf(\"{0}.{1} %zu\\n\", offsetof(struct {0}, {1}));\n",
                    $c, stringify!($field)
                );)+
            )+
            program + "return 0; }\n"
        }
    };
}

layouts! {
    Unjudged = "abi_unjudged" { set, name_class, inode_class, subject, held, argc }
    Task = "abi_task" {
        slot, container, subject, subject_set, pending, copying, copy_set, copy_class, opening,
        unjudged, judged, files, held, exe_ino, exe_dev, exe_generation,
    }
    Slot = "abi_slot" { container, set }
    Set = "abi_set" { generation, id, flags, depth, process_default, file_default, pad, shares }
    Filter = "abi_filter" { words }
    Node = "abi_node" { exact, child, deep, set, flags }
    DecisionKey = "abi_decision_key" { set, class_id, subject, category }
    Decision = "abi_decision" { rank, verdict, rules_len, pad, rules, total_rules, pad2 }
    InodeKey = "abi_inode_key" { set, dev, ino, generation, pad }
    TaintKey = "abi_taint_key" { ino, dev, generation }
    Writer = "abi_writer" { container, payer }
    Quota = "abi_quota" { taints, inodes }
    SubjectKey = "abi_subject_key" { set, class_id }
    Label = "abi_label" { stamp, settled, version, period, name_class, inode_class, linked, pad }
    Probe = "abi_probe" { thread, set, class_id, seen, failed, met }
    Settings = "abi_settings" {
        hash_key, rename_sequence, init_root_ino, init_root_dev, init_mnt_ns, object, max_taints,
        max_inodes,
    }
    Record = "abi_record" { len, text }
    Event = "abi_event" {
        boot_ns, generation, rules, slot, container, total_rules, pid, ppid, container_pid, uid,
        errno_value, hook, verdict, reason, category, rules_len, truncated, argv_len, comm, tty,
        exe, parent_exe, cwd, path, argv, novelty, primitive, cgroup,
    }
    Sighting = "abi_sighting" { rule, ino, dev, generation, container, hook, verdict, reason, category }
}

#[test]
fn structures_have_the_layout_of_the_header() {
    let stem = format!("kadapter-layout-{}", std::process::id());
    let (source, program) =
        (env::temp_dir().join(format!("{stem}.c")), env::temp_dir().join(&stem));
    fs::write(&source, c_program()).unwrap();
    let compiled = Command::new("clang")
        .args(["-I", env!("CARGO_MANIFEST_DIR"), "-o"])
        .args([&program, &source])
        .status()
        .unwrap();
    assert!(compiled.success());
    let printed = Command::new(&program).output().unwrap().stdout;
    fs::remove_file(&source).unwrap();
    fs::remove_file(&program).unwrap();
    let of_c: Layout = String::from_utf8(printed).unwrap().lines().map(Into::into).collect();
    assert_eq!(of_rust(), of_c);
}

#[test]
fn bounds_and_numbers_are_those_of_the_header() {
    let header = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/lib/abi.h")).unwrap();
    let bounds = [
        ("ABI_MAX_SLOTS", u64::from(abi::MAX_SLOTS)),
        ("ABI_MAX_NODES", u64::from(abi::MAX_NODES)),
        ("ABI_MAX_DECISIONS", u64::from(abi::MAX_DECISIONS)),
        ("ABI_MAX_SUBJECTS", u64::from(abi::MAX_SUBJECTS)),
        ("ABI_MAX_INODES", u64::from(abi::MAX_INODES)),
        ("ABI_MAX_TAINTS", u64::from(abi::MAX_TAINTS)),
        ("ABI_FILTER_WORDS", abi::FILTER_WORDS as u64),
        ("ABI_MAX_SHARES", abi::MAX_SHARES as u64),
        ("ABI_MAX_DEPTH", abi::MAX_DEPTH as u64),
        ("ABI_MAX_RULES", abi::MAX_RULES as u64),
        ("ABI_RECORD_BYTES", abi::RECORD_BYTES as u64),
        ("ABI_PATH_BYTES", abi::PATH_BYTES as u64),
        ("ABI_EXE_BYTES", abi::EXE_BYTES as u64),
        ("ABI_ARGV_BYTES", abi::ARGV_BYTES as u64),
        ("ABI_TTY_BYTES", abi::TTY_BYTES as u64),
        ("ABI_COMM_BYTES", abi::COMM_BYTES as u64),
        ("ABI_CGROUP_BYTES", abi::CGROUP_BYTES as u64),
    ];
    for (name, value) in bounds {
        assert!(header.contains(&format!("#define {name} {value}\n")), "{name} {value}");
    }
    assert!(header.contains(&format!("ABI_CAUSES = {},", abi::CAUSES)));
    for (number, hook) in (1..).zip(&abi::HOOKS[1..]) {
        let line = format!("ABI_{} = {number},", hook.to_uppercase());
        assert!(header.contains(&line), "{line}");
    }
}
