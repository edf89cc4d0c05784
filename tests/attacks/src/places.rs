// SPDX-License-Identifier: Apache-2.0
//! Where things lie in the image that is attacked. `attack image` lays them down; rules name them.

/// The driver.
pub const DRIVER: &str = "/attack";

/// The target T: a static ELF.
pub const TARGET: &str = "/usr/bin/apt";

/// A second hard link to it, which the image ships.
pub const ALIAS: &str = "/usr/bin/apt-alias";

/// An equal file, which the image ships.
pub const COPY: &str = "/opt/vendor/apt";

/// The target that is a script.
pub const SCRIPT: &str = "/usr/bin/apt-script";

/// A program that no rule speaks of, and that is never written.
pub const ALLOWED: &str = "/usr/bin/allowed";

/// A program that no rule speaks of, and that is overwritten.
pub const VICTIM: &str = "/usr/bin/overwritten";

/// The dynamic loader.
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A writable directory on the mount of all these.
pub const WORK: &str = "/var/attack";

/// The ways that need a target of their own: one with a second hard link, not yet touched by
/// another way, since on an overlay a change gives it another inode.
pub const OWN_TARGETS: [&str; 2] = ["S16", "S17"];

/// The target of such a way: beside T, with content of its own.
#[must_use]
pub fn own_target(target: &str, way: &str) -> String {
    format!("{target}-{}", way.to_lowercase())
}

/// Every target, which is every program that a rule has to block.
#[must_use]
pub fn targets() -> Vec<String> {
    let own = OWN_TARGETS.map(|way| own_target(TARGET, way));
    [TARGET.to_owned(), SCRIPT.to_owned()].into_iter().chain(own).collect()
}
