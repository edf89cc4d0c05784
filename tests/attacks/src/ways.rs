// SPDX-License-Identifier: Apache-2.0
//! How each way of the catalogue is gone.
//!
//! A way is gone by a process of its own, which it may leave in any state; where the target's code
//! runs, the process usually has become the target.

use attacks::catalogue::Entry;

use crate::elf::{ALLOWED_MARK, TARGET_MARK};
use crate::image::SCRIPT_MARK;
use crate::scene::Scene;
use crate::steps::Gone;
use crate::trace::Trace;

mod code;
mod copies;
mod detached;
mod evicted;
mod loaded;
mod maps;
mod mounts;
mod names;
mod patches;
mod scripts;

/// How a way is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// What comes before the pause, in the driver's own process.
    pub(crate) first: Option<fn(&mut Scene, &Trace) -> Gone>,
    /// The rest.
    pub(crate) go: fn(&Scene, &Trace) -> Gone,
    /// What the target prints.
    pub(crate) mark: &'static [u8],
}

/// How this one is gone.
pub(crate) fn find(entry: &Entry) -> Way {
    let (go, first): (fn(&Scene, &Trace) -> Gone, _) = match entry.id {
        "B29" => (copies::from_held, Some(copies::hold as fn(&mut Scene, &Trace) -> Gone)),
        "S16" => (evicted::run_target, Some(evicted::chmod as fn(&mut Scene, &Trace) -> Gone)),
        "S17" => (evicted::run_moved, Some(evicted::rename as fn(&mut Scene, &Trace) -> Gone)),
        "S18" => (evicted::run_relinked, Some(evicted::relink as fn(&mut Scene, &Trace) -> Gone)),
        id => (one_phase(id), None),
    };
    let by_script = matches!(entry.id, "C2" | "B34" | "B35" | "B36" | "B37");
    let mark = match entry.id {
        "M10" | "M11" => ALLOWED_MARK,
        _ if by_script => SCRIPT_MARK,
        _ => TARGET_MARK,
    };
    Way { first, go, mark }
}

fn one_phase(id: &str) -> fn(&Scene, &Trace) -> Gone {
    match id {
        "C1" => names::direct,
        "C2" => scripts::direct,
        "B01" => names::rename_file,
        "B02" => copies::each_call,
        "B03" => names::link,
        "B04" => names::symlink,
        "B05" => names::rename_parent,
        "B06" => names::rename_grandparent,
        "B07" => names::exchange_file,
        "B08" => names::exchange_directory,
        "B09" => mounts::bind_file,
        "B10" => mounts::bind_directory,
        "B11" => mounts::rename_in_bind,
        "B12" => mounts::link_in_bind,
        "B13" => mounts::copy_from_bind,
        "B14" => mounts::overlay,
        "B15" => mounts::chroot,
        "B16" => loaded::loader,
        "B17" => copies::memfd,
        "B18" => copies::unnamed,
        "B19" => names::link_descriptor,
        "B20" => names::proc_root,
        "B21" => names::execute_descriptor,
        "B22" => names::handle,
        "B23" => copies::cat,
        "B24" => copies::tar,
        "B25" => copies::overwrite,
        "B26" => names::shipped_link,
        "B27" => copies::shipped,
        "B28" => copies::foreign,
        "B30" => maps::anonymous,
        "B31" => maps::executable,
        "B32" => mounts::unshare_mounts,
        "B33" => mounts::unshare_pids,
        "B34" => scripts::argument,
        "B35" => scripts::input,
        "B36" => scripts::pipe,
        "B37" => scripts::foreign,
        "S1" => maps::protect,
        "S2" => loaded::from_overlay,
        "S3" => loaded::interpreter_of_elf,
        "S4" => loaded::interpreter_of_script,
        "S5" => patches::private_map,
        "S6" => patches::writable_map,
        "S7" => patches::own_text,
        "S8" => patches::traced_child,
        "S9" => maps::own_copy,
        "S10" => copies::through_shared_map,
        "S11" => detached::bind,
        "S12" => detached::overlay,
        "S13" => detached::overlay_by_loader,
        "S14" => names::ring_rename,
        "S15" => names::ring_link,
        _ => without_target(id),
    }
}

fn without_target(id: &str) -> fn(&Scene, &Trace) -> Gone {
    match id {
        "M1" => code::written_then_executable,
        "M2" => code::at_once,
        "M3" => code::shared,
        "M4" => code::zero_device,
        "M5" => code::segment,
        "M6" => code::memfd,
        "M7" => code::ring_entries,
        "M8" => code::implied,
        "M9" => code::implied_heap,
        "M10" => code::map_program,
        "M11" => code::protect_program,
        _ => unknown,
    }
}

/// Stands where the catalogue has a way that this program has not; a test keeps it unused.
fn unknown(_: &Scene, _: &Trace) -> Gone {
    Err(crate::trace::Cause::Other("this way is not built".into()))
}

#[cfg(test)]
mod tests {
    use std::ptr::fn_addr_eq;

    use attacks::catalogue::{ALL, CODE};

    use super::*;

    #[test]
    fn every_way_of_the_catalogue_can_be_gone() {
        let unknown: fn(&Scene, &Trace) -> Gone = unknown;
        let missing: Vec<_> =
            ALL.iter().chain(CODE).filter(|entry| fn_addr_eq(find(entry).go, unknown)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn ways_with_a_middle_have_two_phases_and_no_others() {
        for entry in ALL {
            assert_eq!(find(entry).first.is_some(), entry.between.is_some(), "{}", entry.id);
        }
    }
}
