// SPDX-License-Identifier: Apache-2.0
//! Where things lie in the image that is attacked. `attack image` lays them down; rules name them.

/// The driver.
pub const DRIVER: &str = "/attack";

/// The target T: a static ELF.
pub const TARGET: &str = "/usr/bin/apt";

/// A second hard link to a target, which the image ships.
pub const ALIAS: &str = "/usr/bin/apt-b26-alias";

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

/// The ways that need a target with a second hard link. Each has its own: on an overlay a change
/// gives such a file another inode; and whatever finds a file by its inode may find it under either
/// name, so that no other way should have one.
pub const LINKED: [&str; 3] = ["B26", "S16", "S17"];

/// The ways that need a target with an interpreter: the dynamic loader executes others, which shows
/// nothing.
pub const LOADED: [&str; 3] = ["B16", "S2", "S13"];

/// The target of such a way: beside T, with content of its own.
#[must_use]
pub fn own_target(target: &str, way: &str) -> String {
    format!("{target}-{}", way.to_lowercase())
}

/// The second link to the target of such a way.
#[must_use]
pub fn own_alias(target: &str, way: &str) -> String {
    own_target(target, way) + "-alias"
}

/// Whether a way has a target of its own.
#[must_use]
pub fn has_own_target(way: &str) -> bool {
    LINKED.contains(&way) || LOADED.contains(&way)
}

/// Every target, which is every program that a rule has to block.
#[must_use]
pub fn targets() -> Vec<String> {
    let own = LINKED.into_iter().chain(LOADED).map(|way| own_target(TARGET, way));
    [TARGET.to_owned(), SCRIPT.to_owned()].into_iter().chain(own).collect()
}
