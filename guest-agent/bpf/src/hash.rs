// SPDX-License-Identifier: Apache-2.0
//! The keyed hash that stands for a path in the kernel: the mirror of `lib/hash.h`.
//!
//! SipHash-1-3 with the boot's key. The root of a super block hashes (set, s_dev); each step down
//! hashes the hash so far and the name.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Key of the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

/// Hash of a place: a super block's root, or a path below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(pub u64);

// === impl HashKey ===

impl HashKey {
    /// The root of a super block, for one set.
    #[must_use]
    pub fn root(self, set: u32, dev: u32) -> Place {
        self.hash(u64::from(set), &u64::from(dev).to_le_bytes())
    }

    /// A name below a place.
    #[must_use]
    pub fn step(self, place: Place, name: &[u8]) -> Place {
        self.hash(place.0, name)
    }

    /// A name by itself; the kernel never computes it.
    #[must_use]
    pub fn name(self, name: &[u8]) -> u64 {
        self.hash(0, name).0
    }

    fn hash(self, first: u64, rest: &[u8]) -> Place {
        let [key0, key1] = self.0;
        let mut hasher = SipHasher13::new_with_keys(key0, key1);
        hasher.write(&first.to_le_bytes());
        hasher.write(rest);
        Place(hasher.finish())
    }
}
