// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use attacks::catalogue::{ALL, Entry};
use attacks::places;
use clap::{Parser, Subcommand};

use crate::change::ChangeArgs;

/// Goes ways around a rule on a program, and tells where each led
///
/// Exit code 0: the target's code ran. 1: the kernel denied a step. 2: a step failed for another
/// reason. 3: called wrongly. Of several ways: 0 if one ran, 1 if all were denied.
#[derive(Debug, Parser)]
#[command(name = "attack", arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print all ways
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Go ways, one after the other
    Run(Box<RunArgs>),
    /// Make one change of a file, or reach for who listens at a socket
    ///
    /// Exit code 0: done. 1: denied. 2: failed.
    Change(ChangeArgs),
    /// Make a directory the root of an image to attack
    Image(ImageArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Ids of ways; `all` for all of them
    #[arg(required = true, value_name = "WAY", value_parser = way)]
    named: Vec<Named>,
    #[command(flatten)]
    pub(crate) scene: SceneArgs,
    #[command(flatten)]
    pub(crate) pause: PauseArgs,
    /// Print each report as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(skip)]
    pub(crate) ways: Vec<&'static Entry>,
}

/// Paths of the image.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SceneArgs {
    /// The program that a rule speaks of, in a directory of a directory of the root
    #[arg(long, value_name = "PATH", default_value = places::TARGET)]
    pub(crate) target: PathBuf,
    /// A second hard link to a target, shipped by the image
    #[arg(long, value_name = "PATH", default_value = places::ALIAS)]
    pub(crate) alias: PathBuf,
    /// An equal file, shipped by the image
    #[arg(long, value_name = "PATH", default_value = places::COPY)]
    pub(crate) copy: PathBuf,
    /// The script that a rule speaks of
    #[arg(long, value_name = "PATH", default_value = places::SCRIPT)]
    pub(crate) script: PathBuf,
    /// A program that no rule speaks of
    #[arg(long, value_name = "PATH", default_value = places::ALLOWED)]
    pub(crate) allowed: PathBuf,
    /// Another one, to be overwritten
    #[arg(long, value_name = "PATH", default_value = places::VICTIM)]
    pub(crate) victim: PathBuf,
    /// The dynamic loader
    #[arg(long, value_name = "PATH", default_value = places::LOADER)]
    pub(crate) loader: PathBuf,
    /// A writable directory on the mount of the target
    #[arg(long, value_name = "DIR", default_value = places::WORK)]
    pub(crate) work: PathBuf,
}

/// How to be told that what has to happen between two phases has happened.
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// File to create when the first phases are over
    #[arg(long, value_name = "FILE", requires = "go")]
    pub(crate) ready: Option<PathBuf>,
    /// File to wait for then; without it the second phases follow at once
    #[arg(long, value_name = "FILE", requires = "ready")]
    pub(crate) go: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// The directory, which must exist
    pub(crate) root: PathBuf,
    /// A static busybox
    #[arg(long, value_name = "FILE", default_value = "/bin/busybox")]
    pub(crate) busybox: PathBuf,
    /// A dynamic loader
    #[arg(long, value_name = "FILE", default_value = places::LOADER)]
    pub(crate) loader: PathBuf,
}

/// What a word names.
#[derive(Clone, Debug)]
enum Named {
    One(&'static Entry),
    All,
}

// === impl Args ===

impl Args {
    /// Of this process.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        Self::try_parse().map(Self::with_ways)
    }

    fn with_ways(mut self) -> Self {
        if let Verb::Run(run) = &mut self.verb {
            run.ways = run.named.iter().flat_map(Named::entries).collect();
        }
        self
    }
}

// === impl Named ===

impl Named {
    fn entries(&self) -> Vec<&'static Entry> {
        match self {
            Self::One(entry) => vec![entry],
            Self::All => ALL.iter().collect(),
        }
    }
}

fn way(word: &str) -> Result<Named, String> {
    if word == "all" {
        return Ok(Named::All);
    }
    Entry::find(word).map(Named::One).ok_or_else(|| "no way has this id; see `attack list`".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn ids(words: &[&str]) -> Result<Vec<&'static str>, clap::Error> {
        let words = ["attack", "run"].iter().chain(words);
        let args = Args::try_parse_from(words)?.with_ways();
        let Verb::Run(run) = args.verb else { unreachable!("the words say `run`") };
        Ok(run.ways.iter().map(|entry| entry.id).collect())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn ways_are_named_by_their_ids_or_all_at_once() {
        assert_eq!(ids(&["B07", "s1"]).unwrap(), ["B07", "S1"]);
        assert_eq!(ids(&["all"]).unwrap().len(), ALL.len());
        for words in [&["B38"][..], &[], &["B29", "--ready", "/r"]] {
            assert!(ids(words).is_err(), "{words:?}");
        }
    }
}
