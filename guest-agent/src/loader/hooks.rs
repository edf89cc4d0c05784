// SPDX-License-Identifier: Apache-2.0
//! Whether the running kernel calls its hooks as the programs expect.
//!
//! The kernel's types and the table of `guest-bpf` flow in; the first hook that differs flows out. A
//! program reads arguments by their place: on a kernel that has one more or less it would take one
//! for another, or not be loaded for a reason that names no hook.

use guest_bpf::prototype::{Argument, Prototype};

use super::{rare::OPTIONAL, types::Types};

/// Why a program must not be attached to its hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// What the kernel says of its types is not understood.
    #[error("the kernel's type information is malformed")]
    Types,
    /// It tells nothing of this hook.
    #[error("the kernel has no hook `{0}`")]
    Missing(&'static str),
    /// It calls the hook in another way.
    #[error("the kernel calls the hook `{hook}` with {found}, the program expects {expected}")]
    Differs {
        /// The hook.
        hook: &'static str,
        /// The kernel's arguments.
        found: String,
        /// The program's.
        expected: String,
    },
}

/// Compares programs with the kernel.
pub(super) fn compare(types: &[u8], programs: &[Prototype]) -> Result<(), HookError> {
    let hooks: Vec<_> = programs.iter().map(|program| program.hook).collect();
    let types = Types::read(types, &hooks).ok_or(HookError::Types)?;
    programs.iter().try_for_each(|program| {
        let hook = program.hook;
        let Some(function) = types.hook(hook) else {
            return if hook == OPTIONAL { Ok(()) } else { Err(HookError::Missing(hook)) };
        };
        let found = types.arguments(function).ok_or(HookError::Types)?;
        if fits(&found, program) {
            return Ok(());
        }
        let more = if program.reads_verdict { "" } else { ", or more" };
        let expected = format!("{}{more}", show(program.arguments));
        Err(HookError::Differs { hook, found: show(&found), expected })
    })
}

fn fits(found: &[Argument<'_>], program: &Prototype) -> bool {
    let is_enough = if program.reads_verdict {
        found.len() == program.arguments.len()
    } else {
        found.len() >= program.arguments.len()
    };
    is_enough && found.iter().zip(program.arguments).all(|(found, expected)| found == expected)
}

fn show(arguments: &[Argument<'_>]) -> String {
    let shown: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    format!("({})", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use guest_bpf::prototype::PROTOTYPES;

    use super::*;
    use crate::loader::types::tests::{Kernel, kernel};

    /// What every kernel from 6.12 on has, told by the table itself.
    fn as_expected() -> Kernel {
        PROTOTYPES
            .iter()
            .fold(kernel(), |kernel, program| kernel.with_hook(program.hook, program.arguments))
    }

    fn program(name: &str) -> Vec<Prototype> {
        PROTOTYPES.iter().filter(|program| program.program == name).copied().collect()
    }

    #[test]
    fn a_kernel_that_calls_hooks_as_expected_passes() {
        assert_eq!(compare(&as_expected().bytes(), PROTOTYPES), Ok(()));
    }

    #[test]
    fn a_hook_that_differs_is_named_with_both_sides() {
        let path = Argument::Pointer("path");
        for arguments in [
            &[path, Argument::Pointer("dentry"), Argument::Value(4)][..],
            &[path],
            &[Argument::Pointer("dentry"), path],
            &[path, Argument::Value(8)],
        ] {
            let kernel = kernel().with_hook("path_unlink", arguments);
            let error = compare(&kernel.bytes(), &program("path_unlink")).unwrap_err();
            let HookError::Differs { hook, found, expected } = &error else { panic!("{error}") };
            assert_eq!((*hook, &**expected), ("path_unlink", "(path *, dentry *)"));
            assert_eq!(*found, show(arguments));
        }
        let missing = compare(&kernel().bytes(), &program("path_unlink"));
        assert_eq!(missing, Err(HookError::Missing("path_unlink")));
        assert_eq!(compare(&kernel().bytes(), &program(OPTIONAL)), Ok(()));
    }

    /// Linux 6.12 and 6.15.
    #[test]
    fn hook_bpf_may_have_three_arguments_and_four() {
        let three = [Argument::Value(4), Argument::Pointer("bpf_attr"), Argument::Value(4)];
        let four = [three[0], three[1], three[2], Argument::Value(1)];
        for arguments in [&three[..], &four] {
            let kernel = kernel().with_hook("bpf", arguments);
            assert_eq!(compare(&kernel.bytes(), &program("bpf")), Ok(()));
        }
        let two = kernel().with_hook("bpf", &three[..2]);
        assert!(compare(&two.bytes(), &program("bpf")).is_err());
    }

    #[test]
    fn nonsense_is_malformed() {
        let whole = as_expected().bytes();
        for cut in [0, 4, 20, 30, whole.len() / 2, whole.len() - 1] {
            assert_eq!(compare(&whole[..cut], PROTOTYPES), Err(HookError::Types), "{cut}");
        }
    }
}
