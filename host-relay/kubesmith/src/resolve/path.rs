// SPDX-License-Identifier: Apache-2.0
//! Paths as policies write them to paths as the kernel sees them.

use policy_model::{InvalidPath, RulePath};

/// Why a path of a policy is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusablePath {
    #[error("`{0}` ends in a slash, so it is a directory; write it as `dir` of matchDirectories")]
    Directory(String),
    #[error("`{0}` does not end in a slash; write `{0}/` if it is a directory, or use matchPaths")]
    NoDirectory(String),
    #[error(transparent)]
    Invalid(#[from] InvalidPath),
}

/// A file; several leading slashes are one.
pub(crate) fn file(text: &str) -> Result<RulePath, UnusablePath> {
    if text.ends_with('/') {
        return Err(UnusablePath::Directory(text.into()));
    }
    Ok(RulePath::new(one_leading_slash(text))?)
}

/// A directory; the trailing slash that the language demands is cut off.
pub(crate) fn directory(text: &str) -> Result<RulePath, UnusablePath> {
    let Some(path) = one_leading_slash(text).strip_suffix('/').map(ToOwned::to_owned) else {
        return Err(UnusablePath::NoDirectory(text.into()));
    };
    if path.is_empty() {
        return Ok(RulePath::root());
    }
    Ok(RulePath::new(path)?)
}

fn one_leading_slash(text: &str) -> &str {
    let rest = text.trim_start_matches('/');
    match text.len() - rest.len() {
        0 => text,
        slashes => &text[slashes - 1..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_slashes_are_one() {
        assert_eq!(file("///usr/bin/apt").unwrap().as_str(), "/usr/bin/apt");
        assert_eq!(directory("//etc/").unwrap().as_str(), "/etc");
        assert_eq!(directory("/").unwrap(), RulePath::root());
        assert_eq!(directory("//").unwrap(), RulePath::root());
    }

    #[test]
    fn files_and_directories_are_told_apart_by_the_last_slash() {
        assert_eq!(file("/etc/"), Err(UnusablePath::Directory("/etc/".into())));
        assert_eq!(directory("/etc"), Err(UnusablePath::NoDirectory("/etc".into())));
    }

    #[test]
    fn paths_that_need_a_lookup_are_refused() {
        for text in ["usr/bin/apt", "/usr/../bin/apt", "/usr//bin/apt", ""] {
            assert!(matches!(file(text), Err(UnusablePath::Invalid(_))), "{text}");
        }
        assert!(matches!(directory("/usr//"), Err(UnusablePath::Invalid(_))));
        assert!(matches!(directory("usr/"), Err(UnusablePath::Invalid(_))));
    }
}
