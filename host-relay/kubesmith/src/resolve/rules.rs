// SPDX-License-Identifier: Apache-2.0
//! The rules of the sections that are built: programs and files by path and by directory.

use policy_model::{
    Category, Directory, Match, Object, PathObject, Rule, RuleId, Source,
    limits::{MAX_ALLOWED_ARGS, MAX_ARG_BYTES, MAX_SOURCES},
};

use super::{Inherited, MAX_SEVERITY, Problem, path, unbuilt::not_built};
use crate::{
    crd::{Attributes, KubeArmorPolicy, SourcePath},
    effective::{EffectiveRule, Layer, PolicyRef, Provenance},
};

/// A rule as it is written.
pub(super) struct Draft<'a> {
    category: Category,
    /// Path of the entry, such as `spec.process.matchPaths[0]`.
    entry: String,
    object: Written<'a>,
    sources: &'a [SourcePath],
    allowed_args: &'a [String],
    /// Innermost first.
    levels: [Attributes<'a>; 3],
    /// Options that are set and not built yet.
    unbuilt: Vec<&'static str>,
}

enum Written<'a> {
    Path(Option<&'a str>),
    Directory { dir: &'a str, recursive: bool },
}

/// An entry of a list, whatever its type.
struct Entry<'a> {
    object: Written<'a>,
    sources: &'a [SourcePath],
    allowed_args: &'a [String],
    own: Attributes<'a>,
    /// Options that are not built yet, each with whether it is set.
    switches: Vec<(&'static str, bool)>,
}

/// The parts of a draft that all rules of one list share.
struct List<'a> {
    category: Category,
    name: &'static str,
    outer: [Attributes<'a>; 2],
}

/// All rules of the built sections, in the order of the object.
pub(super) fn draft(policy: &KubeArmorPolicy) -> Vec<Draft<'_>> {
    let mut drafts = process(policy);
    drafts.extend(file(policy));
    drafts
}

fn process(policy: &KubeArmorPolicy) -> Vec<Draft<'_>> {
    let section = &policy.spec.process;
    let outer = [section.attributes(), policy.spec.attributes()];
    let list = |name| List { category: Category::Process, name, outer };
    let paths = list("spec.process.matchPaths");
    let paths = section.match_paths.iter().enumerate().map(move |(index, rule)| {
        let switches = vec![
            ("execname", rule.execname.is_some()),
            ("ownerOnly", rule.owner_only),
            ("pts", rule.pts == Some(false)),
        ];
        let object = Written::Path(rule.path.as_deref());
        let (sources, own) = (&rule.from_source, rule.attributes());
        let allowed_args = &rule.allowed_args;
        paths.draft(index, Entry { object, sources, allowed_args, own, switches })
    });
    let directories = list("spec.process.matchDirectories");
    let directories = section.match_directories.iter().enumerate().map(move |(index, rule)| {
        let switches = vec![("ownerOnly", rule.owner_only), ("pts", rule.pts == Some(false))];
        let object = Written::Directory { dir: &rule.dir, recursive: rule.recursive };
        let (sources, own) = (&rule.from_source, rule.attributes());
        directories.draft(index, Entry { object, sources, allowed_args: &[], own, switches })
    });
    paths.chain(directories).collect()
}

fn file(policy: &KubeArmorPolicy) -> Vec<Draft<'_>> {
    let section = &policy.spec.file;
    let outer = [section.attributes(), policy.spec.attributes()];
    let list = |name| List { category: Category::File, name, outer };
    let paths = list("spec.file.matchPaths");
    let paths = section.match_paths.iter().enumerate().map(move |(index, rule)| {
        let switches = vec![
            ("readOnly", rule.read_only),
            ("ownerOnly", rule.owner_only),
            ("pts", rule.pts == Some(false)),
        ];
        let object = Written::Path(Some(&rule.path));
        let (sources, own) = (&rule.from_source, rule.attributes());
        paths.draft(index, Entry { object, sources, allowed_args: &[], own, switches })
    });
    let directories = list("spec.file.matchDirectories");
    let directories = section.match_directories.iter().enumerate().map(move |(index, rule)| {
        let switches = vec![
            ("readOnly", rule.read_only),
            ("ownerOnly", rule.owner_only),
            ("pts", rule.pts == Some(false)),
        ];
        let object = Written::Directory { dir: &rule.dir, recursive: rule.recursive };
        let (sources, own) = (&rule.from_source, rule.attributes());
        directories.draft(index, Entry { object, sources, allowed_args: &[], own, switches })
    });
    paths.chain(directories).collect()
}

