// SPDX-License-Identifier: Apache-2.0
//! Mount tables as kernels write them, before and after a container changes its root.

use proptest::prelude::*;

use super::*;

/// A container before it changes its root: an overlay at rootfs, mounts of the runtime below it.
const BEFORE: &str = "\
20 1 254:1 / / ro,relatime - erofs /dev/vda1 ro
21 20 0:20 / /run rw - tmpfs tmpfs rw
22 20 0:21 / /proc rw - proc proc rw
30 21 0:40 / /run/kata-containers/c1/rootfs rw - overlay overlay rw,lowerdir=/l
31 30 0:41 / /run/kata-containers/c1/rootfs/proc rw - proc proc rw
32 30 0:42 / /run/kata-containers/c1/rootfs/dev rw - tmpfs tmpfs rw
33 30 0:50 /vol/secret /run/kata-containers/c1/rootfs/etc/my\\040secret ro - virtiofs none ro
34 21 0:60 / /run/kata-containers/c2/rootfs rw - overlay overlay rw
";

/// The same container afterwards.
const AFTER: &str = "\
30 29 0:40 / / rw - overlay overlay rw,lowerdir=/l
31 30 0:41 / /proc rw - proc proc rw
32 30 0:42 / /dev rw - tmpfs tmpfs rw
33 30 0:50 /vol/secret /etc/my\\040secret ro - virtiofs none ro
";

fn seen(text: &str, prefix: Option<&str>) -> Vec<(u32, String, String)> {
    let prefix = prefix.map(|path| RulePath::new(path).unwrap());
    let mounts = below(&parse(text.as_bytes()).unwrap(), prefix.as_ref()).unwrap();
    let root = |mount: &Mount| mount.root.clone().unwrap_or_else(|| "none".into());
    mounts.into_iter().map(|m| (m.dev, root(&m), m.point.to_string())).collect()
}

fn expected() -> Vec<(u32, String, String)> {
    [(40, "/", "/"), (41, "/", "/proc"), (42, "/", "/dev"), (50, "/vol/secret", "/etc/my secret")]
        .map(|(dev, root, point)| (dev, root.into(), point.into()))
        .into()
}

#[test]
fn a_container_sees_the_same_mounts_before_and_after_it_changes_its_root() {
    assert_eq!(seen(BEFORE, Some("/run/kata-containers/c1/rootfs")), expected());
    assert_eq!(seen(AFTER, None), expected());
}

#[test]
fn a_root_that_is_a_directory_is_held_by_the_mount_above_it() {
    let mounts = seen(BEFORE, Some("/run/bundles/c3/rootfs"));
    assert_eq!(mounts, [(20, "/bundles/c3/rootfs".into(), "/".into())]);
    let bind = "20 1 8:1 / / rw - ext4 a rw\n21 20 8:2 /srv /data rw - ext4 b rw\n";
    let mounts = seen(bind, Some("/data/c3"));
    assert_eq!(mounts, [(8 << 20 | 2, "/srv/c3".into(), "/".into())]);
}

#[test]
fn of_stacked_mounts_the_upper_comes_later_and_hides_what_lay_on_the_lower() {
    let text = "\
30 29 0:40 / / rw - overlay overlay rw
35 30 0:45 / /data rw - ext4 a rw
36 35 0:46 / /data/deep rw - ext4 b rw
37 35 0:47 / /data rw - tmpfs c rw
";
    let points: Vec<_> = seen(text, None).into_iter().map(|(dev, ..)| dev).collect();
    assert_eq!(points, [40, 45, 47]);
}

#[test]
fn a_mount_over_an_ancestor_hides_whatever_the_order_of_the_text() {
    let text = "\
30 29 0:40 / / rw - overlay overlay rw
36 30 0:46 / /a/b rw - ext4 b rw
37 30 0:47 / /a rw - tmpfs c rw
38 37 0:48 / /a/b rw - tmpfs d rw
";
    let devices: Vec<_> = seen(text, None).into_iter().map(|(dev, ..)| dev).collect();
    assert_eq!(devices, [40, 47, 48]);
}

#[test]
fn a_moved_mount_comes_after_the_one_that_it_lies_on() {
    let text = "\
38 40 0:48 / /mnt/in rw - tmpfs d rw
30 29 0:40 / / rw - overlay overlay rw
40 30 0:49 / /mnt rw - tmpfs e rw
";
    let devices: Vec<_> = seen(text, None).into_iter().map(|(dev, ..)| dev).collect();
    assert_eq!(devices, [40, 49, 48]);
}

#[test]
fn tags_and_escapes_are_read_and_a_deleted_root_keeps_its_name() {
    let line =
        "36 35 98:0 /a\\134b//deleted /m\\011n rw,noatime master:1 shared:2 - ext3 /dev/r rw";
    let mounts = parse(line.as_bytes()).unwrap();
    assert_eq!((mounts[0].root.as_deref(), mounts[0].point.as_str()), (Some("/a\\b"), "/m\tn"));
    assert_eq!((mounts[0].dev, mounts[0].fs_type.as_str()), (98 << 20, "ext3"));
}

