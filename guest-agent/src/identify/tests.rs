// SPDX-License-Identifier: Apache-2.0
//! Searches of real directories, as this machine's kernel answers them.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

use policy_model::{Digest, Directory, RulePath};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::*;
use crate::fixtures::{Waiting, within};
use crate::lower::NamedFiles;

/// A container whose root is a directory of this machine.
struct Box {
    directory: TempDir,
    process: Waiting,
    searches: Arc<Searches>,
}

// === impl Box ===

impl Box {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, process: Waiting::spawn(), searches: Arc::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, content: &str) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    async fn search(&self, wanted: &[Identity]) -> Findings {
        let init = self.process.init();
        let path = fs::canonicalize(self.directory.path()).unwrap();
        let rootfs = RulePath::new(path.to_str().unwrap()).unwrap();
        let root = Root::open(&init, Some(&rootfs)).unwrap();
        let site = Site::new(root.into(), init, Arc::clone(&self.searches));
        within(site.identify(wanted.into())).await
    }

    /// Names of this container that were found.
    fn names(&self, findings: &Findings, names: &[&str]) -> Vec<String> {
        let inodes: Vec<_> = findings.files.iter().map(|found| found.inode.1).collect();
        let is_found = |name: &&&str| inodes.contains(&fs::metadata(self.at(name)).unwrap().ino());
        names.iter().filter(is_found).map(ToString::to_string).collect()
    }
}

fn path(text: &str) -> Identity {
    Identity::Path(RulePath::new(text).unwrap())
}

fn content(text: &str) -> Identity {
    let Digest(sha256) = Digest::of(text.as_bytes());
    Identity::Content { sha256, size: text.len() as u64 }
}

fn reasons(findings: &Findings) -> Vec<ResidueReason> {
    findings.shortfalls.iter().map(|short| short.reason).collect()
}

const ALL: [&str; 4] = ["usr/bin/apt", "opt/deep/er/copy", "tmp/other", "tmp/longer"];

fn with_copies() -> Box {
    let root = Box::new();
    root.write("usr/bin/apt", "program")
        .write("opt/deep/er/copy", "program")
        .write("tmp/other", "another")
        .write("tmp/longer", "program and more");
    root
}

#[tokio::test]
async fn files_of_equal_content_are_found_with_the_named_one() {
    let root = with_copies();
    let findings = root.search(&[path("/usr/bin/apt")]).await;
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt", "opt/deep/er/copy"]);
    assert!(findings.files.iter().all(|found| found.identities.contains(&path("/usr/bin/apt"))));
    assert_eq!((reasons(&findings), findings.unsearched), (vec![], vec![]));
}

#[tokio::test]
async fn a_content_is_found_under_any_name() {
    let root = with_copies();
    let findings = root.search(&[content("program"), content("nowhere")]).await;
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt", "opt/deep/er/copy"]);
    let both = root.search(&[content("program"), path("/usr/bin/apt")]).await;
    let named = both.files.iter().find(|found| found.identities.len() == 2);
    assert!(named.is_some(), "{both:?}");
}

#[tokio::test]
async fn what_came_or_went_since_the_last_search_is_seen() {
    let root = with_copies();
    root.search(&[path("/usr/bin/apt")]).await;
    root.write("opt/deep/later", "program");
    fs::rename(root.at("opt/deep/er"), root.at("opt/moved")).unwrap();
    fs::write(root.at("usr/bin/apt"), "another").unwrap();
    let names = ["usr/bin/apt", "opt/deep/later", "opt/moved/copy", "tmp/other"];
    let findings = root.search(&[content("program")]).await;
    assert_eq!(root.names(&findings, &names), ["opt/deep/later", "opt/moved/copy"]);
    let findings = root.search(&[path("/usr/bin/apt")]).await;
    assert_eq!(root.names(&findings, &names), ["usr/bin/apt", "tmp/other"]);
}

