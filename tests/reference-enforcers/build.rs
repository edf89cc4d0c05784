// SPDX-License-Identifier: Apache-2.0
//! Compiles the programs with clang and strips all but their BTF.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-env-changed=LLVM_STRIP");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let object = out.join("reference.bpf.o");
    run(Command::new(tool("CLANG", "clang"))
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-D__TARGET_ARCH_x86"])
        .args(["-Wall", "-Werror", "-Ibpf", "-c", "bpf/reference.bpf.c", "-o"])
        .arg(&object))?;
    run(Command::new(tool("LLVM_STRIP", "llvm-strip")).arg("-g").arg(&object))
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
