// SPDX-License-Identifier: Apache-2.0
//! Arguments of the relay, typed at the edge.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use kubesmith::{compile::parse_posture, harden::Level};
use policy_model::{Posture, Postures};

use crate::{
    pipeline::Defaults,
    relay::{Config, EventsTo},
    sandbox::Address,
};

/// Carries KubeArmor policies into the guests of this node, and their events out.
#[derive(Debug, Parser)]
#[command(name = "kadapter-relay", version, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub struct Args {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Directory with policies, pods and namespaces as YAML or JSON; changes are followed.
    #[arg(long, value_name = "DIR", env = "KADAPTER_POLICY_DIR", required = true)]
    pub policy_dir: Option<PathBuf>,

    /// A guest: `hvsock:///PATH[:PORT]`, `vsock://CID[:PORT]` or `unix:///PATH`; may be repeated.
    #[arg(long, value_name = "ADDR", env = "KADAPTER_SANDBOX", value_delimiter = ',')]
    pub sandbox: Vec<Address>,

    /// The relay's private key in PEM, as `keygen` writes it; guests know it by its pin.
    #[arg(
        long,
        value_name = "FILE",
        env = "KADAPTER_KEY",
        required_unless_present = "insecure_no_tls"
    )]
    pub key: Option<PathBuf>,

    /// Speak with guests in the clear, and believe whoever answers. For tests only.
    #[arg(long, env = "KADAPTER_INSECURE_NO_TLS", conflicts_with = "key")]
    pub insecure_no_tls: bool,

    /// Socket of the relay's own gRPC service.
    #[arg(
        long,
        value_name = "ADDR",
        env = "KADAPTER_API",
        default_value = "unix:///run/kadapter/relay.sock",
        value_parser = unix_path
    )]
    pub api: PathBuf,

    /// Where events go as JSON lines: `-` is standard output, anything else a file; nowhere if
    /// not given.
    #[arg(long, value_name = "FILE", env = "KADAPTER_EVENTS")]
    pub events: Option<PathBuf>,

    /// What holds where policies say nothing.
    #[command(flatten)]
    pub defaults: DefaultArgs,

    /// What is logged, to standard error: a level, or directives as `host_relay=debug`.
    #[arg(long, value_name = "FILTER", env = "KADAPTER_LOG", default_value = "info")]
    pub log: String,

    /// How it is logged.
    #[arg(long, value_name = "FORMAT", env = "KADAPTER_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// What holds where neither policy nor namespace says otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct DefaultArgs {
    /// Posture of file and process whitelists: allow, audit or block.
    #[arg(long, value_name = "POSTURE", env = "KADAPTER_DEFAULT_FILE_POSTURE")]
    #[arg(default_value = "audit", value_parser = posture)]
    pub default_file_posture: Posture,

    /// Posture of network and DNS whitelists.
    #[arg(long, value_name = "POSTURE", env = "KADAPTER_DEFAULT_NETWORK_POSTURE")]
    #[arg(default_value = "audit", value_parser = posture)]
    pub default_network_posture: Posture,

    /// Posture of capability whitelists.
    #[arg(long, value_name = "POSTURE", env = "KADAPTER_DEFAULT_CAPABILITIES_POSTURE")]
    #[arg(default_value = "audit", value_parser = posture)]
    pub default_capabilities_posture: Posture,

    /// Level of hardening where neither policy nor namespace has `kadapter.io/level`: literal,
    /// base, contained or sealed.
    #[arg(long, value_name = "LEVEL", env = "KADAPTER_DEFAULT_LEVEL", default_value_t)]
    pub default_level: Level,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a policy directory without any guest, as a relay with these defaults would read it; exit 1
    /// if something is refused, 2 if it cannot be read.
    Check {
        /// The directory.
        dir: PathBuf,

        /// Print JSON.
        #[arg(long)]
        json: bool,

        /// As of the relay.
        #[command(flatten)]
        defaults: DefaultArgs,
    },
    /// Make a key for this relay, and print its pin: `kadapter.relay_key=PIN` on the command line
    /// of a guest's kernel lets the relay in.
    Keygen {
        /// Written with mode 0600; must not exist.
        file: PathBuf,
    },
    /// Print the pin of a key.
    Pin {
        /// The key.
        file: PathBuf,
    },
    /// Print a completion script.
    Completions {
        /// For this shell.
        shell: Shell,
    },
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal unless NO_COLOR is set.
    Text,
    /// For machines.
    Json,
}

