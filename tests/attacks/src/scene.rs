// SPDX-License-Identifier: Apache-2.0
//! Where a way is gone: the image's paths, a directory of the way's own, and who goes it.

use std::fs::File;
use std::path::{Path, PathBuf};

use attacks::catalogue::Entry;
use attacks::places;

use crate::args::SceneArgs;

/// The scene of one way.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Paths of the image. The target is the way's own if it has one.
    pub(crate) image: SceneArgs,
    /// The way's directory, empty when it begins.
    pub(crate) directory: PathBuf,
    /// What the first phase holds for the second.
    pub(crate) held: Option<File>,
}

// === impl Scene ===

impl Scene {
    /// That of a way.
    pub(crate) fn of(entry: &Entry, image: &SceneArgs) -> Self {
        let mut image = image.clone();
        if places::has_own_target(entry.id) {
            image.target = places::own_target(&image.target.to_string_lossy(), entry.id).into();
        }
        Self { directory: image.work.join(entry.id.to_lowercase()), image, held: None }
    }

    /// T.
    pub(crate) fn target(&self) -> &Path {
        &self.image.target
    }

    /// The name of T in its directory.
    pub(crate) fn target_name(&self) -> PathBuf {
        self.target().file_name().unwrap_or_default().into()
    }

    /// The directory of T.
    pub(crate) fn target_directory(&self) -> &Path {
        self.target().parent().unwrap_or(Path::new("/"))
    }

    /// The directory above that of T.
    pub(crate) fn above_target(&self) -> &Path {
        self.target_directory().parent().unwrap_or(Path::new("/"))
    }

    /// A name in the way's directory.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A path with something appended to its last name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Verb};

    fn scene(id: &str) -> Scene {
        let args = Args::try_parse_from(["attack", "run", id]).unwrap();
        let Verb::Run(run) = args.verb else { unreachable!("the words say `run`") };
        Scene::of(Entry::find(id).unwrap(), &run.scene)
    }

    #[test]
    fn each_way_has_a_directory_and_some_a_target_of_their_own() {
        let plain = scene("B05");
        assert_eq!(plain.fresh("x"), Path::new("/var/attack/b05/x"));
        assert_eq!(plain.target(), Path::new("/usr/bin/apt"));
        assert_eq!(plain.above_target(), Path::new("/usr"));
        assert_eq!(beside(plain.target_directory(), "2"), Path::new("/usr/bin2"));
        assert_eq!(scene("S16").target(), Path::new("/usr/bin/apt-s16"));
    }
}
