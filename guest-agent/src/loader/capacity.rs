// SPDX-License-Identifier: Apache-2.0
//! How many entries the tables of rules have in this guest.
//!
//! The guest's memory flows in, a size of each table flows out. The kernel allocates a hash table's
//! buckets when it makes the table, whether anything will be in them or not: tables for the largest
//! rule sets would take 56 MiB of every guest.

use guest_bpf::abi;
use rustix::system::sysinfo;

/// Part of the guest's memory that empty tables may take: of 2 GiB, 14 MiB.
const SHARE: u64 = 128;

/// Bytes of a bucket: head of a list, and a lock.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/hashtab.c#L81>
const BUCKET_BYTES: u64 = 16;

/// Below this a table saves nothing worth a refusal: 64 KiB of buckets.
const FEWEST: u64 = 4096;

/// A table whose entries come with the rules.
struct Table {
    name: &'static str,
    most: u32,
    /// Of all entries, in parts of [`PARTS`]: a rule has a place or a few, and a decision or two.
    part: u64,
}

const PARTS: u64 = 16;

const TABLES: [Table; 5] = [
    Table { name: "nodes", most: abi::MAX_NODES, part: 8 },
    Table { name: "decisions", most: abi::MAX_DECISIONS, part: 4 },
    Table { name: "subjects", most: abi::MAX_SUBJECTS, part: 1 },
    Table { name: "inodes", most: abi::MAX_INODES, part: 1 },
    Table { name: "taints", most: abi::MAX_TAINTS, part: 2 },
];

/// Names of the tables, and how many entries each may have in this guest.
pub(super) fn of_guest() -> impl Iterator<Item = (&'static str, u32)> {
    let info = sysinfo();
    with_memory(info.totalram.saturating_mul(info.mem_unit.into()))
}

/// How many entries a table has in this guest; 0 for one that is not known.
pub(crate) fn of(table: &str) -> u32 {
    of_guest().find(|(name, _)| *name == table).map_or(0, |(_, entries)| entries)
}

fn with_memory(memory: u64) -> impl Iterator<Item = (&'static str, u32)> {
    let buckets = memory / SHARE / BUCKET_BYTES / PARTS;
    TABLES.iter().map(move |table| {
        // The kernel rounds the number of buckets up to a power of two.
        let entries = (buckets * table.part).max(FEWEST);
        let entries = u32::try_from(1_u64 << entries.ilog2()).unwrap_or(u32::MAX);
        (table.name, entries.min(table.most))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn entries(memory: u64) -> Vec<u32> {
        with_memory(memory).map(|(_, entries)| entries).collect()
    }

    #[test]
    fn tables_grow_with_the_memory_up_to_what_the_largest_rule_sets_need() {
        assert_eq!(entries(0), [4096; 5]);
        assert_eq!(entries(1024 * MIB), [262_144, 131_072, 32_768, 32_768, 65_536]);
        let largest = TABLES.map(|table| table.most);
        assert_eq!(entries(64 * 1024 * MIB), largest);
        assert_eq!(entries(u64::MAX), largest);
    }

    #[test]
    fn empty_tables_take_no_more_than_their_share() {
        for memory in [256, 512, 970, 2048, 8192].map(|mib| mib * MIB) {
            let buckets: u64 = entries(memory).into_iter().map(u64::from).sum();
            assert!(buckets * BUCKET_BYTES <= memory / SHARE, "{memory}");
        }
    }
}
