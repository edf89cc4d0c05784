// SPDX-License-Identifier: Apache-2.0
//! The kernel function that the programs call.
//!
//! The loader resolves no kfuncs, so `lib/cast.h` calls a number; here flows in the function's id in
//! the running kernel's BTF, and out flows the object with that id in its place.

use std::ops::Deref;

use crate::{ALIGNED, Aligned, LEN};

/// The kfunc: a typed view on an address, which the verifier turns into a move.
pub const RDONLY_CAST: &str = "bpf_rdonly_cast";

/// `call 0x7f000001`, as clang writes a call of a helper by number (`KFUNC_RDONLY_CAST`).
const PLACEHOLDER: [u8; 8] = [0x85, 0, 0, 0, 0x01, 0, 0, 0x7f];

/// Upper half of the register byte: the call is of a kfunc (`BPF_PSEUDO_KFUNC_CALL`).
const PSEUDO_KFUNC_CALL: u8 = 2 << 4;

/// The object, ready for the running kernel.
#[derive(Clone, Debug)]
pub struct BoundObject(Box<Aligned<[u8; LEN]>>);

/// Binds the calls of the kfunc to its id in the kernel's BTF.
#[must_use]
pub fn bind(rdonly_cast: u32) -> BoundObject {
    let mut object = Box::new(ALIGNED.clone());
    let (words, _) = object.0.as_chunks_mut::<8>();
    for call in words.iter_mut().filter(|word| **word == PLACEHOLDER) {
        call[1] = PSEUDO_KFUNC_CALL;
        call[4..].copy_from_slice(&rdonly_cast.to_le_bytes());
    }
    BoundObject(object)
}

// === impl BoundObject ===

impl Deref for BoundObject {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OBJECT;

    #[test]
    fn every_call_is_bound_and_nothing_else_changes() {
        let bound = bind(0x0102_0304);
        let changed: Vec<_> = OBJECT
            .as_chunks::<8>()
            .0
            .iter()
            .zip(bound.as_chunks::<8>().0)
            .filter(|(before, after)| before != after)
            .collect();
        assert!(changed.len() > 3, "the walk alone has several: {}", changed.len());
        for (before, after) in changed {
            assert_eq!(*before, PLACEHOLDER);
            assert_eq!(*after, [0x85, 0x20, 0, 0, 4, 3, 2, 1]);
        }
        assert_eq!(bound.len(), OBJECT.len());
    }
}
