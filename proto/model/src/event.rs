// SPDX-License-Identifier: Apache-2.0
//! What the guest reports about one decision.

use kadapter_proto::guest::v1 as pb;

use crate::{
    ids::{Generation, RuleId, Target},
    limits::{MAX_EVENT_ARGS, MAX_EVENT_RULES, MAX_EVENT_TEXT_BYTES},
    primitive::Primitive,
    rule::Category,
    wire,
};

/// What was done with an access; greater is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Permitted.
    Allow,
    /// Permitted and reported.
    Audit,
    /// Denied and reported.
    Block,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// One or more rules decided.
    Rule,
    /// No rule matched in a whitelisted category.
    Posture,
    /// A task in no registered container.
    Guard,
    /// The decision could not be made.
    FailClosed,
    /// An attack on the enforcement itself.
    SelfProtection,
    /// An option of the rule set.
    Hardening,
}

/// One report. Text comes from the guest: show it, never obey it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Monotonic per boot of the guest, from 1; lost events have numbers too.
    pub sequence: u64,
    /// Events lost since the one before.
    pub dropped_before: u64,
    /// Nanoseconds since the epoch, guest clock.
    pub time_ns: u64,
    /// Empty when the guard decided.
    pub container_id: String,
    /// The container by name.
    pub target: Target,
    /// Rule set that decided.
    pub generation: Generation,
    /// All Audit and Block rules that decided.
    pub rules: Vec<RuleId>,
    /// LSM hook, by its kernel name.
    pub hook: String,
    /// Permitted or denied.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The option that decided, or made the rule speak of this access.
    pub primitive: Option<Primitive>,
    /// Kind of access.
    pub category: Category,
    /// Positive errno that the caller saw; zero if permitted.
    pub errno: i32,
    /// Thread group id in the guest's root pid namespace.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// As the container sees the pid.
    pub container_pid: u32,
    /// Real user id in the guest's root user namespace.
    pub uid: u32,
    /// Name of the acting thread.
    pub comm: String,
    /// Acting executable.
    pub exe: String,
    /// Executable of its parent.
    pub parent_exe: String,
    /// Object, as the container names it.
    pub path: String,
    /// Arguments of the acting process.
    pub argv: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Controlling terminal.
    pub tty: String,
    /// A text was longer than the record.
    pub truncated: bool,
}

/// Why a message is no [`Event`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// A field has no meaning that this build knows.
    #[error("event field `{field}` has the unknown value {value}; the guest is newer")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its number.
        value: i32,
    },
    /// A required part is missing or out of bounds.
    #[error("event: {0}")]
    RuleSet(#[from] wire::InvalidRuleSet),
}

impl From<Event> for pb::Event {
    fn from(event: Event) -> Self {
        Self {
            sequence: event.sequence,
            dropped_before: event.dropped_before,
            time_ns: event.time_ns,
            container_id: event.container_id,
            target: Some(event.target.into()),
            generation: event.generation.0,
            rule_ids: event.rules.into_iter().map(|rule| rule.0).collect(),
            hook: event.hook,
            verdict: verdict_to_wire(event.verdict).into(),
            reason: reason_to_wire(event.reason).into(),
            primitive: event.primitive.map_or(0, |primitive| primitive.to_wire().into()),
            category: wire::category_to_wire(event.category).into(),
            errno: event.errno,
            pid: event.pid,
            ppid: event.ppid,
            uid: event.uid,
            exe: event.exe,
            parent_exe: event.parent_exe,
            path: event.path,
            argv: event.argv,
            cwd: event.cwd,
            tty: event.tty,
            truncated: event.truncated,
            container_pid: event.container_pid,
            comm: event.comm,
        }
    }
}

impl TryFrom<pb::Event> for Event {
    type Error = InvalidEvent;

    fn try_from(event: pb::Event) -> Result<Self, InvalidEvent> {
        check_sizes(&event)?;
        Ok(Self {
            verdict: verdict_from_wire(event.verdict)?,
            reason: reason_from_wire(event.reason)?,
            primitive: primitive_from_wire(event.primitive)?,
            category: wire::category_from_wire(event.category, "category")?,
            target: wire::target_from_wire(event.target.unwrap_or_default())?,
            sequence: event.sequence,
            dropped_before: event.dropped_before,
            time_ns: event.time_ns,
            container_id: event.container_id,
            generation: Generation(event.generation),
            rules: event.rule_ids.into_iter().map(RuleId).collect(),
            hook: event.hook,
            errno: event.errno,
            pid: event.pid,
            ppid: event.ppid,
            container_pid: event.container_pid,
            uid: event.uid,
            comm: event.comm,
            exe: event.exe,
            parent_exe: event.parent_exe,
            path: event.path,
            argv: event.argv,
            cwd: event.cwd,
            tty: event.tty,
            truncated: event.truncated,
        })
    }
}