#[tokio::test]
async fn links_devices_and_empty_files_are_left_alone() {
    let root = with_copies();
    root.write("outside/x", "x").write("empty", "").write("empty2", "");
    mkfifoat(CWD, root.at("tmp/fifo"), Mode::RUSR).unwrap();
    symlink("/", root.at("tmp/root")).unwrap();
    symlink("/usr/bin/apt", root.at("tmp/link")).unwrap();
    symlink("tmp", root.at("through")).unwrap();
    let wanted = ["/tmp/link", "/through/other", "/none", "/tmp", "/tmp/fifo", "/empty"].map(path);
    let findings = root.search(&wanted).await;
    let reason = |name: &str| {
        let short = findings.shortfalls.iter().find(|short| short.identity == path(name));
        short.map(|short| short.reason)
    };
    assert_eq!(reason("/tmp/link"), Some(ResidueReason::Symlink));
    assert_eq!(reason("/through/other"), Some(ResidueReason::Symlink));
    assert_eq!(reason("/none"), Some(ResidueReason::Absent));
    assert_eq!(reason("/tmp"), Some(ResidueReason::Unreadable));
    assert_eq!(reason("/tmp/fifo"), Some(ResidueReason::Unreadable));
    assert_eq!(root.names(&findings, &["empty", "empty2"]), ["empty"]);
    assert!(findings.unsearched.is_empty());
}

#[tokio::test]
async fn a_file_is_found_after_one_that_is_not_and_after_a_directory_that_is_not() {
    let root = with_copies();
    let wanted = ["/none/a", "/none/b", "/tmp/a", "/tmp/other", "/usr/bin/apt/a", "/usr/bin/apt"];
    let findings = root.search(&wanted.map(path)).await;
    assert_eq!(reasons(&findings), [ResidueReason::Absent; 4]);
    let short = findings.shortfalls.iter().map(|short| &short.detail[..3]);
    assert_eq!(short.collect::<Vec<_>>(), ["No ", "No ", "No ", "Not"]);
    assert_eq!(root.names(&findings, &["tmp/other", "usr/bin/apt"]), ["tmp/other", "usr/bin/apt"]);
}

#[tokio::test]
async fn an_inode_with_many_names_is_never_held() {
    let root = with_copies();
    for name in 0..7 {
        fs::hard_link(root.at("opt/deep/er/copy"), root.at(&format!("opt/{name}"))).unwrap();
    }
    let findings = root.search(&[path("/usr/bin/apt"), path("/opt/3")]).await;
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt"]);
    assert_eq!(reasons(&findings), [ResidueReason::ManyNames; 2]);
    assert!(findings.shortfalls.iter().any(|short| short.detail.contains("of equal content")));
}

#[expect(clippy::await_holding_lock, reason = "as a search that hangs does")]
#[tokio::test]
async fn a_search_that_hangs_is_told_apart_from_one_that_finds_nothing() {
    let root = with_copies();
    let hanging = root.searches.index.lock().unwrap();
    let searches: Vec<_> =
        (0..MAX_SEARCHES - 1).map(|_| Slot::take(&root.searches).unwrap()).collect();
    let findings = root.search(&[path("/usr/bin/apt")]).await;
    // Names are looked for first.
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt"]);
    assert!(findings.unsearched[0].contains("not done after"), "{findings:?}");

    // Names are found however many searches for content hang.
    let findings = root.search(&[path("/usr/bin/apt")]).await;
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt"]);
    assert!(findings.passing && findings.unsearched[0].contains("have not come back"));
    drop((hanging, searches));
}

#[tokio::test]
async fn a_search_for_a_container_at_the_gate_has_what_is_left_and_a_second_in_any_case() {
    let process = Waiting::spawn();
    let init = process.init();
    let root = Arc::new(Root::open(&init, None).unwrap());
    let site = Site::new(root, init, Arc::default());
    let now = Instant::now();
    let left = |site: Site| site.deadline(now) - now;
    assert_eq!(left(site.clone()), DEADLINE);
    for (until, expected) in [(60, 5), (5, 5), (3, 3), (0, 1)] {
        let until = now + Duration::from_secs(until);
        assert_eq!(left(site.clone().until(until)), Duration::from_secs(expected), "{until:?}");
    }
}

