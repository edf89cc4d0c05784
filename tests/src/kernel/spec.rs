// SPDX-License-Identifier: Apache-2.0
//! What a kernel of this checkout is made of: the own one, or a [`Variant`] that lacks something.
//!
//! In: `kernel.lock` and fragments. Out: the source package to fetch, the options to merge,
//! and the inputs of the cache key. Never: keeps comments or order.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::cache::Inputs;

use super::build::RECIPE;
use super::config::{Config, Value};

/// The fragment that enforcement needs; [`super::needs`] reads its comments.
pub(super) const ENFORCE: &str = "enforce.conf";

/// In the order in which a person reads them: later ones build on earlier ones.
const FRAGMENTS: [&str; 3] = ["kata-like.conf", ENFORCE, "test.conf"];

/// What all variants have in common.
const LEAN: &str = include_str!("variants/lean.conf");

/// A kernel on which the agent must refuse, for tests: as little as boots, without what it is named
/// after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Neither BPF LSM nor type information.
    WithoutBpfLsm,
    /// No function tracer.
    WithoutFunctionTracer,
}

/// The source package, as `kernel.lock` pins it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    pub(super) package: String,
    pub(super) version: String,
    /// Where to look for a successor when the mirror drops the version.
    pub(super) suite: String,
}

/// Source and options together.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) lock: Lock,
    options: BTreeMap<String, Value>,
}

// === impl Spec ===

impl Spec {
    /// The own kernel.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let mut spec = Self::without_options(dir)?;
        for name in FRAGMENTS {
            spec.add(&read(dir, name)?).with_context(|| format!("reading {name}"))?;
        }
        Ok(spec)
    }

    /// A variant, of the same source.
    pub(super) fn of_variant(variant: Variant, dir: &Path) -> Result<Self> {
        let mut spec = Self::without_options(dir)?;
        for fragment in [LEAN, variant.fragment()] {
            spec.add(fragment).with_context(|| format!("the fragments of {}", variant.name()))?;
        }
        Ok(spec)
    }

    fn without_options(dir: &Path) -> Result<Self> {
        let lock = toml::from_str(&read(dir, "kernel.lock")?).context("reading kernel.lock")?;
        Ok(Self { lock, options: BTreeMap::new() })
    }

    fn add(&mut self, fragment: &str) -> Result<()> {
        for (option, value) in Config::parse(fragment)?.options {
            let known = self.options.get(&option);
            if let Some(known) = known.filter(|known| **known != value) {
                bail!("CONFIG_{option}={value}, but an earlier fragment has {known}");
            }
            self.options.insert(option, value);
        }
        Ok(())
    }

    /// The key of the built kernel.
    pub(super) fn inputs(&self) -> Inputs {
        Inputs::new()
            .bytes("recipe", RECIPE.to_le_bytes())
            .bytes("package", &self.lock.package)
            .bytes("version", &self.lock.version)
            .bytes("options", self.fragment())
    }

    /// All fragments as one, sorted and without comments.
    pub(super) fn fragment(&self) -> String {
        let line = |(option, value): (&String, &Value)| match value {
            Value::No => format!("# CONFIG_{option} is not set\n"),
            Value::Text(text) if text.parse::<i64>().is_ok() => format!("CONFIG_{option}={text}\n"),
            value => format!("CONFIG_{option}={value}\n"),
        };
        self.options.iter().map(line).collect()
    }

    /// Options that Kconfig changed, each with what was asked and what came out.
    pub(super) fn lost_in(&self, built: &Config) -> Vec<String> {
        let lost = self.options.iter().filter(|(option, value)| built.get(option) != *value);
        let line = |(option, value): (&String, &Value)| {
            format!("CONFIG_{option}={value} became {}", built.get(option))
        };
        lost.map(line).collect()
    }
}

fn read(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

// === impl Variant ===

impl Variant {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::WithoutBpfLsm, Self::WithoutFunctionTracer];

    /// As in `cargo xtask kernel build --variant`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WithoutBpfLsm => "without-bpf-lsm",
            Self::WithoutFunctionTracer => "without-function-tracer",
        }
    }

    fn fragment(self) -> &'static str {
        match self {
            Self::WithoutBpfLsm => include_str!("variants/without-bpf-lsm.conf"),
            Self::WithoutFunctionTracer => include_str!("variants/without-function-tracer.conf"),
        }
    }
}

