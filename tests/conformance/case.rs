// SPDX-License-Identifier: Apache-2.0
//! Cases as data: how they are written, and where they lie.
//!
//! In: a directory. Out: every [`Case`] below it, validated against `schema.json`. YAML files with an
//! `apiVersion` are objects of Kubernetes that cases name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use boon::{Compiler, SchemaIndex, Schemas};
use e2e::rootfs::Medium;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const SCHEMA: &str = include_str!("schema.json");

/// Under which policies what may be done.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(default)]
    #[expect(dead_code, reason = "for people")]
    about: String,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    root: String,
    #[serde(default)]
    pub(crate) user: u32,
    #[serde(default)]
    pub(crate) caps: Caps,
    #[serde(default = "literal")]
    level: String,
    #[serde(default = "audit")]
    posture: String,
    #[serde(default)]
    policies: Vec<Value>,
    #[serde(default = "main_container")]
    pub(crate) containers: Vec<Container>,
    #[serde(default)]
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) steps: Vec<Step>,
}

/// Capabilities of the containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Caps {
    #[default]
    Default,
    All,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Container {
    pub(crate) name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A file beside the image.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum File {
    Text(String),
    Script(String),
    Copy(String),
    Variant(String),
    Hardlink(String),
    Symlink(String),
    #[expect(dead_code, reason = "it is always true: the name says all")]
    Directory(bool),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    Run(Run),
    Policy { policy: PolicyChange },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PolicyChange {
    Delete,
    Apply,
}

/// A program in a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    #[serde(rename = "in")]
    container: Option<String>,
    pub(crate) run: Vec<String>,
    pub(crate) expect: Expect,
    #[serde(default)]
    pub(crate) events: Vec<Event>,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Expect {
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "EACCES")]
    Eacces,
    #[serde(rename = "EPERM")]
    Eperm,
    #[serde(rename = "denied")]
    Denied,
    /// Before its first instruction.
    #[serde(rename = "killed")]
    Killed,
}

/// An event that is expected: what is given must be so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) verdict: String,
    pub(crate) hook: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) primitive: Option<String>,
}

/// Every case below a directory, by id.
pub(crate) fn load(directory: &Path) -> Result<Vec<Case>> {
    let schema = Schema::compile()?;
    let mut cases = Vec::new();
    for file in yaml_files(directory)? {
        let case = read(&file, &schema).with_context(|| file.display().to_string())?;
        cases.extend(case);
    }
    cases.sort_by(|one: &Case, other| one.id.cmp(&other.id));
    if let Some([one, _]) = cases.array_windows().find(|[one, other]| one.id == other.id) {
        bail!("two cases have the id `{}`", one.id);
    }
    ensure!(!cases.is_empty(), "{} has no case", directory.display());
    Ok(cases)
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path, schema: &Schema) -> Result<Option<Case>> {
    parse(&fs::read_to_string(file)?, file, schema)
}

/// A case as text, beside whose file lie the policies that it names.
pub(crate) fn parse(text: &str, file: &Path, schema: &Schema) -> Result<Option<Case>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let [document] = <[Value; 1]>::try_from(documents)
        .map_err(|documents| anyhow::anyhow!("{} documents instead of one", documents.len()))?;
    if document.get("apiVersion").is_some() {
        return Ok(None);
    }
    schema.validate(&document)?;
    let mut case: Case = serde_json::from_value(document)?;
    for policy in &mut case.policies {
        if let Value::String(name) = policy {
            let beside = file.with_file_name(&*name);
            let text = fs::read_to_string(&beside).with_context(|| beside.display().to_string())?;
            *policy = serde_saphyr::from_str(&text)?;
        }
    }
    for run in case.steps.iter().filter_map(Step::run) {
        case.container(run)?;
    }
    Ok(Some(case))
}

// === impl Case ===

impl Case {
    pub(crate) fn medium(&self) -> Result<Medium> {
        Ok(self.root.parse()?)
    }

    /// Index of the container that a step runs in.
    pub(crate) fn container(&self, run: &Run) -> Result<usize> {
        let Some(name) = &run.container else { return Ok(0) };
        let found = self.containers.iter().position(|container| container.name == *name);
        found.with_context(|| format!("no container is called `{name}`"))
    }

    /// The policies as objects of this namespace, with their level.
    pub(crate) fn policies(&self, namespace: &str) -> Vec<Value> {
        let policies = self.policies.iter().cloned().map(|mut policy| {
            policy["apiVersion"] = "security.kubearmor.com/v1".into();
            policy["kind"] = "KubeArmorPolicy".into();
            policy["metadata"]["namespace"] = namespace.into();
            let annotations = &mut policy["metadata"]["annotations"];
            if annotations["kadapter.io/level"].is_null() {
                annotations["kadapter.io/level"] = self.level.clone().into();
            }
            policy
        });
        policies.collect()
    }

    /// The namespace, which sets the postures.
    pub(crate) fn namespace(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "annotations": { "kubearmor-file-posture": self.posture },
            },
        })
    }

    /// The pod of a container.
    pub(crate) fn pod(&self, container: usize, name: &str, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": format!("{name}-uid"),
                "labels": self.containers[container].labels,
            },
            "spec": { "runtimeClassName": "kata-kadapter", "containers": [{ "name": "main" }] },
        })
    }

    /// Whether some step is denied, and so has to be taken without policies too.
    pub(crate) fn has_denials(&self) -> bool {
        self.steps.iter().filter_map(Step::run).any(|run| run.expect != Expect::Ok)
    }
}

// === impl Step ===

impl Step {
    pub(crate) fn run(&self) -> Option<&Run> {
        match self {
            Self::Run(run) => Some(run),
            Self::Policy { .. } => None,
        }
    }
}

/// The compiled schema.
pub(crate) struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

// === impl Schema ===

impl Schema {
    pub(crate) fn compile() -> Result<Self> {
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        let add = compiler.add_resource("case.json", serde_json::from_str(SCHEMA)?);
        add.map_err(|error| anyhow::anyhow!("schema.json: {error}"))?;
        let index = compiler.compile("case.json", &mut schemas);
        let index = index.map_err(|error| anyhow::anyhow!("schema.json: {error}"))?;
        Ok(Self { schemas, index })
    }

    fn validate(&self, value: &Value) -> Result<()> {
        let valid = self.schemas.validate(value, self.index);
        valid.map_err(|error| anyhow::anyhow!("it is not as schema.json says: {error}"))
    }
}

fn literal() -> String {
    "literal".into()
}

fn audit() -> String {
    "audit".into()
}

fn main_container() -> Vec<Container> {
    vec![Container { name: "main".into(), labels: BTreeMap::new() }]
}
