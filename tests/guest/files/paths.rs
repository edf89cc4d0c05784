// SPDX-License-Identifier: Apache-2.0
//! Ways to a file: a rule's path is the container's, and holds on each of them.

use anyhow::{Result, ensure};
use e2e::{
    node::{Node, NodeConfig},
    rootfs::{Capabilities, Rootfs},
};

use super::{PLANT, file_policy};
use crate::steps::{allowed, becomes_allowed, becomes_denied, denied, event_on};

#[test]
fn a_file_of_a_volume_is_named_as_the_container_names_it() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-volume"))?;
    node.vm.sh("mkdir -p /run/volume && echo text > /run/volume/secret && \
                echo other > /run/volume/plain")?;
    node.pod("web", "nginx")?;
    node.pod("other", "redis")?;
    let bound = |pod, at| Node::container(pod, Rootfs::Busybox).bind("/run/volume", at);
    let web = bound("web", "/data").run(&node.vm)?;
    let other = bound("other", "/elsewhere").run(&node.vm)?;
    allowed(&web, "cat /data/secret")?;

    node.write("files.yaml", &file_policy("matchPaths", &["path: /data/secret"], "Block"))?;
    becomes_denied(&web, "cat /data/secret")?;
    allowed(&web, "cat /data/plain")?;
    event_on(&node, "/data/secret", "Block")?;
    allowed(&other, "cat /elsewhere/secret")?;
    ensure!(node.vm.sh("cat /run/volume/secret")? == "text\n", "the guest's own access");

    node.remove("files.yaml")?;
    becomes_allowed(&web, "cat /data/secret")
}

/// Each gives the file another name, or another root.
const DETOURS: [&str; 6] = [
    "cd /srv/tree && cat ./sub/../file",
    "ln -sf /srv/tree/file /tmp/link && cat /tmp/link",
    "cat /proc/self/root/srv/tree/file",
    "unshare -m sh -c 'mount -o bind /srv/tree /mnt && cat /mnt/file'",
    "unshare -m sh -c 'mount -o bind /srv /mnt && cat /mnt/tree/file'",
    "chroot /srv/tree /busybox cat /file",
];

#[test]
fn mounts_links_and_roots_of_its_own_lead_no_container_around_a_rule() -> Result<()> {
    let node = Node::start(&NodeConfig::new("file-detours"))?;
    node.pod("web", "nginx")?;
    let web = Node::container("web", Rootfs::Busybox).capabilities(Capabilities::All);
    let web = web.run(&node.vm)?;
    allowed(&web, &format!("mkdir -p /mnt && {PLANT} && cp /bin/busybox /srv/tree/busybox"))?;
    for detour in DETOURS {
        allowed(&web, detour)?;
    }

    node.write("files.yaml", &file_policy("matchPaths", &["path: /srv/tree/file"], "Block"))?;
    becomes_denied(&web, "cat /srv/tree/file")?;
    for detour in DETOURS {
        denied(&web, detour)?;
    }
    // The ways themselves are open: it is the file that is not.
    allowed(&web, "unshare -m sh -c 'mount -o bind /srv/tree /mnt && cat /mnt/sub/file'")?;
    allowed(&web, "chroot /srv/tree /busybox cat /sub/file")?;

    node.remove("files.yaml")?;
    becomes_allowed(&web, DETOURS[3])
}
