// SPDX-License-Identifier: Apache-2.0
//! The BPF programs' decision on the host: `guest-agent/bpf/lib/decide.h`, compiled with the
//! compiler that compiles the programs, in a process of its own.
//!
//! In: [`Facts`], which is what the programs have looked up when they decide. Out: [`Outcome`]s. The
//! look-ups are made here from a rule set, by the reference ([`Facts::of`]); that the agent's tables
//! hold the same is tested by the agent. Never part of the product.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use guest_bpf::abi;
use policy_model::{
    Access, Category, Options, Primitive, Rank, Reason, Rule, RuleId, RulePath, RuleSet, Verdict,
    eval::{self, Actor, eval},
    hook::File,
};
use tempfile::TempDir;

const SOURCE: &str = include_str!("decision/decide.c");

/// The compiled decision.
#[derive(Debug)]
pub(crate) struct Decider {
    directory: TempDir,
}

/// A record that was looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of the rules that it speaks for.
    pub(crate) rank: u32,
    /// `abi::VERDICT_*`
    pub(crate) verdict: u8,
    /// How many rules it speaks for.
    pub(crate) total: usize,
    /// The first of them.
    pub(crate) rules: Vec<RuleId>,
}

/// What the programs know when they decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Facts {
    /// `decide()`: an access by name and identity.
    Access {
        /// `abi::VERDICT_*` of what no rule matches.
        unmatched: u8,
        /// Of the name.
        name: Option<Record>,
        /// Of the inode.
        identity: Option<Record>,
    },
    /// `decide_as_blocked()`: a program that may not be executed, where an option asks.
    Blocked {
        /// What the option is called in events.
        primitive: Primitive,
        /// What the rules on programs say of it.
        exec: Option<Record>,
    },
    /// `refuse_exec()`
    Exec(Code),
    /// `refuse_map()`
    Map(Code),
}

/// What options look at before code is run: `struct code`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) options: Options,
    /// None for anonymous memory.
    pub(crate) file: Option<File>,
    pub(crate) writable: bool,
    pub(crate) modified: bool,
}

/// What the programs do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Permitted or denied.
    pub(crate) verdict: Verdict,
    /// Why, if anything speaks of it.
    pub(crate) reason: Option<Reason>,
    /// The option that decided, or made the rule speak.
    pub(crate) primitive: Option<Primitive>,
    /// The rules that decided, ascending, without repetition.
    pub(crate) rules: Vec<RuleId>,
}

// === impl Decider ===

impl Decider {
    /// Compiles the header into a program.
    ///
    /// # Errors
    /// If there is no clang, or it does not like the header.
    pub(crate) fn compile() -> Result<Self> {
        let directory = TempDir::with_prefix("kadapter-decide-").context("make a directory")?;
        let source = directory.path().join("decide.c");
        std::fs::write(&source, SOURCE).context("write the program")?;
        let headers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-agent/bpf");
        let mut clang = Command::new("clang");
        clang.args(["-O1", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Werror", "-I"]).arg(headers);
        clang.arg(source).arg("-o").arg(directory.path().join("decide"));
        let output = clang.output().context("run clang; install it")?;
        let messages = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "decide.h does not compile for the host:\n{messages}");
        Ok(Self { directory })
    }

    /// Decides all of these.
    ///
    /// # Errors
    /// If the program fails, which no facts may make it do.
    pub(crate) fn decide(&self, facts: &[Facts]) -> Result<Vec<Outcome>> {
        let mut program = Command::new(self.directory.path().join("decide"));
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().context("run the decision")?;
        let mut stdin = child.stdin.take().context("the decision has no input")?;
        let mut text = String::new();
        for facts in facts {
            writeln!(text, "{facts}").context("write facts")?;
        }
        // Both pipes are bounded: whoever only wrote would wait for one who only writes.
        let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().context("wait for the decision")?;
        let messages = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the decision ended with {}: {messages}", output.status);
        writer.join().ok().context("the writer ended")?.context("write facts")?;
        let text = String::from_utf8(output.stdout).context("the decision is no text")?;
        let outcomes: Vec<_> = text.lines().map(Outcome::parse).collect::<Result<_>>()?;
        ensure!(outcomes.len() == facts.len(), "as many outcomes as facts");
        Ok(outcomes)
    }
}

// === impl Facts ===

impl Facts {
    /// What the programs look up for an access.
    ///
    /// # Errors
    /// If a rule is of a kind that is not built.
    pub(crate) fn of(rules: &RuleSet, access: &Access<'_>) -> Result<Self> {
        let by_name = Access { identities: &[], programs: &[], contents: &[], ..*access };
        let by_identity = Access { path: None, ..*access };
        Ok(Self::Access {
            unmatched: unmatched(rules, access.category),
            name: Record::of(rules, &by_name)?,
            identity: Record::of(rules, &by_identity)?,
        })
    }
}

// === impl Facts ===

impl Facts {
    /// As where no posture counts.
    pub(crate) fn without_posture(self) -> Self {
        match self {
            Self::Access { name, identity, .. } => {
                Self::Access { unmatched: abi::VERDICT_NONE, name, identity }
            }
            other => other,
        }
    }

