// SPDX-License-Identifier: Apache-2.0
//! What a kernel says when something is wrong with it, found in the text of a console. Pure.
//!
//! In: lines. Out: those that are complaints. What a program of the guest prints is none, whatever
//! its words: a kernel's line has a time stamp before the words.

/// What kernels say: lib/bug.c, kernel/panic.c, arch/x86/kernel/dumpstack.c, kernel/rcu/tree_stall.h,
/// kernel/hung_task.c, lib/ubsan.c, mm/kfence/report.c.
const MARKS: [&str; 14] = [
    "BUG:",
    "WARNING:",
    "Oops",
    "rcu: INFO",
    "general protection",
    "Call Trace",
    "kernel BUG at",
    "Kernel panic",
    "Unable to handle kernel",
    "unable to handle page fault",
    "cut here",
    "blocked for more than",
    "UBSAN:",
    "unregister_netdevice: waiting",
];

/// Whether the line is a complaint of the kernel's.
pub(super) fn is_complaint(line: &str) -> bool {
    let said = MARKS.iter().filter_map(|mark| line.find(mark)).min();
    said.is_some_and(|at| has_stamp(&line[..at]))
}

/// `[    1.234567] `, anywhere: a program may have begun the line.
fn has_stamp(text: &str) -> bool {
    text.match_indices('[').any(|(at, _)| {
        let Some((stamp, _)) = text[at + 1..].split_once(']') else { return false };
        let Some((seconds, fraction)) = stamp.trim_start().split_once('.') else { return false };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number(seconds) && fraction.len() == 6 && is_number(fraction)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Consoles as they were recorded, each with the first line that is a complaint.
    const RECORDED: [(&str, &str); 6] = [
        (include_str!("recorded/oops.txt"), "BUG: kernel NULL pointer dereference"),
        (include_str!("recorded/warning.txt"), "cut here"),
        (include_str!("recorded/stall.txt"), "rcu: INFO"),
        (include_str!("recorded/protection.txt"), "Oops: general protection fault"),
        (include_str!("recorded/hung.txt"), "blocked for more than"),
        (include_str!("recorded/panic.txt"), "Kernel panic - not syncing"),
    ];

    #[test]
    fn what_a_kernel_says_when_it_fails_is_found() {
        for (console, expected) in RECORDED {
            let first = console.lines().find(|line| is_complaint(line));
            assert!(first.is_some_and(|line| line.contains(expected)), "{expected}: {first:?}");
        }
    }

    #[test]
    fn a_sound_boot_has_no_complaint() {
        let console = include_str!("recorded/sound.txt");
        assert!(console.lines().count() > 20);
        let found: Vec<_> = console.lines().filter(|line| is_complaint(line)).collect();
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn words_of_programs_are_no_complaints() {
        for line in [
            "[apt] WARNING: apt does not have a stable CLI interface",
            "[kadapter-agent] 2026-01-01T00:00:00.000000Z WARN BUG: none",
            "WARNING: overcommit_memory is set to 0 [4.2]",
            "[1.5] Oops",
        ] {
            assert!(!is_complaint(line), "{line}");
        }
        assert!(is_complaint("half a li[    7.654321] WARNING: CPU: 0 PID: 1 at fs/namei.c:1"));
        assert!(is_complaint("[   12.000001][    T1] BUG: unable to handle page fault"));
    }
}
