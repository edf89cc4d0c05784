// SPDX-License-Identifier: Apache-2.0
//! Messages to domain types: every field is checked here, and nowhere else.

use std::{collections::BTreeSet, num::NonZeroU64};

use kadapter_proto::policy::v1 as pb;

use prost::Message as _;

use super::{InvalidRuleSet, scan};
use crate::{
    feature::Feature,
    ids::{Generation, RuleId, Target},
    limits::{
        MAX_ALLOWED_ARGS, MAX_APPLETS, MAX_ARG_BYTES, MAX_AUTOMATON_BYTES, MAX_NAME_BYTES,
        MAX_PATH_BYTES, MAX_RULES, MAX_SOURCES, MAX_SYSCALLS, MAX_TARGET_BYTES, MAX_WORD_BYTES,
    },
    object::{Directory, Match, Object, PathObject},
    options::{NameGuard, Options, Posture, Postures, Revoke},
    path::{InvalidPath, RulePath},
    rule::{Action, Category, Rule, Source},
    rule_set::{FORMAT, RuleSet},
};

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

fn object(kind: pb::object::Kind) -> Result<Object> {
    use pb::object::Kind;
    match kind {
        Kind::Path(message) => path_object(message),
        Kind::Directory(message) => Ok(Object::Directory(directory(message, "rules.directory")?)),
        Kind::Execname(name) => execname(name),
        Kind::Automaton(message) => {
            bounded("rules.automaton", message.program.len(), 1, MAX_AUTOMATON_BYTES)?;
            Ok(Object::Automaton(message.program))
        }
        Kind::Applet(message) => applet(message),
        Kind::Content(message) => {
            let got = message.sha256.len();
            let sha256 = message.sha256.try_into().map_err(|_| InvalidRuleSet::OutOfBounds {
                field: "rules.content.sha256",
                got,
                least: 32,
                most: 32,
            })?;
            Ok(Object::Content { sha256, size: message.size })
        }
        Kind::Link(text) => Ok(Object::Link(path(text, "rules.link")?)),
        Kind::Socket(pb::Socket { family, r#type: kind, protocol }) => {
            Ok(Object::Socket { family, kind, protocol })
        }
        Kind::Capability(name) => capability(name),
        Kind::Syscall(message) => syscall(message),
        Kind::Dns(message) => dns(message),
    }
}

fn path_object(message: pb::PathObject) -> Result<Object> {
    let matching = match pb::Match::try_from(message.r#match) {
        Ok(pb::Match::Name) => Match::Name,
        Ok(pb::Match::Identity) => Match::Identity,
        Ok(pb::Match::Unspecified) | Err(_) => {
            let value = message.r#match;
            return Err(InvalidRuleSet::UnknownValue { field: "rules.path.match", value });
        }
    };
    Ok(Object::Path(PathObject { path: path(message.path, "rules.path.path")?, matching }))
}

fn execname(name: String) -> Result<Object> {
    base_name(&name, "rules.execname")?;
    Ok(Object::ExecName(name))
}

fn base_name(name: &str, field: &'static str) -> Result<()> {
    bounded(field, name.len(), 1, MAX_NAME_BYTES)?;
    if name.contains('/') {
        let source = InvalidPath::NotNormal(name.into());
        return Err(InvalidRuleSet::Path { field, source });
    }
    path(format!("/{name}"), field).map(drop)
}

fn applet(message: pb::Applet) -> Result<Object> {
    bounded("rules.applet.names", message.names.len(), 1, MAX_APPLETS)?;
    for name in &message.names {
        base_name(name, "rules.applet.names")?;
    }
    let names = ordered(message.names, "rules.applet.names")?;
    Ok(Object::Applet { binary: path(message.binary, "rules.applet.binary")?, names })
}

fn syscall(message: pb::Syscall) -> Result<Object> {
    bounded("rules.syscall.numbers", message.numbers.len(), 1, MAX_SYSCALLS)?;
    let numbers = ordered(message.numbers, "rules.syscall.numbers")?;
    let path = match message.path {
        text if text.is_empty() => None,
        text => Some(path(text, "rules.syscall.path")?),
    };
    Ok(Object::Syscall { numbers, path })
}

fn capability(name: String) -> Result<Object> {
    const FIELD: &str = "rules.capability";
    bounded(FIELD, name.len(), 1, MAX_WORD_BYTES)?;
    let normal = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let bare = !name.starts_with("cap_");
    written_as(normal && bare, FIELD, &name, "the lower-case name without `cap_`")?;
    Ok(Object::Capability(name))
}

fn dns(message: pb::Dns) -> Result<Object> {
    const FIELD: &str = "rules.dns.name";
    let name = message.name;
    bounded(FIELD, name.len(), 1, MAX_WORD_BYTES)?;
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
    };
    let normal = name.split('.').all(label);
    written_as(normal, FIELD, &name, "a lower-case host name without a trailing dot")?;
    Ok(Object::Dns { name, subdomains: message.subdomains })
}

fn directory(message: pb::Directory, field: &'static str) -> Result<Directory> {
    Ok(Directory {
        path: path(message.path, field)?,
        recursive: message.recursive,
        atomic_volume: message.atomic_volume,
    })
}

fn path(text: String, field: &'static str) -> Result<RulePath> {
    RulePath::new(text).map_err(|source| InvalidRuleSet::Path { field, source })
}

fn belongs(category: Category, object: &Object) -> bool {
    match object {
        Object::Path(_) | Object::Directory(_) | Object::Automaton(_) | Object::Content { .. } => {
            matches!(category, Category::Process | Category::File)
        }
        Object::ExecName(_) | Object::Applet { .. } => category == Category::Process,
        Object::Link(_) => category == Category::File,
        Object::Socket { .. } => category == Category::Network,
        Object::Capability(_) => category == Category::Capability,
        Object::Syscall { .. } => category == Category::Syscall,
        Object::Dns { .. } => category == Category::Dns,
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