    /// As where only a rule by identity counts, and only if it denies.
    pub(crate) fn held(rules: &RuleSet, actor: Actor<'_>, file: &File) -> Result<Self> {
        let identity = Record::by_inode(rules, actor, file)?;
        let identity = identity.filter(|record| record.verdict == abi::VERDICT_BLOCK);
        Ok(Self::Access { unmatched: abi::VERDICT_NONE, name: None, identity })
    }

    /// As where only a rule by name on a directory counts, and only if it denies a program:
    /// lib/object.h.
    pub(crate) fn in_directory(rules: &RuleSet, actor: Actor<'_>, file: &File) -> Result<Self> {
        let is_program = |path: &RulePath| file.executable && !path.is_shared_object();
        let name = match &file.path {
            Some(path) if rules.options.hold && is_program(path) => {
                Record::by_name(rules, actor, file)?
            }
            _ => None,
        };
        let of_directory = |record: &Record| {
            record.verdict == abi::VERDICT_BLOCK && record.rank & ABOVE_DIRECTORIES == 0
        };
        let (unmatched, name) = (abi::VERDICT_NONE, name.filter(of_directory));
        Ok(Self::Access { unmatched, name, identity: None })
    }
}

/// `RANK_ABOVE_DIRECTORIES`
const ABOVE_DIRECTORIES: u32 = 3 << 16;

/// What rules see of an access to a file.
pub(crate) fn access_to<'a>(category: Category, actor: Actor<'a>, file: &'a File) -> Access<'a> {
    let Actor { exe, acts_as } = actor;
    let (path, identities, programs) = (file.path.as_ref(), &*file.identities, &*file.programs);
    Access { category, path, identities, programs, contents: &[], argv: None, exe, acts_as }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access { unmatched, name, identity } => {
                write!(f, "decide {unmatched} {} {}", shown(name), shown(identity))
            }
            Self::Blocked { primitive, exec } => {
                let number = Primitive::ALL.iter().position(|known| known == primitive);
                write!(f, "blocked {} {}", number.map_or(0, |at| at + 1), shown(exec))
            }
            Self::Exec(code) => write!(f, "exec {code}"),
            Self::Map(code) => write!(f, "map {code}"),
        }
    }
}

// === impl Code ===

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |fact: fn(&File) -> bool| self.file.as_ref().is_some_and(fact);
        let facts = [
            ('f', of(|file| !file.irregular)),
            ('t', of(|file| file.tainted)),
            ('u', of(|file| file.unlinked)),
            ('o', of(|file| file.foreign)),
            ('w', self.writable),
            ('m', self.modified),
        ];
        let letters: String =
            facts.iter().filter(|(_, on)| *on).map(|(letter, _)| letter).collect();
        write!(f, "{} -{letters}", option_bits(&self.options))
    }
}

// === impl Record ===

impl Record {
    /// Of the rules on programs, by the name alone.
    pub(crate) fn by_name(rules: &RuleSet, actor: Actor<'_>, file: &File) -> Result<Option<Self>> {
        let access = access_to(Category::Process, actor, file);
        Self::of(rules, &Access { identities: &[], programs: &[], ..access })
    }

    /// Of the rules on programs, by the inode alone.
    pub(crate) fn by_inode(rules: &RuleSet, actor: Actor<'_>, file: &File) -> Result<Option<Self>> {
        Self::of(rules, &Access { path: None, ..access_to(Category::Process, actor, file) })
    }

