// SPDX-License-Identifier: Apache-2.0
//! The command line: every option with its environment variable, typed here and nowhere else.
//!
//! A kata-agent runs guest hooks as `NAME TYPE`; [`with_subcommand`] turns that, and a bare call,
//! into the full form before clap sees it.

use std::{ffi::OsString, num::ParseIntError, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use session_tls::Fingerprint;

/// Kadapter's agent in a guest.
#[derive(Debug, Parser)]
#[command(name = "kadapter-agent", version, about, max_term_width = 100)]
pub struct Args {
    /// What to do; `run` if nothing is given.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Enforce rule sets until SIGTERM (the default).
    Run(RunArgs),
    /// Act as OCI hook: state on stdin; kills the container's process unless it may run.
    Hook(HookArgs),
    /// Wait until the agent enforces; fails at once if it refuses.
    Wait(WaitArgs),
    /// Tell what keeps a kata-agent from running the hooks in the directory of `guest_hook_path`.
    Check {
        /// The directory that has `prestart`, `poststart` and `poststop` in it.
        #[arg(value_name = "DIRECTORY")]
        hooks: PathBuf,
    },
    /// The process on which the agent proves that a denial is real.
    #[command(hide = true)]
    SelfTest,
    /// The process that keeps descriptors for the agent and outlives it.
    #[command(hide = true)]
    Keeper {
        /// Where it listens.
        socket: PathBuf,
    },
    /// Print a completion script.
    Completions {
        /// For this shell.
        shell: clap_complete::Shell,
    },
}

/// Options of the daemon.
#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// vsock port on which the host's relay is served.
    #[arg(long, env = "KADAPTER_VSOCK_PORT", default_value_t = 1034)]
    pub vsock_port: u32,
    /// Serve the relay here instead of on vsock, for tests: unix:/path.
    #[arg(long, env = "KADAPTER_LISTEN", value_parser = unix_address)]
    pub listen: Option<PathBuf>,
    /// Key of a relay that is obeyed: SHA-256 of its public key, in hexadecimal or base64, as
    /// `kadapter-relay pin` prints it; two while keys are rotated. If none is given, those of
    /// `kadapter.relay_key=` on the kernel's command line.
    #[arg(long, env = "KADAPTER_RELAY_KEY", value_delimiter = ',', value_name = "PIN")]
    pub relay_key: Vec<Fingerprint>,
    /// Where the guest's own key is kept, in memory: relays know the guest by it until it reboots.
    #[arg(long, env = "KADAPTER_GUEST_KEY", default_value = "/run/kadapter/guest.key")]
    pub guest_key: PathBuf,
    /// Obey whoever reaches the port, without TLS. For tests only.
    #[arg(long, env = "KADAPTER_INSECURE_NO_TLS", conflicts_with = "relay_key")]
    pub insecure_no_tls: bool,
    /// UNIX socket on which the runtime reports containers.
    #[arg(long, env = "KADAPTER_LIFECYCLE_SOCKET", default_value = crate::lifecycle::SOCKET)]
    pub lifecycle_socket: PathBuf,
    /// Directory in the guest's bpffs for links and maps.
    #[arg(long, env = "KADAPTER_PINS", default_value = "/sys/fs/bpf/kadapter")]
    pub pins: PathBuf,
    /// How long a container waits for its rule set before it is refused.
    #[arg(long, env = "KADAPTER_GATE_DEADLINE", default_value = "8s", value_parser = duration)]
    pub gate_deadline: Duration,
    /// Namespaces whose containers start without rules when the deadline passes.
    #[arg(long, env = "KADAPTER_FAIL_OPEN_NAMESPACE", value_delimiter = ',', value_name = "NS")]
    pub fail_open_namespace: Vec<String>,
    /// Directory that `guest_hook_path` names: what a kata-agent would not run in it is logged.
    #[arg(long, env = "KADAPTER_HOOKS", value_name = "DIRECTORY")]
    pub hooks: Option<PathBuf>,
    /// cgroups (paths below the cgroup2 mount) whose tasks may have private mounts.
    #[arg(long, env = "KADAPTER_EXEMPT_CGROUP", value_delimiter = ',', value_name = "PATH")]
    pub exempt_cgroup: Vec<String>,
    /// Lowest level that is logged, by target: info,guest_agent=debug.
    #[arg(long, env = "KADAPTER_LOG", default_value = "info")]
    pub log: tracing_subscriber::filter::Targets,
}

