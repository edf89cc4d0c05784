// SPDX-License-Identifier: Apache-2.0
//! Look-ups below a root that no name leads out of.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
};

use policy_model::limits::MAX_NAME_BYTES;
use tempfile::TempDir;

use super::*;

/// The root directory of a container.
struct Tree(TempDir);

// === impl Tree ===

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(self, path: &str, text: &str) -> Self {
        fs::write(self.at(path), text).unwrap();
        self
    }

    fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.at(path)).unwrap();
        self
    }

    fn link(self, path: &str, text: impl AsRef<Path>) -> Self {
        symlink(text, self.at(path)).unwrap();
        self
    }

    fn ask(&self, names: &[&str]) -> Vec<Entry> {
        ask(self.0.path(), names)
    }

    /// Paths and link texts of what is found.
    fn found(&self, names: &[&str]) -> Vec<(String, String)> {
        let entries = self.ask(names).into_iter();
        entries.map(|entry| (entry.path, entry.link.unwrap_or_default())).collect()
    }
}

fn ask(root: &Path, names: &[&str]) -> Vec<Entry> {
    let query = Query::new(File::open(root).unwrap(), paths(names).unwrap());
    query.collect::<Result<_, _>>().unwrap()
}

fn paths(names: &[&str]) -> Result<Paths, InvalidNames> {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().try_into()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(path, link)| ((*path).into(), (*link).into())).collect()
}

#[test]
fn a_file_comes_with_its_size_its_mode_and_the_number_of_its_names() {
    let tree = Tree::new().file("/usr/bin/apt", "12345");
    let path = tree.at("/usr/bin/apt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(&path, tree.at("/usr/bin/alias")).unwrap();
    let entry =
        Entry { path: "/usr/bin/apt".into(), size: 5, mode: 0o100_755, links: 2, link: None };
    assert_eq!(tree.ask(&["/usr/bin/apt"]), [entry]);
}

#[test]
fn a_directory_and_the_root_are_entries_too() {
    let tree = Tree::new().directory("/etc");
    let entries = tree.ask(&["/", "/etc"]);
    assert_eq!(entries.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["/", "/etc"]);
    assert!(entries.iter().all(|it| it.mode & 0o170_000 == 0o040_000));
}

#[test]
fn a_link_is_answered_as_such_whether_its_target_exists_or_not() {
    let tree = Tree::new()
        .file("/usr/bin/vim.basic", "")
        .link("/usr/bin/vim", "vim.basic")
        .link("/usr/bin/vi", "/etc/alternatives/vi");
    let found = tree.found(&["/usr/bin/vim", "/usr/bin/vi"]);
    assert_eq!(
        found,
        pairs(&[("/usr/bin/vim", "vim.basic"), ("/usr/bin/vi", "/etc/alternatives/vi")])
    );
}

#[test]
fn the_first_link_on_the_way_is_answered_once_for_all_paths_through_it() {
    let tree = Tree::new().file("/usr/bin/apt", "").link("/bin", "usr/bin").link("/usr/sub", "..");
    assert_eq!(tree.found(&["/bin/apt", "/bin/absent"]), pairs(&[("/bin", "usr/bin")]));
    assert_eq!(tree.found(&["/usr/sub/bin/apt"]), pairs(&[("/usr/sub", "..")]));
}

#[test]
fn a_program_is_looked_for_in_every_standard_directory() {
    let tree = Tree::new()
        .file("/usr/local/sbin/tool", "")
        .file("/usr/local/bin/tool", "")
        .file("/usr/bin/tool", "")
        .file("/opt/tool", "")
        .directory("/sbin")
        .link("/bin", "usr/bin");
    let found = tree.found(&["tool"]);
    let everywhere = [
        ("/usr/local/sbin/tool", ""),
        ("/usr/local/bin/tool", ""),
        ("/usr/bin/tool", ""),
        ("/bin", "usr/bin"),
    ];
    assert_eq!(found, pairs(&everywhere));
}

#[test]
fn what_does_not_exist_is_absent() {
    let tree = Tree::new().file("/etc/passwd", "");
    assert_eq!(tree.found(&["/etc/shadow", "/no/such/way", "/etc/passwd/below", "apt"]), []);
    let dangling = tree.link("/loop", "loop");
    assert_eq!(dangling.found(&["/loop/x"]), pairs(&[("/loop", "loop")]));
    assert!(is_absence(Errno::NAMETOOLONG) && !is_absence(Errno::ACCESS));
}

#[test]
fn no_link_leads_out_of_the_container() {
    let outside = Tree::new().file("/secret", "");
    let target = outside.0.path().to_str().unwrap().to_owned();
    let tree = Tree::new().link("/out", &target).link("/up", "../../../..");
    let found = tree.found(&["/out/secret", "/up/etc/passwd", &format!("{target}/secret")]);
    assert_eq!(found, pairs(&[("/out", &target), ("/up", "../../../..")]));
}

#[test]
fn a_magic_link_is_a_link_like_any_other() {
    let magic = format!("/proc/{}/root", std::process::id());
    let [entry] = &ask(Path::new("/"), &[&format!("{magic}/etc")])[..] else { panic!("no entry") };
    assert_eq!((&entry.path, entry.link.as_deref()), (&magic, Some("/")));
}

#[test]
fn a_fifo_is_looked_at_and_not_opened() {
    let tree = Tree::new().directory("/usr/bin");
    let made = std::process::Command::new("mkfifo").arg(tree.at("/usr/bin/apt")).status().unwrap();
    assert!(made.success());
    assert_eq!(tree.ask(&["/usr/bin/apt"])[0].mode & 0o170_000, 0o010_000);
}

#[test]
fn a_link_that_is_not_utf8_is_escaped() {
    let tree = Tree::new().link("/odd", OsStr::from_bytes(b"/caf\xe9/\xc3\xa9"));
    assert_eq!(tree.found(&["/odd"]), pairs(&[("/odd", "/caf\\xe9/é")]));
}

#[test]
fn names_that_are_no_paths_are_refused() {
    for name in ["", ".", "..", "/..", "/usr/../etc", "/usr//bin", "/usr/", "usr/bin", "a\0b"] {
        let error = paths(&["/fine", name]).unwrap_err();
        assert!(matches!(error, InvalidNames::Path { at: 1, .. }), "{error}");
    }
}

#[test]
fn requests_are_bounded() {
    assert!(paths(&["/a"; MAX_NAMES]).is_ok());
    assert_eq!(paths(&["/a"; MAX_NAMES + 1]), Err(InvalidNames::TooMany(MAX_NAMES + 1)));
    assert!(paths(&[&"n".repeat(MAX_NAME_BYTES)]).is_ok());
    assert!(paths(&[&"n".repeat(MAX_NAME_BYTES + 1)]).is_err());
    let long = "/".repeat(MAX_PATH_BYTES + 1);
    let source = InvalidPath::TooLong(MAX_PATH_BYTES + 1);
    assert_eq!(paths(&[&long]), Err(InvalidNames::Path { at: 0, source }));
}
