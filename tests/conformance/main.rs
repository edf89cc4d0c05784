// SPDX-License-Identifier: Apache-2.0
//! Conformance: what containers under policies may do, as data.
//!
//! In: the cases below `cases/`, or in the directory that `KADAPTER_CASES` names. Each is run three
//! times: by the reference decision in a model of the world, by the programs' own decision compiled
//! for the host, and by the whole product in a VM. Out: a line for each run, as Rust's test harness
//! prints them, so that the suites count them; a JUnit file and a JSON file if `KADAPTER_JUNIT` and
//! `KADAPTER_JSON` name them. `KADAPTER_LEGS` chooses among `eval`, `c` and `vm`, `KADAPTER_KERNEL` what
//! machines boot; arguments that are no options choose cases by parts of their ids. Never: counts a denial of what was not seen to
//! succeed without policies.

mod case;
mod decision;
mod laws;
mod machine;
mod model;
mod outcome;
mod programs;
mod report;
mod stages;
mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    num::NonZero,
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Result, bail};
use e2e::{rootfs::Medium, vm::KernelChoice};

use case::Case;
use decision::Decider;
use machine::Machine;
use model::{Findings, Leg};
use report::{Report, Test};

const LEGS: [&str; 3] = ["eval", "c", "vm"];

/// Machines at a time, however many processors there are: each takes 1 GiB.
const MOST_PLAYERS: usize = 4;

/// What to run, and where to say it.
struct Options {
    cases: PathBuf,
    legs: Vec<&'static str>,
    /// Parts of ids: a case that has one is run; every case, if there are none.
    parts: Vec<String>,
    /// What machines boot.
    kernel: KernelChoice,
    junit: Option<PathBuf>,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Options::read().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

// === impl Options ===

impl Options {
    fn read() -> Result<Self> {
        let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance/cases");
        let file = |name| env::var_os(name).map(PathBuf::from);
        let legs = match env::var("KADAPTER_LEGS") {
            Ok(names) => names.split(',').map(leg).collect::<Result<_>>()?,
            Err(_) => LEGS.into(),
        };
        Ok(Self {
            cases: file("KADAPTER_CASES").unwrap_or_else(own),
            legs,
            parts: env::args().skip(1).filter(|word| !word.starts_with('-')).collect(),
            kernel: match env::var("KADAPTER_KERNEL") {
                Ok(name) => name.parse()?,
                Err(_) => KernelChoice::Auto,
            },
            junit: file("KADAPTER_JUNIT"),
            json: file("KADAPTER_JSON"),
        })
    }

    fn chooses(&self, case: &Case) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| case.id.contains(part))
    }
}

fn leg(name: &str) -> Result<&'static str> {
    match LEGS.into_iter().find(|leg| *leg == name) {
        Some(leg) => Ok(leg),
        None => bail!("no leg is called `{name}`; there are {}", LEGS.join(", ")),
    }
}

/// Whether all of it is as the cases say.
fn run(options: &Options) -> Result<bool> {
    let mut cases = case::load(&options.cases)?;
    cases.retain(|case| options.chooses(case));
    println!("\nrunning {} cases", cases.len());
    let mut report = Report::default();
    if options.legs.contains(&"eval") {
        if options.parts.is_empty() {
            law(&mut report, "eval", "runner/cases-can-fail", laws::cases_can_fail);
            law(&mut report, "eval", "runner/the-driver-is-known", laws::the_driver_is_known);
        }
        for case in &cases {
            add(&mut report, case, "eval", || model::run(case, Leg::Reference));
        }
    }
    if options.legs.contains(&"c") {
        run_programs(&cases, options, &mut report)?;
    }
    if options.legs.contains(&"vm") {
        run_machines(&cases, options.kernel, &mut report)?;
    }
    report.print();
    if let Some(path) = &options.junit {
        report.write_junit(path)?;
    }
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(report.is_success())
}

