// SPDX-License-Identifier: Apache-2.0
//! One module for each parser: how an input is made of entropy, and what holds for every input.
//! A target panics where that does not hold.

pub mod address;
pub mod envelope;
pub mod handshake;
pub mod index;
pub mod keys;
pub mod lifecycle;
pub mod mountinfo;
pub mod oci;
pub mod policy;
pub mod record;
pub mod reports;
pub mod tls;
pub mod wire;

use policy_model::{
    Event, Options, RuleSet,
    arbitrary::{any_event, any_rule_set, supported_rule_set},
};
use proptest::{
    strategy::{Strategy, ValueTree as _},
    test_runner::TestRunner,
};

/// Valid values that targets begin with: enough for each kind of rule to occur several times.
const SAMPLES: usize = 64;

fn rule_sets() -> Vec<RuleSet> {
    samples(&any_rule_set())
}

/// Rule sets that the agent enforces.
fn supported_rule_sets() -> Vec<RuleSet> {
    let mut sets = samples(&supported_rule_set());
    sets.iter_mut().for_each(|set| set.options = Options::default());
    sets
}

fn events() -> Vec<Event> {
    samples(&any_event())
}

/// The same ones in each run, so that a seed replays.
fn samples<S: Strategy>(strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    let sample = |_| {
        let tree = strategy.new_tree(&mut runner);
        tree.expect("these strategies filter next to nothing").current()
    };
    (0..SAMPLES).map(sample).collect()
}

fn slices(texts: &[Vec<u8>]) -> Vec<&[u8]> {
    texts.iter().map(Vec::as_slice).collect()
}
