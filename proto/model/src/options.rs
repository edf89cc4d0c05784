// SPDX-License-Identifier: Apache-2.0
//! What a rule set asks beside its rules: postures and hardening primitives.

/// What happens to an access that no rule of a whitelisted category matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Posture {
    /// Permit.
    Allow,
    /// Permit and report.
    Audit,
    /// Deny and report.
    Block,
}

/// One posture per category; effective once the category has an Allow rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Postures {
    /// Programs.
    pub process: Posture,
    /// Files.
    pub file: Posture,
    /// Sockets.
    pub network: Posture,
    /// Host names.
    pub dns: Posture,
    /// Capabilities.
    pub capability: Posture,
}

/// Which renames the engine refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameGuard {
    /// None.
    #[default]
    None,
    /// Of a ruled object.
    Object,
    /// Of its ancestors too.
    Ancestors,
}

/// What becomes of descriptors that were open before a change of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Revoke {
    /// They stay usable.
    #[default]
    Never,
    /// They are checked again.
    OnChange,
}

/// Hardening primitives, each off unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the contract")]
pub struct Options {
    /// No execution of files that a subject wrote.
    pub taint: bool,
    /// No execution of unlinked files.
    pub no_unlinked_exec: bool,
    /// No executable anonymous memory.
    pub no_anonymous_exec: bool,
    /// No executable private file maps that were written.
    pub no_execmod: bool,
    /// No writing to another task's memory.
    pub no_poke: bool,
    /// No mounts.
    pub no_new_mounts: bool,
    /// No user namespaces.
    pub no_user_namespaces: bool,
    /// No execution from file systems unknown at registration.
    pub known_file_systems_only: bool,
    /// Which renames are refused.
    pub name_guard: NameGuard,
    /// Whoever may not execute a file may not read it either.
    pub deny_reads_of_exec_blocked: bool,
    /// What Allow rules on programs name keeps its content, while the posture denies all else.
    pub allow_guard: bool,
    /// Sources of Block rules, and programs found in directories that Block rules name, are held by
    /// their inodes as well.
    pub hold: bool,
    /// Fate of open descriptors.
    pub revoke: Revoke,
}

impl Default for Postures {
    /// KubeArmor's default since v0.7: report.
    fn default() -> Self {
        let audit = Posture::Audit;
        Self { process: audit, file: audit, network: audit, dns: audit, capability: audit }
    }
}
