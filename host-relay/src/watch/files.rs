// SPDX-License-Identifier: Apache-2.0
//! What the files of the directory say together.
//!
//! Contents of files flow in, batches of changes flow out. Of an object in two files the first
//! stays; of a malformed document the last good version stays. It opens no file, apart from
//! [`read_all`] at its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Instant,
};

use kubesmith::crd::{Object, ObjectRef};

use super::{
    Batch, Change, Position, Refusal, Scope,
    parse::{MAX_FILE_BYTES, Parsed, parse, whole},
};
use crate::settle::ABSENCE;

/// Extensions of files that are read, in any case.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The state of the directory.
#[derive(Debug, Default)]
pub struct Files {
    files: BTreeMap<PathBuf, File>,
    /// Objects in force and the file that each comes from.
    in_force: BTreeMap<ObjectRef, (PathBuf, Object)>,
    refusals: Vec<Refusal>,
    /// Files that went a moment ago, and when: one that is written anew says what it said until it
    /// is complete.
    vanished: BTreeMap<PathBuf, (Instant, File)>,
    /// Directories with files in them, which are not read.
    directories: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct File {
    objects: BTreeMap<ObjectRef, Object>,
    refusals: Vec<Refusal>,
}

/// A file's bytes; none if there is no such file.
pub(super) type Content = io::Result<Option<Vec<u8>>>;

// === impl Files ===

impl Files {
    /// Takes the content of one file.
    pub fn put(&mut self, path: &Path, content: Content) {
        match content {
            Ok(None) => drop(self.files.remove(path)),
            Ok(Some(bytes)) if bytes.is_empty() && self.has_objects(path) => {
                // An editor that truncates before it writes must not drop policies in between.
                let message = "the file is empty, what it said stays in force; remove the file to \
                               remove its objects";
                let refusals = vec![whole(&path.display().to_string(), message.into())];
                self.merge(path, Parsed { refusals, ..Parsed::default() });
            }
            Ok(Some(bytes)) => self.merge(path, parse(path, &bytes)),
            Err(error) => {
                let message = format!("cannot be read: {error}; make it readable or remove it");
                let refusals = vec![whole(&path.display().to_string(), message)];
                self.merge(path, Parsed { refusals, ..Parsed::default() });
            }
        }
    }

    /// A file is no longer there.
    pub fn vanish(&mut self, path: &Path, now: Instant) {
        self.vanished.retain(|_, (at, _)| now.duration_since(*at) < ABSENCE);
        if let Some(file) = self.files.remove(path) {
            self.vanished.insert(path.into(), (now, file));
        }
    }

    /// A file is being written: until that is done it says what it said, even if it was away.
    pub fn reappear(&mut self, path: &Path, now: Instant) {
        let last = self.vanished.remove(path);
        if let Some((_, file)) = last.filter(|(at, _)| now.duration_since(*at) < ABSENCE) {
            self.files.entry(path.into()).or_insert(file);
        }
    }

    /// All files but these have vanished.
    pub fn retain(&mut self, paths: &BTreeSet<PathBuf>, now: Instant) {
        let gone: Vec<_> =
            self.files.keys().filter(|path| !paths.contains(*path)).cloned().collect();
        for path in gone {
            self.vanish(&path, now);
        }
    }

    /// What changed since the last batch; none if nothing did.
    pub fn batch(&mut self) -> Option<Batch> {
        let (next, mut refusals) = self.claims();
        refusals.extend(self.files.values().flat_map(|file| file.refusals.iter().cloned()));
        refusals.extend(self.directories.iter().map(|path| unread(path)));
        let gone = self.in_force.keys().filter(|object| !next.contains_key(object));
        let mut changes: Vec<_> = gone.cloned().map(Change::Gone).collect();
        for (object, claim) in &next {
            if self.in_force.get(object) != Some(claim) {
                let (path, object) = claim.clone();
                changes.push(Change::Put { object, origin: path.display().to_string() });
            }
        }
        if changes.is_empty() && refusals == self.refusals {
            return None;
        }
        self.in_force = next;
        self.refusals.clone_from(&refusals);
        Some(Batch { changes, refusals })
    }

    fn has_objects(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|file| !file.objects.is_empty())
    }