/// Arguments that cannot be used together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--policy-dir is missing")]
pub struct MissingPolicyDir;

// === impl Args ===

impl Args {
    /// What the relay works on.
    ///
    /// # Errors
    /// If there is no policy directory; the parser demands one for running.
    pub fn config(self) -> Result<Config, MissingPolicyDir> {
        let Self {
            command: _,
            policy_dir,
            sandbox,
            key,
            insecure_no_tls: _,
            api,
            events,
            defaults,
            log: _,
            log_format: _,
        } = self;
        Ok(Config {
            policy_dir: policy_dir.ok_or(MissingPolicyDir)?,
            sandboxes: sandbox,
            key,
            api,
            events: events.map(|path| match path.as_os_str().as_encoded_bytes() {
                b"-" => EventsTo::Stdout,
                _ => EventsTo::File(path),
            }),
            defaults: defaults.into(),
        })
    }
}

impl From<DefaultArgs> for Defaults {
    fn from(args: DefaultArgs) -> Self {
        let DefaultArgs {
            default_file_posture: file,
            default_network_posture: network,
            default_capabilities_posture: capability,
            default_level: level,
        } = args;
        // As upstream: programs follow files, host names follow sockets.
        let postures = Postures { process: file, file, network, dns: network, capability };
        Self { postures, level }
    }
}

/// A completion script.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "kadapter-relay", &mut script);
    script
}

fn unix_path(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err("write it as unix:///PATH".into()),
    }
}

fn posture(text: &str) -> Result<Posture, String> {
    parse_posture(text).ok_or_else(|| "write allow, audit or block".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["kadapter-relay"], args].concat())
    }

    #[test]
    fn the_parser_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn running_needs_a_policy_directory_and_subcommands_do_not() {
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["check", "dir"]).is_ok() && parsed(&["keygen", "file"]).is_ok());
        assert!(parsed(&["completions", "bash"]).is_ok());
    }

    #[test]
    fn running_needs_a_key_or_the_word_to_do_without() {
        let with = |more: &[&str]| parsed(&[&["--policy-dir", "d"], more].concat());
        assert!(with(&[]).is_err());
        assert!(with(&["--key", "k", "--insecure-no-tls"]).is_err());
        let key = with(&["--key", "k"]).unwrap().config().unwrap().key;
        assert_eq!(key, Some("k".into()));
        assert_eq!(with(&["--insecure-no-tls"]).unwrap().config().unwrap().key, None);
    }

    #[test]
    fn programs_follow_the_file_posture() {
        let args = [
            "--insecure-no-tls",
            "--policy-dir",
            "d",
            "--default-file-posture",
            "block",
            "--events",
            "-",
        ];
        let config = parsed(&args).unwrap().config().unwrap();
        assert_eq!(config.defaults.postures.process, Posture::Block);
        assert_eq!(config.defaults.postures.dns, Posture::Audit);
        assert_eq!(config.events, Some(EventsTo::Stdout));
    }

    #[test]
    fn addresses_and_levels_are_checked() {
        let with = |option, value| parsed(&["--policy-dir", "d", "--key", "k", option, value]);
        assert_eq!(with("--sandbox", "vsock://3").unwrap().sandbox.len(), 1);
        assert_eq!(
            with("--default-level", "sealed").unwrap().defaults.default_level,
            Level::Sealed
        );
        for (option, value) in [
            ("--sandbox", "3"),
            ("--api", "/run/x"),
            ("--default-level", "high"),
            ("--default-file-posture", "deny"),
        ] {
            assert!(with(option, value).is_err(), "{option} {value}");
        }
    }
}