// === impl List ===

impl<'a> List<'a> {
    fn draft(&self, index: usize, entry: Entry<'a>) -> Draft<'a> {
        let Entry { object, sources, allowed_args, own, switches } = entry;
        let [section, spec] = self.outer;
        Draft {
            category: self.category,
            entry: format!("{}[{index}]", self.name),
            object,
            sources,
            allowed_args,
            levels: [own, section, spec],
            unbuilt: switches.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect(),
        }
    }
}

// === impl Draft ===

impl Draft<'_> {
    /// The effective rule, or every problem of this entry.
    pub(super) fn finish(self, policy: &PolicyRef) -> Result<EffectiveRule, Vec<Problem>> {
        let mut problems: Vec<_> =
            self.unbuilt.iter().map(|name| not_built(format!("{}.{name}", self.entry))).collect();
        let object = self.object().map_err(|problem| problems.extend(problem));
        let sources = self.sources().map_err(|found| problems.extend(found));
        problems.extend(self.unusable_arguments());
        let inherited = Inherited::of(&self.levels);
        if inherited.severity > MAX_SEVERITY {
            let message = format!("{} is above {MAX_SEVERITY}", inherited.severity);
            problems.push(Problem::new(format!("{}.severity", self.entry), message));
        }
        let (Ok((field, object)), Ok(sources), true) = (object, sources, problems.is_empty())
        else {
            return Err(problems);
        };
        let mut rule = Rule::new(RuleId::default(), self.category, inherited.action, object);
        rule.sources = sources;
        rule.allowed_args = self.allowed_args.to_vec();
        let provenance = Provenance {
            policy: policy.clone(),
            field: format!("{}.{field}", self.entry),
            layer: Layer::User,
            severity: inherited.severity,
            tags: inherited.tags,
            message: inherited.message,
        };
        Ok(EffectiveRule::new(rule, provenance))
    }

    /// The object and the name of its field. An absent path is a problem of its own only if
    /// nothing else stands for it.
    fn object(&self) -> Result<(&'static str, Object), Option<Problem>> {
        let problem =
            |field, message: String| Some(Problem::new(format!("{}.{field}", self.entry), message));
        match self.object {
            Written::Path(Some(text)) => {
                let path = path::file(text).map_err(|error| problem("path", error.to_string()))?;
                Ok(("path", Object::Path(PathObject { path, matching: Match::Name })))
            }
            Written::Path(None) if self.unbuilt.contains(&"execname") => Err(None),
            Written::Path(None) => Err(problem("path", "missing; write the program's path".into())),
            Written::Directory { dir, recursive } => {
                let path =
                    path::directory(dir).map_err(|error| problem("dir", error.to_string()))?;
                Ok(("dir", Object::Directory(Directory { path, recursive, atomic_volume: false })))
            }
        }
    }

    fn unusable_arguments(&self) -> Vec<Problem> {
        let field = format!("{}.allowedArgs", self.entry);
        let count = self.allowed_args.len();
        if count > MAX_ALLOWED_ARGS {
            let message = format!("{count} arguments, a rule may have {MAX_ALLOWED_ARGS}");
            return vec![Problem::new(field, message)];
        }
        let problem = |(index, argument): (usize, &String)| {
            let message = match argument.len() {
                0..=MAX_ARG_BYTES if !argument.contains('\0') => return None,
                0..=MAX_ARG_BYTES => "no argument has a NUL in it".to_owned(),
                len => format!("{len} bytes, an argument may have {MAX_ARG_BYTES}"),
            };
            Some(Problem::new(format!("{field}[{index}]"), message))
        };
        self.allowed_args.iter().enumerate().filter_map(problem).collect()
    }

    fn sources(&self) -> Result<Vec<Source>, Vec<Problem>> {
        let field = format!("{}.fromSource", self.entry);
        if self.sources.len() > MAX_SOURCES {
            let message = format!(
                "{} sources, a rule may have {MAX_SOURCES}; split the rule",
                self.sources.len()
            );
            return Err(vec![Problem::new(field, message)]);
        }
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        for (index, source) in self.sources.iter().enumerate() {
            match path::file(&source.path) {
                Ok(path) => sources.push(Source::Path(path)),
                Err(error) => {
                    let field = format!("{field}[{index}].path");
                    problems.push(Problem::new(field, error.to_string()));
                }
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }
}