/// A guest may write what it likes, and the events of all guests wait in one queue.
fn check_sizes(event: &pb::Event) -> Result<(), InvalidEvent> {
    let pb::Event { container_id, hook, comm, exe, parent_exe, path, cwd, tty, argv, .. } = event;
    let texts = [container_id, hook, comm, exe, parent_exe, path, cwd, tty];
    let bytes = texts.into_iter().chain(argv).map(String::len).sum();
    wire::bounded("texts", bytes, 0, MAX_EVENT_TEXT_BYTES)?;
    wire::bounded("argv", argv.len(), 0, MAX_EVENT_ARGS)?;
    wire::bounded("rule_ids", event.rule_ids.len(), 0, MAX_EVENT_RULES)?;
    Ok(())
}

fn verdict_to_wire(verdict: Verdict) -> pb::Verdict {
    match verdict {
        Verdict::Allow => pb::Verdict::Allow,
        Verdict::Audit => pb::Verdict::Audit,
        Verdict::Block => pb::Verdict::Block,
    }
}

fn verdict_from_wire(value: i32) -> Result<Verdict, InvalidEvent> {
    match pb::Verdict::try_from(value) {
        Ok(pb::Verdict::Allow) => Ok(Verdict::Allow),
        Ok(pb::Verdict::Audit) => Ok(Verdict::Audit),
        Ok(pb::Verdict::Block) => Ok(Verdict::Block),
        Ok(pb::Verdict::Unspecified) | Err(_) => {
            Err(InvalidEvent::Unknown { field: "verdict", value })
        }
    }
}

fn reason_to_wire(reason: Reason) -> pb::Reason {
    match reason {
        Reason::Rule => pb::Reason::Rule,
        Reason::Posture => pb::Reason::Posture,
        Reason::Guard => pb::Reason::Guard,
        Reason::FailClosed => pb::Reason::FailClosed,
        Reason::SelfProtection => pb::Reason::SelfProtection,
        Reason::Hardening => pb::Reason::Hardening,
    }
}

fn reason_from_wire(value: i32) -> Result<Reason, InvalidEvent> {
    match pb::Reason::try_from(value) {
        Ok(pb::Reason::Rule) => Ok(Reason::Rule),
        Ok(pb::Reason::Posture) => Ok(Reason::Posture),
        Ok(pb::Reason::Guard) => Ok(Reason::Guard),
        Ok(pb::Reason::FailClosed) => Ok(Reason::FailClosed),
        Ok(pb::Reason::SelfProtection) => Ok(Reason::SelfProtection),
        Ok(pb::Reason::Hardening) => Ok(Reason::Hardening),
        Ok(pb::Reason::Unspecified) | Err(_) => {
            Err(InvalidEvent::Unknown { field: "reason", value })
        }
    }
}

fn primitive_from_wire(value: i32) -> Result<Option<Primitive>, InvalidEvent> {
    let known = pb::Primitive::try_from(value);
    let unknown = |_| InvalidEvent::Unknown { field: "primitive", value };
    known.map(Primitive::from_wire).map_err(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> pb::Event {
        pb::Event {
            verdict: pb::Verdict::Block.into(),
            reason: pb::Reason::Rule.into(),
            category: wire::category_to_wire(Category::File).into(),
            ..pb::Event::default()
        }
    }

    fn error(event: pb::Event) -> String {
        Event::try_from(event).unwrap_err().to_string()
    }

    #[test]
    fn an_event_of_a_hostile_guest_is_no_longer_than_a_record_can_be() {
        let of = |bytes| "x".repeat(bytes);
        let half = MAX_EVENT_TEXT_BYTES / 2;
        let longest = pb::Event { path: of(half), argv: vec![of(half)], ..event() };
        assert!(Event::try_from(longest.clone()).is_ok());
        let longer = pb::Event { hook: of(1), ..longest };
        assert!(error(longer).contains("`texts`"));
        let args = |number| pb::Event { argv: vec![String::new(); number], ..event() };
        assert!(Event::try_from(args(MAX_EVENT_ARGS)).is_ok());
        assert!(error(args(MAX_EVENT_ARGS + 1)).contains("`argv`"));
        let rule_ids = vec![7; MAX_EVENT_RULES + 1];
        assert!(error(pb::Event { rule_ids, ..event() }).contains("`rule_ids`"));
    }
}
