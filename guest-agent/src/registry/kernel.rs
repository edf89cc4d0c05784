// SPDX-License-Identifier: Apache-2.0
//! What the registry asks of the kernel. [`Maps`] does it; tests use [`double`].

use crate::{
    identify::Findings,
    lower::Plan,
    maps::{
        InstallError, KernelCounters, Maps, MapsError, Note, Phase, Residue, Slot, SwitchError,
    },
};

/// See the methods of [`Maps`].
#[expect(missing_docs, clippy::missing_errors_doc, reason = "documented at Maps")]
pub trait Kernel: Send + 'static {
    fn allocate(&mut self) -> Result<Slot, MapsError>;
    fn stage(
        &mut self,
        slot: Slot,
        plan: &Plan<'_>,
        findings: &Findings,
    ) -> Result<Vec<Residue>, InstallError>;
    fn unstage(&mut self, slot: Slot) -> Result<(), MapsError>;
    fn switch_all(&mut self, slots: &[Slot]) -> Result<(), SwitchError>;
    fn settle(&mut self, slot: Slot, plan: &Plan<'_>) -> Result<(), MapsError>;
    fn bind_cgroup(&mut self, cgroup: u64, slot: Slot) -> Result<(), MapsError>;
    fn label(&mut self, pid: u32, slot: Slot, phase: Phase) -> Result<(), MapsError>;
    fn release(&mut self, slot: Slot, cgroup: Option<u64>) -> Result<(), MapsError>;
    fn note(&mut self, slot: Slot, text: &[u8]) -> Result<(), MapsError>;
    fn notes(&self) -> Result<Vec<Note>, MapsError>;
    fn unnoted(&self) -> Result<Vec<Slot>, MapsError>;
    fn counters(&self) -> Result<KernelCounters, MapsError>;
}

impl Kernel for Maps {
    fn allocate(&mut self) -> Result<Slot, MapsError> {
        self.allocate()
    }

    fn stage(
        &mut self,
        slot: Slot,
        plan: &Plan<'_>,
        findings: &Findings,
    ) -> Result<Vec<Residue>, InstallError> {
        self.stage(slot, plan, findings)
    }

    fn unstage(&mut self, slot: Slot) -> Result<(), MapsError> {
        self.unstage(slot)
    }

    fn switch_all(&mut self, slots: &[Slot]) -> Result<(), SwitchError> {
        self.switch_all(slots)
    }

    fn settle(&mut self, slot: Slot, plan: &Plan<'_>) -> Result<(), MapsError> {
        self.settle(slot, plan)
    }

    fn bind_cgroup(&mut self, cgroup: u64, slot: Slot) -> Result<(), MapsError> {
        self.bind_cgroup(cgroup, slot)
    }

    fn label(&mut self, pid: u32, slot: Slot, phase: Phase) -> Result<(), MapsError> {
        self.label(pid, slot, phase)
    }

    fn release(&mut self, slot: Slot, cgroup: Option<u64>) -> Result<(), MapsError> {
        self.release(slot, cgroup)
    }

    fn note(&mut self, slot: Slot, text: &[u8]) -> Result<(), MapsError> {
        self.note(slot, text)
    }

    fn notes(&self) -> Result<Vec<Note>, MapsError> {
        self.notes()
    }

    fn unnoted(&self) -> Result<Vec<Slot>, MapsError> {
        self.unnoted()
    }

    fn counters(&self) -> Result<KernelCounters, MapsError> {
        self.counters()
    }
}

/// A double: records what it is asked instead of asking a kernel. It enforces nothing; what the
/// real one does is tested in a VM.
#[cfg(test)]
pub mod double {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The double.
    #[derive(Clone, Debug, Default)]
    pub struct KernelDouble(Arc<Mutex<State>>);

    /// What the double was asked, and how it answers.
    #[derive(Debug, Default)]
    pub struct State {
        /// Slots given out and not released.
        pub slots: Vec<Slot>,
        /// Generation put into force in each slot, in order.
        pub installed: Vec<(Slot, u64)>,
        /// Generation staged for a slot.
        pub staged: Vec<(Slot, u64)>,
        /// Findings that these were given, in the same order.
        pub findings: Vec<Findings>,
        /// Bound cgroups.
        pub cgroups: Vec<(u64, Slot)>,
        /// Labelled processes.
        pub labels: Vec<(u32, Slot)>,
        /// Refuses to stage anything.
        pub refuse_stage: bool,
        /// Refuses to stage anything for this slot.
        pub refuse_stage_of: Option<Slot>,
        /// Refuses to take back what is staged.
        pub refuse_unstage: bool,
        /// Refuses to switch this slot, and to switch back any other if the flag says so.
        pub refuse_switch_of: Option<(Slot, bool)>,
        /// Refuses what comes after a switch.
        pub refuse_settle: bool,
        /// Refuses every label.
        pub refuse_label: bool,
        /// Notes of slots.
        pub notes: Vec<Note>,
        /// Answer of `counters`.
        pub counters: KernelCounters,
        last: u32,
    }

