// SPDX-License-Identifier: Apache-2.0
//! Ways in which editors and tools save a file: a container never gets the rules of what lies between.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use host_relay::settle::ABSENCE;
use policy_model::{Match, Object, PathObject, RuleSet};

use crate::{
    objects::{pod, policy, waiting},
    rig::Rig,
};

/// Between the parts of a save, by its number: none, and so much that every part is seen.
fn pause(number: usize) {
    thread::sleep(Duration::from_millis(4 * (number as u64 % 4)));
}

/// In two pieces, of which the first one alone would be a policy without its rules.
fn write(path: &Path, text: &str, number: usize) {
    let (head, tail) = text.split_at(text.find("spec:").unwrap());
    let mut file = File::create(path).unwrap();
    pause(number);
    file.write_all(head.as_bytes()).unwrap();
    pause(number);
    file.write_all(tail.as_bytes()).unwrap();
    file.sync_all().unwrap();
}

/// As vim does: the old file is renamed away, and removed when the new one is complete.
fn rename_away(path: &Path, text: &str, number: usize) {
    let backup = path.with_extension("yaml~");
    fs::rename(path, &backup).unwrap();
    pause(number);
    write(path, text, number);
    fs::remove_file(backup).unwrap();
}

/// As git does.
fn unlink(path: &Path, text: &str, number: usize) {
    fs::remove_file(path).unwrap();
    pause(number);
    write(path, text, number);
}

/// As most tools do.
fn rename_over(path: &Path, text: &str, number: usize) {
    let new = path.with_file_name(".new");
    write(&new, text, number);
    fs::rename(new, path).unwrap();
}

/// As a shell does.
fn truncate(path: &Path, text: &str, number: usize) {
    write(path, text, number);
}

/// From one name to another.
fn rename_policy(path: &Path, text: &str, number: usize) {
    let other = path.with_file_name("other.yaml");
    fs::rename(path, &other).unwrap();
    pause(number);
    fs::rename(&other, path).unwrap();
    rename_over(path, text, number);
}

/// Whether a rule blocks this program by its name.
fn blocks(rules: &RuleSet, program: &str) -> bool {
    rules.rules().iter().any(|rule| match &rule.object {
        Object::Path(PathObject { path, matching: Match::Name }) => path.as_str() == program,
        _ => false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_save_takes_the_rules_away_for_a_moment() {
    let program = |number: usize| format!("/bin/{number}");
    let text = |number: usize| policy("p", &[&program(number)]);
    let rig = Rig::start(&[("pod.yaml", pod("web")), ("policy.yaml", text(0))]);
    rig.guest.report(waiting("web"));
    rig.guest.applied(1).await;
    let path = rig.path("policy.yaml");
    type Save = fn(&Path, &str, usize);
    let ways: [(Save, usize); 5] =
        [(rename_away, 30), (unlink, 60), (rename_over, 50), (truncate, 20), (rename_policy, 20)];
    let saves = ways.into_iter().flat_map(|(save, times)| vec![save; times]);
    let mut stalled = 0;
    for (number, save) in (1..).zip(saves) {
        let start = Instant::now();
        tokio::task::block_in_place(|| save(&path, &text(number), number));
        // On a machine that hardly runs, a file may be away as if it had been removed.
        stalled += usize::from(start.elapsed() > ABSENCE);
        let program = program(number);
        let is_last = |rules: &RuleSet| blocks(rules, &program).then_some(());
        rig.guest.until(|record| record.applied.last().and_then(is_last)).await;
    }
    let is_empty = |rules: &&RuleSet| rules.rules().is_empty();
    let empty =
        rig.guest.until(|record| Some(record.applied.iter().filter(is_empty).count())).await;
    assert!(empty <= stalled, "{empty} of 180 saves took the rules away, {stalled} were slow");
    assert!(stalled < 90, "{stalled} of 180 saves took longer than {ABSENCE:?}");
}
