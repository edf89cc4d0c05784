// SPDX-License-Identifier: Apache-2.0
//! Which program of a multi-call binary an exec asks for: what its arguments say.
//!
//! As busybox, toybox and coreutils choose, and never narrower: an argument is the caller's claim,
//! and a reading that is wrong must err towards a match.

/// Arguments that may be names of the binary itself: `busybox busybox ls` runs ls.
pub const MAX_OWN_NAMES: usize = 4;

/// Bytes of an argument's base name that are looked at; applets have at most 32.
pub const MAX_APPLET_BYTES: usize = 62;

/// Bytes of an argument in which its base name is looked for: 64 chunks of 63, PATH_MAX.
pub const MAX_ARGUMENT_BYTES: usize = 64 * 63;

/// How GNU's single binary is told its program by the scripts that stand for it.
const COREUTILS_OPTIONS: [&str; 2] = ["--coreutils-prog=", "--coreutils-prog-shebang="];

/// What an exec of a multi-call binary asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation<'a> {
    /// The applet of this name.
    Applet(&'a str),
    /// The binary itself.
    Binary,
    /// It could be any.
    Unknown,
}

/// What these arguments ask a multi-call binary for.
#[must_use]
pub fn invocation(argv: &[String]) -> Invocation<'_> {
    for argument in argv.iter().take(MAX_OWN_NAMES) {
        if argument.len() >= MAX_ARGUMENT_BYTES {
            return Invocation::Unknown;
        }
        let base = argument.rsplit('/').next().unwrap_or_default();
        if base.len() > MAX_APPLET_BYTES {
            return Invocation::Unknown;
        }
        let option = COREUTILS_OPTIONS.iter().find_map(|option| base.strip_prefix(option));
        let name = option.unwrap_or_else(|| base.strip_prefix('-').unwrap_or(base));
        if !is_own_name(name) {
            return Invocation::Applet(name);
        }
    }
    if argv.len() > MAX_OWN_NAMES { Invocation::Unknown } else { Invocation::Binary }
}

/// busybox knows itself by any name that begins so.
fn is_own_name(name: &str) -> bool {
    name.starts_with("busybox") || matches!(name, "toybox" | "coreutils")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(line: &str) -> String {
        let argv: Vec<_> = line.split(' ').map(str::to_owned).collect();
        match invocation(&argv) {
            Invocation::Applet(name) => name.to_owned(),
            Invocation::Binary => "the binary".into(),
            Invocation::Unknown => "any".into(),
        }
    }

    #[test]
    fn the_first_argument_that_is_not_the_binary_names_the_applet() {
        for (line, applet) in [
            ("ls -l", "ls"),
            ("/usr/bin/ls", "ls"),
            ("-sh", "sh"),
            ("-/bin/sh", "sh"),
            ("busybox vi file", "vi"),
            ("/bin/busybox /usr/bin/vi", "vi"),
            ("busybox.static busybox vi", "vi"),
            ("toybox toybox vi", "vi"),
            ("coreutils --coreutils-prog=rm x", "rm"),
            ("coreutils --coreutils-prog-shebang=rm x", "rm"),
            ("mul vi", "mul"),
            ("busybox", "the binary"),
            ("busybox busybox busybox busybox", "the binary"),
            ("busybox busybox busybox busybox vi", "any"),
        ] {
            assert_eq!(asks(line), applet, "{line}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_looked_at_could_be_any() {
        assert_eq!(asks(&"x".repeat(MAX_APPLET_BYTES)), "x".repeat(MAX_APPLET_BYTES));
        assert_eq!(asks(&"x".repeat(MAX_APPLET_BYTES + 1)), "any");
        assert_eq!(asks(&format!("{}/ls", "x".repeat(MAX_APPLET_BYTES + 1))), "ls");
        assert_eq!(asks(&format!("{}/ls", "x".repeat(MAX_ARGUMENT_BYTES))), "any");
    }
}