/// Options of the hook.
#[derive(Clone, Debug, ClapArgs)]
pub struct HookArgs {
    /// Which hook of the OCI runtime specification this is.
    pub kind: HookKind,
    /// The agent's socket.
    #[arg(long, env = "KADAPTER_LIFECYCLE_SOCKET", default_value = crate::lifecycle::SOCKET)]
    pub socket: PathBuf,
    /// How long to wait for the agent. Longer than its own deadline, shorter than the 10 s after
    /// which a kata-agent kills the hook and starts the container.
    #[arg(long, env = "KADAPTER_HOOK_DEADLINE", default_value = "9s", value_parser = duration)]
    pub deadline: Duration,
}

/// Options of the wait.
#[derive(Clone, Debug, ClapArgs)]
pub struct WaitArgs {
    /// The agent's socket.
    #[arg(long, env = "KADAPTER_LIFECYCLE_SOCKET", default_value = crate::lifecycle::SOCKET)]
    pub socket: PathBuf,
    /// How long to wait: loading takes some seconds on a guest without KVM.
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
}

/// Hooks that are acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookKind {
    /// Before the container's first instruction.
    Prestart,
    /// After it.
    Poststart,
    /// After the container is gone.
    Poststop,
}

// === impl HookKind ===

impl HookKind {
    /// As directories of hooks, and their arguments, are called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// Why a text is no duration.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDuration {
    /// No unit that is known.
    #[error("a duration is a whole number with `s` or `ms`, as in 8s")]
    Unit,
    /// The number before it.
    #[error("the number of the duration: {0}")]
    Number(#[from] ParseIntError),
}

/// Completes an argument vector: the name or first argument of a hook means `hook`, no subcommand
/// means `run`.
pub fn with_subcommand(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut argv: Vec<_> = argv.into_iter().collect();
    let name = argv.first().map(PathBuf::from).unwrap_or_default();
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = argv.get(1).map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let is_hook_kind = HookKind::from_str(&first, false).is_ok();
    if name.starts_with("kadapter-hook") || is_hook_kind {
        argv.insert(1, "hook".into());
    } else if !argv.is_empty() && is_option_of_run(&first) {
        argv.insert(1, "run".into());
    }
    argv
}

fn is_option_of_run(first: &str) -> bool {
    let about_the_binary = ["-h", "--help", "-V", "--version"].contains(&first);
    first.is_empty() || (first.starts_with('-') && !about_the_binary)
}

fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    if let Some(number) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(number.parse()?));
    }
    let number = text.strip_suffix('s').ok_or(InvalidDuration::Unit)?;
    Ok(Duration::from_secs(number.parse()?))
}

fn unix_address(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err("an address is unix: and an absolute path, as in unix:/run/test.sock".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn completed(argv: &[&str]) -> Vec<String> {
        let argv = with_subcommand(argv.iter().map(OsString::from));
        argv.into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_hook_is_known_by_its_name_or_its_type() {
        let by_name = ["/run/x/kadapter-hook", "prestart"];
        assert_eq!(completed(&by_name), ["/run/x/kadapter-hook", "hook", "prestart"]);
        assert_eq!(completed(&["agent", "poststop"]), ["agent", "hook", "poststop"]);
        let explicit = ["agent", "hook", "prestart", "--deadline", "1s"];
        assert_eq!(completed(&explicit), explicit);
    }

    #[test]
    fn a_bare_call_runs_the_daemon() {
        assert_eq!(completed(&["agent"]), ["agent", "run"]);
        assert_eq!(completed(&["agent", "--pins", "/x"]), ["agent", "run", "--pins", "/x"]);
        assert_eq!(completed(&["agent", "--version"]), ["agent", "--version"]);
    }

    #[test]
    fn relay_keys_are_fingerprints_and_exclude_doing_without() {
        let pins = format!("--relay-key={},{}", "a".repeat(64), "b".repeat(64));
        let parsed = |more: &[&str]| {
            Args::try_parse_from([&["agent", "run", &pins], more].concat()).map(|args| args.command)
        };
        assert!(matches!(parsed(&[]), Ok(Command::Run(args)) if args.relay_key.len() == 2));
        assert!(parsed(&["--relay-key", "x"]).is_err());
        assert!(parsed(&["--insecure-no-tls"]).is_err());
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("8s").unwrap(), Duration::from_secs(8));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        for text in ["8", "s", "8m", "-1s", "ms"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_unix_sockets() {
        assert_eq!(unix_address("unix:/a/b").unwrap(), PathBuf::from("/a/b"));
        assert!(unix_address("tcp:1.2.3.4").is_err() && unix_address("unix:a").is_err());
    }
}
