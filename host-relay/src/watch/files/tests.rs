// SPDX-License-Identifier: Apache-2.0
//! Tests of what files say together.

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
    for broken in ["kind: [", "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: 3}\n", ""] {
        let batch = put(&mut files, "a.yaml", broken.into()).unwrap();
        assert_eq!(batch.changes, [], "{broken}");
        assert_eq!(batch.refusals[0].scope, Scope::Nothing, "{broken}");
    }
    let batch = put(&mut files, "a.yaml", pod("p", "2")).unwrap();
    assert_eq!(label(&batch), Some("2".into()));
    assert_eq!(batch.refusals, []);
}

/// A policy of namespace `shop`; without a name it is refused.
fn policy(name: &str, app: &str) -> String {
    format!(
        "---\napiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\n\
         metadata: {{namespace: shop{name}}}\nspec: {{selector: {{matchLabels: {{app: {app}}}}}}}\n"
    )
}

#[test]
fn a_document_without_a_name_is_the_last_version_of_what_it_may_be_only() {
    for (after, is_held) in [
        (policy("", "web"), false),
        (policy("", "db"), true),
        (policy("", "web") + &policy("", "web"), true),
        (policy(", name: p", "web") + &policy("", "web"), true),
    ] {
        let mut files = Files::default();
        put(&mut files, "a.yaml", policy(", name: p", "web").into());
        let batch = put(&mut files, "a.yaml", after.clone().into()).unwrap();
        assert_eq!(batch.changes, [], "{after}");
        assert_eq!(batch.refusals[0].scope != Scope::Nothing, is_held, "{after}");
    }
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
