// SPDX-License-Identifier: Apache-2.0
//! Absolute, normalised paths of a container.

use std::fmt;

use crate::limits::{MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_RULE_COMPONENTS};

/// An absolute path without empty, `.` or `..` components and without a trailing slash, except
/// for the root itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RulePath(String);

/// Why a text is no [`RulePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with a slash.
    #[error("`{0}` is relative; write it from `/`")]
    Relative(String),
    /// It has a component that depends on where it is looked up.
    #[error("`{0}` has an empty, `.` or `..` component; write the path that the kernel sees")]
    NotNormal(String),
    /// It has a NUL, which no file name can have.
    #[error("the path has a NUL byte")]
    Nul,
    /// It is longer than the kernel takes.
    #[error("the path has {0} bytes; the kernel takes {MAX_PATH_BYTES}")]
    TooLong(usize),
    /// A component is longer than the kernel takes.
    #[error("a component has {0} bytes; the kernel takes {MAX_NAME_BYTES}")]
    NameTooLong(usize),
    /// It is deeper than the engine matches.
    #[error("the path has {0} components; a rule may have {MAX_RULE_COMPONENTS}")]
    TooDeep(usize),
}

// === impl RulePath ===

impl RulePath {
    /// The root directory.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Takes a text that is already normal.
    ///
    /// # Errors
    /// If it is not, or exceeds a limit.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPath> {
        let text = text.into();
        let Some(rest) = text.strip_prefix('/') else {
            return Err(InvalidPath::Relative(text));
        };
        if text.len() > MAX_PATH_BYTES {
            return Err(InvalidPath::TooLong(text.len()));
        }
        if rest.is_empty() {
            return Ok(Self(text));
        }
        for name in rest.split('/') {
            check_name(name, &text)?;
        }
        let depth = rest.split('/').count();
        if depth > MAX_RULE_COMPONENTS {
            return Err(InvalidPath::TooDeep(depth));
        }
        Ok(Self(text))
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names, from the root down.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Number of components; the root has none.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// The directory that holds it; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        match (parent, name) {
            (_, "") => None,
            ("", _) => Some(Self::root()),
            _ => Some(Self(parent.into())),
        }
    }

    /// What is left of this path below `ancestor`: empty for itself, none if it is elsewhere.
    #[must_use]
    pub fn below<'a>(&'a self, ancestor: &Self) -> Option<&'a str> {
        if ancestor.0 == "/" {
            return self.0.strip_prefix('/');
        }
        let rest = self.0.strip_prefix(ancestor.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

// === impl RulePath ===

impl RulePath {
    /// Whether programs load what has this name, and nobody executes it: `ld-linux.so.2`, `libc.so.6`.
    #[must_use]
    pub fn is_shared_object(&self) -> bool {
        let name = self.0.rsplit('/').next().unwrap_or_default();
        name.ends_with(".so") || name.contains(".so.")
    }
}

impl fmt::Display for RulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RulePath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::new(text)
    }
}

fn check_name(name: &str, path: &str) -> Result<(), InvalidPath> {
    match name {
        "" | "." | ".." => Err(InvalidPath::NotNormal(path.into())),
        _ if name.len() > MAX_NAME_BYTES => Err(InvalidPath::NameTooLong(name.len())),
        _ if name.contains('\0') => Err(InvalidPath::Nul),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RulePath {
        RulePath::new(text).unwrap()
    }

    #[test]
    fn paths_that_depend_on_a_lookup_are_refused() {
        assert!(matches!(RulePath::new("usr/bin"), Err(InvalidPath::Relative(_))));
        for text in ["", "//", "/usr/", "/usr//bin", "/usr/./bin", "/usr/../bin"] {
            assert!(RulePath::new(text).is_err(), "{text}");
        }
        assert_eq!(RulePath::new("/a\0b"), Err(InvalidPath::Nul));
    }

    #[test]
    fn limits_are_the_kernels() {
        assert!(RulePath::new(format!("/{}", "n".repeat(255))).is_ok());
        assert_eq!(
            RulePath::new(format!("/{}", "n".repeat(256))),
            Err(InvalidPath::NameTooLong(256))
        );
        assert_eq!(RulePath::new("/a".repeat(97)), Err(InvalidPath::TooDeep(97)));
        let long = format!("/{}", ["n".repeat(200).as_str(); 21].join("/"));
        assert!(matches!(RulePath::new(long), Err(InvalidPath::TooLong(_))));
    }

    #[test]
    fn below_respects_component_boundaries() {
        assert_eq!(path("/usr/bin/apt").below(&path("/usr")), Some("bin/apt"));
        assert_eq!(path("/usr").below(&path("/usr")), Some(""));
        assert_eq!(path("/usrlocal").below(&path("/usr")), None);
        assert_eq!(path("/usr").below(&RulePath::root()), Some("usr"));
        assert_eq!(RulePath::root().below(&RulePath::root()), Some(""));
    }

    #[test]
    fn the_root_has_neither_depth_nor_parent() {
        assert_eq!(RulePath::root().depth(), 0);
        assert_eq!(RulePath::root().parent(), None);
        assert_eq!(path("/usr").parent(), Some(RulePath::root()));
        assert_eq!(path("/usr/bin").parent(), Some(path("/usr")));
    }
}