#[test]
fn reports_of_files_that_a_container_makes_have_a_bound() {
    let (reports, received) = Reports::channel();
    for number in 0..MAX_REPORTS + 10 {
        reports.send(Report::Unsearched(number.to_string()));
        let (identity, reason) = (path("/a"), ResidueReason::ManyNames);
        reports.send(Report::Short(Shortfall { identity, reason, detail: String::new() }));
    }
    let made = received.made.lock().unwrap();
    assert_eq!(made.len(), MAX_REPORTS);
    let unsearched = made.iter().filter(|report| matches!(report, Report::Unsearched(_)));
    assert_eq!(unsearched.count(), MAX_UNSEARCHED);
}

fn directory(text: &str, recursive: bool) -> Directory {
    Directory { path: RulePath::new(text).unwrap(), recursive, atomic_volume: false }
}

#[tokio::test]
async fn what_is_permitted_is_found_only_if_it_has_another_name() {
    let root = with_copies();
    fs::hard_link(root.at("usr/bin/apt"), root.at("tmp/alias")).unwrap();
    let file = |text: &str| Identity::Permitted(NamedFiles::One(RulePath::new(text).unwrap()));
    let wanted = [file("/usr/bin/apt"), file("/tmp/other"), file("/none")];
    let findings = root.search(&wanted).await;
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt"]);
    assert_eq!((reasons(&findings), findings.unsearched), (vec![], vec![]));

    fs::hard_link(root.at("opt/deep/er/copy"), root.at("opt/beside")).unwrap();
    let below = |recursive| Identity::Permitted(NamedFiles::In(directory("/opt", recursive)));
    let names = ["opt/beside", "usr/bin/apt"];
    assert_eq!(root.names(&root.search(&[below(false)]).await, &names), ["opt/beside"]);
    fs::remove_file(root.at("opt/beside")).unwrap();
    fs::hard_link(root.at("opt/deep/er/copy"), root.at("tmp/beside")).unwrap();
    assert_eq!(root.names(&root.search(&[below(false)]).await, &ALL), [""; 0]);
    assert_eq!(root.names(&root.search(&[below(true)]).await, &ALL), ["opt/deep/er/copy"]);
}

#[tokio::test]
async fn programs_of_a_directory_are_found_but_for_libraries_and_what_rules_permit() {
    let root = Box::new();
    let names = ["opt/a", "opt/data", "opt/lib.so.1", "opt/ours", "opt/deep/b", "opt/many"];
    for name in names {
        root.write(name, name);
    }
    for name in names.iter().filter(|name| **name != "opt/data") {
        fs::set_permissions(root.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for number in 0..8 {
        fs::hard_link(root.at("opt/many"), root.at(&format!("name{number}"))).unwrap();
    }
    symlink("a", root.at("opt/link")).unwrap();
    let ours = NamedFiles::One(RulePath::new("/opt/ours").unwrap());
    let program = |recursive| Identity::Program {
        directory: directory("/opt", recursive),
        but: vec![ours.clone()],
    };
    let findings = root.search(&[program(false)]).await;
    assert_eq!(root.names(&findings, &names), ["opt/a"]);
    assert_eq!(reasons(&findings), [ResidueReason::ManyNames]);
    let findings = root.search(&[program(true)]).await;
    assert_eq!(root.names(&findings, &names), ["opt/a", "opt/deep/b"]);
    let elsewhere = Identity::Program { directory: directory("/none", true), but: Vec::new() };
    let findings = root.search(&[elsewhere]).await;
    assert_eq!((findings.files.len(), reasons(&findings)), (0, vec![]));
}

#[tokio::test]
async fn a_source_is_found_with_its_equals_and_told_if_it_is_not_there() {
    let root = with_copies();
    let source = |text: &str| Identity::Source(NamedFiles::One(RulePath::new(text).unwrap()));
    let findings = root.search(&[source("/usr/bin/apt"), source("/none")]).await;
    assert_eq!(root.names(&findings, &ALL), ["usr/bin/apt", "opt/deep/er/copy"]);
    assert_eq!(reasons(&findings), [ResidueReason::Absent]);
}
