// SPDX-License-Identifier: Apache-2.0
//! Objects of rules, from messages to domain types: each kind with its bounds and its spelling.
//!
//! In: the message of one object. Out: [`Object`], or the field that is wrong. Never: looks at the
//! rule around it, which `decode.rs` does.

use kadapter_proto::policy::v1 as pb;

use super::{Result, bounded, ordered, written_as};
use crate::{
    limits::{MAX_APPLETS, MAX_AUTOMATON_BYTES, MAX_NAME_BYTES, MAX_SYSCALLS, MAX_WORD_BYTES},
    object::{Directory, Match, Object, PathObject},
    path::{InvalidPath, RulePath},
    rule::Category,
    wire::InvalidRuleSet,
};

pub(super) fn object(kind: pb::object::Kind) -> Result<Object> {
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

pub(super) fn directory(message: pb::Directory, field: &'static str) -> Result<Directory> {
    Ok(Directory {
        path: path(message.path, field)?,
        recursive: message.recursive,
        atomic_volume: message.atomic_volume,
    })
}

pub(super) fn path(text: String, field: &'static str) -> Result<RulePath> {
    RulePath::new(text).map_err(|source| InvalidRuleSet::Path { field, source })
}

/// Whether a rule of this category may have this object.
pub(super) fn belongs(category: Category, object: &Object) -> bool {
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
