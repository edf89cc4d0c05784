// SPDX-License-Identifier: Apache-2.0
//! The proof that a denial is real.
//!
//! A child of the agent opens and executes the agent's own binary, says what came of it, and does
//! so again under a label whose rules block both. Allowed before and denied after is the proof;
//! everything else is not. The child's own child inherits the label, so that this is proved too.

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use policy_model::{
    Action, Category, Generation, InvalidPath, Match, Object, PathObject, Rule, RuleId, RulePath,
    RuleSet, Target,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    apply::{ApplyError, Place, put_into_force},
    containers::{Init, Root},
    identify::Findings,
    maps::{MapsError, Phase},
    registry::Kernel,
};

/// How long the child may take for one answer: two system calls, on a guest without KVM.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What the child was answered by the kernel: errno of the open and of the exec, zero if allowed.
type Answer = (i32, i32);

const ALLOWED: Answer = (0, 0);
const DENIED: Answer = (Errno::ACCES, Errno::ACCES);

struct Errno;

impl Errno {
    const ACCES: i32 = rustix::io::Errno::ACCESS.raw_os_error();
}

/// Why a denial is not proved.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The child did not work.
    #[error("the self-test's child: {operation}")]
    Child {
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It said something else than an answer.
    #[error("the self-test's child answered `{0}`")]
    Answer(String),
    /// The agent's binary has no path that a rule could name.
    #[error("the agent's binary: {0}")]
    Binary(#[from] InvalidPath),
    /// No container would be known by its label.
    #[error("labelling the self-test's child")]
    Label(#[source] MapsError),
    /// The same, and why.
    #[error(
        "the kernel keeps no labels of tasks: it allocates them with an instruction, cmpxchg16b, that \
         the guest's processor lacks"
    )]
    Processor(#[source] MapsError),
    /// The rules could not be put into force.
    #[error("the self-test's rules")]
    Rules(#[from] ApplyError),
    /// The kernel answered otherwise than it must.
    #[error("{when}, open and exec gave errno {found:?} instead of {expected:?}")]
    Verdict {
        /// Before or after the label.
        when: &'static str,
        /// Errno of open and exec.
        found: Answer,
        /// What they must be.
        expected: Answer,
    },
}

/// Shows that a blocked file cannot be opened and a blocked program cannot be executed. Returns the
/// registration that it was tried in: its denials are nobody's.
///
/// # Errors
/// If anything was not denied, or denied without a rule.
pub fn prove(kernel: &mut impl Kernel) -> Result<u32, SelfTestError> {
    let binary = env::current_exe().map_err(failed("finding the agent's binary"))?;
    let binary = RulePath::new(binary.to_string_lossy())?;
    let mut subject = Subject::spawn(&binary)?;
    subject.expect("without rules", ALLOWED)?;
    let init = Init::open(subject.child.id()).map_err(ApplyError::from)?;
    let root = Root::open(&init, None).map_err(ApplyError::from)?;
    let slot = kernel.allocate().map_err(ApplyError::from)?;
    let place = Place { slot, init: &init, root: &root };
    let verdict = put_into_force(kernel, &place, &blocking(binary), &Findings::none())
        .map_err(SelfTestError::from)
        .and_then(|_| kernel.label(init.pid(), slot, Phase::Running).map_err(unlabelled))
        .and_then(|()| subject.expect("under rules that block both", DENIED));
    kernel.release(slot, None).map_err(ApplyError::from)?;
    verdict.map(|()| slot.container)
}

/// Since Linux 6.19 storage of tasks comes from an allocator that fails, as if there were no memory, on
/// a processor without cmpxchg16b.
/// <https://github.com/torvalds/linux/blob/v6.19/kernel/bpf/bpf_local_storage.c>
fn unlabelled(error: MapsError) -> SelfTestError {
    let is_short = matches!(
        &error,
        MapsError::Task { source, .. } if source.kind() == io::ErrorKind::OutOfMemory
    );
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if is_short && lacks_cmpxchg16b(&processor) {
        SelfTestError::Processor(error)
    } else {
        SelfTestError::Label(error)
    }
}

/// Of an x86 processor's flags; others have none of this name.
fn lacks_cmpxchg16b(cpuinfo: &str) -> bool {
    let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let flags = lines.find(|(name, _)| name.trim() == "flags");
    flags.is_some_and(|(_, flags)| flags.split_whitespace().all(|flag| flag != "cx16"))
}

/// What the child does: for each line on stdin, one attempt and one line on stdout.
///
/// # Errors
/// If stdin or stdout fail.
pub fn child() -> io::Result<()> {
    let binary = env::args_os().next().unwrap_or_default();
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        line?;
        let open = File::open(&binary).err();
        let exec = Command::new(&binary).arg("--version").stdout(Stdio::null()).status().err();
        let errno = |error: Option<io::Error>| {
            error.map_or(0, |error| error.raw_os_error().unwrap_or(i32::MAX))
        };
        writeln!(answers, "{} {}", errno(open), errno(exec))?;
        answers.flush()?;
    }
    Ok(())
}

fn blocking(binary: RulePath) -> RuleSet {
    let rule = |id, category| {
        let object = PathObject { path: binary.clone(), matching: Match::Name };
        Rule::new(RuleId(id), category, Action::Block, Object::Path(object))
    };
    let target = Target { namespace: "self-test".into(), ..Target::default() };
    RuleSet::empty(target, Generation(1))
        .with_rules(vec![rule(1, Category::File), rule(2, Category::Process)])
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> SelfTestError {
    move |source| SelfTestError::Child { operation, source }
}

/// The child, killed when it is no longer needed.
struct Subject {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

// === impl Subject ===

impl Subject {
    fn spawn(binary: &RulePath) -> Result<Self, SelfTestError> {
        // Its own name tells the child what to open: it needs no /proc for that.
        let mut child = Command::new(binary.as_str())
            .arg("self-test")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("starting"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (requests, answers) = pipes.ok_or_else(|| {
            failed("taking its pipes")(io::Error::from(io::ErrorKind::BrokenPipe))
        })?;
        Ok(Self { child, requests, answers: BufReader::new(answers) })
    }

    fn expect(&mut self, when: &'static str, expected: Answer) -> Result<(), SelfTestError> {
        let found = self.ask()?;
        if found == expected {
            Ok(())
        } else {
            Err(SelfTestError::Verdict { when, found, expected })
        }
    }

    fn ask(&mut self) -> Result<Answer, SelfTestError> {
        self.requests.write_all(b"\n").map_err(failed("asking"))?;
        let deadline = Timespec {
            tv_sec: i64::try_from(ANSWER_DEADLINE.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(self.answers.get_ref(), PollFlags::IN)];
        if poll(&mut fds, Some(&deadline)).map_err(|errno| failed("waiting")(errno.into()))? == 0 {
            return Err(failed("waiting")(io::ErrorKind::TimedOut.into()));
        }
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(failed("reading its answer"))?;
        parse(&line).ok_or(SelfTestError::Answer(line))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(line: &str) -> Option<Answer> {
    let (open, exec) = line.trim_end().split_once(' ')?;
    Some((open.parse().ok()?, exec.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_block_the_binary_as_file_and_as_program() {
        let rules = blocking(RulePath::new("/usr/bin/kadapter-agent").unwrap());
        let blocked: Vec<_> =
            rules.rules().iter().map(|rule| (rule.category, rule.action)).collect();
        assert_eq!(blocked, [(Category::File, Action::Block), (Category::Process, Action::Block)]);
    }

    #[test]
    fn a_processor_without_the_instruction_is_told_by_its_flags() {
        let processor = |flags| format!("processor\t: 0\nflags\t\t: fpu {flags} lm\n");
        assert!(lacks_cmpxchg16b(&processor("cx8")));
        assert!(!lacks_cmpxchg16b(&processor("cx8 cx16")));
        assert!(!lacks_cmpxchg16b("processor\t: 0\nFeatures\t: fp asimd\n"));
        assert!(!lacks_cmpxchg16b(""));
    }

    #[test]
    fn answers_are_two_numbers() {
        assert_eq!(parse("0 13\n"), Some((0, 13)));
        assert_eq!(parse("13\n"), None);
    }
}
