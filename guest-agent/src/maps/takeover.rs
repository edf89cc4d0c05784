// SPDX-License-Identifier: Apache-2.0
//! The tables of an agent that is gone, as the next one finds them.
//!
//! The kernel went on enforcing from them. What is in force stays as it is; what a crash left half
//! done is taken back: a set that was written but not switched to, a slot that was allocated but
//! never got a set, an open that was announced. Notes on containers are kept as bytes: what they
//! say is the registry's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aya::maps::{Array, Map, MapData, MapError};
use guest_bpf::{abi, hash::HashKey};

use super::{Maps, MapsError, Slot, failed, identity::Tag, install::Installed};

/// What an agent noted of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its registration.
    pub slot: Slot,
    /// Generation of the set in force.
    pub generation: u64,
    /// As it was given to [`Maps::note`].
    pub text: Vec<u8>,
}

/// A note is too long to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a note of {0} bytes does not fit into {max}", max = abi::RECORD_BYTES)]
pub struct NoteTooLong(pub usize);

// === impl Maps ===

impl Maps {
    /// Opens the pinned tables and takes back what was left half done.
    ///
    /// # Errors
    /// If a table is missing or cannot be read; nothing that is in force is touched then.
    pub(crate) fn take_over(pins: &Path) -> Result<Self, MapsError> {
        let mut maps = Self::open(&mut |name| pinned(pins, name), pins)?;
        let settings = maps.settings.get(&0, 0).map_err(failed("reading the settings"))?;
        maps.hash_key = HashKey(settings.hash_key);
        maps.find_slots()?;
        maps.find_keys()?;
        maps.written
            .take_over(maps.installed.values().map(|installed| installed.slot.container))?;
        maps.end_probe()?;
        Ok(maps)
    }

    /// What the pinned tables say of themselves.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn settings_of(pins: &Path) -> Result<abi::Settings, MapsError> {
        let settings: Array<MapData, abi::Settings> =
            Array::try_from(pinned(pins, "settings")?).map_err(failed("opening a pinned map"))?;
        settings.get(&0, 0).map_err(failed("reading the settings"))
    }

    /// Whether a container is registered in the pinned tables, of whichever build they are.
    ///
    /// # Errors
    /// If they cannot be read, or their slots are others than this build's.
    pub(crate) fn has_registrations(pins: &Path) -> Result<bool, MapsError> {
        let slots: Array<MapData, abi::Slot> =
            Array::try_from(pinned(pins, "slots")?).map_err(failed("opening a pinned map"))?;
        for index in 0..slots.len() {
            let slot = slots.get(&index, 0).map_err(failed("reading a slot"))?;
            if slot != abi::Slot::default() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps what the next agent must know of a container.
    ///
    /// # Errors
    /// If it is too long, or the kernel refuses.
    pub fn note(&mut self, slot: Slot, text: &[u8]) -> Result<(), MapsError> {
        self.check_registered(slot)?;
        let mut record = abi::Record { len: 0, text: [0; abi::RECORD_BYTES] };
        let room = record.text.get_mut(..text.len());
        room.ok_or(NoteTooLong(text.len()))?.copy_from_slice(text);
        record.len = u32::try_from(text.len()).map_err(|_| NoteTooLong(text.len()))?;
        self.records.insert(slot.index, record, 0).map_err(failed("noting a container"))
    }

    /// All notes of slots that are in use.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn notes(&self) -> Result<Vec<Note>, MapsError> {
        let mut notes = Vec::new();
        for installed in self.installed.values() {
            let slot = installed.slot;
            let record = match self.records.get(&slot.index, 0) {
                Ok(record) => record,
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(failed("reading a note")(error)),
            };
            let text = record.text.get(..record.len as usize).unwrap_or_default().to_vec();
            let index = slot.index * 2 + (installed.set & 1);
            let set = self.sets.get(&index, 0).map_err(failed("reading a set"))?;
            notes.push(Note { slot, generation: set.generation, text });
        }
        Ok(notes)
    }

    /// Registrations without a note: their agent died before it said what they are.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn unnoted(&self) -> Result<Vec<Slot>, MapsError> {
        let noted: Vec<_> = self.notes()?.into_iter().map(|note| note.slot).collect();
        let slots = self.installed.values().map(|installed| installed.slot);
        Ok(slots.filter(|slot| !noted.contains(slot)).collect())
    }

    fn find_slots(&mut self) -> Result<(), MapsError> {
        for index in 0..abi::MAX_SLOTS {
            let word = self.slots.get(&index, 0).map_err(failed("reading a slot"))?;
            self.last_container = self.last_container.max(word.container);
            self.last_set = self.last_set.max(word.set);
            if word.container == 0 {
                continue;
            }
            let slot = Slot { index, container: word.container };
            self.free.remove(&index);
            self.installed.insert(index, Installed { set: word.set, ..Installed::none(slot) });
        }
        Ok(())
    }

    /// Finds what belongs to the sets in force, and erases what belongs to none.
    fn find_keys(&mut self) -> Result<(), MapsError> {
        let mut found: BTreeMap<u32, Installed> = BTreeMap::new();
        let mut held: BTreeMap<(u32, u32), BTreeSet<Tag>> = BTreeMap::new();
        for entry in self.nodes.iter() {
            let (key, node) = entry.map_err(failed("reading a place"))?;
            of(&mut found, node.set).nodes.push(key);
        }
        for key in self.decisions.keys() {
            let key = key.map_err(failed("reading a decision"))?;
            of(&mut found, key.set).decisions.push(key);
        }
        for key in self.subjects.keys() {
            let key = key.map_err(failed("reading a subject"))?;
            of(&mut found, key.set).subjects.push(key);
        }
        for key in self.inodes.keys() {
            let key = key.map_err(failed("reading an identity"))?;
            of(&mut found, key.set);
            if key.dev == abi::DEV_NONE {
                held.entry((key.set, key.generation)).or_default().insert(key.ino);
            }
        }
        for ((set, class), tags) in held {
            of(&mut found, set).identities.insert(tags, class);
        }
        for installed in self.installed.values_mut().filter(|installed| installed.set != 0) {
            if let Some(found) = found.remove(&installed.set) {
                *installed = Installed { slot: installed.slot, ..found };
            }
        }
        for stray in found.into_values() {
            self.last_set = self.last_set.max(stray.set);
            self.erase(stray)?;
        }
        Ok(())
    }
}

/// What was found of a set so far.
fn of(found: &mut BTreeMap<u32, Installed>, set: u32) -> &mut Installed {
    let nowhere = Slot { index: 0, container: 0 };
    found.entry(set).or_insert_with(|| Installed { set, ..Installed::none(nowhere) })
}

fn pinned(pins: &Path, name: &'static str) -> Result<Map, MapsError> {
    let data = MapData::from_pin(pins.join(name)).map_err(failed("opening a pinned map"))?;
    Map::from_map_data(data).map_err(failed("opening a pinned map"))
}
