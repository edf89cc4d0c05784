// SPDX-License-Identifier: Apache-2.0
//! Sections of a policy and their rules. Every rule and section may set the four attributes that
//! its level inherits otherwise.

use serde::Deserialize;

/// Action of a section or rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// Permit.
    Allow,
    /// Permit and report.
    Audit,
    /// Deny and report.
    Block,
}

/// What a level sets; zero, empty and none are unset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// 1 to 10.
    pub severity: u32,
    /// Tags of events.
    pub tags: &'a [String],
    /// Text of events.
    pub message: &'a str,
    /// Action.
    pub action: Option<Action>,
}

/// A type with the four attributes and, behind them, fields of its own.
macro_rules! level {
    ($($(#[$meta:meta])* $name:ident { $($(#[$note:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$note])* pub $field: $type,)*
            /// 1 to 10; zero is unset.
            #[serde(default)]
            pub severity: u32,
            /// Tags of events.
            #[serde(default)]
            pub tags: Vec<String>,
            /// Text of events.
            #[serde(default)]
            pub message: String,
            /// Action.
            #[serde(default)]
            pub action: Option<Action>,
        }

        impl $name {
            /// What this level sets.
            #[must_use]
            pub fn attributes(&self) -> Attributes<'_> {
                Attributes {
                    severity: self.severity,
                    tags: &self.tags,
                    message: &self.message,
                    action: self.action,
                }
            }
        }
    )+};
}

/// An acting program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePath {
    /// Its executable.
    pub path: String,
}

/// An acting program of a system call rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOfSyscall {
    /// Its executable.
    pub path: String,
    /// Directory of its executable.
    pub dir: String,
    /// Everything below the directory.
    pub recursive: bool,
}

/// A ready-made restriction; inherits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Which.
    pub name: String,
    /// Audit, or block.
    #[serde(default)]
    pub action: Option<Action>,
}

level! {
    /// Rules on programs.
    Process {
        /// By path or base name.
        #[serde(default)] match_paths: Vec<ProcessPath>,
        /// By directory.
        #[serde(default)] match_directories: Vec<ProcessDirectory>,
        /// By pattern.
        #[serde(default)] match_patterns: Vec<ProcessPattern>,
    }

    /// A program by path or base name.
    ProcessPath {
        /// Path.
        #[serde(default)] path: Option<String>,
        /// Base name.
        #[serde(default)] execname: Option<String>,
        /// Arguments that pass.
        #[serde(default)] allowed_args: Vec<String>,
        /// Only the owner passes.
        #[serde(default)] owner_only: bool,
        /// False: acts on tasks with a terminal only.
        #[serde(default)] pts: Option<bool>,
        /// Callers that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }

    /// Programs of a directory.
    ProcessDirectory {
        /// Directory, with a trailing slash.
        dir: String,
        /// Everything below.
        #[serde(default)] recursive: bool,
        /// Only the owner passes.
        #[serde(default)] owner_only: bool,
        /// False: acts on tasks with a terminal only.
        #[serde(default)] pts: Option<bool>,
        /// Callers that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }

    /// Programs of a pattern.
    ProcessPattern {
        /// AppArmor globbing.
        pattern: String,
        /// Only the owner passes.
        #[serde(default)] owner_only: bool,
    }

    /// Rules on files.
    File {
        /// By path.
        #[serde(default)] match_paths: Vec<FilePath>,
        /// By directory.
        #[serde(default)] match_directories: Vec<FileDirectory>,
        /// By pattern.
        #[serde(default)] match_patterns: Vec<FilePattern>,
    }

    /// A file by path.
    FilePath {
        /// Path.
        path: String,
        /// Only reading passes.
        #[serde(default)] read_only: bool,
        /// Only the owner passes.
        #[serde(default)] owner_only: bool,
        /// False: acts on tasks with a terminal only.
        #[serde(default)] pts: Option<bool>,
        /// Programs that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }

    /// Files of a directory.
    FileDirectory {
        /// Directory, with a trailing slash.
        dir: String,
        /// Everything below.
        #[serde(default)] recursive: bool,
        /// Only reading passes.
        #[serde(default)] read_only: bool,
        /// Only the owner passes.
        #[serde(default)] owner_only: bool,
        /// False: acts on tasks with a terminal only.
        #[serde(default)] pts: Option<bool>,
        /// Programs that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }

    /// Files of a pattern.
    FilePattern {
        /// AppArmor globbing.
        pattern: String,
        /// Only reading passes.
        #[serde(default)] read_only: bool,
        /// Only the owner passes.
        #[serde(default)] owner_only: bool,
    }

    /// Rules on sockets and host names.
    Network {
        /// By protocol.
        #[serde(default)] match_protocols: Vec<ProtocolRule>,
        /// By host name.
        #[serde(default, rename = "matchDNSQueries")] match_dns_queries: Vec<DnsRule>,
    }

    /// Sockets of some protocols.
    ProtocolRule {
        /// Comma list of protocols.
        protocol: String,
        /// False: acts on tasks with a terminal only.
        #[serde(default)] pts: Option<bool>,
        /// Programs that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }

    /// Host names.
    DnsRule {
        /// Comma list of domains.
        domain: String,
        /// Programs that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }

    /// Rules on capabilities.
    Capabilities {
        /// By name.
        #[serde(default)] match_capabilities: Vec<CapabilityRule>,
    }

    /// Some capabilities.
    CapabilityRule {
        /// Comma list of capabilities.
        capability: String,
        /// Programs that it is limited to.
        #[serde(default)] from_source: Vec<SourcePath>,
    }
}

/// Rules on system calls: always Audit, so without an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Syscalls {
    /// By name.
    pub match_syscalls: Vec<SyscallRule>,
    /// By path argument.
    pub match_paths: Vec<SyscallPath>,
    /// 1 to 10; zero is unset.
    pub severity: u32,
    /// Tags of events.
    pub tags: Vec<String>,
    /// Text of events.
    pub message: String,
}

/// Some system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyscallRule {
    /// Names.
    pub syscall: Vec<String>,
    /// Programs that it is limited to.
    pub from_source: Vec<SourceOfSyscall>,
}

/// Some system calls on a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyscallPath {
    /// Path or directory.
    pub path: String,
    /// Names.
    pub syscall: Vec<String>,
    /// Everything below.
    pub recursive: bool,
    /// Programs that it is limited to.
    pub from_source: Vec<SourceOfSyscall>,
}
