// SPDX-License-Identifier: Apache-2.0
//! Names that are well formed and that nothing in a container has.
//!
//! A policy and its effective rules flow in, one finding for each kind of name that matches nothing
//! flows out, with the field that was meant. What only some images lack is not known here: the guest
//! reports it.

use std::collections::BTreeMap;

use policy_model::{Category, Object, Rule, RulePath, Source};

use crate::{
    crd::{KubeArmorPolicy, Selector},
    effective::EffectivePolicy,
    finding::{Code, Finding},
    select::{CONTAINER_NAME_KEY, container_names},
};

/// Links in every container: those of proc(5), and those in `/dev` that the runtime makes
/// (<https://github.com/opencontainers/runtime-spec/blob/v1.2.1/runtime-linux.md#dev-symbolic-links>).
const LINKS: [&str; 11] = [
    "/proc/self",
    "/proc/thread-self",
    "/proc/mounts",
    "/proc/net",
    "/dev/fd",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/ptmx",
    "/var/run",
    "/var/lock",
];

/// What the last ones are links to; the others have another target for each process.
const TARGETS: [(&str, &str); 3] =
    [("/dev/ptmx", "/dev/pts/ptmx"), ("/var/run", "/run"), ("/var/lock", "/run/lock")];

/// Links in images with a merged `/usr`, which most are: hier(7) of Debian 12, Ubuntu, Fedora.
const MERGED: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Directories of every image that has them: file-hierarchy(7).
const DIRECTORIES: [&str; 37] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/etc",
    "/etc/cron.d",
    "/etc/init.d",
    "/etc/ssh",
    "/etc/ssl",
    "/home",
    "/lib",
    "/lib64",
    "/mnt",
    "/opt",
    "/proc",
    "/proc/sys",
    "/root",
    "/run",
    "/run/secrets",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/tmp",
];

/// Files of every image that has them.
const FILES: [&str; 6] =
    ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];

/// Bytes of a label's value, and of the name in its key.
const MAX_LABEL_BYTES: usize = 63;

/// What is odd about a name: the kind, its stable reason and the whole message.
struct Odd {
    code: Code,
    reason: &'static str,
    message: String,
}

/// What the author should know about names in rules and selectors.
pub(super) fn advise(policy: &KubeArmorPolicy, effective: &EffectivePolicy) -> Vec<Finding> {
    let mut found: BTreeMap<(Code, &str), (String, String, usize)> = BTreeMap::new();
    for entry in &effective.rules {
        let field = &entry.provenance.field;
        let of_sources = field.rsplit_once('.').map_or(field.as_str(), |(entry, _)| entry);
        let object = object_of(&entry.rule).map(|odd| (field.clone(), odd));
        let sources = entry.rule.sources.iter().filter_map(source);
        let sources = sources.map(|odd| (format!("{of_sources}.fromSource"), odd));
        for (field, Odd { code, reason, message }) in object.into_iter().chain(sources) {
            let (.., more) = found.entry((code, reason)).or_insert((field, message, 0));
            *more += 1;
        }
    }
    let finding = |code, field, message| Finding {
        code,
        policy: Some(effective.policy.clone()),
        field,
        message,
        counter_example: None,
    };
    let of_rules = found.into_iter().map(|((code, _), (field, message, count))| match count {
        1 => finding(code, field, message),
        count => finding(code, field, format!("{message} (and {} more of this kind)", count - 1)),
    });
    let of_selector = of_selector(&policy.spec.selector);
    let of_selector = of_selector.map(|(field, message)| finding(Code::DeadRule, field, message));
    of_rules.chain(of_selector).collect()
}

fn object_of(rule: &Rule) -> Option<Odd> {
    let is_program = rule.category == Category::Process;
    match &rule.object {
        Object::Path(object) => spelling(&object.path, "matchPatterns")
            .or_else(|| unexecutable(&object.path, is_program))
            .or_else(|| directory_as_file(&object.path, is_program))
            .or_else(|| link(&object.path)),
        Object::Directory(object) => spelling(&object.path, "matchPatterns")
            .or_else(|| unexecutable(&object.path, is_program))
            .or_else(|| file_as_directory(&object.path))
            .or_else(|| link(&object.path)),
        _ => None,
    }
}

fn source(source: &Source) -> Option<Odd> {
    let Source::Path(path) = source else { return None };
    spelling(path, "one entry for each program")
        .or_else(|| unexecutable(path, true))
        .or_else(|| directory_as_file(path, true))
        .or_else(|| script(path))
        .or_else(|| link(path))
}

/// What stands for something else in a shell, and for itself here.
fn spelling(path: &RulePath, instead: &str) -> Option<Odd> {
    let text = path.as_str();
    let pair = |open, close| text.split_once(open).is_some_and(|(_, rest)| rest.contains(close));
    let wild = if text.contains('*') {
        "`*`"
    } else if text.contains('?') {
        "`?`"
    } else if pair('[', ']') {
        "`[ ]`"
    } else if pair('{', '}') {
        "`{ }`"
    } else if text.contains("/$") || text.contains("/~/") {
        "a variable"
    } else if text.split('/').any(|name| name != name.trim()) {
        let message = format!("`{text}` has a name that begins or ends in a blank; remove it");
        return Some(Odd { code: Code::Unmatchable, reason: "blank", message });
    } else {
        return None;
    };
    let message = format!(
        "{wild} in `{text}` is taken as it stands, so no name matches; what is meant is {instead}: \
         until that is built list the names, or use matchDirectories"
    );
    Some(Odd { code: Code::Unmatchable, reason: "pattern", message })
}

