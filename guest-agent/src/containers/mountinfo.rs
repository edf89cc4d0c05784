// SPDX-License-Identifier: Apache-2.0
//! The text of /proc/PID/mountinfo, and the part of it that a container sees.
//!
//! Text flows in, [`Mount`]s flow out in an order in which a later one hides what is at or below
//! its point. The order comes from the tree of parents: the text's own order is that of creation,
//! and a mount can be moved. A container writes much of the text, so that no name in it is an error:
//! what a rule cannot name is placed above or nowhere. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use guest_bpf::abi;
use policy_model::{
    RulePath,
    limits::{MAX_PATH_BYTES, MAX_RULE_COMPONENTS},
};

use super::Mount;

/// Bytes of a text: the kernel allows 100,000 mounts in a namespace (fs.mount-max), and a line has
/// some 160 bytes. A container may write many and long ones.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// Mounts of one container that rules are lowered with: ten times those of a privileged container
/// that runs containers itself. Each costs a place or more in a table that all containers share.
pub const MAX_MOUNTS: usize = 2048;

/// One line of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// Number of the mount.
    pub id: u64,
    /// Number of the mount that it lies on.
    pub parent: u64,
    /// s_dev of the super block: major << 20 | minor.
    pub dev: u32,
    /// Path inside the super block that is mounted; none if it is no path that the engine matches.
    pub root: Option<String>,
    /// Where, as seen from the root of the process. What is not UTF-8 in it shows as U+FFFD.
    pub point: String,
    /// Name of the file system's type.
    pub fs_type: String,
}

/// Why a text is no mountinfo that rules can be lowered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMountInfo {
    /// More mounts than the kernel allows by default, or long names.
    #[error("the table of mounts has more than {MAX_TEXT_BYTES} bytes; unmount some")]
    TooLong,
    /// More than rules are lowered with.
    #[error("there are {0} mounts, of which {MAX_MOUNTS} are looked at; unmount some")]
    TooMany(usize),
    /// Not a line of proc_pid_mountinfo(5).
    #[error("the line `{0}` is not as proc_pid_mountinfo(5) says")]
    Line(String),
    /// Nothing is mounted at or above the container's root.
    #[error("no mount holds the root `{0}`")]
    NoRoot(String),
}

/// Every line of a mountinfo.
///
/// # Errors
/// The first line that makes no sense, or a text that is too long.
pub fn parse(text: &[u8]) -> Result<Vec<MountLine>, InvalidMountInfo> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(InvalidMountInfo::TooLong);
    }
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

/// What a container sees whose root is at `prefix`; without one, at the root of the text.
///
/// # Errors
/// If nothing holds that root, or there are too many mounts below it.
pub fn below(
    lines: &[MountLine],
    prefix: Option<&RulePath>,
) -> Result<Vec<Mount>, InvalidMountInfo> {
    let visible = visible(lines)?;
    let prefix = prefix.map_or("/", RulePath::as_str);
    let holder = visible.iter().rposition(|line| strip(prefix, &line.point).is_some());
    let holder = holder.ok_or_else(|| InvalidMountInfo::NoRoot(prefix.into()))?;
    let mut mounts = Vec::new();
    if let Some(rest) = strip(prefix, &visible[holder].point).filter(|rest| !rest.is_empty()) {
        let root = visible[holder].root.as_ref().map(|root| join(root, rest));
        mounts.push(mount(visible[holder], root, "/"));
    }
    for line in &visible {
        if let Some(rest) = strip(&line.point, prefix) {
            mounts.push(mount(line, line.root.clone(), &format!("/{rest}")));
        }
    }
    match mounts.len() {
        number if number > MAX_MOUNTS => Err(InvalidMountInfo::TooMany(number)),
        _ => Ok(mounts),
    }
}

