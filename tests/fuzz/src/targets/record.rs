// SPDX-License-Identifier: Apache-2.0
//! Records of the kernel: texts in them are chosen by processes of containers.

use std::{
    collections::VecDeque,
    mem::offset_of,
    sync::{Arc, LazyLock},
};

use guest_agent::{
    containers::ContainerId,
    events::{BootClock, convert},
    maps::Slot,
    registry::{ContainerView, State, View},
};
use guest_bpf::abi;
use kadapter_proto::guest::v1 as pb;
use policy_model::{Event, Target};

use crate::entropy::Entropy;

const SIZE: usize = size_of::<abi::Event>();

/// Bytes that the replacement character has in place of one that is no text.
const REPLACEMENT: usize = '\u{fffd}'.len_utf8();

static VIEW: LazyLock<View> = LazyLock::new(|| View {
    containers: vec![ContainerView {
        id: ContainerId::new("c1").expect("it is one"),
        target: Target { pod: "shop-0".into(), ..Target::default() },
        state: State::Started,
        slot: Some(Slot { index: 1, container: 7 }),
        in_force: None,
        residues: Arc::default(),
        reason: String::new(),
    }],
    departed: Arc::new(VecDeque::new()),
    ..View::default()
});

/// The target.
pub fn check(entropy: &[u8]) {
    let mut entropy = Entropy::new(entropy);
    let record = record(&mut entropy);
    let Ok(event) = convert(&record, &VIEW, BootClock::now()) else { return };
    assert_eq!(record.len(), SIZE, "a record of another size has no meaning");
    assert!(event.rules.len() <= abi::MAX_RULES);
    for (text, bytes) in [
        (&event.comm, abi::COMM_BYTES),
        (&event.tty, abi::TTY_BYTES),
        (&event.exe, abi::EXE_BYTES),
        (&event.parent_exe, abi::EXE_BYTES),
        (&event.cwd, abi::EXE_BYTES),
        (&event.path, abi::PATH_BYTES),
    ] {
        assert!(text.len() <= bytes * REPLACEMENT && !text.contains('\0'));
    }
    assert!(event.argv.iter().map(String::len).sum::<usize>() <= abi::ARGV_BYTES * REPLACEMENT);
    let sent = pb::Event::from(event.clone());
    assert_eq!(Event::try_from(sent).as_ref(), Ok(&event), "the relay reads what is sent");
}

/// Mostly with numbers that mean something: else texts are never reached.
fn record(entropy: &mut Entropy<'_>) -> Vec<u8> {
    if entropy.below(32) == 31 {
        return entropy.rest().to_vec();
    }
    let mut record = vec![0; SIZE];
    let mut put = |at: usize, value: u8| record[at] = value;
    put(offset_of!(abi::Event, hook), entropy.below(abi::HOOKS.len() + 1) as u8);
    put(offset_of!(abi::Event, verdict), entropy.below(5) as u8);
    put(offset_of!(abi::Event, reason), entropy.below(7) as u8);
    put(offset_of!(abi::Event, category), entropy.below(4) as u8);
    put(offset_of!(abi::Event, rules_len), entropy.byte());
    put(offset_of!(abi::Event, container), entropy.pick(&[0, 7, 9]));
    put(offset_of!(abi::Event, errno_value) + 3, entropy.byte());
    put(offset_of!(abi::Event, argv_len), entropy.byte());
    put(offset_of!(abi::Event, argv_len) + 1, entropy.byte());
    put(offset_of!(abi::Event, total_rules), entropy.byte());
    put(offset_of!(abi::Event, boot_ns) + 7, entropy.byte());
    let texts = &mut record[offset_of!(abi::Event, comm)..];
    let bytes = entropy.rest();
    for (to, from) in texts.iter_mut().zip(bytes.iter().cycle()) {
        *to = *from;
    }
    record
}
