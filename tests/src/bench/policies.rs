// SPDX-License-Identifier: Apache-2.0
//! Policies to measure with. None of them denies what is measured.

use std::fmt::Write as _;

/// Label of the pods that these policies select.
pub(super) const APP: &str = "bench";

/// Blocks `count` paths, at least two, half as programs and half as files; none of them exists.
pub(super) fn blocking(count: usize) -> String {
    let mut text = head("block");
    text += "  process:\n    matchPaths:\n";
    paths(&mut text, "programs", count / 2);
    text += "  file:\n    matchPaths:\n";
    paths(&mut text, "files", count - count / 2);
    text + "  action: Block\n"
}

/// Allows files by their paths, which makes all others exceptions: so what a program needs to
/// start is allowed too.
pub(super) fn allowing(files: &[String]) -> String {
    let mut text = head("allow");
    text += "  file:\n    matchPaths:\n";
    for file in files {
        let _ = writeln!(text, "    - path: {file}");
    }
    text += "    matchDirectories:\n";
    for directory in ["/bin/", "/dev/", "/etc/", "/lib/", "/proc/", "/sys/", "/usr/"] {
        let _ = writeln!(text, "    - dir: {directory}\n      recursive: true");
    }
    text + "  action: Allow\n"
}

fn head(name: &str) -> String {
    format!(
        "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: {name}\n  \
         namespace: shop\nspec:\n  selector:\n    matchLabels:\n      app: {APP}\n"
    )
}

fn paths(text: &mut String, kind: &str, count: usize) {
    for index in 0..count {
        let _ = writeln!(text, "    - path: /opt/{kind}/{index:05}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_paths_are_blocked_as_asked_for() {
        let text = blocking(11);
        assert_eq!(text.matches("- path: /opt/").count(), 11);
        assert_eq!(text.matches("/opt/files/").count(), 6);
    }
}
