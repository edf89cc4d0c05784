// SPDX-License-Identifier: Apache-2.0
//! Compiles the programs with clang and strips all but their BTF; beside the object lies what they
//! take their hooks' arguments for.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};

mod prototypes;

fn main() -> anyhow::Result<()> {
    for input in ["kadapter.bpf.c", "lib", "hooks", "prototypes.rs"] {
        println!("cargo:rerun-if-changed={input}");
    }
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-env-changed=LLVM_STRIP");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let object = out.join("kadapter.bpf.o");
    run(Command::new(tool("CLANG", "clang"))
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86"])
        .args(["-Wall", "-Werror", "-I.", "-c", "kadapter.bpf.c", "-o"])
        .arg(&object))?;
    run(Command::new(tool("LLVM_STRIP", "llvm-strip")).arg("-g").arg(&object))?;
    fs::write(out.join("prototypes.rs"), prototypes::table(&hooks()?)?).context("write a table")
}

/// Sources of the hooks, in the order of their names.
fn hooks() -> anyhow::Result<Vec<String>> {
    let files = fs::read_dir("hooks").context("list hooks")?;
    let mut files: Vec<_> = files.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| path.display().to_string());
    files.iter().map(read).collect()
}

fn tool(variable: &str, name: &str) -> String {
    env::var(variable).unwrap_or_else(|_| name.into())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| {
        let tool = command.get_program().display();
        format!("{tool} is needed to compile the BPF programs: install clang, llvm and libbpf-dev")
    })?;
    ensure!(status.success(), "{:?} failed with {status}", command.get_program());
    Ok(())
}
