// SPDX-License-Identifier: Apache-2.0
//! Entries under success, failure, crash and concurrency.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use anyhow::{Result, bail};

use super::{Cache, Inputs};

fn inputs(content: &str) -> Inputs {
    Inputs::new().bytes("content", content)
}

fn write_result(dir: &Path) -> Result<()> {
    Ok(fs::write(dir.join("result"), "made")?)
}

#[test]
fn an_entry_is_made_once_and_then_found() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    assert_eq!(cache.get("kind", &inputs("a")), None);

    let made = cache.get_or_make("kind", &inputs("a"), write_result).unwrap();
    let found = cache
        .get_or_make("kind", &inputs("a"), |_| panic!("the entry exists, nothing is to be made"))
        .unwrap();

    assert_eq!(made, found);
    assert_eq!(cache.get("kind", &inputs("a")), Some(made.clone()));
    assert_eq!(cache.get("kind", &inputs("b")), None);
    assert_eq!(cache.get("other", &inputs("a")), None);
    assert_eq!(fs::read_to_string(made.join("result")).unwrap(), "made");
    assert_eq!(fs::read_to_string(made.join(".inputs")).unwrap(), inputs("a").manifest());
}

#[test]
fn a_failed_make_leaves_nothing_and_can_be_repeated() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let error = cache
        .get_or_make("kind", &inputs("a"), |dir| {
            write_result(dir)?;
            bail!("compiler missing")
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "compiler missing");
    assert_eq!(directories(&root.path().join("kind")), Vec::<String>::new());
    cache.get_or_make("kind", &inputs("a"), write_result).unwrap();
}

#[test]
fn what_a_crashed_run_left_is_swept() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let shelf = root.path().join("kind");
    for digest in [inputs("a").digest(), inputs("b").digest()] {
        fs::create_dir_all(shelf.join(format!(".{digest}.tmp/deep"))).unwrap();
    }

    let made = cache
        .get_or_make("kind", &inputs("a"), |dir| {
            assert!(!dir.join("deep").exists(), "the directory starts empty");
            write_result(dir)
        })
        .unwrap();
    let name = made.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(directories(&shelf), [name]);
}

#[test]
fn an_entry_that_is_being_made_is_not_swept() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let (started, wait_started) = mpsc::channel();
    let (finish, wait_finish) = mpsc::channel();
    thread::scope(|scope| {
        let make = move |dir: &Path| {
            write_result(dir)?;
            started.send(())?;
            Ok(wait_finish.recv()?)
        };
        let slow = scope.spawn(|| cache.get_or_make("kind", &inputs("slow"), make));
        wait_started.recv().unwrap();
        cache.get_or_make("kind", &inputs("quick"), write_result).unwrap();
        finish.send(()).unwrap();
        assert!(slow.join().unwrap().unwrap().join("result").is_file());
    });
}

#[test]
fn callers_at_the_same_time_share_one_make() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path());
    let makes = AtomicU32::new(0);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                cache.get_or_make("kind", &inputs("a"), |dir| {
                    makes.fetch_add(1, Ordering::Relaxed);
                    write_result(dir)
                })
            });
        }
    });
    assert_eq!(makes.into_inner(), 1);
}

fn directories(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let dirs = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    dirs.map(|entry| entry.file_name().into_string().unwrap()).collect()
}