/// The lines that can be reached, each before those that lie on it.
fn visible(lines: &[MountLine]) -> Result<Vec<&MountLine>, InvalidMountInfo> {
    let mut children: BTreeMap<u64, Vec<&MountLine>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.id != line.parent) {
        children.entry(line.parent).or_default().push(line);
    }
    let ids: BTreeSet<u64> = lines.iter().map(|line| line.id).collect();
    let is_top = |line: &&MountLine| {
        line.point == "/" && (line.parent == line.id || !ids.contains(&line.parent))
    };
    let top = lines.iter().find(is_top).ok_or_else(|| InvalidMountInfo::NoRoot("/".into()))?;
    let mut reached = Vec::new();
    let mut pending = vec![top];
    while let Some(line) = pending.pop() {
        reached.push(line);
        // Each is taken once, so that a text with a circle ends too.
        let above = children.remove(&line.id).unwrap_or_default();
        let hidden = hidden_points(&above);
        let open = above.into_iter().filter(|child| !hidden.contains(&*child.point));
        pending.extend(open.rev());
    }
    Ok(reached)
}

/// A mount below the point of another that lies on the same one was covered by it.
fn hidden_points<'a>(siblings: &[&'a MountLine]) -> BTreeSet<&'a str> {
    let mut points: Vec<_> = siblings.iter().map(|line| line.point.as_str()).collect();
    // By names, so that all that is below a point follows it at once.
    points.sort_unstable_by(|one, other| one.split('/').cmp(other.split('/')));
    let (mut cover, mut hidden) = (None, BTreeSet::new());
    for point in points {
        match cover.and_then(|cover| strip(point, cover)) {
            None => cover = Some(point),
            Some("") => {}
            Some(_) => drop(hidden.insert(point)),
        }
    }
    hidden
}

fn mount(line: &MountLine, root: Option<String>, point: &str) -> Mount {
    let point = RulePath::new(point).unwrap_or_else(|_| nameable_above(point));
    let root = root.filter(|root| is_matched(root));
    Mount { dev: line.dev, root, point, fs_type: line.fs_type.clone(), atomic: false }
}

/// The deepest directory above a point that a rule can name: what rules say of all that is below it
/// holds for the mount.
fn nameable_above(point: &str) -> RulePath {
    let cut = &point[..point.floor_char_boundary(MAX_PATH_BYTES)];
    let above = cut.rsplit_once('/').map_or("", |(above, _)| above);
    let names: Vec<_> = above.split('/').skip(1).take(MAX_RULE_COMPONENTS).collect();
    RulePath::new(format!("/{}", names.join("/"))).unwrap_or_else(|_| RulePath::root())
}

/// Whether the engine can walk to it: no namespace (`mnt:[4026531840]`), nothing above the root of a
/// cgroup namespace (`/..`), and not too deep.
fn is_matched(root: &str) -> bool {
    let depth = root.split('/').filter(|name| !name.is_empty()).count();
    root.starts_with('/') && depth <= abi::MAX_DEPTH && root.split('/').all(|name| name != "..")
}

/// What is left of a path below an ancestor: empty for itself, none if it is elsewhere.
fn strip<'a>(path: &'a str, ancestor: &str) -> Option<&'a str> {
    if ancestor == "/" {
        return path.strip_prefix('/');
    }
    let rest = path.strip_prefix(ancestor)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn join(root: &str, rest: &str) -> String {
    format!("{}/{rest}", root.trim_end_matches('/'))
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS`
fn parse_line(line: &[u8]) -> Result<MountLine, InvalidMountInfo> {
    let invalid = || InvalidMountInfo::Line(String::from_utf8_lossy(line).into_owned());
    let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().skip(6).position(|field| *field == b"-").ok_or_else(invalid)? + 6;
    let number = |at: usize| -> Option<u64> { std::str::from_utf8(fields[at]).ok()?.parse().ok() };
    let device = std::str::from_utf8(fields[2]).ok().and_then(device).ok_or_else(invalid)?;
    let fs_type = fields.get(separator + 1).ok_or_else(invalid)?;
    let root = String::from_utf8(unescaped(fields[3])).ok();
    Ok(MountLine {
        id: number(0).ok_or_else(invalid)?,
        parent: number(1).ok_or_else(invalid)?,
        dev: device,
        // The kernel marks a root that was unlinked; its names in the kernel have no such mark.
        root: root.map(|root| root.strip_suffix("//deleted").map(str::to_owned).unwrap_or(root)),
        point: lossy(fields[4]),
        fs_type: lossy(fs_type),
    })
}

/// As the kernel packs it: 12 bits and 20 bits.
fn device(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once(':')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    (major < 1 << 12 && minor < 1 << 20).then_some(major << 20 | minor)
}

fn lossy(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(field)).into_owned()
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| octal(tail)).flatten();
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}
