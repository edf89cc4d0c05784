// SPDX-License-Identifier: Apache-2.0
//! What a kata-agent would make of the directory of guest hooks, before a pod finds out.
//!
//! A directory flows in, everything that a kata-agent passes over without a word flows out, each with
//! a remedy. Nothing is changed, and nothing is executed.
//! <https://github.com/kata-containers/kata-containers/blob/4.1.0/src/agent/src/sandbox.rs#L389>

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::args::HookKind;

/// What the program is called where a kata-agent runs it.
const NAME: &str = "kadapter-hook";

/// Something that keeps the hook from being run.
#[derive(Debug)]
pub struct Problem {
    path: PathBuf,
    what: String,
    remedy: &'static str,
}

/// Why guest hooks would not be run.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Unrun(pub Vec<Problem>);

/// Looks at the directory that `guest_hook_path` names.
///
/// # Errors
/// All that a kata-agent would pass over, and each kind that it would have no hook of ours for.
pub fn hooks(directory: &Path) -> Result<(), Unrun> {
    let kinds = [HookKind::Prestart, HookKind::Poststart, HookKind::Poststop];
    let problems: Vec<_> = kinds.into_iter().flat_map(|kind| of_kind(directory, kind)).collect();
    if problems.is_empty() { Ok(()) } else { Err(Unrun(problems)) }
}

fn of_kind(directory: &Path, kind: HookKind) -> Vec<Problem> {
    let directory = directory.join(kind.name());
    let entries = fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            let what = format!("cannot be read ({error}), and a kata-agent goes on without");
            return vec![Problem { path: directory, what, remedy: PLACE }];
        }
    };
    let mut problems = Vec::new();
    let mut is_run = false;
    for entry in entries {
        match passed_over(&entry.path()) {
            None => is_run |= entry.file_name().to_string_lossy().starts_with(NAME),
            Some(problem) => problems.push(problem),
        }
    }
    if !is_run {
        let what = format!("has nothing called `{NAME}` that a kata-agent runs");
        problems.push(Problem { path: directory, what, remedy: PLACE });
    }
    problems
}

const PLACE: &str = "put a copy or a hard link of kadapter-agent there as `kadapter-hook`";

/// Why a kata-agent would not run this; none if it would.
fn passed_over(path: &Path) -> Option<Problem> {
    let problem = |what: String, remedy| Some(Problem { path: path.to_owned(), what, remedy });
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            problem("is a symbolic link".into(), "make it a hard link or a copy")
        }
        Ok(found) if !found.is_file() => problem("is no regular file".into(), "take it away"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            problem("is not executable".into(), "give it mode 0755")
        }
        Ok(_) => None,
        Err(error) => problem(format!("cannot be looked at ({error})"), "mend the file system"),
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what, remedy } = self;
        write!(f, "`{}` {what}: {remedy}", path.display())
    }
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    format!("guest hooks would not be run:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for kind in ["prestart", "poststart", "poststop"] {
            fs::create_dir(directory.path().join(kind)).unwrap();
            place(&directory.path().join(kind).join(NAME), 0o755);
        }
        directory
    }

    fn place(path: &Path, mode: u32) {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn said(directory: &tempfile::TempDir) -> Vec<String> {
        let Err(Unrun(problems)) = hooks(directory.path()) else { return Vec::new() };
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn regular_executables_and_hard_links_are_run() {
        let directory = directory();
        let hook = directory.path().join("poststop").join(NAME);
        fs::remove_file(&hook).unwrap();
        fs::hard_link(directory.path().join("prestart").join(NAME), &hook).unwrap();
        assert_eq!(said(&directory), [""; 0]);
    }

    #[test]
    fn what_is_passed_over_without_a_word_is_told_with_a_remedy() {
        let directory = directory();
        let hook = directory.path().join("prestart").join(NAME);
        fs::rename(&hook, directory.path().join("hook")).unwrap();
        symlink("../hook", &hook).unwrap();
        let problems = said(&directory);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("is a symbolic link: make it a hard link or a copy"));
        assert!(problems[1].contains("nothing called `kadapter-hook`"));

        fs::remove_file(&hook).unwrap();
        place(&hook, 0o644);
        assert!(said(&directory)[0].contains("is not executable"));
        fs::remove_file(&hook).unwrap();
        fs::create_dir(&hook).unwrap();
        assert!(said(&directory)[0].contains("is no regular file"));
    }

    #[test]
    fn a_missing_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(said(&directory).len(), 3);
        assert!(said(&directory)[0].contains("prestart` cannot be read"));
    }
}