#[test]
fn what_is_not_understood_is_an_error_not_a_gap() {
    assert!(matches!(parse(b"36 35 98:0 / /"), Err(InvalidMountInfo::Line(_))));
    assert!(matches!(below(&[], None), Err(InvalidMountInfo::NoRoot(_))));
}

#[test]
fn what_is_mounted_of_a_namespace_has_no_path() {
    let text = "\
30 29 0:40 / / rw - overlay o rw
31 30 0:4 ipc:[4026532205] /run/sandbox-ns/ipc rw - nsfs nsfs rw
32 30 0:4 uts:[4026532204] /run/sandbox-ns/uts rw - nsfs nsfs rw
33 30 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw
";
    let roots: Vec<_> = seen(text, None).into_iter().map(|(_, root, _)| root).collect();
    assert_eq!(roots, ["/", "none", "none", "none"]);
}

#[test]
fn names_that_no_rule_can_have_stand_for_the_directory_above() {
    let deep = |names| "/a".repeat(names);
    let line =
        |point: &str| format!("30 29 0:40 / / rw - o o rw\n31 30 0:41 / {point} rw - o o rw");
    let last = |text: &[u8]| below(&parse(text).unwrap(), None).unwrap()[1].point.to_string();
    assert_eq!(last(line(&deep(97)).as_bytes()), deep(96));
    assert_eq!(last(line(&deep(96)).as_bytes()), deep(96));
    let long = format!("/{}", "b".repeat(200)).repeat(30);
    assert_eq!(last(line(&long).as_bytes()), long[..201 * 20]);
    assert_eq!(
        last(b"30 29 0:40 / / rw - o o rw\n31 30 0:41 / /\xff/c rw - o o rw"),
        "/\u{fffd}/c"
    );
    let text = b"30 29 0:40 / / rw - o o rw\n31 30 0:41 /\xff /c rw - o o rw";
    assert_eq!(below(&parse(text).unwrap(), None).unwrap()[1].root, None);
    let too_deep = format!("30 29 0:40 {} / rw - o o rw", deep(abi::MAX_DEPTH + 1));
    assert_eq!(seen(&too_deep, None)[0].1, "none");
}

#[test]
fn a_device_that_the_kernel_cannot_have_is_no_other_one() {
    for device in ["4096:0", "0:1048576", "4294967295:4294967295", "+1:", "1"] {
        let line = format!("36 35 {device} / / rw - ext3 /dev/r rw");
        assert!(matches!(parse(line.as_bytes()), Err(InvalidMountInfo::Line(_))), "{device}");
    }
}

/// As many mounts as the kernel allows in a namespace by default.
const MOST: usize = 100_000;

#[test]
fn a_text_that_is_longer_than_the_kernels_most_is_refused() {
    assert_eq!(parse(&vec![b'\n'; MAX_TEXT_BYTES + 1]), Err(InvalidMountInfo::TooLong));
}

#[test]
fn as_many_mounts_side_by_side_as_the_kernel_allows_take_no_square_of_time_and_are_refused() {
    let line = |number| format!("{} 30 0:41 / /m{number} rw - tmpfs t rw\n", number + 31);
    let lines: String = (0..MOST).map(line).collect();
    let text = format!("30 29 0:40 / / rw - o o rw\n{lines}");
    let lines = parse(text.as_bytes()).unwrap();
    assert_eq!(below(&lines, None), Err(InvalidMountInfo::TooMany(MOST + 1)));
    assert_eq!(below(&lines[..MAX_MOUNTS], None).unwrap().len(), MAX_MOUNTS);
}

#[test]
fn as_many_mounts_upon_each_other_as_the_kernel_allows_take_no_square_of_time() {
    let line = |number| format!("{} {} 0:41 / / rw - tmpfs t rw\n", number + 1, number);
    let text: String = (1..=MOST).rev().map(line).collect();
    let lines = parse(text.as_bytes()).unwrap();
    assert_eq!(below(&lines, None), Err(InvalidMountInfo::TooMany(MOST)));
}

#[test]
fn the_mounts_of_this_process_are_understood() {
    let lines = parse(&std::fs::read("/proc/self/mountinfo").unwrap()).unwrap();
    assert_eq!(below(&lines, None).unwrap()[0].point, RulePath::root());
}

/// What [`hidden_points`] says, by its definition.
fn is_hidden(line: &MountLine, siblings: &[&MountLine]) -> bool {
    let above =
        |other: &&MountLine| strip(&line.point, &other.point).is_some_and(|rest| !rest.is_empty());
    siblings.iter().any(above)
}

proptest! {
    #[test]
    fn hidden_is_what_lies_below_a_sibling(
        points in proptest::collection::vec("/|(/[ab-]{1,2}){1,4}", 0..12),
    ) {
        let line = |point: String| MountLine {
            id: 2, parent: 1, dev: 1, root: Some("/".into()), point, fs_type: "tmpfs".into(),
        };
        let lines: Vec<_> = points.into_iter().map(line).collect();
        let siblings: Vec<_> = lines.iter().collect();
        let hidden = hidden_points(&siblings);
        for line in &siblings {
            prop_assert_eq!(hidden.contains(&*line.point), is_hidden(line, &siblings), "{}", line.point);
        }
    }

    #[test]
    fn no_text_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(lines) = parse(&bytes) {
            let _ = below(&lines, None);
        }
    }
}
