// SPDX-License-Identifier: Apache-2.0
//! Strategies for every type of the contract, for property tests here and in the packages that use
//! these types.
//!
//! Random numbers flow in, valid values flow out: each set that comes from here decodes to itself.
//! Most paths are made of few names, so that rules and accesses meet; some use all that the wire
//! permits. Never yields invalid values: a test that wants one breaks a valid one.

mod object;
mod text;

use std::num::NonZeroU64;

use proptest::{collection::vec, option, prelude::*, sample::select};

pub use object::{any_directory, any_object, any_path_object};
pub use text::{any_path, near_path};

use crate::{
    access::Access,
    event::{Event, Reason, Verdict},
    ids::{Generation, RuleId, Target},
    object::{Content, Object},
    options::{NameGuard, Options, Posture, Postures, Revoke},
    path::RulePath,
    primitive::Primitive,
    rule::{Action, Category, Rule, Source},
    rule_set::RuleSet,
};

/// An access that owns what [`Access`] borrows.
#[derive(Clone, Debug)]
pub struct OwnedAccess {
    /// Kind of access.
    pub category: Category,
    /// Name used.
    pub path: Option<RulePath>,
    /// Names of the inode when the rules were applied.
    pub identities: Vec<RulePath>,
    /// Contents of the inode when the rules were applied.
    pub contents: Vec<Content>,
    /// Arguments of the program.
    pub argv: Option<Vec<String>>,
    /// Acting executable.
    pub exe: Option<RulePath>,
}

// === impl OwnedAccess ===

impl OwnedAccess {
    /// What the evaluator takes.
    #[must_use]
    pub fn view(&self) -> Access<'_> {
        Access {
            category: self.category,
            path: self.path.as_ref(),
            identities: &self.identities,
            programs: &[],
            contents: &self.contents,
            argv: self.argv.as_deref(),
            exe: self.exe.as_ref(),
            acts_as: &[],
        }
    }
}

/// Any category.
pub fn any_category() -> impl Strategy<Value = Category> {
    use Category::{Capability, Dns, File, Network, Process, Syscall};
    select(vec![Process, File, Network, Dns, Capability, Syscall])
}

/// Any action.
pub fn any_action() -> impl Strategy<Value = Action> {
    select(vec![Action::Allow, Action::Audit, Action::Block])
}

/// An id that no rule lacks: few numbers, so that some meet, and any.
pub fn any_rule_id() -> impl Strategy<Value = RuleId> {
    prop_oneof![1..8_u64, 1..=u64::MAX].prop_map(RuleId)
}

/// A program, or the programs of a directory.
pub fn any_source() -> impl Strategy<Value = Source> {
    prop_oneof![any_path().prop_map(Source::Path), any_directory().prop_map(Source::Directory)]
}

/// A rule of any category, with an object that it can have and any attributes.
pub fn any_rule() -> impl Strategy<Value = Rule> {
    let attributes = (any::<[bool; 3]>(), vec(text::any_argument(), 0..3));
    let head = any_category().prop_flat_map(|category| (Just(category), any_object(category)));
    (any_rule_id(), head, any_action(), vec(any_source(), 0..3), attributes).prop_map(
        |(id, (category, object), action, sources, ([owner_only, read_only, no_tty], args))| {
            let mut rule = Rule::new(id, category, action, object);
            rule.sources = sources;
            rule.owner_only = owner_only;
            rule.read_only = read_only;
            rule.no_tty = no_tty;
            rule.allowed_args = args;
            rule.canonicalise();
            rule
        },
    )
}

/// A rule that [`eval`](crate::eval::eval) judges, on near paths.
pub fn supported_rule() -> impl Strategy<Value = Rule> {
    let category = select(vec![Category::Process, Category::File]);
    let source = prop_oneof![
        near_path().prop_map(Source::Path),
        object::near_directory().prop_map(Source::Directory)
    ];
    let sources = prop_oneof![2 => Just(Vec::new()), 1 => vec(source, 1..3)];
    let args = prop_oneof![3 => Just(Vec::new()), 1 => vec(text::listed_argument(), 1..4)];
    (any_rule_id(), category, any_action(), object::supported_object(), (sources, args)).prop_map(
        |(id, category, action, object, (sources, args))| {
            let applet = matches!(object, Object::Applet { .. });
            let category = if applet { Category::Process } else { category };
            let mut rule = Rule::new(id, category, action, object);
            rule.sources = sources;
            if category == Category::Process && !applet {
                rule.allowed_args = args;
            }
            rule.canonicalise();
            rule
        },
    )
}

/// Any posture.
pub fn any_posture() -> impl Strategy<Value = Posture> {
    select(vec![Posture::Allow, Posture::Audit, Posture::Block])
}

/// Any posture for each category.
pub fn any_postures() -> impl Strategy<Value = Postures> {
    [any_posture(), any_posture(), any_posture(), any_posture(), any_posture()].prop_map(
        |[process, file, network, dns, capability]| Postures {
            process,
            file,
            network,
            dns,
            capability,
        },
    )
}

