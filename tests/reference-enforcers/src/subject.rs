// SPDX-License-Identifier: Apache-2.0
//! Whom the rules concern: a container's namespaces or its control group, as numbers that the kernel
//! has for them.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// What tells a container's tasks from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubjectKind {
    /// Its mount namespace and the pid namespace of its children, as KubeArmor does
    Namespaces,
    /// Its control group and all below it, as Tetragon does
    Cgroup,
}

/// A container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Numbers of namespaces.
    Namespaces { pid: u32, mount: u32 },
    /// Number of a control group, and how far below the root of the hierarchy it is.
    Cgroup { id: u64, level: u32 },
}

// === impl Subject ===

impl Subject {
    /// Asks the kernel about a container.
    ///
    /// # Errors
    /// If what this kind needs is not given, or does not exist.
    pub(crate) fn find(kind: SubjectKind, cgroup: Option<&Path>, pid: Option<u32>) -> Result<Self> {
        match kind {
            SubjectKind::Namespaces => {
                let process = pid.context("its namespaces are asked for: give --pid")?;
                Ok(Self::Namespaces {
                    pid: namespace(process, "pid_for_children")?,
                    mount: namespace(process, "mnt")?,
                })
            }
            SubjectKind::Cgroup => {
                let directory = cgroup.context("its control group is asked for: give --cgroup")?;
                let own = metadata(directory)?;
                let above = directory.ancestors().skip(1).map(metadata);
                let level = above.take_while(|above| is_on(above, &own)).count();
                Ok(Self::Cgroup { id: own.ino(), level: level.try_into().context("its depth")? })
            }
        }
    }
}

fn namespace(pid: u32, kind: &str) -> Result<u32> {
    let number = metadata(Path::new(&format!("/proc/{pid}/ns/{kind}")))?.ino();
    number.try_into().context("the number of a namespace")
}

fn metadata(path: &Path) -> Result<Metadata> {
    fs::metadata(path).with_context(|| format!("look at {}", path.display()))
}

fn is_on(above: &Result<Metadata>, own: &Metadata) -> bool {
    above.as_ref().is_ok_and(|above| above.dev() == own.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_those_of_the_process() {
        let own = Subject::find(SubjectKind::Namespaces, None, Some(std::process::id())).unwrap();
        let Subject::Namespaces { pid, mount } = own else { panic!("{own:?}") };
        let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_eq!(link("pid_for_children"), Path::new(&format!("pid:[{pid}]")));
        assert_eq!(link("mnt"), Path::new(&format!("mnt:[{mount}]")));
    }

    #[test]
    fn each_kind_needs_its_own_option() {
        assert!(Subject::find(SubjectKind::Namespaces, Some(Path::new("/proc")), None).is_err());
        assert!(Subject::find(SubjectKind::Cgroup, None, Some(1)).is_err());
    }

    /// Any mount point does: /proc is one, /proc/sys/kernel is two levels below its root.
    #[test]
    fn the_level_counts_from_the_root_of_the_file_system() {
        for (path, expected) in [("/proc", 0), ("/proc/sys/kernel", 2)] {
            let found = Subject::find(SubjectKind::Cgroup, Some(Path::new(path)), None).unwrap();
            let Subject::Cgroup { id, level } = found else { panic!("{found:?}") };
            assert_eq!((id, level), (fs::metadata(path).unwrap().ino(), expected));
        }
    }
}