fn unexecutable(path: &RulePath, is_program: bool) -> Option<Odd> {
    let top = ["/proc", "/sys"].into_iter().find(|top| is_at_or_below(path, top))?;
    is_program.then(|| {
        let message = format!(
            "nothing is executed below `{top}`: a program that is started through `{path}` is known \
             by the path of its own file; name that one"
        );
        Odd { code: Code::WrongKind, reason: "unexecutable", message }
    })
}

fn directory_as_file(path: &RulePath, is_program: bool) -> Option<Odd> {
    if !DIRECTORIES.contains(&path.as_str()) {
        return None;
    }
    let what = if is_program {
        "which is not executed"
    } else {
        "the rule does not speak of what is in it"
    };
    let message = format!(
        "`{path}` is a directory, {what}; write it as `dir: {}/` of matchDirectories",
        path.as_str().trim_end_matches('/')
    );
    Some(Odd { code: Code::WrongKind, reason: "directory", message })
}

fn file_as_directory(path: &RulePath) -> Option<Odd> {
    FILES.contains(&path.as_str()).then(|| {
        let message =
            format!("`{path}` is a file; write it as `path` of matchPaths, without the last slash");
        Odd { code: Code::WrongKind, reason: "file", message }
    })
}

/// A script does not act: its interpreter does.
fn script(path: &RulePath) -> Option<Odd> {
    let endings = [".sh", ".py", ".pl", ".rb", ".php", ".js"];
    endings.iter().any(|ending| path.as_str().ends_with(ending)).then(|| {
        let message = format!(
            "`{path}` looks like a script, and who acts is its interpreter; name that one, such as \
             `/usr/bin/python3.11`"
        );
        Odd { code: Code::WrongKind, reason: "script", message }
    })
}

fn link(path: &RulePath) -> Option<Odd> {
    let odd = |reason, message| Odd { code: Code::SymlinkPath, reason, message };
    if let Some(link) = LINKS.into_iter().find(|link| is_at_or_below(path, link)) {
        let target = TARGETS.into_iter().find(|(from, _)| *from == link).map(|(_, target)| target);
        let rest = path.as_str().strip_prefix(link).unwrap_or_default();
        let remedy = match target {
            Some(target) => format!("write `{target}{rest}`"),
            None if link.starts_with("/proc") => {
                "the kernel sees `/proc/PID/...`; use `dir: /proc/` of matchDirectories, recursive"
                    .into()
            }
            None => "it stands for whatever the process has open; name that file".into(),
        };
        let message = format!(
            "`{link}` is a symbolic link, and no file is known by a name through it: {remedy}"
        );
        return Some(odd("link", message));
    }
    let link = MERGED.into_iter().find(|link| is_at_or_below(path, link))?;
    let message = format!(
        "where `{link}` is a symbolic link to `usr{link}`, as in most images, no file is known as \
         `{path}`; write `/usr{path}`, or both"
    );
    Some(odd("merged-usr", message))
}

fn is_at_or_below(path: &RulePath, directory: &str) -> bool {
    let rest = path.as_str().strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Labels and names that an API server gives to no pod, each with its field.
fn of_selector(selector: &Selector) -> impl Iterator<Item = (String, String)> {
    let labels = selector.match_labels.iter().filter(|(key, _)| *key != CONTAINER_NAME_KEY);
    let labels = labels.filter(|(key, value)| !is_label(key, value)).map(|(key, value)| {
        let field = format!("spec.selector.matchLabels.{key}");
        (
            field,
            format!("no pod can have the label `{key}={value}`; labels are compared as they stand"),
        )
    });
    let values = selector.match_expressions.iter().enumerate().flat_map(|(at, entry)| {
        let split = |value: &&String| {
            value.split_once('=').is_some_and(|(key, value)| !is_label(key, value))
        };
        entry.values.iter().filter(split).map(move |value| {
            let field = format!("spec.selector.matchExpressions[{at}].values");
            (
                field,
                format!("no pod can have the label `{value}`; labels are compared as they stand"),
            )
        })
    });
    let names = container_names(selector).map(|chosen| chosen.names).unwrap_or_default();
    let names = names.into_iter().filter(|name| !is_dns_label(name)).map(|name| {
        let field = format!("spec.selector.matchLabels.{CONTAINER_NAME_KEY}");
        (
            field,
            format!("no container can have the name `{name}`; names are compared as they stand"),
        )
    });
    labels.chain(values).chain(names)
}

/// As an API server validates it:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
fn is_label(key: &str, value: &str) -> bool {
    let word = |text: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let ends = |c: char| c.is_ascii_alphanumeric();
        text.len() <= MAX_LABEL_BYTES
            && text.chars().all(inner)
            && text.starts_with(ends)
            && text.ends_with(ends)
    };
    let (prefix, name) = key.split_once('/').unwrap_or(("x", key));
    (value.is_empty() || word(value)) && word(name) && prefix.split('.').all(is_dns_label)
}

fn is_dns_label(name: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_LABEL_BYTES
        && name.chars().all(|c| ends(c) || c == '-')
        && name.starts_with(ends)
        && name.ends_with(ends)
}

#[cfg(test)]
mod tests;
