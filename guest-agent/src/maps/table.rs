// SPDX-License-Identifier: Apache-2.0
//! Hash tables of the kernel that are written, and erased, many entries at a time.
//!
//! Keys and values flow in; what was written before an error is known to the caller by its keys. A
//! call for each entry costs several times what the entry does: each of them passes the kernel's way
//! in, its checks and the programs' own guard. Never: refuses to replace an entry, which the kernel
//! does for single ones only; whoever writes knows that the keys are his.

use std::{
    io,
    ops::Deref,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
    sys::SyscallError,
};
use nix::libc;

/// `bpf(2)` commands (include/uapi/linux/bpf.h).
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

/// Entries that are copied for one call: 50 KiB of the largest ones.
const CHUNK: usize = 512;

/// `union bpf_attr` of the batch commands.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    /// How many there are, then how many were done.
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A table; single entries are read and written as of any other map.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    entries: HashMap<MapData, K, V>,
    /// Once more: aya keeps that of a map with types to itself.
    fd: OwnedFd,
}

// === impl Table ===

impl<K: Pod, V: Pod> Table<K, V> {
    /// Writes entries, and notes the key of each before it is written.
    pub(super) fn write(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
        written: &mut Vec<K>,
    ) -> Result<(), MapError> {
        let mut entries = entries.into_iter();
        loop {
            let (keys, values): (Vec<K>, Vec<V>) = entries.by_ref().take(CHUNK).unzip();
            if keys.is_empty() {
                return Ok(());
            }
            written.extend_from_slice(&keys);
            let (_, result) = self.call(BPF_MAP_UPDATE_BATCH, &keys, &values);
            result.map_err(failed("bpf_map_update_batch"))?;
        }
    }

    /// Erases the entries of these keys that there are.
    pub(super) fn erase(&mut self, mut keys: &[K]) -> Result<(), MapError> {
        while !keys.is_empty() {
            match self.call(BPF_MAP_DELETE_BATCH, keys, &[]) {
                (_, Ok(())) => return Ok(()),
                (done, Err(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                    keys = keys.get(done + 1..).unwrap_or_default();
                }
                (_, Err(error)) => return Err(failed("bpf_map_delete_batch")(error)),
            }
        }
        Ok(())
    }

    /// How many were done, and what came of the next one.
    fn call(&self, command: libc::c_int, keys: &[K], values: &[V]) -> (usize, io::Result<()>) {
        let mut attributes = Batch {
            in_batch: 0,
            out_batch: 0,
            keys: keys.as_ptr().expose_provenance() as u64,
            values: values.as_ptr().expose_provenance() as u64,
            count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            map_fd: self.fd.as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        #[expect(unsafe_code, reason = "aya has no batches")]
        // SAFETY: the attributes are those of a batch command, which writes nothing but their count.
        // `keys`, and for an update `values`, have `count` elements of the sizes with which the map
        // was made, which aya has checked in `try_from`, and outlive the call.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, &raw mut attributes, size_of::<Batch>())
        };
        let result = if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        (attributes.count as usize, result)
    }
}

impl<K: Pod, V: Pod> TryFrom<Map> for Table<K, V> {
    type Error = MapError;

    fn try_from(map: Map) -> Result<Self, MapError> {
        let fd = match &map {
            Map::HashMap(data) => data.fd().as_fd().try_clone_to_owned().map_err(failed("dup"))?,
            _ => return Err(MapError::InvalidMapType { map_type: 0 }),
        };
        Ok(Self { entries: HashMap::try_from(map)?, fd })
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = HashMap<MapData, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

fn failed(call: &'static str) -> impl FnOnce(io::Error) -> MapError {
    move |io_error| MapError::SyscallError(SyscallError { call, io_error })
}
