// SPDX-License-Identifier: Apache-2.0
//! Messages to domain types: every field is checked here, and nowhere else.

use std::{collections::BTreeSet, num::NonZeroU64};

use kadapter_proto::policy::v1 as pb;

use prost::Message as _;

use self::objects::{belongs, directory, object, path};
use super::{InvalidRuleSet, scan};
use crate::{
    feature::Feature,
    ids::{Generation, RuleId, Target},
    limits::{
        MAX_ALLOWED_ARGS, MAX_APPLETS, MAX_ARG_BYTES, MAX_PATH_BYTES, MAX_RULES, MAX_SOURCES,
        MAX_SYSCALLS, MAX_TARGET_BYTES,
    },
    options::{NameGuard, Options, Posture, Postures, Revoke},
    rule::{Action, Category, Rule, Source},
    rule_set::{FORMAT, RuleSet},
};

mod objects;

type Result<T> = std::result::Result<T, InvalidRuleSet>;

impl TryFrom<pb::RuleSet> for RuleSet {
    type Error = InvalidRuleSet;

    fn try_from(mut message: pb::RuleSet) -> Result<Self> {
        if message.format != FORMAT {
            return Err(InvalidRuleSet::Format(message.format));
        }
        bounded("rules", message.rules.len(), 0, MAX_RULES)?;
        let rules = std::mem::take(&mut message.rules);
        let rules: Vec<_> = rules.into_iter().map(rule).collect::<Result<_>>()?;
        set_of(message, rules)
    }
}

/// The set that these bytes stand for, rule by rule: no more of it is in memory at once than a rule.
///
/// # Errors
/// The first reason why they stand for none.
pub(super) fn rule_set(bytes: &[u8]) -> Result<RuleSet> {
    const FORMAT_TAG: u32 = 1;
    const FEATURES: u32 = 7;
    const RULES: u32 = 8;
    let of_format = scan::fields(bytes).map_while(Result::ok).filter(|it| it.tag == FORMAT_TAG);
    match of_format.last().map(|it| u32::try_from(it.number).unwrap_or(u32::MAX)) {
        Some(FORMAT) => {}
        other => {
            check_message(bytes).and(Err(InvalidRuleSet::Format(other.unwrap_or_default())))?
        }
    }
    scan::bounded(bytes, RULES, "rules", MAX_RULES)?;
    scan::bounded(bytes, FEATURES, "required_features", Feature::ALL.len())?;
    let mut head = Vec::new();
    for field in scan::fields(bytes) {
        let field = field?;
        if field.tag != RULES {
            head.extend_from_slice(field.whole);
        }
    }
    let head = pb::RuleSet::decode(&*head).map_err(malformed)?;
    let encoded = scan::fields(bytes).filter(|field| !matches!(field, Ok(it) if it.tag != RULES));
    let rules = encoded.map(|field| {
        let content = field?.content;
        check_parts(content)?;
        rule(pb::Rule::decode(content).map_err(malformed)?)
    });
    set_of(head, rules.collect::<Result<_>>()?)
}

fn check_message(bytes: &[u8]) -> Result<()> {
    scan::fields(bytes).try_for_each(|field| field.map(drop))
}

