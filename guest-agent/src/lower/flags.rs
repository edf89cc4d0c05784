// SPDX-License-Identifier: Apache-2.0
//! What a rule set asks of the programs, as the bits of its record: which tables to look at, and
//! which options are on.

use guest_bpf::abi;
use policy_model::{
    Action, Category, Feature, NameGuard, Object, Options, RuleSet, eval::SUPPORTED,
};

use super::{has_identities, identities::holds_programs};

/// The first option that is not carried out: the programs carry out what the reference judges.
#[must_use]
pub fn unsupported_option(rules: &RuleSet) -> Option<Feature> {
    Feature::of_options(&rules.options).into_iter().find(|option| !SUPPORTED.contains(option))
}

pub(super) fn flags_of(rules: &RuleSet) -> u32 {
    let any = |category| rules.rules().iter().any(|rule| rule.category == category);
    let sourced = rules.rules().iter().any(|rule| !rule.sources.is_empty());
    let asked = rules
        .rules()
        .iter()
        .any(|rule| !rule.allowed_args.is_empty() || matches!(rule.object, Object::Applet { .. }));
    let blocks = rules.rules().iter().any(|rule| rule.action == Action::Block);
    chosen(&[
        (any(Category::Process), abi::SET_PROCESS),
        (any(Category::File), abi::SET_FILE),
        (has_identities(rules), abi::SET_IDENTITY),
        (sourced, abi::SET_SUBJECTS),
        (asked, abi::SET_ARGUMENTS),
        (blocks, abi::SET_BLOCKS),
        (rules.keeps_permitted(), abi::SET_ALLOW_GUARD),
        (rules.rules().iter().any(|rule| holds_programs(rules, rule)), abi::SET_HOLD),
    ]) | of_options(&rules.options)
}

fn of_options(options: &Options) -> u32 {
    let Options {
        taint,
        no_unlinked_exec,
        no_anonymous_exec,
        no_execmod,
        no_poke,
        no_new_mounts,
        no_user_namespaces,
        known_file_systems_only,
        name_guard,
        deny_reads_of_exec_blocked,
        // These depend on the rest of the set, too.
        allow_guard: _,
        hold: _,
        revoke: _,
    } = *options;
    chosen(&[
        (taint, abi::SET_TAINT),
        (no_unlinked_exec, abi::SET_NO_UNLINKED_EXEC),
        (no_anonymous_exec, abi::SET_NO_ANONYMOUS_EXEC),
        (no_execmod, abi::SET_NO_EXECMOD),
        (no_poke, abi::SET_NO_POKE),
        (no_new_mounts, abi::SET_NO_NEW_MOUNTS),
        (no_user_namespaces, abi::SET_NO_USER_NAMESPACES),
        (known_file_systems_only, abi::SET_KNOWN_FILE_SYSTEMS),
        (name_guard != NameGuard::None, abi::SET_GUARD_OBJECTS),
        (name_guard == NameGuard::Ancestors, abi::SET_GUARD_ANCESTORS),
        (deny_reads_of_exec_blocked, abi::SET_DENY_EXEC_READS),
    ])
}

fn chosen(switches: &[(bool, u32)]) -> u32 {
    switches.iter().filter(|(on, _)| *on).fold(0, |flags, (_, flag)| flags | flag)
}
