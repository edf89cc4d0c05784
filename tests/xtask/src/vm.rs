// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask vm`: boots a VM of the rig and runs commands in it.

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use e2e::node::AGENT;
use e2e::prerequisites::{self, Purpose};
use e2e::rootfs::debian_disks;
use e2e::step::say;
use e2e::vm::{End, GuestFile, KernelChoice, Output, Vm, VmConfig, static_program};

use crate::demo::Kernel;

/// What the shell of a command that was killed would report.
const KILLED: u8 = 128;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel to boot; the own one if it is in the cache, else Debian's, if not given
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<Kernel>,
    /// Guest memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u32,
    /// Word added to the kernel's command line; may be repeated
    #[arg(long, value_name = "WORD")]
    cmdline: Vec<String>,
    /// Put the agent into the guest as /usr/bin/kadapter-agent
    #[arg(long)]
    agent: bool,
    /// Attach the Debian root file system as /dev/vda and /dev/vdb
    #[arg(long)]
    debian: bool,
    /// Command to run; lines of standard input, each by a shell of its own, if not given
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { kernel, memory, cmdline, agent, debian, command } = args;
    prerequisites::ensure(&[Purpose::Compile, Purpose::Boot])?;
    let agent = agent.then(|| static_program("guest-agent", "kadapter-agent")).transpose()?;
    let vm = Vm::boot(&VmConfig {
        kernel: kernel.map_or(KernelChoice::Auto, Into::into),
        memory_mib: memory,
        cmdline,
        files: agent.map(|path| GuestFile::program(AGENT, path)).into_iter().collect(),
        disks: if debian { debian_disks()? } else { Vec::new() },
        ..VmConfig::new("vm")
    })?;
    say(&format!("the VM runs; its console is in {}", vm.logs().join("console.log").display()));
    let shown = if command.is_empty() {
        take_lines(&vm)
    } else {
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        show(&vm.exec(&command)?)
    };
    vm.end().and(shown)
}

fn take_lines(vm: &Vm) -> Result<ExitCode> {
    say("each line is run in the VM; the end of input ends it");
    let mut last = ExitCode::SUCCESS;
    for line in io::stdin().lock().lines() {
        last = show(&vm.exec(&["sh", "-c", &line.context("read a command")?])?)?;
    }
    Ok(last)
}

fn show(output: &Output) -> Result<ExitCode> {
    io::stdout().write_all(&output.stdout.0)?;
    io::stderr().write_all(&output.stderr.0)?;
    Ok(match output.end {
        End::Exited { status } => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        _ => ExitCode::from(KILLED),
    })
}
