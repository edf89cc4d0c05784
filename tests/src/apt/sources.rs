// SPDX-License-Identifier: Apache-2.0
//! Where this machine gets Debian from.
//!
//! In: the system's own package sources, in deb822 or one-line form. Out: a deb822 stanza for other
//! suites, from the same mirror. Never: names a mirror itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The release that a source must offer to count as a mirror of ours.
const RELEASE: &str = "bookworm";

/// Debian's own keyring package, for sources that name no key.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A mirror of Debian, and the key that its release files are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    uris: String,
    signed_by: Option<String>,
}

// === impl Mirror ===

impl Mirror {
    /// The first mirror among the sources of a system.
    pub(super) fn of_system(etc_apt: &Path) -> Result<Self> {
        for file in source_files(etc_apt) {
            let text =
                fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let deb822 = file.extension().is_some_and(|extension| extension == "sources");
            let found = if deb822 { from_deb822(&text) } else { from_lines(&text) };
            if let Some(mirror) = found {
                return Ok(mirror);
            }
        }
        let place = etc_apt.display();
        anyhow::bail!("{place} has no source with suite {RELEASE} and component main")
    }

    /// A deb822 stanza of these suites.
    pub(super) fn stanza(&self, suites: &str) -> String {
        let uris = &self.uris;
        let mut text = format!("Types: deb\nURIs: {uris}\nSuites: {suites}\nComponents: main\n");
        let keyring = || Path::new(KEYRING).exists().then(|| KEYRING.to_owned());
        if let Some(signed_by) = self.signed_by.clone().or_else(keyring) {
            text.push_str(&format!("Signed-By: {signed_by}\n"));
        }
        text
    }
}

fn source_files(etc_apt: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = listed
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "sources" || ext == "list"))
        .collect();
    files.sort();
    let one_file = etc_apt.join("sources.list");
    files.extend(one_file.is_file().then_some(one_file));
    files
}

fn from_deb822(text: &str) -> Option<Mirror> {
    let uncommented: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    uncommented.split(|line| line.trim().is_empty()).map(fields).find_map(|stanza| {
        let has = |field: &str, word| stanza.get(field)?.split_whitespace().find(|w| *w == word);
        has("types", "deb")?;
        has("suites", RELEASE)?;
        has("components", "main")?;
        if stanza.get("enabled").is_some_and(|value| value.trim() == "no") {
            return None;
        }
        let uris = stanza.get("uris")?.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(Mirror { uris, signed_by: stanza.get("signed-by").cloned() })
    })
}

/// Fields by lower-case name; folded values (an embedded key) keep their line breaks.
fn fields(stanza: &[&str]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    let mut current = String::new();
    for line in stanza {
        if line.starts_with([' ', '\t']) {
            let value = fields.entry(current.clone()).or_default();
            value.push('\n');
            value.push_str(line);
        } else if let Some((name, value)) = line.split_once(':') {
            current = name.to_ascii_lowercase();
            fields.insert(current.clone(), value.trim().to_owned());
        }
    }
    fields
}

fn from_lines(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        if suite != RELEASE || !words.any(|component| component == "main") {
            return None;
        }
        let key = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        Some(Mirror { uris: uri.to_owned(), signed_by: key.map(str::to_owned) })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Mirror, from_deb822, from_lines};

    fn mirror(uris: &str, signed_by: Option<&str>) -> Mirror {
        Mirror { uris: uris.to_owned(), signed_by: signed_by.map(str::to_owned) }
    }

    #[test]
    fn a_deb822_stanza_is_found_among_others() {
        let text = "\
# a comment
Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
# an older mirror
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/debian.gpg
";
        let expected = mirror("http://mirror.example/debian", Some("/keys/debian.gpg"));
        assert_eq!(from_deb822(text), Some(expected));
    }

    #[test]
    fn a_stanza_that_is_disabled_or_source_only_is_no_mirror() {
        let stanza = |extra| {
            let rest = "URIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n";
            from_deb822(&format!("{extra}\n{rest}"))
        };
        assert_eq!(stanza("Types: deb\nEnabled: no"), None);
        assert_eq!(stanza("Types: deb-src"), None);
        assert!(stanza("Types: deb\nEnabled: yes").is_some());
    }

    #[test]
    fn an_embedded_key_keeps_its_lines() {
        let text = "Types: deb\nURIs: http://m.example/d\nSuites: bookworm\nComponents: main\n\
                    Signed-By:\n -----BEGIN-----\n .\n abc\n";
        let found = from_deb822(text).unwrap();
        assert_eq!(found.signed_by.as_deref(), Some("\n -----BEGIN-----\n .\n abc"));
        assert!(found.stanza("bookworm").ends_with("Signed-By: \n -----BEGIN-----\n .\n abc\n"));
    }

    #[test]
    fn one_line_sources_are_read_with_and_without_options() {
        let plain =
            "deb-src http://m.example/d bookworm main\n deb http://m.example/d bookworm main";
        assert_eq!(from_lines(plain), Some(mirror("http://m.example/d", None)));
        let options = "deb [arch=amd64 signed-by=/k.gpg] http://m.example/d bookworm contrib main";
        assert_eq!(from_lines(options), Some(mirror("http://m.example/d", Some("/k.gpg"))));
        for other in
            ["# deb http://m.example/d bookworm main", "deb http://m.example/d trixie main"]
        {
            assert_eq!(from_lines(other), None, "{other}");
        }
    }

    #[test]
    fn all_source_files_of_a_system_are_searched() {
        let etc = tempfile::tempdir().unwrap();
        let error = Mirror::of_system(etc.path()).unwrap_err().to_string();
        assert!(error.contains("no source with suite bookworm"), "{error}");

        fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        fs::write(etc.path().join("sources.list.d/tool.list"), "deb http://t.example stable main")
            .unwrap();
        fs::write(etc.path().join("sources.list"), "deb http://m.example/d bookworm main").unwrap();
        let found = Mirror::of_system(etc.path()).unwrap();
        assert_eq!(found, mirror("http://m.example/d", None));
        assert!(found.stanza("bookworm other").contains("Suites: bookworm other\n"));
    }
}
