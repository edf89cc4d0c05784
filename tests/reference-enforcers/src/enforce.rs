// SPDX-License-Identifier: Apache-2.0
//! Loads and attaches the programs that a plan needs. They hold for as long as what is returned.

use anyhow::{Context as _, Result};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, maps::HashMap, programs::Lsm};

use crate::{
    rules::{Masks, PathsEnd, Plan},
    subject::Subject,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reference.bpf.o"));

/// Enforces a plan on a container.
///
/// # Errors
/// If the kernel refuses a part; then nothing is enforced.
pub(crate) fn attach(plan: &Plan, subject: &Subject) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let mut ebpf = load(plan, subject, &btf)?;
    let mut rules = HashMap::<_, u64, Masks>::try_from(ebpf.map_mut("rules").context("rules")?)?;
    for (path, masks) in plan.table() {
        rules.insert(path, masks, 0).context("write a rule")?;
    }
    for hook in plan.hooks().programs() {
        let program = ebpf.program_mut(hook).with_context(|| format!("no program {hook}"))?;
        let program: &mut Lsm = program.try_into()?;
        program.load(hook, &btf).with_context(|| format!("load {hook}"))?;
        program.attach().with_context(|| format!("attach {hook}"))?;
    }
    Ok(ebpf)
}

fn load(plan: &Plan, subject: &Subject, btf: &Btf) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    // The verifier's whole trace takes minutes to write under emulation; its last words suffice.
    loader.btf(Some(btf)).verifier_log_level(VerifierLogLevel::STATS);
    let to_task_root = u32::from(plan.paths == PathsEnd::TaskRoot);
    loader.override_global("to_task_root", &to_task_root, true);
    let is_cgroup = u32::from(matches!(subject, Subject::Cgroup { .. }));
    loader.override_global("subject_is_cgroup", &is_cgroup, true);
    match subject {
        Subject::Namespaces { pid, mount } => {
            loader.override_global("pid_namespace_id", pid, true);
            loader.override_global("mount_namespace_id", mount, true);
        }
        Subject::Cgroup { id, level } => {
            loader.override_global("cgroup_id", id, true);
            loader.override_global("cgroup_level", level, true);
        }
    }
    loader.load(OBJECT).context("load the object")
}

#[cfg(test)]
mod tests {
    use super::OBJECT;

    #[test]
    fn the_object_is_there() {
        assert!(OBJECT.starts_with(b"\x7fELF") && OBJECT.as_ptr().cast::<u64>().is_aligned());
    }
}
