// SPDX-License-Identifier: Apache-2.0
//! What a class is decided to be by the arguments of an exec: entries of `inodes` at devices that no
//! inode is of. What was judged of a class flows in; `lib/applet.h` and `lib/arguments.h` read it.

use guest_bpf::abi;

use super::{Maps, MapsError, failed, install::Installed};
use crate::lower::{Judged, JudgedApplets, JudgedArguments};

// === impl Maps ===

impl Maps {
    /// Gives a class its number, with what arguments make of it.
    pub(super) fn write_judged(
        &mut self,
        next: &mut Installed,
        judged: &Judged,
    ) -> Result<u32, MapsError> {
        let class = self.write_class(next, &judged.by_itself)?;
        if let Some(arguments) = &judged.arguments {
            self.write_arguments(next, class, arguments)?;
        }
        Ok(class)
    }

    pub(super) fn write_arguments(
        &mut self,
        next: &mut Installed,
        class: u32,
        arguments: &JudgedArguments,
    ) -> Result<(), MapsError> {
        let JudgedArguments { all, lists_of, by_lists } = arguments;
        let set = next.set;
        for (argument, lists) in lists_of {
            let argument = self.hash_key.name(argument.as_bytes());
            self.write_inodeless(set, (abi::DEV_ARGUMENT, argument, class), *lists)?;
        }
        for (lists, judged) in by_lists {
            let variant = self.write_class(next, judged)?;
            self.write_inodeless(set, (abi::DEV_LISTS, u64::from(*lists), class), variant)?;
        }
        self.write_inodeless(set, (abi::DEV_LISTS, abi::LISTS_ALL, class), *all)
    }

    pub(super) fn write_applets(
        &mut self,
        next: &mut Installed,
        class: u32,
        applets: &JudgedApplets,
    ) -> Result<(), MapsError> {
        let JudgedApplets { by_name, any, may_permit } = applets;
        let set = next.set;
        for (name, judged) in by_name {
            let variant = self.write_judged(next, judged)?;
            let name = self.hash_key.name(name.as_bytes());
            self.write_inodeless(set, (abi::DEV_APPLET, name, class), variant)?;
        }
        let variant = self.write_judged(next, any)?;
        self.write_inodeless(set, (abi::DEV_APPLET, abi::APPLET_ANY, class), variant)?;
        if *may_permit {
            self.write_inodeless(set, (abi::DEV_APPLET, abi::APPLET_MAY_PERMIT, class), 1)?;
        }
        Ok(())
    }

    /// An entry that speaks of a class, at a device that no inode is of.
    pub(super) fn write_inodeless(
        &mut self,
        set: u32,
        (dev, ino, class): (u32, u64, u32),
        value: u32,
    ) -> Result<(), MapsError> {
        let key = abi::InodeKey { set, dev, ino, generation: class, pad: 0 };
        self.inodes.insert(key, value, 0).map_err(failed("writing what is said of a class"))
    }
}