    /// What a guard says of programs that rules permit under one of these names.
    pub(crate) fn of_permitted(rules: &RuleSet, names: &[RulePath]) -> Option<Self> {
        let permits = |rule: &&Rule| names.iter().any(|name| rule.permits_program_at(name));
        let permitting: Vec<_> = rules.rules().iter().filter(permits).map(|rule| rule.id).collect();
        let rules: Vec<_> = permitting.iter().copied().take(abi::MAX_RULES).collect();
        let (verdict, total) = (abi::VERDICT_BLOCK, permitting.len());
        (total > 0).then_some(Self { rank: 0, verdict, total, rules })
    }

    fn of(rules: &RuleSet, access: &Access<'_>) -> Result<Option<Self>> {
        let decision = eval(rules, access)?;
        let Some(first) = decision.rules.first() else { return Ok(None) };
        let rule = rules.rules().iter().find(|rule| rule.id == *first);
        let rank = Rank::of(rule.context("a rule of the set decides")?).encode();
        Ok(Some(Self::from_decision(rank, &decision)))
    }

    fn from_decision(rank: u32, decision: &eval::Decision) -> Self {
        let verdict = match decision.verdict {
            Verdict::Allow => abi::VERDICT_ALLOW,
            Verdict::Audit => abi::VERDICT_AUDIT,
            Verdict::Block => abi::VERDICT_BLOCK,
        };
        let rules: Vec<_> = decision.rules.iter().copied().take(abi::MAX_RULES).collect();
        Self { rank, verdict, total: decision.rules.len(), rules }
    }
}

// === impl Outcome ===

impl Outcome {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let mut number = || -> Result<u8> {
            let word = words.next().context("an outcome ends early")?;
            word.parse().with_context(|| format!("`{word}` in an outcome"))
        };
        let (verdict, reason, primitive) = (number()?, number()?, number()?);
        let ids = words.map(|word| word.parse().map(RuleId));
        let mut rules: Vec<_> = ids.collect::<Result<_, _>>().context("a rule in an outcome")?;
        rules.sort_unstable();
        rules.dedup();
        let reason = match (verdict, reason) {
            // The reason of what nothing speaks of is not read.
            (abi::VERDICT_NONE, _) => None,
            (_, abi::REASON_RULE) => Some(Reason::Rule),
            (_, abi::REASON_POSTURE) => Some(Reason::Posture),
            (_, abi::REASON_HARDENING) => Some(Reason::Hardening),
            (_, abi::REASON_SELF_PROTECTION) => Some(Reason::SelfProtection),
            (_, other) => anyhow::bail!("reason {other}"),
        };
        let verdict = match verdict {
            abi::VERDICT_NONE | abi::VERDICT_ALLOW => Verdict::Allow,
            abi::VERDICT_AUDIT => Verdict::Audit,
            abi::VERDICT_BLOCK => Verdict::Block,
            other => anyhow::bail!("verdict {other}"),
        };
        let primitive = usize::from(primitive).checked_sub(1);
        let primitive = primitive.map(|at| Primitive::ALL.get(at).copied().context("a primitive"));
        Ok(Self { verdict, reason, primitive: primitive.transpose()?, rules })
    }
}

/// `ABI_SET_*` of the options that `struct code` is asked for.
fn option_bits(options: &Options) -> u32 {
    let bits = [
        (options.taint, abi::SET_TAINT),
        (options.no_unlinked_exec, abi::SET_NO_UNLINKED_EXEC),
        (options.no_anonymous_exec, abi::SET_NO_ANONYMOUS_EXEC),
        (options.no_execmod, abi::SET_NO_EXECMOD),
        (options.known_file_systems_only, abi::SET_KNOWN_FILE_SYSTEMS),
    ];
    bits.iter().filter(|(on, _)| *on).fold(0, |bits, (_, bit)| bits | bit)
}

fn unmatched(rules: &RuleSet, category: Category) -> u8 {
    if !rules.is_whitelist(category) {
        return abi::VERDICT_NONE;
    }
    match Verdict::from(rules.posture(category)) {
        Verdict::Allow => abi::VERDICT_ALLOW,
        Verdict::Audit => abi::VERDICT_AUDIT,
        Verdict::Block => abi::VERDICT_BLOCK,
    }
}

fn shown(record: &Option<Record>) -> String {
    let Some(Record { rank, verdict, total, rules }) = record else { return "-".into() };
    let ids: Vec<_> = rules.iter().map(|rule| rule.0.to_string()).collect();
    format!("{rank}:{verdict}:{total}:{}", ids.join(","))
}
