// SPDX-License-Identifier: Apache-2.0
//! The kernel's type information (BTF), as far as it tells how hooks are called.
//!
//! Raw bytes flow in, arguments flow out. Documentation/bpf/btf.rst has the format.

use std::collections::BTreeMap;

use guest_bpf::prototype::Argument;

/// Of a program's hook, the kernel's function.
const PREFIX: &[u8] = b"bpf_lsm_";

/// `0xeb9f`, version 1, no flags.
const MAGIC: [u8; 4] = [0x9f, 0xeb, 1, 0];

/// Name, kind and number of parts, size or another type.
const TYPE_BYTES: usize = 12;

/// Names and modifiers that a type may be behind.
const MAX_STEPS: usize = 16;

// Kinds of types (include/uapi/linux/btf.h), those that a hook's prototype is made of.
const POINTER: u32 = 2;
const INT: u32 = 1;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;
const TYPE_TAG: u32 = 18;

/// Where the types lie, and the hooks among them.
pub(super) struct Types<'b> {
    types: &'b [u8],
    strings: &'b [u8],
    /// By number, the first one's is 1.
    places: Vec<usize>,
    hooks: BTreeMap<&'static str, u32>,
}

/// One type's first words.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: usize,
    kind: u32,
    parts: usize,
    /// Bytes, or the number of another type.
    other: u32,
}

// === impl Types ===

impl<'b> Types<'b> {
    /// Finds these hooks. None if the bytes are malformed.
    pub(super) fn read(bytes: &'b [u8], hooks: &[&'static str]) -> Option<Self> {
        if bytes.get(..4)? != MAGIC {
            return None;
        }
        let word = |at: usize| word(bytes, at).and_then(|word| usize::try_from(word).ok());
        let start = word(4)?;
        let section = |offset: usize| {
            let from = start.checked_add(word(offset)?)?;
            bytes.get(from..from.checked_add(word(offset + 4)?)?)
        };
        let (types, strings) = (section(8)?, section(16)?);
        let mut read = Self { types, strings, places: vec![0], hooks: BTreeMap::new() };
        let mut at = 0;
        while at < types.len() {
            let found = read.type_at(at)?;
            if found.kind == FUNCTION
                && let Some(name) = read.name(found.name)?.strip_prefix(PREFIX)
                && let Some(hook) = hooks.iter().find(|hook| hook.as_bytes() == name)
            {
                read.hooks.insert(hook, found.other);
            }
            read.places.push(at);
            at = at.checked_add(TYPE_BYTES)?.checked_add(found.bytes_behind()?)?;
        }
        Some(read)
    }

    /// The prototype of a hook, if the kernel has it.
    pub(super) fn hook(&self, hook: &str) -> Option<u32> {
        self.hooks.get(hook).copied()
    }

    /// What a function of this prototype is called with.
    pub(super) fn arguments(&self, prototype: u32) -> Option<Vec<Argument<'b>>> {
        let prototype = self.of(prototype)?;
        let parameters = (prototype.kind == PROTOTYPE).then_some(0..prototype.parts)?;
        let arguments = parameters.map(|index| {
            let at = prototype.at + TYPE_BYTES + 8 * index;
            self.argument(word(self.types, at + 4)?)
        });
        arguments.collect()
    }

    fn argument(&self, number: u32) -> Option<Argument<'b>> {
        let found = self.behind_names(number)?;
        match found.kind {
            POINTER => Some(Argument::Pointer(self.pointee(found.other)?)),
            INT | ENUM | STRUCT | UNION => Some(Argument::Value(found.other)),
            _ => None,
        }
    }

    /// The structure's name; empty for anything else, as for `void`, which has the number 0.
    fn pointee(&self, number: u32) -> Option<&'b str> {
        if number == 0 {
            return Some("");
        }
        let Some(found) = self.behind_names(number) else { return Some("") };
        match found.kind {
            STRUCT | UNION | FORWARD => str::from_utf8(self.name(found.name)?).ok(),
            _ => Some(""),
        }
    }

    /// What names and modifiers stand for.
    fn behind_names(&self, mut number: u32) -> Option<Type> {
        for _ in 0..MAX_STEPS {
            let found = self.of(number)?;
            match found.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => number = found.other,
                _ => return Some(found),
            }
        }
        None
    }

    fn of(&self, number: u32) -> Option<Type> {
        let number = usize::try_from(number).ok().filter(|number| *number > 0)?;
        self.type_at(*self.places.get(number)?)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = word(self.types, at.checked_add(4)?)?;
        Some(Type {
            at,
            name: usize::try_from(word(self.types, at)?).ok()?,
            kind: info >> 24 & 0x1f,
            parts: usize::try_from(info & 0xffff).ok()?,
            other: word(self.types, at.checked_add(8)?)?,
        })
    }

    fn name(&self, offset: usize) -> Option<&'b [u8]> {
        self.strings.get(offset..)?.split(|byte| *byte == 0).next()
    }
}

