// SPDX-License-Identifier: Apache-2.0
//! YAML to trees, document by document: what is wrong with one takes nothing from the others.

use serde_saphyr::{Error, options::DuplicateKeyPolicy};

use super::{MAX_DEPTH, MAX_DOCUMENTS, MAX_FILE_BYTES, MAX_NODES, Text, Unreadable, tree::Tree};

/// The documents of a text, as far as the bounds of a file go.
pub(super) fn documents(text: &str) -> Result<Vec<Text>, String> {
    let texts = split(text);
    let count = texts.iter().filter(|text| !is_blank(text)).count();
    if count > MAX_DOCUMENTS {
        return Err(super::too_much("documents", MAX_DOCUMENTS));
    }
    let mut left = MAX_NODES;
    let mut documents = Vec::new();
    for text in texts {
        match read(text, left) {
            Ok(tree) => {
                left = left.saturating_sub(tree.nodes());
                documents.push(Ok(tree));
            }
            Err(error) if is_budget(&error) => return Err(explain(&error)),
            Err(error) => {
                let beginning = beginning(text, &error, left);
                documents.push(Err(Unreadable { message: explain(&error), beginning }));
            }
        }
    }
    Ok(documents)
}

/// Cuts a stream where its markers are: at the beginning of a line they are nothing else, in
/// whatever scalar the line lies (YAML 1.2, 9.1.2 and 9.2). Directives go with what follows them.
fn split(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive(['\n', '\r']) {
        if is_marker(line, "---") && !is_blank(&text[start..at]) {
            documents.push(&text[start..at]);
            start = at;
        }
        at += line.len();
        if is_marker(line, "...") {
            documents.push(&text[start..at]);
            start = at;
        }
    }
    documents.push(&text[start..]);
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    let rest = line.strip_prefix(marker);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
}

/// Whether there is nothing but comments and directives, so that no document has begun.
fn is_blank(text: &str) -> bool {
    let mut lines = text.split(['\n', '\r']).map(str::trim_start);
    lines.all(|line| line.is_empty() || line.starts_with('#') || line.starts_with('%'))
}

fn read(text: &str, max_nodes: usize) -> Result<Tree, Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: max_nodes,
            // A node has a beginning and an end at most; the rest is for documents and aliases.
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            // Aliases may repeat a text, but not beyond the longest file.
            max_total_scalar_bytes: MAX_FILE_BYTES,
            max_recorded_anchor_bytes: MAX_FILE_BYTES,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        // A tree keeps both, and its reader says where they are.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    let documents: Vec<Tree> = serde_saphyr::from_multiple_with_options(text, options)?;
    // A text of no document, or of the one that it was cut to.
    let mut documents = documents.into_iter();
    Ok(documents.next().unwrap_or(Tree::Scalar(serde_json::Value::Null)))
}

/// What stands before the field at the top of the document in which the fault was met: as long as
/// that field is not the one that says what the document is about, all of it can be told.
fn beginning(text: &str, error: &Error, left: usize) -> Option<Tree> {
    let line = usize::try_from(error.location()?.line()).ok()?;
    let is_top = |line: &str| !line.starts_with([' ', '\t', '#', '-', '\n', '\r']);
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let top = lines.iter().take(line).rposition(|line| is_top(line))?;
    let before: String = lines.get(..top)?.concat();
    read(&before, left).ok().filter(|tree| matches!(tree, Tree::Mapping(_)))
}

fn cause(error: &Error) -> &Error {
    if let Error::AliasError { error, .. } = error { error } else { error }
}

fn is_budget(error: &Error) -> bool {
    matches!(
        cause(error),
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
    )
}

fn explain(error: &Error) -> String {
    if is_budget(error) {
        format!("{error}; split the file, or write out what its aliases stand for")
    } else {
        format!("not YAML: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_cut_and_directives_go_with_what_follows() {
        for (text, documents) in [
            ("a: 1\n", vec!["a: 1\n"]),
            ("---\na: 1\n---\nb: 2\n", vec!["---\na: 1\n", "---\nb: 2\n"]),
            ("# x\n%YAML 1.2\n---\na: 1\n", vec!["# x\n%YAML 1.2\n---\na: 1\n"]),
            ("a: 1\n...\n%YAML 1.2\n---\nb: 2\n", vec!["a: 1\n...\n", "%YAML 1.2\n---\nb: 2\n"]),
            ("a: |\n  --- no\n----\n", vec!["a: |\n  --- no\n----\n"]),
            ("a: 1\r\n--- {b: 2}\r\n", vec!["a: 1\r\n", "--- {b: 2}\r\n"]),
        ] {
            assert_eq!(split(text), documents, "{text:?}");
        }
    }

    /// One tree as text, to compare.
    fn shown(tree: Tree) -> String {
        tree.into_value().0.to_string()
    }

    #[test]
    fn documents_are_those_that_a_reader_of_the_whole_finds() {
        for text in [
            "a: 1\n---\n- b\n---\n\n--- |\n c\n...\n# end\n",
            "--- {a: 1}\n--- [2]\n",
            "%YAML 1.2\n---\na: &x 1\nb: *x\n...\n---\n'c\n  d'\n",
            "\u{feff}a: 1\n---\nb: 2\n",
        ] {
            let whole: Vec<Tree> = serde_saphyr::from_multiple(text).unwrap();
            let whole: Vec<_> = whole.into_iter().map(shown).filter(|it| it != "null").collect();
            let ours = documents(text).unwrap().into_iter().map(|document| match document {
                Ok(tree) => shown(tree),
                Err(Unreadable { message, .. }) => message,
            });
            assert_eq!(ours.filter(|it| it != "null").collect::<Vec<_>>(), whole, "{text:?}");
        }
    }
}