fn run_programs(cases: &[Case], options: &Options, report: &mut Report) -> Result<()> {
    let decider = Decider::compile()?;
    if options.parts.is_empty() {
        law(report, "c", "decide.h/any-access", || {
            laws::any_access_is_decided_as_by_the_reference(&decider)
        });
        law(report, "c", "decide.h/nonsense", || {
            laws::facts_that_make_no_sense_are_an_error_and_not_a_verdict(&decider)
        });
    }
    for case in cases {
        add(report, case, "c", || model::run(case, Leg::Programs(&decider)));
    }
    Ok(())
}

/// Cases that are to be played in machines, by what their machine needs.
type Waiting<'a> = BTreeMap<Medium, VecDeque<&'a Case>>;

/// One machine for each processor at a time: it waits as long as it works.
fn run_machines(cases: &[Case], kernel: KernelChoice, report: &mut Report) -> Result<()> {
    let mut waiting = Waiting::new();
    for case in cases {
        waiting.entry(case.medium()?).or_default().push_back(case);
    }
    let (waiting, report) = (Mutex::new(waiting), Mutex::new(report));
    let players = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_PLAYERS);
    thread::scope(|scope| {
        let play = || scope.spawn(|| play(&waiting, kernel, &report));
        let players: Vec<_> = (0..players).map(|_| play()).collect();
        players.into_iter().try_for_each(|player| match player.join() {
            Ok(played) => played,
            Err(_) => bail!("a player panicked"),
        })
    })
}

/// Plays cases until none waits; one machine serves as many as need its kind.
fn play(
    waiting: &Mutex<Waiting<'_>>,
    kernel: KernelChoice,
    report: &Mutex<&mut Report>,
) -> Result<()> {
    let mut kept: Option<(Medium, Machine)> = None;
    while let Some((medium, case)) = next(waiting, kept.as_ref().map(|(medium, _)| *medium)) {
        let mut used = match kept.take() {
            Some((known, machine)) if known == medium => machine,
            other => {
                other.map_or(Ok(()), |(_, machine)| machine.end())?;
                Machine::boot(medium, kernel)?
            }
        };
        let started = Instant::now();
        let findings = used.run(case);
        let took = started.elapsed();
        let findings = match findings {
            Ok(findings) => {
                kept = Some((medium, used));
                findings
            }
            // One that was left in disorder is not used again.
            Err(error) => {
                let ended = used.end().err().map(|error| format!("{error:#}"));
                let mut findings = Findings::of_error(error);
                findings.failures.extend(ended);
                findings
            }
        };
        lock(report).add(test_of(case, "vm", findings).took(took));
    }
    kept.map_or(Ok(()), |(_, machine)| machine.end())
}

/// The next case for this kind of machine, else one of those of which most are left.
fn next<'a>(waiting: &Mutex<Waiting<'a>>, kind: Option<Medium>) -> Option<(Medium, &'a Case)> {
    let mut waiting = lock(waiting);
    let kind = kind.filter(|kind| waiting.get(kind).is_some_and(|cases| !cases.is_empty()));
    let most = || waiting.iter().max_by_key(|(_, cases)| cases.len()).map(|(medium, _)| *medium);
    let medium = kind.or_else(most)?;
    let case = waiting.get_mut(&medium)?.pop_front()?;
    Some((medium, case))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked in between has added a test, or has not.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(
    report: &mut Report,
    case: &Case,
    leg: &'static str,
    run: impl FnOnce() -> Result<Findings>,
) {
    let started = Instant::now();
    let findings = run().unwrap_or_else(Findings::of_error);
    report.add(test_of(case, leg, findings).took(started.elapsed()));
}

fn test_of(case: &Case, leg: &'static str, findings: Findings) -> Test {
    let Findings { failures, skipped } = findings;
    Test { case: case.id.clone(), leg, tags: case.tags.clone(), seconds: 0.0, failures, skipped }
}

/// A test beside the cases.
fn law(report: &mut Report, leg: &'static str, name: &str, run: impl FnOnce() -> Result<()>) {
    let started = Instant::now();
    let failures = run().err().map(|error| format!("{error:#}")).into_iter().collect();
    let (case, tags, skipped) = (name.to_owned(), Vec::new(), Vec::new());
    let test = Test { case, leg, tags, seconds: 0.0, failures, skipped };
    report.add(test.took(started.elapsed()));
}