// === impl Type ===

impl Type {
    fn bytes_behind(self) -> Option<usize> {
        // Those that a type may have beside the ones above; all others are their first words alone.
        const ARRAY: u32 = 3;
        const VARIABLE: u32 = 14;
        const SECTION: u32 = 15;
        const TAG: u32 = 17;
        const ENUM64: u32 = 19;
        match self.kind {
            INT | VARIABLE | TAG => Some(4),
            ARRAY => Some(12),
            STRUCT | UNION | SECTION | ENUM64 => Some(12 * self.parts),
            ENUM | PROTOTYPE => Some(8 * self.parts),
            0 | 20.. => None,
            _ => Some(0),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The type information of a kernel to be.
    pub(in crate::loader) struct Kernel {
        types: Vec<u8>,
        strings: Vec<u8>,
        count: u32,
    }

    /// One with a value of each size.
    pub(in crate::loader) fn kernel() -> Kernel {
        Kernel { types: Vec::new(), strings: vec![0], count: 0 }
    }

    impl Kernel {
        /// With a hook, whose values and pointees are behind names and modifiers as the kernel's are.
        pub(in crate::loader) fn with_hook(
            mut self,
            hook: &str,
            arguments: &[Argument<'_>],
        ) -> Self {
            let arguments: Vec<_> =
                arguments.iter().map(|argument| self.argument(*argument)).collect();
            let count = u32::try_from(arguments.len()).unwrap();
            let named = arguments.into_iter().flat_map(|number| [0, number]);
            let words: Vec<_> = [0].into_iter().chain(named).collect();
            let prototype = self.push(PROTOTYPE << 24 | count, "", &words);
            self.push(FUNCTION << 24, &format!("bpf_lsm_{hook}"), &[prototype]);
            self
        }

        fn argument(&mut self, argument: Argument<'_>) -> u32 {
            match argument {
                Argument::Value(size) => {
                    let int = self.push(INT << 24, "number", &[size, 8 * size]);
                    self.push(TYPEDEF << 24, "renamed", &[int])
                }
                Argument::Pointer("") => self.push(POINTER << 24, "", &[0]),
                Argument::Pointer(name) => {
                    let structure = self.push(STRUCT << 24 | 1, name, &[8, 0, 0, 0]);
                    let constant = self.push(CONST << 24, "", &[structure]);
                    self.push(POINTER << 24, "", &[constant])
                }
            }
        }

        /// Kind and number of parts, name, and all words that follow. Returns its number.
        fn push(&mut self, info: u32, name: &str, words: &[u32]) -> u32 {
            let offset = u32::try_from(self.strings.len()).unwrap();
            self.strings.extend(name.bytes().chain([0]));
            for word in [offset, info].iter().chain(words) {
                self.types.extend(word.to_le_bytes());
            }
            self.count += 1;
            self.count
        }

        pub(in crate::loader) fn bytes(&self) -> Vec<u8> {
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            let mut bytes = MAGIC.to_vec();
            for word in [24, 0, types, types, strings] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(&self.types);
            bytes.extend(&self.strings);
            bytes
        }
    }
}