/// Any options.
pub fn any_options() -> impl Strategy<Value = Options> {
    let guard = select(vec![NameGuard::None, NameGuard::Object, NameGuard::Ancestors]);
    let revoke = select(vec![Revoke::Never, Revoke::OnChange]);
    (any::<[bool; 11]>(), guard, revoke).prop_map(|(switches, name_guard, revoke)| {
        let [taint, no_unlinked_exec, no_anonymous_exec, no_execmod, no_poke, ..] = switches;
        let [.., no_new_mounts, no_user_namespaces, known_file_systems_only, deny, _, _] = switches;
        let [.., allow_guard, hold] = switches;
        Options {
            taint,
            no_unlinked_exec,
            no_anonymous_exec,
            no_execmod,
            no_poke,
            no_new_mounts,
            no_user_namespaces,
            known_file_systems_only,
            name_guard,
            deny_reads_of_exec_blocked: deny,
            allow_guard,
            hold,
            revoke,
        }
    })
}

/// Any target, of names that Kubernetes could have given.
pub fn any_target() -> impl Strategy<Value = Target> {
    [text::any_word(), text::any_word(), text::any_word(), text::any_word()].prop_map(
        |[namespace, pod, pod_uid, container_name]| Target {
            namespace,
            pod,
            pod_uid,
            container_name,
        },
    )
}

/// Any set of these rules.
pub fn rule_set_of(rules: impl Strategy<Value = Vec<Rule>>) -> impl Strategy<Value = RuleSet> {
    let head = (any_target(), any::<u64>(), option::of(1..=u64::MAX));
    (head, any_postures(), any_options(), rules).prop_map(
        |((target, generation, not_after), postures, options, rules)| {
            let mut set = RuleSet::empty(target, Generation(generation));
            set.not_after = not_after.and_then(NonZeroU64::new);
            set.postures = postures;
            set.options = options;
            set.with_rules(rules)
        },
    )
}

/// Any set that the wire carries.
pub fn any_rule_set() -> impl Strategy<Value = RuleSet> {
    rule_set_of(vec(any_rule(), 0..8))
}

/// A set that [`eval`](crate::eval::eval) judges.
pub fn supported_rule_set() -> impl Strategy<Value = RuleSet> {
    rule_set_of(vec(supported_rule(), 0..12))
}

/// An access to near paths, by name, by identity, by content or by several of them.
pub fn any_access() -> impl Strategy<Value = OwnedAccess> {
    let category = select(vec![Category::Process, Category::File]);
    let names = (option::weighted(0.9, near_path()), vec(near_path(), 0..2));
    let argv = option::weighted(0.9, vec(text::near_argument(), 0..3));
    let object = (names, vec(object::near_content(), 0..2));
    (category, object, argv, option::weighted(0.9, near_path())).prop_map(
        |(category, ((path, identities), contents), argv, exe)| OwnedAccess {
            category,
            path,
            identities,
            contents,
            argv,
            exe,
        },
    )
}

/// Every option that some level of hardening asks for.
#[must_use]
pub fn all_options() -> Options {
    Options {
        taint: true,
        no_unlinked_exec: true,
        no_anonymous_exec: true,
        no_execmod: true,
        no_poke: true,
        no_new_mounts: true,
        no_user_namespaces: true,
        known_file_systems_only: true,
        name_guard: NameGuard::Ancestors,
        deny_reads_of_exec_blocked: true,
        allow_guard: true,
        hold: true,
        revoke: Revoke::Never,
    }
}

/// Any event.
pub fn any_event() -> impl Strategy<Value = Event> {
    use Reason::{FailClosed, Guard, Hardening, Posture, Rule, SelfProtection};
    let verdict = select(vec![Verdict::Allow, Verdict::Audit, Verdict::Block]);
    let reason = select(vec![Rule, Posture, Guard, FailClosed, SelfProtection, Hardening]);
    let primitive = option::of(select(Primitive::ALL));
    let why = (reason, primitive);
    let decision = (verdict, why, any_category(), vec(any_rule_id(), 0..3), any::<i32>());
    let place = (any_target(), any::<[u64; 4]>(), any::<[u32; 4]>(), any::<bool>());
    let texts = (any::<[String; 8]>(), vec(any::<String>(), 0..4));
    (decision, place, texts).prop_map(
        |(
            (verdict, (reason, primitive), category, rules, errno),
            (target, [sequence, dropped_before, time_ns, generation], ids, truncated),
            ([container_id, hook, comm, exe, parent_exe, path, cwd, tty], argv),
        )| {
            let [pid, ppid, container_pid, uid] = ids;
            Event {
                sequence,
                dropped_before,
                time_ns,
                container_id,
                target,
                generation: Generation(generation),
                rules,
                hook,
                verdict,
                reason,
                primitive,
                category,
                errno,
                pid,
                ppid,
                container_pid,
                uid,
                comm,
                exe,
                parent_exe,
                path,
                argv,
                cwd,
                tty,
                truncated,
            }
        },
    )
}
