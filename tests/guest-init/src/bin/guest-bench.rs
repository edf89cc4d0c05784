// SPDX-License-Identifier: Apache-2.0
//! Measures system calls inside the test VM.
//!
//! In: operations as arguments, `OPERATION:PATH`. Out: one JSON array on standard output with the
//! monotonic clock's samples of each, in their order; under `-icount` those are instructions. What
//! waits for a server beyond the guest is measured by the thread's own time instead.
//! Never: judges what it measured, or measures anything that the caller did not name.

use std::env;
use std::fs::{File, create_dir, hard_link, remove_dir, remove_file, rename};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest_init::samples::Samples;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, stat};
use nix::sys::uio::{pread, pwrite};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, fork};

/// Batches of each operation: enough for a median that an interrupt now and then does not move.
const ROUNDS: usize = 101;

/// Calls in a batch of a cheap operation. At 10,000 instructions a call it lasts 0.2 ms of the
/// guest's clock, so that the timer's interrupt, each 4 ms, hits one batch in twenty.
const BATCH: u32 = 20;

/// Calls in a batch of the cheapest ones, which take a tenth of it.
const LARGE_BATCH: u32 = 200;

/// Rounds of the dear ones, each a call of its own.
const FEW_ROUNDS: usize = 51;

/// As only argument: end at once. What is executed to measure execution.
const NOTHING: &str = "nothing";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments == [NOTHING] {
        return ExitCode::SUCCESS;
    }
    match measure_all(&arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("guest-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(arguments: &[String]) -> Result<String> {
    let measure = |argument: &String| measure(argument).with_context(|| argument.clone());
    let all = arguments.iter().map(measure).collect::<Result<Vec<Samples>>>()?;
    Ok(serde_json::to_string(&all)?)
}

fn measure(argument: &str) -> Result<Samples> {
    let (operation, path) = argument.split_once(':').context("expected OPERATION:PATH")?;
    let path = Path::new(path);
    match operation {
        "open" => sample(ROUNDS, BATCH, || open_and_close(path)),
        "open-own" => own_time_of_opens(path),
        "touch" => touch(path),
        "stat" => sample(ROUNDS, BATCH, || {
            black_box(stat(path)?);
            Ok(())
        }),
        "read" => {
            let file = File::open(path)?;
            sample(ROUNDS, LARGE_BATCH, || moved(pread(&file, &mut [0], 0)?))
        }
        "write" => {
            let file = File::options().write(true).open(path)?;
            sample(ROUNDS, LARGE_BATCH, || moved(pwrite(&file, b"x", 0)?))
        }
        "rename" => {
            let other = beside(path);
            sample(ROUNDS, BATCH, || {
                rename(path, &other)?;
                Ok(rename(&other, path)?)
            })
        }
        "link" => {
            // Of a file that had two names nothing is kept: not of those that are opened.
            let (own, other) = (path.with_extension("linked"), beside(path));
            File::create(&own)?;
            let samples = sample(ROUNDS, BATCH, || {
                hard_link(&own, &other)?;
                Ok(remove_file(&other)?)
            });
            remove_file(&own)?;
            samples
        }
        "mkdir" => {
            let directory = beside(path);
            sample(ROUNDS, BATCH, || {
                create_dir(&directory)?;
                Ok(remove_dir(&directory)?)
            })
        }
        "fork" => sample(FEW_ROUNDS, 1, fork_and_wait),
        "exec" => sample(FEW_ROUNDS, 1, || {
            let status = Command::new(path).arg(NOTHING).status()?;
            ensure!(status.success(), "{status}");
            Ok(())
        }),
        other => bail!("no operation is called {other:?}"),
    }
}

/// Takes the time of batches, after one that is not counted.
fn sample(rounds: usize, batch: u32, mut call: impl FnMut() -> Result<()>) -> Result<Samples> {
    let mut round = || -> Result<u64> {
        let start = Instant::now();
        for _ in 0..batch {
            call()?;
        }
        nanoseconds(start)
    };
    round()?;
    let batches = (0..rounds).map(|_| round()).collect::<Result<_>>()?;
    Ok(Samples { clock: clock()?, batch, batches })
}

/// As the operation `open`, without what passes while the thread waits.
fn own_time_of_opens(path: &Path) -> Result<Samples> {
    let own = || -> Result<u64> {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
        u64::try_from(Duration::from(time).as_nanos()).context("the thread's own time")
    };
    let round = |calls: u32| -> Result<u64> {
        let start = own()?;
        (0..calls).try_for_each(|_| open_and_close(path))?;
        Ok(own()? - start)
    };
    round(BATCH)?;
    let batches = (0..ROUNDS).map(|_| round(BATCH)).collect::<Result<_>>()?;
    let mut costs = (0..ROUNDS).map(|_| round(0)).collect::<Result<Vec<_>>>()?;
    Ok(Samples { clock: median(&mut costs), batch: BATCH, batches })
}

/// Opens each file of a directory for the first time, in the order of the directory.
fn touch(directory: &Path) -> Result<Samples> {
    let entries = directory.read_dir()?.map(|entry| Ok(entry?.path()));
    let files = entries.collect::<Result<Vec<PathBuf>>>()?;
    ensure!(!files.is_empty(), "no files");
    let first = |path: &PathBuf| -> Result<u64> {
        let start = Instant::now();
        open_and_close(path)?;
        nanoseconds(start)
    };
    let batches = files.iter().map(first).collect::<Result<_>>()?;
    Ok(Samples { clock: clock()?, batch: 1, batches })
}

/// What it costs to ask the clock, in the middle of several attempts.
fn clock() -> Result<u64> {
    let mut costs = (0..ROUNDS).map(|_| nanoseconds(Instant::now())).collect::<Result<Vec<_>>>()?;
    Ok(median(&mut costs))
}

fn median(costs: &mut [u64]) -> u64 {
    costs.sort_unstable();
    costs[costs.len() / 2]
}

fn nanoseconds(since: Instant) -> Result<u64> {
    u64::try_from(since.elapsed().as_nanos()).context("an elapsed time")
}

fn open_and_close(path: &Path) -> Result<()> {
    drop(open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
    Ok(())
}

/// A name that nothing has, in the same directory.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("beside")
}

fn moved(bytes: usize) -> Result<()> {
    ensure!(bytes == 1, "{bytes} bytes moved");
    Ok(())
}

#[expect(unsafe_code, reason = "there is no safe way to fork")]
fn fork_and_wait() -> Result<()> {
    // SAFETY: this program has one thread, so that the child has all locks free; it ends at once.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            waitpid(child, None)?;
            Ok(())
        }
        // SAFETY: always safe to call; nothing of the parent's is flushed or dropped twice.
        ForkResult::Child => unsafe { nix::libc::_exit(0) },
    }
}
