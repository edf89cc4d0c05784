// SPDX-License-Identifier: Apache-2.0
//! What an earlier agent left below the pin directory, and whether it may be removed.
//!
//! Names of pins, the build that the pinned settings tell and the registrations that the pinned
//! slots tell flow in; [`Pins`], or the reason to leave them alone, flows out. Three names are a
//! contract between builds: links begin with `link_`, the maps `settings` and `slots` tell what they
//! tell here. Whose pins they are is asked before what is missing of them: another build has a hook
//! or a map more or less, and still protects its containers. What cannot be told counts as in use.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use guest_bpf::OBJECT;
use policy_model::Digest;

use super::{HOOKS, LoadError, MAPS, pins_failed};
use crate::maps::Maps;

/// Before the name of a program, the name of its link's pin.
const LINK: &str = "link_";

/// What lies below the pin directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pins {
    /// Nothing.
    None,
    /// What no container is registered under, or what no program is attached of: a bring-up that did
    /// not come to its end, or an earlier build whose containers are gone.
    Remains,
    /// All programs and tables of this build.
    InForce,
}

/// What is known of pins before anything of them is opened for use.
#[derive(Debug)]
struct Found {
    names: BTreeSet<String>,
    /// Number of the object that they were loaded from; none if the settings do not tell.
    object: Option<u64>,
    /// Whether a container is registered; none if the slots do not tell.
    is_in_use: Option<bool>,
}

/// Looks at what is pinned.
///
/// # Errors
/// If it must neither be used nor removed.
pub(super) fn survey(pins: &Path) -> Result<Pins, LoadError> {
    Found::read(pins)?.judge(pins)
}

/// Removes what [`survey`] has found to be remains.
pub(super) fn remove(pins: &Path) -> Result<(), LoadError> {
    tracing::warn!(pins = %pins.display(), "removing what an earlier agent left: loading anew");
    fs::remove_dir_all(pins).map_err(pins_failed(pins))
}

pub(super) fn link_of(pins: &Path, program: &str) -> PathBuf {
    pins.join(format!("{LINK}{program}"))
}

/// Tells this object from every other one.
pub(super) fn object_number() -> u64 {
    let Digest(bytes) = Digest::of(OBJECT);
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Pins without which there is no taking over.
fn needed() -> impl Iterator<Item = String> {
    let links = HOOKS.iter().map(|hook| format!("{LINK}{hook}"));
    links.chain(MAPS.iter().map(|map| (*map).to_owned()))
}

// === impl Found ===

impl Found {
    fn read(pins: &Path) -> Result<Self, LoadError> {
        let names = match fs::read_dir(pins) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            entries => entries.and_then(|entries| {
                let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
                entries.map(|entry| entry.map(name)).collect()
            }),
        };
        Ok(Self {
            names: names.map_err(pins_failed(pins))?,
            object: Maps::settings_of(pins).ok().map(|settings| settings.object),
            is_in_use: Maps::has_registrations(pins).ok(),
        })
    }

    fn judge(&self, pins: &Path) -> Result<Pins, LoadError> {
        let is_own = self.object == Some(object_number());
        let missing: Vec<_> = needed().filter(|name| !self.names.contains(name)).collect();
        let is_attached = self.names.iter().any(|name| name.starts_with(LINK));
        match () {
            () if self.names.is_empty() => Ok(Pins::None),
            () if is_own && missing.is_empty() => Ok(Pins::InForce),
            () if !is_attached || self.is_in_use == Some(false) => Ok(Pins::Remains),
            () if is_own => Err(LoadError::Incomplete { pins: pins.to_owned(), missing }),
            () => Err(LoadError::OtherVersion(pins.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that this build pins, with a container under it.
    fn own() -> Found {
        let names = needed().collect();
        Found { names, object: Some(object_number()), is_in_use: Some(true) }
    }

    fn other(names: BTreeSet<String>) -> Found {
        Found { names, object: Some(object_number() + 1), ..own() }
    }

    fn without(name: &str) -> BTreeSet<String> {
        let names = own().names;
        assert!(names.contains(name), "{name}");
        names.into_iter().filter(|known| known != name).collect()
    }

    fn with(name: &str) -> BTreeSet<String> {
        own().names.into_iter().chain([name.to_owned()]).collect()
    }

    fn judge(found: &Found) -> Result<Pins, String> {
        found.judge(Path::new("/pins")).map_err(|error| error.to_string())
    }

    #[test]
    fn all_of_this_build_is_taken_over_with_what_it_loaded_later() {
        assert_eq!(judge(&own()), Ok(Pins::InForce));
        let names = with("link_inode_setattr");
        assert_eq!(judge(&Found { names, ..own() }), Ok(Pins::InForce));
        let names = BTreeSet::new();
        assert_eq!(judge(&Found { names, object: None, is_in_use: None }), Ok(Pins::None));
    }

    #[test]
    fn another_build_with_a_hook_or_map_more_or_less_stays_while_a_container_is_under_it() {
        let more = [with("link_file_lock"), with("labels2")];
        let less = [without("link_path_mkdir"), without("sightings")];
        for names in more.into_iter().chain(less).chain([own().names]) {
            let error = judge(&other(names)).unwrap_err();
            assert!(error.contains("another version, which go on enforcing"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_told_counts_as_in_use() {
        let names = without("slots");
        let unreadable = Found { names, object: None, is_in_use: None };
        assert!(judge(&unreadable).unwrap_err().contains("another version"));
    }

    #[test]
    fn this_build_with_a_pin_less_stays_while_a_container_is_under_it_and_names_the_pin() {
        let error = judge(&Found { names: without("link_path_mkdir"), ..own() }).unwrap_err();
        assert!(error.contains("link_path_mkdir") && !error.contains("version"), "{error}");
    }

    #[test]
    fn what_protects_no_container_is_removed() {
        let unused = |found| Found { is_in_use: Some(false), ..found };
        let half = without("link_path_mkdir");
        assert_eq!(judge(&unused(Found { names: half.clone(), ..own() })), Ok(Pins::Remains));
        assert_eq!(judge(&unused(other(half))), Ok(Pins::Remains));
        assert_eq!(judge(&unused(other(own().names))), Ok(Pins::Remains));
        // Killed between making the maps and attaching the first program.
        let maps: BTreeSet<_> = MAPS.iter().map(|map| (*map).to_owned()).collect();
        let detached = Found { names: maps, object: Some(0), is_in_use: None };
        assert_eq!(judge(&detached), Ok(Pins::Remains));
    }
}
