// SPDX-License-Identifier: Apache-2.0
//! Runs a target on random entropy, so often as is asked for.
//!
//! Execution k of seed S is execution 0 of seed S + k: whatever an execution finds is replayed by
//! one number. An execution that panics, or takes longer than any parser may, is run again with the
//! simplest entropy that was found to fail too, and with its input shown.

use std::{
    cell::Cell,
    env, fs,
    hash::{BuildHasher as _, RandomState},
    io::{self, Write as _},
    panic,
    sync::Once,
    time::{Duration, Instant},
};

use crate::grammar;

/// How many executions, for each target.
const EXECUTIONS: &str = "KADAPTER_FUZZ_EXECUTIONS";

/// The first seed.
const SEED: &str = "KADAPTER_FUZZ_SEED";

/// A file with the entropy of one execution, as libFuzzer leaves it behind.
const INPUT: &str = "KADAPTER_FUZZ_INPUT";

/// Executions where nobody asks for a number: of all targets some seconds without optimisation.
const FEW: u64 = 3000;

/// Entropy of one execution: enough for the largest record of the kernel, of 2,448 bytes.
const MAX_ENTROPY: usize = 4096;

/// What one execution may take. The slowest takes some milliseconds; the rest is for a machine
/// that does something else.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a simpler entropy is looked for.
const SIMPLIFYING: Duration = Duration::from_secs(20);

thread_local! {
    /// Whether panics of this thread are expected, and none of anybody's business.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a target.
///
/// # Panics
/// As the first execution that fails, after a line that tells how to replay it.
pub fn run(name: &str, target: fn(&[u8])) {
    if let Some(path) = env::var_os(INPUT) {
        let entropy = fs::read(&path).unwrap_or_else(|error| panic!("{INPUT}: {error}"));
        grammar::show_inputs();
        return target(&entropy);
    }
    silence_expected_panics();
    let executions = variable(EXECUTIONS);
    let first = variable(SEED).unwrap_or_else(|| RandomState::new().hash_one(name));
    let started = Instant::now();
    let mut entropy = Vec::with_capacity(MAX_ENTROPY);
    for number in 0..executions.unwrap_or(FEW) {
        let seed = first.wrapping_add(number);
        fill(&mut entropy, seed);
        if fails(target, &entropy) {
            eprintln!(
                "replay: {SEED}={seed} {EXECUTIONS}=1 cargo test --package fuzz -- --exact {name}"
            );
            fail(target, simplified(target, entropy));
        }
    }
    if let Some(executions) = executions {
        let seconds = started.elapsed().as_secs_f64();
        let line = format!("{name}: {executions} executions, {seconds:.1} s, seed {first}");
        // Past the harness, which holds back what passing tests print; `measured: ` is how figures
        // are told from all else in the suites.
        let _ = writeln!(io::stdout(), "\nmeasured: fuzz {line}");
    }
}

fn fails(target: fn(&[u8]), entropy: &[u8]) -> bool {
    let started = Instant::now();
    QUIET.set(true);
    let outcome = panic::catch_unwind(|| target(entropy));
    QUIET.set(false);
    outcome.is_err() || started.elapsed() > PATIENCE
}

/// Entropy that fails too: its shortest beginning that does, with as many zeros as may be.
fn simplified(target: fn(&[u8]), mut entropy: Vec<u8>) -> Vec<u8> {
    let until = Instant::now() + SIMPLIFYING;
    let mut attempts = (0..entropy.len()).take_while(|_| Instant::now() < until);
    if let Some(length) = attempts.find(|length| fails(target, &entropy[..*length])) {
        entropy.truncate(length);
    }
    for at in (0..entropy.len()).take_while(|_| Instant::now() < until) {
        let byte = std::mem::take(&mut entropy[at]);
        if !fails(target, &entropy) {
            entropy[at] = byte;
        }
    }
    entropy
}

fn fail(target: fn(&[u8]), entropy: Vec<u8>) -> ! {
    grammar::show_inputs();
    let started = Instant::now();
    target(&entropy);
    panic!("it took {:?}", started.elapsed());
}

fn fill(entropy: &mut Vec<u8>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    // Short ones are simple and quick: each power of two is tried equally often.
    let longest = 1 << random.u32(0..=MAX_ENTROPY.ilog2());
    entropy.resize(random.usize(0..=longest), 0);
    random.fill(entropy);
}

fn silence_expected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                print(panic);
            }
        }));
    });
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`; write a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dislikes_seven(entropy: &[u8]) {
        assert!(!entropy.contains(&7));
    }

    #[test]
    fn an_execution_is_replayed_by_its_seed() {
        let (mut one, mut other) = (Vec::new(), vec![1; 9]);
        fill(&mut one, 42);
        fill(&mut other, 42);
        assert_eq!(one, other);
        fill(&mut other, 43);
        assert_ne!(one, other);
    }

    #[test]
    fn what_fails_is_simplified_while_it_fails() {
        silence_expected_panics();
        assert!(fails(dislikes_seven, &[1, 7, 2]));
        assert_eq!(simplified(dislikes_seven, vec![1, 7, 2, 7]), [0, 7]);
    }
}
