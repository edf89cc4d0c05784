// SPDX-License-Identifier: Apache-2.0
//! A record of the kernel as an event.
//!
//! The record, the containers and the offset of two clocks flow in, an [`Event`] without a number
//! flows out. Text in it was chosen by processes of the guest: it is cut, never interpreted.

use std::time::Duration;

use guest_bpf::abi;
use policy_model::{
    Category, Event, Generation, Primitive, Reason, RuleId, Target, Verdict,
    limits::{MAX_EVENT_ARGS, MAX_EVENT_RULES, MAX_EVENT_TEXT_BYTES},
};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    containers::ContainerId,
    registry::{ContainerView, View},
};

/// What to add to a time since boot to get one since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootClock(u64);

/// Why a record is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// The programs are of another build than the agent.
    #[error("it has {0} bytes instead of {expected}", expected = size_of::<abi::Event>())]
    Size(usize),
    /// A number that stands for nothing.
    #[error("its `{field}` is {value}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its number.
        value: u8,
    },
}

// === impl BootClock ===

impl BootClock {
    /// The offset of now; the wall clock may be set at any time.
    #[must_use]
    pub fn now() -> Self {
        let nanoseconds = |id| {
            let time = clock_gettime(id);
            let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
            let rest = Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default());
            u64::try_from((seconds + rest).as_nanos()).unwrap_or(u64::MAX)
        };
        Self(nanoseconds(ClockId::Realtime).saturating_sub(nanoseconds(ClockId::Boottime)))
    }

    fn wall(self, boot_ns: u64) -> u64 {
        self.0.saturating_add(boot_ns)
    }
}

/// Reads a record.
///
/// # Errors
/// If it was not written by the programs of this build.
pub fn convert(record: &[u8], view: &View, clock: BootClock) -> Result<Event, InvalidRecord> {
    let record = read(record)?;
    let (container_id, target) = match record.container {
        0 => by_cgroup(&text(&record.cgroup), view),
        number => view.by_number(number).map(named).unwrap_or_default(),
    };
    let unknown = |field, value| InvalidRecord::Unknown { field, value };
    let hook = abi::HOOKS.get(usize::from(record.hook)).filter(|name| !name.is_empty());
    let is_late = hook.is_some_and(|name| *name == "bprm_committed_creds");
    let rules = record.rules.iter().take(usize::from(record.rules_len));
    let rules: Vec<_> = rules.copied().map(RuleId).collect();
    let argv = record.argv.get(..usize::from(record.argv_len)).unwrap_or(&record.argv);
    Ok(Event {
        sequence: 0,
        dropped_before: 0,
        time_ns: clock.wall(record.boot_ns),
        container_id,
        target,
        generation: Generation(record.generation),
        hook: (*hook.ok_or_else(|| unknown("hook", record.hook))?).to_owned(),
        verdict: verdict(record.verdict).ok_or_else(|| unknown("verdict", record.verdict))?,
        reason: reason(record.reason).ok_or_else(|| unknown("reason", record.reason))?,
        primitive: primitive(record.primitive)
            .ok_or_else(|| unknown("primitive", record.primitive))?,
        category: category(record.category).ok_or_else(|| unknown("category", record.category))?,
        errno: i32::try_from(record.errno_value).unwrap_or(i32::MAX),
        pid: record.pid,
        ppid: record.ppid,
        container_pid: record.container_pid,
        uid: record.uid,
        comm: text(&record.comm),
        exe: text(&record.exe),
        parent_exe: text(&record.parent_exe),
        path: if is_late {
            called(&text(&record.path), &text(&record.cwd))
        } else {
            text(&record.path)
        },
        argv: arguments(argv),
        cwd: text(&record.cwd),
        tty: text(&record.tty),
        truncated: record.truncated != 0 || rules.len() < record.total_rules as usize,
        rules,
    })
}

fn named(container: &ContainerView) -> (String, Target) {
    (container.id.to_string(), container.target.clone())
}

/// A container that was never registered, or refused, by the name that runtimes give to its cgroup:
/// its id, or with systemd `RUNTIME-ID.scope`.
fn by_cgroup(name: &str, view: &View) -> (String, Target) {
    let id = match name.strip_suffix(".scope") {
        Some(scope) => scope.rsplit_once('-').map_or(scope, |(_, id)| id),
        None if name.ends_with(".service") || name.ends_with(".slice") => {
            return Default::default();
        }
        None => name,
    };
    let Ok(id) = ContainerId::new(id) else { return Default::default() };
    let known = view.by_id(&id).map(named);
    known.unwrap_or_else(|| (id.to_string(), Target::default()))
}

fn read(record: &[u8]) -> Result<abi::Event, InvalidRecord> {
    if record.len() != size_of::<abi::Event>() {
        return Err(InvalidRecord::Size(record.len()));
    }
    #[expect(unsafe_code, reason = "a C structure of fixed size, without a crate for casts")]
    // SAFETY: the slice has the size of the structure, every bit pattern of whose integers is
    // valid, and the read asks for no alignment.
    let event = unsafe { record.as_ptr().cast::<abi::Event>().read_unaligned() };
    Ok(event)
}

/// A script that is decided by its arguments is shown as it was called, from where it was called.
fn called(path: &str, cwd: &str) -> String {
    if path.is_empty() || path.starts_with('/') {
        return path.to_owned();
    }
    let name = path.strip_prefix("./").unwrap_or(path);
    format!("{}/{name}", cwd.trim_end_matches('/'))
}

fn verdict(value: u8) -> Option<Verdict> {
    match value {
        abi::VERDICT_ALLOW => Some(Verdict::Allow),
        abi::VERDICT_AUDIT => Some(Verdict::Audit),
        abi::VERDICT_BLOCK => Some(Verdict::Block),
        _ => None,
    }
}

fn reason(value: u8) -> Option<Reason> {
    match value {
        abi::REASON_RULE => Some(Reason::Rule),
        abi::REASON_POSTURE => Some(Reason::Posture),
        abi::REASON_GUARD => Some(Reason::Guard),
        abi::REASON_FAIL_CLOSED => Some(Reason::FailClosed),
        abi::REASON_SELF_PROTECTION => Some(Reason::SelfProtection),
        abi::REASON_HARDENING => Some(Reason::Hardening),
        _ => None,
    }
}

/// Numbered from 1, in the order of `Primitive::ALL`; 0 = none.
fn primitive(value: u8) -> Option<Option<Primitive>> {
    match usize::from(value).checked_sub(1) {
        None => Some(None),
        Some(at) => Primitive::ALL.get(at).copied().map(Some),
    }
}

fn category(value: u8) -> Option<Category> {
    match u32::from(value) {
        abi::PROCESS => Some(Category::Process),
        abi::FILE => Some(Category::File),
        _ => None,
    }
}

/// A relay takes no longer ones: each byte may become the three of U+FFFD, and a script's path may have
/// its directory before it.
const _: () = {
    let paths = abi::PATH_BYTES + 4 * abi::EXE_BYTES;
    let texts = paths + abi::ARGV_BYTES + abi::TTY_BYTES + abi::COMM_BYTES;
    assert!(3 * texts + 1024 <= MAX_EVENT_TEXT_BYTES);
    assert!(abi::ARGV_BYTES <= MAX_EVENT_ARGS && abi::MAX_RULES <= MAX_EVENT_RULES);
};

/// Up to the NUL; the kernel leaves bytes behind it.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let arguments = bytes.split(|byte| *byte == 0);
    arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}