    impl KernelDouble {
        /// Looks at, or changes, the double's state.
        pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
            look(&mut self.0.lock().unwrap())
        }
    }

    impl Kernel for KernelDouble {
        fn allocate(&mut self) -> Result<Slot, MapsError> {
            self.with(|state| {
                state.last += 1;
                let slot = Slot { index: state.last - 1, container: state.last };
                state.slots.push(slot);
                Ok(slot)
            })
        }

        fn stage(
            &mut self,
            slot: Slot,
            plan: &Plan<'_>,
            findings: &Findings,
        ) -> Result<Vec<Residue>, InstallError> {
            self.with(|state| {
                if state.refuse_stage || state.refuse_stage_of == Some(slot) {
                    return Err(InstallError::Collisions);
                }
                state.staged.push((slot, plan.generation));
                state.findings.push(findings.clone());
                Ok(Vec::new())
            })
        }

        fn unstage(&mut self, slot: Slot) -> Result<(), MapsError> {
            self.with(|state| {
                state.staged.retain(|(staged, _)| *staged != slot);
                if state.refuse_unstage { Err(MapsError::Full) } else { Ok(()) }
            })
        }

        fn switch_all(&mut self, slots: &[Slot]) -> Result<(), SwitchError> {
            self.with(|state| {
                let refused = state.refuse_switch_of;
                let end = slots.iter().position(|slot| refused.is_some_and(|it| it.0 == *slot));
                let sticks = refused.is_some_and(|it| it.1);
                let switched = slots.get(..end.unwrap_or(slots.len())).unwrap_or_default();
                if end.is_none() || sticks {
                    let staged = state.staged.iter().filter(|(slot, _)| switched.contains(slot));
                    state.installed.extend(staged.copied());
                }
                let Some(_) = end else { return Ok(()) };
                let switched = switched.iter().filter(|_| sticks);
                Err(SwitchError {
                    source: MapsError::NotRegistered(99),
                    switched: switched.map(|slot| (*slot, MapsError::Full)).collect(),
                })
            })
        }

        fn settle(&mut self, slot: Slot, _: &Plan<'_>) -> Result<(), MapsError> {
            self.with(|state| {
                state.staged.retain(|(staged, _)| *staged != slot);
                if state.refuse_settle { Err(MapsError::Full) } else { Ok(()) }
            })
        }

        fn bind_cgroup(&mut self, cgroup: u64, slot: Slot) -> Result<(), MapsError> {
            self.with(|state| state.cgroups.push((cgroup, slot)));
            Ok(())
        }

        fn label(&mut self, pid: u32, slot: Slot, _: Phase) -> Result<(), MapsError> {
            self.with(|state| {
                if state.refuse_label {
                    return Err(MapsError::NotRegistered(slot.index));
                }
                state.labels.push((pid, slot));
                Ok(())
            })
        }

        fn release(&mut self, slot: Slot, _: Option<u64>) -> Result<(), MapsError> {
            self.with(|state| {
                state.slots.retain(|held| *held != slot);
                state.cgroups.retain(|(_, held)| *held != slot);
                state.notes.retain(|note| note.slot != slot);
            });
            Ok(())
        }

        fn note(&mut self, slot: Slot, text: &[u8]) -> Result<(), MapsError> {
            self.with(|state| {
                let last = state.installed.iter().rfind(|(installed, _)| *installed == slot);
                let generation = last.map_or(0, |(_, generation)| *generation);
                state.notes.retain(|note| note.slot != slot);
                state.notes.push(Note { slot, generation, text: text.to_vec() });
            });
            Ok(())
        }

        fn notes(&self) -> Result<Vec<Note>, MapsError> {
            Ok(self.with(|state| state.notes.clone()))
        }

        fn unnoted(&self) -> Result<Vec<Slot>, MapsError> {
            self.with(|state| {
                let noted: Vec<_> = state.notes.iter().map(|note| note.slot).collect();
                Ok(state.slots.iter().copied().filter(|slot| !noted.contains(slot)).collect())
            })
        }

        fn counters(&self) -> Result<KernelCounters, MapsError> {
            Ok(self.with(|state| state.counters.clone()))
        }
    }
}