/// Whether the lists of an encoded rule are short enough to be decoded.
fn check_parts(encoded: &[u8]) -> Result<()> {
    const OBJECT: u32 = 4;
    const SOURCES: u32 = 5;
    const ALLOWED_ARGS: u32 = 9;
    const APPLET: u32 = 5;
    const APPLET_NAMES: u32 = 2;
    const SYSCALL: u32 = 10;
    scan::bounded(encoded, SOURCES, "rules.sources", MAX_SOURCES)?;
    scan::bounded(encoded, ALLOWED_ARGS, "rules.allowed_args", MAX_ALLOWED_ARGS)?;
    // A second object would be merged with the first.
    scan::bounded(encoded, OBJECT, "rules.object", 1)?;
    let objects = scan::fields(encoded).filter_map(Result::ok).filter(|it| it.tag == OBJECT);
    for object in objects {
        scan::bounded(object.content, APPLET, "rules.applet", 1)?;
        scan::bounded(object.content, SYSCALL, "rules.syscall", 1)?;
        for kind in scan::fields(object.content) {
            match kind? {
                applet if applet.tag == APPLET => {
                    scan::bounded(applet.content, APPLET_NAMES, "rules.applet.names", MAX_APPLETS)?;
                }
                syscall if syscall.tag == SYSCALL => {
                    // Packed, each in up to five bytes; not packed, each in two or more.
                    let most = 5 * MAX_SYSCALLS + MAX_PATH_BYTES + 16;
                    bounded("rules.syscall", syscall.content.len(), 0, most)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn malformed(error: prost::DecodeError) -> InvalidRuleSet {
    InvalidRuleSet::Malformed(error.to_string())
}

/// A set of a message without its rules, and of these.
fn set_of(message: pb::RuleSet, rules: Vec<Rule>) -> Result<RuleSet> {
    let named = known_features(&message.required_features)?;
    if !ascending(rules.iter().map(|rule| rule.id)) {
        return Err(InvalidRuleSet::Unordered("rules"));
    }
    let mut set = RuleSet::empty(
        target_from_wire(message.target.ok_or(InvalidRuleSet::Missing("target"))?)?,
        Generation(message.generation),
    );
    set.not_after = NonZeroU64::new(message.not_after);
    set.postures = postures(message.postures.ok_or(InvalidRuleSet::Missing("postures"))?)?;
    set.options = options(message.options.ok_or(InvalidRuleSet::Missing("options"))?)?;
    let set = set.with_rules(rules);
    features_agree(&named, &set.features())?;
    Ok(set)
}

/// A target with names that Kubernetes could have given; parts may be empty.
///
/// # Errors
/// If a name is longer than any that exists.
pub fn target_from_wire(target: pb::Target) -> Result<Target> {
    let parts = [
        ("target.namespace", &target.namespace),
        ("target.pod", &target.pod),
        ("target.pod_uid", &target.pod_uid),
        ("target.container_name", &target.container_name),
    ];
    for (field, text) in parts {
        bounded(field, text.len(), 0, MAX_TARGET_BYTES)?;
    }
    Ok(Target {
        namespace: target.namespace,
        pod: target.pod,
        pod_uid: target.pod_uid,
        container_name: target.container_name,
    })
}

/// Category of a number.
///
/// # Errors
/// If it stands for none.
pub fn category_from_wire(value: i32, field: &'static str) -> Result<Category> {
    match pb::Category::try_from(value) {
        Ok(pb::Category::Process) => Ok(Category::Process),
        Ok(pb::Category::File) => Ok(Category::File),
        Ok(pb::Category::Network) => Ok(Category::Network),
        Ok(pb::Category::Dns) => Ok(Category::Dns),
        Ok(pb::Category::Capability) => Ok(Category::Capability),
        Ok(pb::Category::Syscall) => Ok(Category::Syscall),
        Ok(pb::Category::Unspecified) | Err(_) => {
            Err(InvalidRuleSet::UnknownValue { field, value })
        }
    }
}

fn known_features(names: &[String]) -> Result<BTreeSet<Feature>> {
    bounded("required_features", names.len(), 0, Feature::ALL.len())?;
    let features: Vec<Feature> =
        names.iter().map(|name| name.parse()).collect::<std::result::Result<_, _>>()?;
    if !ascending(features.iter().copied()) {
        return Err(InvalidRuleSet::Unordered("required_features"));
    }
    Ok(features.into_iter().collect())
}

fn features_agree(named: &BTreeSet<Feature>, needed: &BTreeSet<Feature>) -> Result<()> {
    match named.symmetric_difference(needed).next() {
        None => Ok(()),
        Some(feature) => Err(InvalidRuleSet::FeaturesDiffer(feature.to_string())),
    }
}

fn postures(message: pb::Postures) -> Result<Postures> {
    Ok(Postures {
        process: posture(message.process, "postures.process")?,
        file: posture(message.file, "postures.file")?,
        network: posture(message.network, "postures.network")?,
        dns: posture(message.dns, "postures.dns")?,
        capability: posture(message.capability, "postures.capability")?,
    })
}

fn posture(value: i32, field: &'static str) -> Result<Posture> {
    match pb::Posture::try_from(value) {
        Ok(pb::Posture::Allow) => Ok(Posture::Allow),
        Ok(pb::Posture::Audit) => Ok(Posture::Audit),
        Ok(pb::Posture::Block) => Ok(Posture::Block),
        Ok(pb::Posture::Unspecified) | Err(_) => Err(InvalidRuleSet::UnknownValue { field, value }),
    }
}

fn options(message: pb::Options) -> Result<Options> {
    let unknown = |field, value| InvalidRuleSet::UnknownValue { field, value };
    let name_guard = match pb::NameGuard::try_from(message.name_guard) {
        Ok(pb::NameGuard::None) => NameGuard::None,
        Ok(pb::NameGuard::Object) => NameGuard::Object,
        Ok(pb::NameGuard::Ancestors) => NameGuard::Ancestors,
        Err(_) => return Err(unknown("options.name_guard", message.name_guard)),
    };
    let revoke = match pb::Revoke::try_from(message.revoke) {
        Ok(pb::Revoke::Never) => Revoke::Never,
        Ok(pb::Revoke::OnChange) => Revoke::OnChange,
        Err(_) => return Err(unknown("options.revoke", message.revoke)),
    };
    Ok(Options {
        taint: message.taint,
        no_unlinked_exec: message.no_unlinked_exec,
        no_anonymous_exec: message.no_anonymous_exec,
        no_execmod: message.no_execmod,
        no_poke: message.no_poke,
        no_new_mounts: message.no_new_mounts,
        no_user_namespaces: message.no_user_namespaces,
        known_file_systems_only: message.known_file_systems_only,
        name_guard,
        deny_reads_of_exec_blocked: message.deny_reads_of_exec_blocked,
        allow_guard: message.allow_guard,
        hold: message.hold,
        revoke,
    })
}

fn rule(message: pb::Rule) -> Result<Rule> {
    let category = category_from_wire(message.category, "rules.category")?;
    let action = match pb::Action::try_from(message.action) {
        Ok(pb::Action::Allow) => Action::Allow,
        Ok(pb::Action::Audit) => Action::Audit,
        Ok(pb::Action::Block) => Action::Block,
        Ok(pb::Action::Unspecified) | Err(_) => {
            let value = message.action;
            return Err(InvalidRuleSet::UnknownValue { field: "rules.action", value });
        }
    };
    let kind = message.object.and_then(|object| object.kind);
    let object = object(kind.ok_or(InvalidRuleSet::Missing("rules.object"))?)?;
    if message.id == 0 {
        return Err(InvalidRuleSet::Missing("rules.id"));
    }
    if !belongs(category, &object) {
        return Err(InvalidRuleSet::ObjectOfOtherCategory { rule: message.id });
    }
    Ok(Rule {
        id: RuleId(message.id),
        category,
        action,
        object,
        sources: sources(message.sources)?,
        owner_only: message.owner_only,
        read_only: message.read_only,
        no_tty: message.no_tty,
        allowed_args: allowed_args(message.allowed_args)?,
    })
}

fn allowed_args(args: Vec<String>) -> Result<Vec<String>> {
    const FIELD: &str = "rules.allowed_args";
    bounded(FIELD, args.len(), 0, MAX_ALLOWED_ARGS)?;
    for arg in &args {
        bounded(FIELD, arg.len(), 0, MAX_ARG_BYTES)?;
        written_as(!arg.contains('\0'), FIELD, arg, "an argument without NUL")?;
    }
    ordered(args, FIELD)
}

fn sources(messages: Vec<pb::Source>) -> Result<Vec<Source>> {
    bounded("rules.sources", messages.len(), 0, MAX_SOURCES)?;
    ordered(messages.into_iter().map(source).collect::<Result<_>>()?, "rules.sources")
}

fn source(message: pb::Source) -> Result<Source> {
    match message.kind.ok_or(InvalidRuleSet::Missing("rules.sources"))? {
        pb::source::Kind::Path(text) => Ok(Source::Path(path(text, "rules.sources.path")?)),
        pb::source::Kind::Directory(message) => {
            Ok(Source::Directory(directory(message, "rules.sources.directory")?))
        }
    }
}

fn written_as(holds: bool, field: &'static str, text: &str, expected: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(InvalidRuleSet::Text { field, text: text.into(), expected }) }
}

pub(crate) fn bounded(field: &'static str, got: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&got) {
        Ok(())
    } else {
        Err(InvalidRuleSet::OutOfBounds { field, got, least, most })
    }
}

fn ordered<T: PartialOrd>(items: Vec<T>, field: &'static str) -> Result<Vec<T>> {
    if ascending(items.iter()) { Ok(items) } else { Err(InvalidRuleSet::Unordered(field)) }
}

fn ascending<T: PartialOrd>(items: impl Iterator<Item = T>) -> bool {
    items.is_sorted_by(|before, after| before < after)
}
