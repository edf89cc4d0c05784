// SPDX-License-Identifier: Apache-2.0
//! What rules take of the guest kernel's memory, told in two ways that check each other.
//!
//! In: what the guest shows of itself. Out: bytes. The maps tell what their entries take, to the
//! byte; the slabs tell what the kernel had to allocate for them, with all that is rounded up, kept
//! for the next entry, or allocated by somebody else meanwhile.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::vm::Vm;

/// Memory of a guest's kernel at one moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Of the maps that the agent has open.
    pub(super) maps: f64,
    /// Of all slabs that cannot be reclaimed, where entries of maps are.
    pub(super) slabs: f64,
}

// === impl Memory ===

impl Memory {
    /// Reads it, of a guest whose agent has this pid.
    pub(super) fn of(vm: &Vm, agent: i32) -> Result<Self> {
        let descriptors = vm.sh(&format!("cat /proc/{agent}/fdinfo/*"))?;
        let meminfo = vm.read_file("/proc/meminfo")?;
        let slabs = slabs(&String::from_utf8_lossy(&meminfo))?;
        Ok(Self { maps: maps(&descriptors)?, slabs })
    }
}

/// Sum over all maps of which there are descriptors, each once.
fn maps(descriptors: &str) -> Result<f64> {
    let mut memory = 0.0;
    let mut by_map = BTreeMap::new();
    // Programs have a `memlock` too, but no `map_id` after it.
    for (field, value) in descriptors.lines().filter_map(|line| line.split_once(':')) {
        match field {
            "memlock" => memory = value.trim().parse().context("memlock")?,
            "map_id" => drop(by_map.insert(value.trim(), memory)),
            _ => {}
        }
    }
    Ok(by_map.values().sum())
}

fn slabs(meminfo: &str) -> Result<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("SUnreclaim:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no SUnreclaim")?;
    Ok(number.trim().parse::<f64>().context("SUnreclaim")? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_with_two_descriptors_counts_once_and_a_program_not_at_all() {
        let map = |id, bytes| format!("pos:\t0\nmap_type:\t1\nmemlock:\t{bytes}\nmap_id:\t{id}\n");
        let program = "prog_type:\t29\nmemlock:\t4096\nprog_id:\t7\n";
        let text = [map(5, 1000), program.into(), map(6, 30), map(5, 1000)].concat();
        assert_eq!(maps(&text).unwrap(), 1030.0);
        assert!(maps("memlock:\tmuch\n").is_err());
    }

    #[test]
    fn slabs_are_read_in_bytes() {
        assert_eq!(slabs("Slab:  9 kB\nSUnreclaim:   2 kB\n").unwrap(), 2048.0);
        assert!(slabs("Slab:  9 kB\n").is_err());
    }
}
