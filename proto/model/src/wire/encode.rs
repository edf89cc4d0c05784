// SPDX-License-Identifier: Apache-2.0
//! Domain types to messages: total, and equal sets give equal messages.

use std::num::NonZeroU64;

use kadapter_proto::policy::v1 as pb;

use crate::{
    ids::Target,
    object::{Directory, Match, Object, PathObject},
    options::{NameGuard, Options, Posture, Postures, Revoke},
    rule::{Action, Category, Rule, Source},
    rule_set::{FORMAT, RuleSet},
};

impl From<&RuleSet> for pb::RuleSet {
    fn from(set: &RuleSet) -> Self {
        Self {
            format: FORMAT,
            target: Some(set.target.clone().into()),
            generation: set.generation.0,
            not_after: set.not_after.map_or(0, NonZeroU64::get),
            postures: Some((&set.postures).into()),
            options: Some((&set.options).into()),
            required_features: set.features().iter().map(ToString::to_string).collect(),
            rules: set.rules().iter().map(Into::into).collect(),
        }
    }
}

impl From<Target> for pb::Target {
    fn from(target: Target) -> Self {
        Self {
            namespace: target.namespace,
            pod: target.pod,
            pod_uid: target.pod_uid,
            container_name: target.container_name,
        }
    }
}

impl From<&Postures> for pb::Postures {
    fn from(postures: &Postures) -> Self {
        Self {
            process: posture(postures.process),
            file: posture(postures.file),
            network: posture(postures.network),
            dns: posture(postures.dns),
            capability: posture(postures.capability),
        }
    }
}

impl From<&Options> for pb::Options {
    fn from(options: &Options) -> Self {
        let name_guard = match options.name_guard {
            NameGuard::None => pb::NameGuard::None,
            NameGuard::Object => pb::NameGuard::Object,
            NameGuard::Ancestors => pb::NameGuard::Ancestors,
        };
        let revoke = match options.revoke {
            Revoke::Never => pb::Revoke::Never,
            Revoke::OnChange => pb::Revoke::OnChange,
        };
        Self {
            taint: options.taint,
            no_unlinked_exec: options.no_unlinked_exec,
            no_anonymous_exec: options.no_anonymous_exec,
            no_execmod: options.no_execmod,
            no_poke: options.no_poke,
            no_new_mounts: options.no_new_mounts,
            no_user_namespaces: options.no_user_namespaces,
            known_file_systems_only: options.known_file_systems_only,
            name_guard: name_guard.into(),
            deny_reads_of_exec_blocked: options.deny_reads_of_exec_blocked,
            allow_guard: options.allow_guard,
            hold: options.hold,
            revoke: revoke.into(),
        }
    }
}

impl From<&Rule> for pb::Rule {
    fn from(rule: &Rule) -> Self {
        let action = match rule.action {
            Action::Allow => pb::Action::Allow,
            Action::Audit => pb::Action::Audit,
            Action::Block => pb::Action::Block,
        };
        Self {
            id: rule.id.0,
            category: category_to_wire(rule.category).into(),
            action: action.into(),
            object: Some(pb::Object { kind: Some(object(&rule.object)) }),
            sources: rule.sources.iter().map(source).collect(),
            owner_only: rule.owner_only,
            read_only: rule.read_only,
            no_tty: rule.no_tty,
            allowed_args: rule.allowed_args.clone(),
        }
    }
}

/// Number of a category.
#[must_use]
pub fn category_to_wire(category: Category) -> pb::Category {
    match category {
        Category::Process => pb::Category::Process,
        Category::File => pb::Category::File,
        Category::Network => pb::Category::Network,
        Category::Dns => pb::Category::Dns,
        Category::Capability => pb::Category::Capability,
        Category::Syscall => pb::Category::Syscall,
    }
}

fn posture(posture: Posture) -> i32 {
    let posture = match posture {
        Posture::Allow => pb::Posture::Allow,
        Posture::Audit => pb::Posture::Audit,
        Posture::Block => pb::Posture::Block,
    };
    posture.into()
}

fn source(source: &Source) -> pb::Source {
    let kind = match source {
        Source::Path(path) => pb::source::Kind::Path(path.to_string()),
        Source::Directory(dir) => pb::source::Kind::Directory(directory(dir)),
    };
    pb::Source { kind: Some(kind) }
}

fn directory(directory: &Directory) -> pb::Directory {
    pb::Directory {
        path: directory.path.to_string(),
        recursive: directory.recursive,
        atomic_volume: directory.atomic_volume,
    }
}

fn object(object: &Object) -> pb::object::Kind {
    use pb::object::Kind;
    match object {
        Object::Path(path) => Kind::Path(path_object(path)),
        Object::Directory(dir) => Kind::Directory(directory(dir)),
        Object::ExecName(name) => Kind::Execname(name.clone()),
        Object::Automaton(program) => Kind::Automaton(pb::Automaton { program: program.clone() }),
        Object::Applet { binary, names } => {
            Kind::Applet(pb::Applet { binary: binary.to_string(), names: names.clone() })
        }
        Object::Content { sha256, size } => {
            Kind::Content(pb::Content { sha256: sha256.to_vec(), size: *size })
        }
        Object::Link(path) => Kind::Link(path.to_string()),
        &Object::Socket { family, kind, protocol } => {
            Kind::Socket(pb::Socket { family, r#type: kind, protocol })
        }
        Object::Capability(name) => Kind::Capability(name.clone()),
        Object::Syscall { numbers, path } => Kind::Syscall(pb::Syscall {
            numbers: numbers.clone(),
            path: path.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        Object::Dns { name, subdomains } => {
            Kind::Dns(pb::Dns { name: name.clone(), subdomains: *subdomains })
        }
    }
}

fn path_object(object: &PathObject) -> pb::PathObject {
    let matching = match object.matching {
        Match::Name => pb::Match::Name,
        Match::Identity => pb::Match::Identity,
    };
    pb::PathObject { path: object.path.to_string(), r#match: matching.into() }
}
