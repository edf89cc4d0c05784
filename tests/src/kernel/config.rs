// SPDX-License-Identifier: Apache-2.0
//! Kernel configurations as text.
//!
//! In: the bytes of a `.config`, of `/proc/config.gz` or of a fragment. Out: options and values.
//! Never: knows what an option means.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde::{Serialize, Serializer};

/// A real configuration has about 0.3 MB; this bounds what a hostile one can unpack to.
const MAX_BYTES: u64 = 16 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Options by name (without `CONFIG_`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// The version in the header, as `make` writes it: `Linux/x86 6.12.95`.
    pub(super) title: Option<String>,
    pub(super) options: BTreeMap<String, Value>,
}

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `=y`
    Yes,
    /// `=m`
    Module,
    /// `is not set`
    No,
    /// A number or string, without quotes.
    Text(String),
}

/// Bytes that are no kernel configuration.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// It has the magic of gzip, and does not unpack.
    #[error("unpacking the configuration")]
    Gzip(#[source] std::io::Error),
    /// Larger than any configuration.
    #[error("the configuration is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Binary data, perhaps a kernel image.
    #[error("the configuration is not text")]
    NotText,
    /// A line that is neither an option nor a comment.
    #[error("line {line} is no kernel option: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// Text without a single option.
    #[error("there is not a single CONFIG_ line")]
    NoOptions,
}

// === impl Config ===

impl Config {
    /// Plain or compressed, told apart by the magic number.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        let mut plain = Vec::new();
        if bytes.starts_with(&GZIP_MAGIC) {
            let mut decoder = GzDecoder::new(bytes).take(MAX_BYTES + 1);
            decoder.read_to_end(&mut plain).map_err(InvalidConfig::Gzip)?;
        } else {
            plain.extend_from_slice(bytes);
        }
        if plain.len() as u64 > MAX_BYTES {
            return Err(InvalidConfig::TooLarge);
        }
        let text = String::from_utf8(plain).map_err(|_| InvalidConfig::NotText)?;
        Self::parse(&text)
    }

    /// If an option is named twice the later line holds, as in Kconfig.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let mut config = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some((name, value)) = option_of(line) {
                config.options.insert(name.to_owned(), value);
            } else if line.starts_with('#') {
                let title = || Some(line.trim_matches(['#', ' ']).split_once(" Kernel Conf")?.0);
                config.title = config.title.or_else(|| title().map(str::to_owned));
            } else if !line.is_empty() {
                let text = line.chars().take(60).collect();
                return Err(InvalidConfig::Line { line: number + 1, text });
            }
        }
        if config.options.is_empty() {
            return Err(InvalidConfig::NoOptions);
        }
        Ok(config)
    }

    /// An option that is not named is off.
    pub(super) fn get(&self, option: &str) -> &Value {
        self.options.get(option).unwrap_or(&Value::No)
    }
}

fn option_of(line: &str) -> Option<(&str, Value)> {
    if let Some(unset) = line.strip_prefix("# CONFIG_") {
        let name = unset.strip_suffix(" is not set")?;
        return is_symbol(name).then_some((name, Value::No));
    }
    let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    let value = match value {
        "y" => Value::Yes,
        "m" => Value::Module,
        "n" => Value::No,
        text => {
            let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            Value::Text(quoted.unwrap_or(text).to_owned())
        }
    };
    is_symbol(name).then_some((name, value))
}

fn is_symbol(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

// === impl Value ===

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("y"),
            Self::Module => f.write_str("m"),
            Self::No => f.write_str("n"),
            Self::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            other => serializer.collect_str(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::{Config, InvalidConfig, MAX_BYTES, Value};

    const TEXT: &str = "\
#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.12.95 Kernel Configuration
#
CONFIG_BPF=y
CONFIG_VSOCKETS=m
# CONFIG_BPF_LSM is not set
CONFIG_NR_CPUS=8
CONFIG_LSM=\"landlock,bpf\"

CONFIG_OFF=n
";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_form_of_a_value_is_read() {
        let config = Config::from_bytes(TEXT.as_bytes()).unwrap();
        assert_eq!(config.title.as_deref(), Some("Linux/x86 6.12.95"));
        assert_eq!(config.get("BPF"), &Value::Yes);
        assert_eq!(config.get("VSOCKETS"), &Value::Module);
        assert_eq!(config.get("NR_CPUS"), &Value::Text("8".to_owned()));
        assert_eq!(config.get("LSM"), &Value::Text("landlock,bpf".to_owned()));
        for off in ["BPF_LSM", "OFF", "NEVER_NAMED"] {
            assert_eq!(config.get(off), &Value::No, "{off}");
        }
    }

    #[test]
    fn a_compressed_configuration_is_told_by_its_magic() {
        let plain = Config::from_bytes(TEXT.as_bytes()).unwrap();
        assert_eq!(Config::from_bytes(&gzip(TEXT.as_bytes())).unwrap(), plain);
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let refused = |bytes: &[u8]| Config::from_bytes(bytes).unwrap_err();
        assert!(matches!(refused(b""), InvalidConfig::NoOptions));
        assert!(matches!(refused(b"# a comment\n"), InvalidConfig::NoOptions));
        assert!(matches!(refused(b"\x7fELF\xff"), InvalidConfig::NotText));
        assert!(matches!(refused(&gzip(TEXT.as_bytes())[..40]), InvalidConfig::Gzip(_)));
        let bomb = gzip(&vec![b'#'; usize::try_from(MAX_BYTES).unwrap() + 1]);
        assert!(matches!(refused(&bomb), InvalidConfig::TooLarge));
        let error = refused(b"CONFIG_BPF=y\n[package]\n");
        assert_eq!(error.to_string(), "line 2 is no kernel option: \"[package]\"");
    }

    #[test]
    fn the_later_line_holds() {
        let config = Config::parse("CONFIG_BPF=y\n# CONFIG_BPF is not set\n").unwrap();
        assert_eq!(config.get("BPF"), &Value::No);
    }
}
