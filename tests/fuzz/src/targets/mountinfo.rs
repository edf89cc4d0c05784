// SPDX-License-Identifier: Apache-2.0
//! A container's mount table: what is understood makes mounts that rules can be lowered with.

use guest_agent::{
    containers::{
        Mount,
        mountinfo::{MountLine, below, parse},
    },
    lower::lower,
};
use policy_model::{
    Action, Category, Generation, Match, Object, PathObject, Rule, RuleId, RulePath, RuleSet,
    Target,
};

use crate::{entropy::Entropy, grammar::Grammar};

const VALID: &[&[u8]] = &[
    b"20 1 254:1 / / ro,relatime - erofs /dev/vda1 ro\n\
      21 20 0:20 / /run rw - tmpfs tmpfs rw\n\
      30 21 0:40 / /run/kata-containers/c1/rootfs rw - overlay overlay rw,lowerdir=/l\n\
      31 30 0:41 / /run/kata-containers/c1/rootfs/proc rw - proc proc rw\n\
      33 30 0:50 /vol/secret /run/kata-containers/c1/rootfs/etc/my\\040secret ro - virtiofs none ro\n\
      34 21 0:60 / /run/kata-containers/c2/rootfs rw - overlay overlay rw\n",
    b"30 29 0:40 / / rw - overlay overlay rw\n\
      35 30 0:45 / /data rw - ext4 a rw\n\
      36 35 0:46 / /data/deep rw - ext4 b rw\n\
      37 35 0:47 / /data rw - tmpfs c rw\n",
    b"38 40 0:48 / /mnt/in rw - tmpfs d rw\n\
      30 29 0:40 / / rw - overlay overlay rw\n\
      40 30 0:49 / /mnt rw - tmpfs e rw\n",
    b"30 29 0:40 / / rw - overlay overlay rw\n\
      31 30 0:4 ipc:[4026532205] /run/sandbox-ns/ipc rw - nsfs nsfs rw\n\
      32 30 0:4 uts:[4026532204] /run/sandbox-ns/uts rw - nsfs nsfs rw\n\
      33 30 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    b"36 35 98:0 /a\\134b//deleted / rw,noatime master:1 shared:2 - ext3 /dev/r rw\n",
];

const WORDS: &[&[u8]] = &[
    b" ",
    b"\n",
    b"-",
    b" - ",
    b"/",
    b"//",
    b"/..",
    b"//deleted",
    b"mnt:[4026531840]",
    b"\\040",
    b"\\777",
    b"\\0",
    b"\\",
    b"\\000",
    b"0",
    b"1",
    b"30",
    b":",
    b"4095:1048575",
    b"4096:0",
    b"0:1048576",
    b"4294967295:4294967295",
    b"18446744073709551615",
    b"18446744073709551616",
    b"\xff",
    b"/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a",
];

const PREFIXES: &[&str] = &["/run/kata-containers/c1/rootfs", "/data", "/data/deep/c", "/", "/run"];

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let prefix = RulePath::new(entropy.pick(PREFIXES)).expect("it is written above");
    let path = RulePath::new(entropy.pick(PREFIXES)).expect("it is written above");
    let text = Grammar { valid: VALID, words: WORDS }.write(&mut entropy);
    let Ok(lines) = parse(&text) else { return };
    assert!(lines.len() <= text.split(|byte| *byte == b'\n').count());
    for prefix in [None, Some(&prefix)] {
        let Ok(mounts) = below(&lines, prefix) else { continue };
        assert!(mounts.len() <= lines.len() + 1, "no mount is invented but that of the root");
        let first = Mount { point: RulePath::root(), root: Some("/".into()), ..mounts[0].clone() };
        lower(&blocking(&path), &[vec![first], mounts.clone()])
            .expect("what a container mounts keeps no rule out of force");
        for mount in &mounts {
            assert!(lines.iter().any(|line| is_of(line, mount)), "{mount:?} is of no line");
        }
    }
}

fn blocking(path: &RulePath) -> RuleSet {
    let object = Object::Path(PathObject { path: path.clone(), matching: Match::Name });
    let rule = Rule::new(RuleId(1), Category::File, Action::Block, object);
    RuleSet::empty(Target::default(), Generation(1)).with_rules(vec![rule])
}

fn is_of(line: &MountLine, mount: &Mount) -> bool {
    let is_below = |root: &String| {
        let above = line.root.as_deref().unwrap_or_default().trim_end_matches('/');
        root.starts_with(above) && root.starts_with('/')
    };
    line.dev == mount.dev
        && line.fs_type == mount.fs_type
        && mount.root.as_ref().is_none_or(is_below)
}