    /// Takes what a file says now, and keeps of its last version what the new one leaves unclear.
    fn merge(&mut self, path: &Path, parsed: Parsed) {
        let last = self.files.remove(path).unwrap_or_default().objects;
        let Parsed { mut objects, mut refusals } = parsed;
        let missing: Vec<_> =
            last.iter().filter(|(object, _)| !objects.contains_key(object)).collect();
        // What certainly is no object of ours takes the place of none.
        let is_nameless = |it: &&Refusal| it.object.is_none() && it.scope != Scope::Nothing;
        let nameless = refusals.iter().filter(is_nameless).count();
        let is_refused = |object: &ObjectRef| {
            nameless > 0 || refusals.iter().any(|it| it.object.as_ref() == Some(object))
        };
        let kept = missing.iter().filter(|(object, _)| is_refused(object));
        let kept: Vec<_> =
            kept.map(|(object, version)| ((*object).clone(), (*version).clone())).collect();
        for refusal in &mut refusals {
            let stays = match &refusal.object {
                Some(object) => last.contains_key(object) || objects.contains_key(object),
                // It may be any that the file had and has no more, if there are enough of them.
                None => nameless <= missing.len() && missing.iter().any(|it| may_be(it.1, refusal)),
            };
            if stays {
                refusal.scope = Scope::Nothing;
            }
        }
        objects.extend(kept);
        self.files.insert(path.into(), File { objects, refusals });
    }

    /// The file that each object comes from: the one that has it already, else the first by name.
    fn claims(&self) -> (BTreeMap<ObjectRef, (PathBuf, Object)>, Vec<Refusal>) {
        let mut claims: BTreeMap<ObjectRef, (PathBuf, Object)> = BTreeMap::new();
        for (object, (path, _)) in &self.in_force {
            let version = self.files.get(path).and_then(|file| file.objects.get(object));
            if let Some(version) = version {
                claims.insert(object.clone(), (path.clone(), version.clone()));
            }
        }
        let mut refusals = Vec::new();
        for (path, file) in &self.files {
            for (object, version) in &file.objects {
                let claim = claims.entry(object.clone());
                let (owner, _) = claim.or_insert_with(|| (path.clone(), version.clone()));
                if owner != path {
                    refusals.push(duplicate(path, owner, object));
                }
            }
        }
        (claims, refusals)
    }
}

/// Whether a document without a name may be another version of this object: what concerns others than
/// it did is none.
fn may_be(object: &Object, refusal: &Refusal) -> bool {
    match (object, &refusal.scope) {
        (_, Scope::Nothing | Scope::Everything) => true,
        (Object::Policy(policy), Scope::Pods { namespaces, selector }) => {
            namespaces.has(&policy.metadata.namespace) && policy.spec.selector == *selector
        }
        (Object::Pod(_) | Object::Namespace(_), Scope::Pods { .. }) => false,
    }
}

fn duplicate(path: &Path, owner: &Path, object: &ObjectRef) -> Refusal {
    let owner = owner.display();
    Refusal {
        origin: path.display().to_string(),
        position: Position::default(),
        object: Some(object.clone()),
        message: format!("{object} is in {owner} already and stays as it is there; remove one"),
        scope: Scope::Nothing,
    }
}

fn unread(path: &Path) -> Refusal {
    Refusal {
        origin: path.display().to_string(),
        position: Position::default(),
        object: None,
        message:
            "a directory, and what is in it is not read: move its files one level up, or give \
                  this directory"
                .into(),
        scope: Scope::Nothing,
    }
}

/// Names in a directory that are not read and are not hidden.
///
/// # Errors
/// If the directory cannot be listed.
pub fn ignored(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && !is_candidate(&path) && !path.is_dir() {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

/// Reads every file of a directory, but those that are being written.
///
/// # Errors
/// If the directory cannot be listed.
pub fn read_all(
    directory: &Path,
    files: &mut Files,
    written: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    let (mut paths, mut directories) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if is_candidate(&path) {
            paths.insert(path);
        } else if is_unread_directory(&path) {
            directories.insert(path);
        }
    }
    files.directories = directories;
    files.retain(&paths, Instant::now());
    for path in paths.difference(written) {
        files.put(path, content(path));
    }
    Ok(())
}

/// Whether a file of this name is read: hidden ones belong to editors and to mounted ConfigMaps.
pub(super) fn is_candidate(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_read = |extension: &str| EXTENSIONS.iter().any(|it| it.eq_ignore_ascii_case(extension));
    !hidden && extension.is_some_and(is_read)
}

/// Whether it is a directory with something in it that would be read if it lay one level higher.
fn is_unread_directory(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let entries = || fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    !hidden
        && path.is_dir()
        && entries().any(|entry| is_candidate(&entry.path()) || is_unread_directory(&entry.path()))
}

/// Reads one file, and no more of it than is needed to see that it is too long.
pub(super) fn content(path: &Path) -> Content {
    let read = || {
        // Whoever opens a pipe or a terminal may wait for ever.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
