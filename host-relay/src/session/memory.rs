// SPDX-License-Identifier: Apache-2.0
//! What outlives a connection: which guest it was, by boot and by key.
//!
//! The key that a guest shows first is believed for as long as the guest says the same boot; a new
//! boot is a new guest and may have another key. It is forgotten when the relay ends.

use std::time::Instant;

use session_tls::Fingerprint;

use crate::status::GuestPosture;

/// What is known of the guest behind an address.
#[derive(Debug, Default)]
pub(super) struct Memory {
    guest: Option<KnownGuest>,
    /// Last event seen of this boot.
    pub(super) sequence: u64,
    /// What the guest's agent promised last: it is news once, not at each connection.
    pub(super) told: GuestPosture,
    /// When the guest answered, if it did since the last loss.
    pub(super) reached: Option<Instant>,
}

#[derive(Debug)]
struct KnownGuest {
    boot_id: String,
    /// Shown at first contact in this boot; none in the clear.
    key: Option<Fingerprint>,
}

/// Something shows another key than the guest did at first contact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "boot {boot_id:?} showed the key {first} at first contact and shows {now} now: this is another \
     guest, or something between; nothing is sent. If the guest's own agent lost its key, restart \
     the sandbox",
    first = shown(first),
    now = shown(now)
)]
pub struct ChangedKey {
    boot_id: String,
    first: Option<Fingerprint>,
    now: Option<Fingerprint>,
}

fn shown(key: &Option<Fingerprint>) -> String {
    key.map_or_else(|| "none".into(), |key| key.to_string())
}

// === impl Memory ===

impl Memory {
    /// Takes a guest that answers for the one of before, or for a new one if it booted since.
    pub(super) fn recognize(
        &mut self,
        boot_id: &str,
        key: Option<Fingerprint>,
    ) -> Result<(), ChangedKey> {
        match &self.guest {
            Some(guest) if guest.boot_id == boot_id => {
                if guest.key != key {
                    let (boot_id, first) = (boot_id.into(), guest.key);
                    return Err(ChangedKey { boot_id, first, now: key });
                }
            }
            _ => {
                self.guest = Some(KnownGuest { boot_id: boot_id.into(), key });
                // Of another guest the events begin at 1 again.
                self.sequence = 0;
                self.told = GuestPosture::default();
            }
        }
        self.reached = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Option<Fingerprint> {
        Some(Fingerprint::of(name.as_bytes()))
    }

    #[test]
    fn a_guest_is_the_same_as_long_as_boot_and_key_are() {
        let mut memory = Memory::default();
        memory.recognize("boot-1", key("a")).unwrap();
        memory.sequence = 7;
        memory.recognize("boot-1", key("a")).unwrap();
        assert_eq!(memory.sequence, 7);
    }

    #[test]
    fn another_key_in_the_same_boot_is_refused_and_both_are_named() {
        let mut memory = Memory::default();
        memory.recognize("boot-1", key("a")).unwrap();
        memory.reached = None;
        for other in [key("b"), None] {
            let text = memory.recognize("boot-1", other).unwrap_err().to_string();
            assert!(text.contains(&shown(&key("a"))) && text.contains(&shown(&other)), "{text}");
        }
        assert!(memory.reached.is_none(), "it is not the guest that answered");
        memory.recognize("boot-1", key("a")).unwrap();
    }

    #[test]
    fn a_new_boot_may_bring_a_new_key() {
        let mut memory = Memory::default();
        memory.recognize("boot-1", key("a")).unwrap();
        memory.sequence = 7;
        memory.recognize("boot-2", key("b")).unwrap();
        assert_eq!(memory.sequence, 0);
        assert!(memory.recognize("boot-2", key("a")).is_err());
    }
}
