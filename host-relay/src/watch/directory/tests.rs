// SPDX-License-Identifier: Apache-2.0
//! Tests with a real directory and real inotify.

use std::{os::unix::fs::symlink, time::Duration};

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::watch::Change;

/// Far above the milliseconds that a change takes, for machines under load.
const DEADLINE: Duration = Duration::from_secs(10);

struct Rig {
    directory: TempDir,
    _follower: PolicyDir,
    batches: mpsc::Receiver<Batch>,
}

impl Rig {
    async fn over(directory: TempDir, path: &Path) -> Self {
        let (sender, mut batches) = mpsc::channel(16);
        let follower = PolicyDir::follow(path, sender).unwrap();
        batches.recv().await.unwrap();
        Self { directory, _follower: follower, batches }
    }

    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("policies");
        fs::create_dir(&path).unwrap();
        Self::over(directory, &path).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("policies").join(name)
    }

    async fn names(&mut self) -> Vec<String> {
        let batch = timeout(DEADLINE, self.batches.recv()).await.unwrap().unwrap();
        let name = |change: &Change| match change {
            Change::Put { object, .. } => format!("+{}", object.reference().name),
            Change::Gone(object) => format!("-{}", object.name),
        };
        batch.changes.iter().map(name).collect()
    }
}

fn pod(name: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n")
}

#[tokio::test]
async fn written_renamed_linked_and_removed_files_are_noticed() {
    let mut rig = Rig::new().await;
    fs::write(rig.path("a.yaml"), pod("a")).unwrap();
    assert_eq!(rig.names().await, ["+a"]);
    fs::write(rig.path(".b.tmp"), pod("b")).unwrap();
    fs::rename(rig.path(".b.tmp"), rig.path("a.yaml")).unwrap();
    assert_eq!(rig.names().await, ["-a", "+b"]);
    fs::write(rig.path("elsewhere"), pod("c")).unwrap();
    fs::hard_link(rig.path("elsewhere"), rig.path("c.yaml")).unwrap();
    assert_eq!(rig.names().await, ["+c"]);
    fs::remove_file(rig.path("a.yaml")).unwrap();
    assert_eq!(rig.names().await, ["-b"]);
}

#[tokio::test]
async fn a_file_is_not_read_before_its_writer_closes_it() {
    use std::io::Write as _;
    let mut rig = Rig::new().await;
    let mut file = fs::File::create(rig.path("a.yaml")).unwrap();
    file.write_all(b"apiVersion: v1\nkind: Pod\n").unwrap();
    fs::write(rig.path("b.yaml"), pod("b")).unwrap();
    assert_eq!(rig.names().await, ["+b"]);
    file.write_all(b"metadata: {name: a}\n").unwrap();
    drop(file);
    assert_eq!(rig.names().await, ["+a"]);
}

#[tokio::test]
async fn a_mounted_config_map_is_swapped_as_a_whole() {
    let mut rig = Rig::new().await;
    let publish = |version: &str, name: &str| {
        fs::create_dir(rig.path(version)).unwrap();
        fs::write(rig.path(version).join("p.yaml"), pod(name)).unwrap();
        symlink(version, rig.path("..data_tmp")).unwrap();
        fs::rename(rig.path("..data_tmp"), rig.path("..data")).unwrap();
    };
    publish("..1", "a");
    symlink("..data/p.yaml", rig.path("p.yaml")).unwrap();
    publish("..2", "b");
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("+b") {
        seen.extend(rig.names().await);
    }
}

#[tokio::test]
async fn a_directory_that_is_a_link_may_be_swapped() {
    let directory = TempDir::new().unwrap();
    for version in ["1", "2"] {
        fs::create_dir(directory.path().join(version)).unwrap();
    }
    fs::write(directory.path().join("2/a.yaml"), pod("a")).unwrap();
    let path = directory.path().join("policies");
    symlink("1", &path).unwrap();
    let mut rig = Rig::over(directory, &path).await;
    symlink("2", rig.directory.path().join("new")).unwrap();
    fs::rename(rig.directory.path().join("new"), &path).unwrap();
    assert_eq!(rig.names().await, ["+a"]);
    fs::write(rig.path("b.yaml"), pod("b")).unwrap();
    assert_eq!(rig.names().await, ["+b"]);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error() {
    let (sender, _batches) = mpsc::channel(1);
    assert!(PolicyDir::follow(Path::new("/nonexistent/policies"), sender).is_err());
}
