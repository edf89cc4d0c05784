// SPDX-License-Identifier: Apache-2.0
//! Identifiers that cross a boundary.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A container by name, as Kubernetes knows it. The guest binds it to a container id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod; a pod that is made anew under the same name has another.
    pub pod_uid: String,
    /// Name of the container in the pod.
    pub container_name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.pod, self.container_name)
    }
}

/// Number of a rule set; grows with each change of the same target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a rule in events: a stable hash of what the rule says and who says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u64);

impl RuleId {
    /// First eight bytes, big endian, of the SHA-256 over the parts, each with its length before
    /// it. Zero is kept free: it means "no rule" in the kernel.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let bytes = hash.finalize();
        let id = bytes.iter().take(8).fold(0u64, |acc, byte| acc << 8 | u64::from(*byte));
        Self(id.max(1))
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// SHA-256 of a rule set's bytes as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_ids_tell_moved_boundaries_apart() {
        assert_ne!(RuleId::of(&[b"ab", b"c"]), RuleId::of(&[b"a", b"bc"]));
        assert_eq!(RuleId::of(&[b"ab", b"c"]), RuleId::of(&[b"ab", b"c"]));
    }

    #[test]
    fn digests_print_as_lower_case_hex() {
        let text = Digest::of(b"").to_string();
        assert!(text.starts_with("e3b0c44298fc1c14"));
        assert_eq!(text.len(), 64);
    }
}