impl FromStr for Variant {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|variant| variant.name() == name);
        found.with_context(|| format!("no variant is called `{name}`; there are: {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{FRAGMENTS, Spec, Variant};
    use crate::kernel::GUEST_KERNEL;
    use crate::kernel::config::Config;

    const LOCK: &str = "package = \"linux\"\nversion = \"1\"\nsuite = \"stable\"\n";

    /// A directory whose fragments are the given texts.
    fn spec(lock: &str, fragments: [&str; 3]) -> anyhow::Result<Spec> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kernel.lock"), lock).unwrap();
        for (name, text) in FRAGMENTS.iter().zip(fragments) {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Spec::read(dir.path())
    }

    #[test]
    fn comments_and_order_do_not_change_the_key_and_options_do() {
        let digest = |lock: &str, first: &str| {
            spec(lock, [first, "CONFIG_B=y", "CONFIG_C=y"]).unwrap().inputs().digest()
        };
        let options = "CONFIG_A=y\n# CONFIG_N is not set\n";
        let base = digest(LOCK, options);
        assert_eq!(base, digest(LOCK, "# why\n# CONFIG_N is not set\n\n#@ need\nCONFIG_A=y\n"));
        assert_eq!(base, digest(&format!("# newest\n{LOCK}"), options));
        assert_ne!(base, digest(LOCK, "CONFIG_A=y\n"));
        assert_ne!(base, digest(LOCK, "CONFIG_A=m\n# CONFIG_N is not set\n"));
        assert_ne!(base, digest(&LOCK.replace("\"1\"", "\"2\""), options));
    }

    #[test]
    fn fragments_that_contradict_each_other_are_refused() {
        let error = spec(LOCK, ["CONFIG_A=y", "CONFIG_B=y", "# CONFIG_A is not set"]).unwrap_err();
        let error = format!("{error:#}");
        assert_eq!(error, "reading test.conf: CONFIG_A=n, but an earlier fragment has y");
    }

    #[test]
    fn each_option_that_did_not_survive_is_named() {
        let spec = spec(LOCK, ["CONFIG_A=y\nCONFIG_N=8", "CONFIG_S=\"x\"", "CONFIG_T=y"]).unwrap();
        assert_eq!(
            spec.fragment(),
            "CONFIG_A=y\nCONFIG_N=8\nCONFIG_S=\"x\"\nCONFIG_T=y\n",
            "numbers are not quoted, strings are"
        );
        let built = Config::parse("CONFIG_A=m\nCONFIG_N=8\nCONFIG_S=\"x\"\n").unwrap();
        assert_eq!(spec.lost_in(&built), ["CONFIG_A=y became m", "CONFIG_T=y became n"]);
    }

    #[test]
    fn the_fragments_of_this_checkout_can_be_read() {
        let spec = Spec::read(Path::new(GUEST_KERNEL)).unwrap();
        assert!(spec.fragment().contains("CONFIG_BPF_LSM=y\n"));
        assert!(spec.fragment().contains("# CONFIG_LOCALVERSION_AUTO is not set\n"));
    }

    #[test]
    fn each_variant_lacks_what_it_is_named_after_and_is_a_kernel_of_its_own() {
        let dir = Path::new(GUEST_KERNEL);
        let spec = |variant| Spec::of_variant(variant, dir).unwrap();
        let lacks = |variant, option| {
            assert!(spec(variant).fragment().contains(&format!("# CONFIG_{option} is not set\n")));
        };
        lacks(Variant::WithoutBpfLsm, "BPF_LSM");
        lacks(Variant::WithoutBpfLsm, "DEBUG_INFO_BTF");
        lacks(Variant::WithoutFunctionTracer, "FUNCTION_TRACER");
        let mut digests = Variant::ALL.map(|variant| spec(variant).inputs().digest()).to_vec();
        digests.push(Spec::read(dir).unwrap().inputs().digest());
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 3);
    }

    #[test]
    fn variants_are_found_by_their_names() {
        for variant in Variant::ALL {
            assert_eq!(variant.name().parse::<Variant>().unwrap(), variant);
        }
        let error = "without".parse::<Variant>().unwrap_err().to_string();
        assert!(error.contains("without-bpf-lsm, without-function-tracer"), "{error}");
    }
}
