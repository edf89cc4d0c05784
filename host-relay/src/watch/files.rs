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
        for refusal in &mut refusals {
            let unclear: Vec<_> = match &refusal.object {
                Some(object) => last.get_key_value(object).into_iter().collect(),
                // It may be any that the file had and has no more.
                None => last.iter().filter(|(object, _)| !objects.contains_key(object)).collect(),
            };
            let is_said_twice = refusal.object.as_ref().is_some_and(|it| objects.contains_key(it));
            if is_said_twice || !unclear.is_empty() {
                refusal.scope = Scope::Nothing;
            }
            for (object, version) in unclear {
                objects.entry(object.clone()).or_insert_with(|| version.clone());
            }
        }
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
mod tests {
    use super::*;

    fn pod(name: &str, label: &str) -> Vec<u8> {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: ";
        format!("{text}{{name: {name}, labels: {{v: \"{label}\"}}}}\n").into()
    }

    fn put(files: &mut Files, path: &str, bytes: Vec<u8>) -> Option<Batch> {
        files.put(Path::new(path), Ok(Some(bytes)));
        files.batch()
    }

    fn remove(files: &mut Files, path: &str) -> Option<Batch> {
        files.put(Path::new(path), Ok(None));
        files.batch()
    }

    fn label(batch: &Batch) -> Option<String> {
        batch.changes.iter().find_map(|change| match change {
            Change::Put { object: Object::Pod(pod), .. } => pod.metadata.labels.get("v").cloned(),
            _ => None,
        })
    }

    #[test]
    fn an_equal_file_changes_nothing() {
        let mut files = Files::default();
        assert!(put(&mut files, "a.yaml", pod("p", "1")).is_some());
        assert_eq!(put(&mut files, "a.yaml", pod("p", "1")), None);
    }

    #[test]
    fn a_removed_file_takes_its_objects_along() {
        let mut files = Files::default();
        put(&mut files, "a.yaml", pod("p", "1"));
        let batch = remove(&mut files, "a.yaml").unwrap();
        assert!(matches!(&batch.changes[..], [Change::Gone(object)] if object.name == "p"));
    }

    #[test]
    fn a_file_that_is_written_anew_says_what_it_said_until_it_is_complete() {
        let mut files = Files::default();
        let (path, start) = (Path::new("a.yaml"), Instant::now());
        put(&mut files, "a.yaml", pod("p", "1"));
        files.vanish(path, start);
        files.reappear(path, start + ABSENCE / 2);
        assert_eq!(files.batch(), None);
        // One that is empty for a moment says so, too.
        assert_eq!(put(&mut files, "a.yaml", Vec::new()).unwrap().changes, []);
        assert_eq!(label(&put(&mut files, "a.yaml", pod("p", "2")).unwrap()), Some("2".into()));
    }

    #[test]
    fn a_file_that_comes_long_after_it_went_is_another_one() {
        let mut files = Files::default();
        let (path, start) = (Path::new("a.yaml"), Instant::now());
        put(&mut files, "a.yaml", pod("p", "1"));
        files.vanish(path, start);
        assert_eq!(files.batch().unwrap().changes.len(), 1);
        files.reappear(path, start + ABSENCE);
        assert_eq!(files.batch(), None);
    }

    #[test]
    fn the_last_good_version_survives_a_malformed_one() {
        let mut files = Files::default();
        put(&mut files, "a.yaml", pod("p", "1"));
        for broken in ["kind: [", "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: 3}\n", ""]
        {
            let batch = put(&mut files, "a.yaml", broken.into()).unwrap();
            assert_eq!(batch.changes, [], "{broken}");
            assert_eq!(batch.refusals[0].scope, Scope::Nothing, "{broken}");
        }
        let batch = put(&mut files, "a.yaml", pod("p", "2")).unwrap();
        assert_eq!(label(&batch), Some("2".into()));
        assert_eq!(batch.refusals, []);
    }

    #[test]
    fn a_file_that_was_never_good_holds_everything_back() {
        let batch = put(&mut Files::default(), "a.yaml", "kind: [".into()).unwrap();
        assert_eq!(batch.refusals[0].scope, Scope::Everything);
    }

    #[test]
    fn a_file_that_is_read_again_says_the_same() {
        let document = |kind: &str, spec: &str| {
            format!(
                "---\napiVersion: security.kubearmor.com/v1\nkind: {kind}\nmetadata: {{name: p}}\n\
                 spec: {spec}\n"
            )
        };
        let good = document("KubeArmorPolicy", "{}");
        for (bad, scope) in [
            (document("KubeArmorClusterPolicy", "{}"), Scope::Everything),
            (document("KubeArmorPolicy", "3"), Scope::Nothing),
        ] {
            let mut files = Files::default();
            let text = good.clone() + &bad;
            let batch = put(&mut files, "a.yaml", text.clone().into()).unwrap();
            assert_eq!(batch.refusals[0].scope, scope);
            assert_eq!(put(&mut files, "a.yaml", text.into()), None, "{bad}");
        }
    }

    #[test]
    fn of_an_object_in_two_files_the_first_stays_until_it_goes() {
        let mut files = Files::default();
        put(&mut files, "b.yaml", pod("p", "b"));
        let batch = put(&mut files, "a.yaml", pod("p", "a")).unwrap();
        assert_eq!(batch.changes, []);
        let text = batch.refusals[0].to_string();
        assert!(text.contains("a.yaml") && text.contains("b.yaml"), "{text}");
        let batch = remove(&mut files, "b.yaml").unwrap();
        assert_eq!(label(&batch), Some("a".into()));
        assert_eq!(batch.refusals, []);
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let [pipe, endless, long] =
            ["p.yaml", "e.yaml", "l.yaml"].map(|name| directory.path().join(name));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &endless).unwrap();
        for path in [pipe, endless] {
            assert!(content(&path).unwrap_err().to_string().contains("no regular file"));
        }
        fs::File::create(&long).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(content(&long).unwrap().unwrap().len(), MAX_FILE_BYTES + 1);
    }

    #[test]
    fn hidden_files_and_other_extensions_are_not_read() {
        assert!(is_candidate(Path::new("/d/a.yaml")) && is_candidate(Path::new("/d/a.json")));
        for path in ["/d/.a.yaml.swp", "/d/.hidden.yaml", "/d/..data", "/d/a.yaml~", "/d/README"] {
            assert!(!is_candidate(Path::new(path)), "{path}");
        }
    }
}
