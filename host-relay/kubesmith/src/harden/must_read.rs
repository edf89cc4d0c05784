// SPDX-License-Identifier: Apache-2.0
//! Files that programs cannot do without: blocking them by identity would end the container.
//!
//! The list is data, and errs towards more names: what it names is hardened less, and the author
//! is told so. What only one container cannot do without (its entry point and what that is linked
//! with, its configuration) is not known here.

use policy_model::RulePath;

/// One or more files.
#[derive(Clone, Copy, Debug)]
enum Files {
    /// This one.
    At(&'static str),
    /// Everything below a directory.
    Below(&'static str),
    /// Shared objects whose base name begins so, wherever they are.
    Library(&'static str),
}

/// Who reads it, to end the sentence "not held by identity: ..." with.
struct MustRead {
    files: Files,
    why: &'static str,
}

/// Sources: nsswitch.conf(5), getpwnam(3), hosts(5), resolv.conf(5), tzset(3) and ld.so(8) for who
/// reads what; elf(5), `PT_INTERP`, for the loader; names of loaders and C libraries as glibc's
/// `shlib-versions` and musl's `configure` build them. KubeArmor's own templates only audit these.
const MUST_READ: &[MustRead] = &[
    entry(Files::At("/etc/passwd"), "every lookup of a user reads it"),
    entry(Files::At("/etc/group"), "every lookup of a group reads it"),
    entry(Files::At("/etc/nsswitch.conf"), "every lookup of a user or a host reads it"),
    entry(Files::At("/etc/hosts"), "every lookup of a host reads it"),
    entry(Files::At("/etc/resolv.conf"), "every lookup of a host reads it"),
    entry(Files::At("/etc/hostname"), "programs that ask for the host's name read it"),
    entry(Files::At("/etc/localtime"), "programs that tell the time read it"),
    entry(Files::Below("/usr/share/zoneinfo"), "programs that tell the time read it"),
    entry(Files::Below("/etc/ssl/certs"), "every TLS client reads it"),
    entry(Files::At("/etc/ld.so.cache"), "the loader of every dynamic program reads it"),
    entry(Files::At("/etc/ld.so.preload"), "the loader of every dynamic program reads it"),
    entry(Files::Below("/proc/self"), "it is a different file for each program"),
    entry(Files::Library("ld-"), "the kernel opens it for every dynamic program"),
    entry(Files::Library("ld.so"), "the kernel opens it for every dynamic program"),
    entry(Files::Library("ld64.so"), "the kernel opens it for every dynamic program"),
    entry(Files::Library("libc.so"), "every dynamic program maps it"),
    entry(Files::Library("libc-"), "every dynamic program maps it"),
    entry(Files::Library("libc.musl-"), "every dynamic program maps it"),
];

const fn entry(files: Files, why: &'static str) -> MustRead {
    MustRead { files, why }
}

/// Who cannot do without this file; none if nobody is known.
pub(super) fn reader(path: &RulePath) -> Option<&'static str> {
    MUST_READ.iter().find(|entry| entry.files.contain(path)).map(|entry| entry.why)
}

// === impl Files ===

impl Files {
    fn contain(self, path: &RulePath) -> bool {
        match self {
            Self::At(at) => path.as_str() == at,
            Self::Below(directory) => {
                path.as_str().strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
            }
            Self::Library(start) => {
                let name = path.as_str().rsplit('/').next().unwrap_or_default();
                name.starts_with(start) && path.is_shared_object()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read(path: &str) -> bool {
        reader(&RulePath::new(path).unwrap()).is_some()
    }

    #[test]
    fn loaders_and_c_libraries_of_all_kinds_are_read() {
        for path in [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
            "/lib/ld-musl-x86_64.so.1",
            "/lib/x86_64-linux-gnu/ld-2.31.so",
            "/lib/ld64.so.2",
            "/lib/ld.so.1",
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            "/lib/x86_64-linux-gnu/libc-2.31.so",
            "/lib/libc.musl-x86_64.so.1",
            "/etc/passwd",
            "/etc/ssl/certs/ca-certificates.crt",
            "/proc/self/exe",
        ] {
            assert!(is_read(path), "{path}");
        }
    }

    #[test]
    fn programs_and_secrets_are_not() {
        for path in [
            "/usr/bin/apt",
            "/usr/bin/ld",
            "/usr/bin/ld-start",
            "/usr/bin/libc-test",
            "/etc/shadow",
            "/etc/passwd-",
            "/etc/ssl/certs-old/x",
            "/proc/selfish",
            "/usr/lib/libcurl.so.4",
        ] {
            assert!(!is_read(path), "{path}");
        }
    }
}
