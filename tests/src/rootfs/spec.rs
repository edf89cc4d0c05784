// SPDX-License-Identifier: Apache-2.0
//! A container's `config.json`: what containerd writes for an ordinary pod, with the namespaces,
//! mounts and capabilities that it gives. Only text is made here.

use serde_json::{Map, Value, json};

use super::Container;

/// Which capabilities a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capabilities {
    /// Those that containerd gives to an ordinary container.
    Default,
    /// Those of a privileged one.
    All,
}

/// When a hook is run. In the order of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    /// Before the root is entered, in the runtime's namespaces.
    Prestart,
    /// Right after the former.
    CreateRuntime,
    /// In the container's namespaces, before the root is entered.
    CreateContainer,
    /// In the container, before its program.
    StartContainer,
    /// After the program was started.
    Poststart,
    /// After the container was removed.
    Poststop,
}

/// A program run at a point of a container's life, with the container's state on its input.
#[derive(Debug, Clone)]
pub struct Hook {
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout_s: Option<u32>,
}

// === impl Hook ===

impl Hook {
    /// A program by its absolute path; `args` starts with its name.
    #[must_use]
    pub fn new(path: &str, args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self { path: path.to_owned(), args, env: Vec::new(), timeout_s: None }
    }

    /// Adds a variable to its otherwise empty environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Lets the runtime kill it after that time.
    #[must_use]
    pub fn timeout_s(mut self, seconds: u32) -> Self {
        self.timeout_s = Some(seconds);
        self
    }

    fn json(&self) -> Value {
        let mut hook = json!({ "path": self.path, "args": self.args, "env": self.env });
        if let Some(seconds) = self.timeout_s {
            hook["timeout"] = seconds.into();
        }
        hook
    }
}

// === impl HookPoint ===

impl HookPoint {
    fn key(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// A container's control group, below the root of the hierarchy.
pub(super) fn cgroup(id: &str) -> String {
    format!("/kadapter-test/{id}")
}

/// The whole file.
pub(super) fn config(container: &Container) -> Value {
    let annotations: Map<String, Value> =
        container.annotations.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let namespaces = ["pid", "ipc", "uts", "mount", "network", "cgroup"];
    let namespaces = namespaces.map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "hostname": container.id,
        "annotations": annotations,
        "root": { "path": "rootfs", "readonly": false },
        "process": process(container),
        "mounts": mounts(container),
        "hooks": hooks(container),
        "linux": {
            "cgroupsPath": cgroup(&container.id),
            "namespaces": namespaces,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

fn process(container: &Container) -> Value {
    let capabilities = match container.capabilities {
        Capabilities::Default => DEFAULT_CAPABILITIES.to_vec(),
        Capabilities::All => [DEFAULT_CAPABILITIES, MORE_CAPABILITIES].concat(),
    };
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": container.args,
        "env": container.env,
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": false,
    })
}

fn hooks(container: &Container) -> Value {
    let mut hooks = Map::new();
    for (point, hook) in &container.hooks {
        let list = hooks.entry(point.key()).or_insert_with(|| json!([]));
        list.as_array_mut().expect("every entry is made as a list").push(hook.json());
    }
    hooks.into()
}

fn mounts(container: &Container) -> Vec<Value> {
    let fixed = MOUNTS.iter().map(|(kind, source, destination, options)| {
        json!({
            "type": kind,
            "source": source,
            "destination": destination,
            "options": options.split(',').collect::<Vec<_>>(),
        })
    });
    let binds = container.binds.iter().map(|(source, destination)| {
        json!({
            "type": "bind",
            "source": source,
            "destination": destination,
            "options": ["rbind", "rprivate", "rw"],
        })
    });
    fixed.chain(binds).collect()
}

/// Type, source, destination, options.
const MOUNTS: [(&str, &str, &str, &str); 7] = [
    ("proc", "proc", "/proc", "nosuid,noexec,nodev"),
    ("tmpfs", "tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k"),
    ("devpts", "devpts", "/dev/pts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev"),
    ("sysfs", "sysfs", "/sys", "nosuid,noexec,nodev,ro"),
    ("cgroup", "cgroup", "/sys/fs/cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ("tmpfs", "shm", "/dev/shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
];

/// <https://github.com/containerd/containerd/blob/v1.7.0/oci/spec.go#L118>
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const MORE_CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_DAC_READ_SEARCH",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_NET_ADMIN",
    "CAP_NET_BROADCAST",
    "CAP_PERFMON",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::Rootfs;

    #[test]
    fn hooks_are_listed_by_point_in_their_order() {
        let container = Container::new("one", Rootfs::Busybox)
            .hook(HookPoint::Prestart, Hook::new("/a", &["a"]).timeout_s(5))
            .hook(HookPoint::Poststop, Hook::new("/b", &["b"]))
            .hook(HookPoint::Prestart, Hook::new("/c", &["c", "d"]).env("E", "f"));
        let expected = json!({
            "prestart": [
                { "path": "/a", "args": ["a"], "env": [], "timeout": 5 },
                { "path": "/c", "args": ["c", "d"], "env": ["E=f"] },
            ],
            "poststop": [{ "path": "/b", "args": ["b"], "env": [] }],
        });
        assert_eq!(config(&container)["hooks"], expected);
    }

    #[test]
    fn a_privileged_container_has_every_capability_once() {
        let container = Container::new("one", Rootfs::Busybox).capabilities(Capabilities::All);
        let config = config(&container);
        let mut names = Vec::from_iter(
            config["process"]["capabilities"]["effective"].as_array().unwrap().iter().cloned(),
        );
        names.sort_by_key(Value::to_string);
        names.dedup();
        assert_eq!(names.len(), 41, "as many as Linux 6.12 knows");
    }
}
