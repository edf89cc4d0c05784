// SPDX-License-Identifier: Apache-2.0
//! The plan, looked up as the kernel does it, decides as the reference does.

mod kernel;

use policy_model::{
    Access, Action, Category, Directory, Generation, Match, NameGuard, Object, Options, PathObject,
    Posture, Revoke, Rule, RuleId, RulePath, RuleSet, Source, Target, Verdict,
    arbitrary::{all_options, any_access, supported_rule_set},
    eval::eval,
};
use proptest::prelude::*;

use super::*;
use kernel::Kernel;

fn path(text: &str) -> RulePath {
    RulePath::new(text).unwrap()
}

fn mount(dev: u32, root: &str, point: &str) -> Mount {
    Mount {
        dev,
        root: Some(root.into()),
        point: path(point),
        fs_type: "tmpfs".into(),
        atomic: false,
    }
}

fn set(rules: Vec<Rule>) -> RuleSet {
    RuleSet::empty(Target::default(), Generation(1)).with_rules(rules)
}

fn block_exec(id: u64, text: &str, matching: Match) -> Rule {
    let object = Object::Path(PathObject { path: path(text), matching });
    Rule::new(RuleId(id), Category::Process, Action::Block, object)
}

fn exec<'a>(name: &'a RulePath) -> Access<'a> {
    Access {
        category: Category::Process,
        path: Some(name),
        identities: &[],
        contents: &[],
        programs: &[],
        acts_as: &[],
        argv: None,
        exe: None,
    }
}

/// The plan for a root that is this directory; none if chance gave a program too many lists.
fn planned<'r>(rules: &'r RuleSet, root: &str) -> Option<Plan<'r>> {
    match lower(rules, &[vec![mount(1, root, "/")]]) {
        Err(LowerError::TooMany { .. }) => None,
        plan => Some(plan.unwrap()),
    }
}

proptest! {
    #[test]
    fn the_plan_decides_as_the_reference_does(
        rules in supported_rule_set(),
        accesses in proptest::collection::vec(any_access(), 1..8),
    ) {
        let mut rules = rules;
        rules.options = Options::default();
        let Some(plan) = planned(&rules, "/") else { return Ok(()) };
        for access in &accesses {
            // An object without a name is decided in the kernel without a walk.
            prop_assume!(access.path.is_some());
            let expected = eval(&rules, &access.view()).unwrap();
            prop_assert_eq!(Kernel(&plan).decide(&access.view(), 1), expected);
        }
    }

    #[test]
    fn a_bind_mounted_root_changes_nothing(
        rules in supported_rule_set(),
        access in any_access(),
    ) {
        let mut rules = rules;
        rules.options = Options::default();
        let Some(plain) = planned(&rules, "/") else { return Ok(()) };
        let below = planned(&rules, "/pods/x/rootfs").unwrap();
        let Some(name) = &access.path else { return Ok(()) };
        let moved = |path: &RulePath| match path.as_str() {
            "/" => RulePath::new("/pods/x/rootfs").unwrap(),
            text => RulePath::new(format!("/pods/x/rootfs{text}")).unwrap(),
        };
        let (name, exe) = (moved(name), access.exe.as_ref().map(moved));
        let inside = Access { path: Some(&name), exe: exe.as_ref(), ..access.view() };
        prop_assert_eq!(
            Kernel(&below).decide(&inside, 1),
            Kernel(&plain).decide(&access.view(), 1)
        );
    }
}

#[test]
fn a_rule_below_a_volume_lies_in_the_volumes_super_block() {
    let mounts = [vec![mount(1, "/", "/"), mount(2, "/exports/7", "/data")]];
    let rules = set(vec![block_exec(1, "/data/tool", Match::Name)]);
    let plan = lower(&rules, &mounts).unwrap();
    let (kernel, inside) = (Kernel(&plan), path("/exports/7/tool"));
    assert_eq!(kernel.decide(&exec(&inside), 2).verdict, Verdict::Block);
    let hidden = path("/data/tool");
    assert_eq!(kernel.decide(&exec(&hidden), 1).verdict, Verdict::Allow);
}

#[test]
fn a_recursive_directory_covers_volumes_below_it() {
    let mounts = [vec![mount(1, "/", "/"), mount(2, "/", "/data/volume")]];
    let directory = Directory { path: path("/data"), recursive: true, atomic_volume: false };
    let rule = Rule::new(RuleId(1), Category::File, Action::Block, Object::Directory(directory));
    let rules = set(vec![rule]);
    let plan = lower(&rules, &mounts).unwrap();
    let file = path("/deep/down/file");
    let access = Access {
        category: Category::File,
        path: Some(&file),
        identities: &[],
        contents: &[],
        programs: &[],
        acts_as: &[],
        argv: None,
        exe: None,
    };
    assert_eq!(Kernel(&plan).decide(&access, 2).verdict, Verdict::Block);
}

#[test]
fn the_last_of_stacked_mounts_is_the_one_that_is_seen() {
    let mounts = [vec![mount(1, "/", "/"), mount(2, "/", "/data/old"), mount(3, "/", "/data")]];
    let rules = set(vec![block_exec(1, "/data/old/tool", Match::Name)]);
    let plan = lower(&rules, &mounts).unwrap();
    let in_last = path("/old/tool");
    assert_eq!(Kernel(&plan).decide(&exec(&in_last), 3).verdict, Verdict::Block);
    let hidden = path("/tool");
    assert_eq!(Kernel(&plan).decide(&exec(&hidden), 2).verdict, Verdict::Allow);
}

#[test]
fn two_names_of_one_place_share_their_rules() {
    let mounts = [vec![mount(1, "/", "/"), mount(1, "/srv", "/mnt")]];
    let rules = vec![
        block_exec(1, "/mnt/tool", Match::Name),
        Rule { action: Action::Allow, ..block_exec(2, "/srv/tool", Match::Name) },
    ];
    let rules = set(rules);
    let plan = lower(&rules, &mounts).unwrap();
    let tool = path("/srv/tool");
    assert_eq!(Kernel(&plan).decide(&exec(&tool), 1).verdict, Verdict::Block);
}

#[test]
fn ten_thousand_rules_need_one_place_for_each_name() {
    let rules =
        (1..=10_000).map(|at| block_exec(at, &format!("/opt/tools/t{at}"), Match::Name)).collect();
    let rules = set(rules);
    let plan = lower(&rules, &[vec![mount(1, "/", "/")]]).unwrap();
    assert_eq!(plan.places.len(), 10_003);
    assert_eq!(plan.depth(), 3);
}

#[test]
fn what_is_not_enforced_is_refused() {
    let mounts = [vec![mount(1, "/", "/")]];
    let unsupported = Rule { owner_only: true, ..block_exec(1, "/a", Match::Name) };
    let error = lower(&set(vec![unsupported]), &mounts).unwrap_err();
    assert!(error.to_string().contains("rule.owner-only"), "{error}");
    let mut revoke = set(Vec::new());
    revoke.options.revoke = Revoke::OnChange;
    let error = lower(&revoke, &mounts).unwrap_err();
    assert!(error.to_string().contains("option.revoke"), "{error}");
    let error = lower(&set(vec![block_exec(1, "/a", Match::Name)]), &[Vec::new()]).unwrap_err();
    assert!(matches!(error, LowerError::NoMount(_)), "{error}");
}

#[test]
fn a_place_deeper_than_the_kernel_hashes_is_refused() {
    let root = "/d".repeat(abi::MAX_DEPTH - 1);
    let mounts = [vec![mount(1, &root, "/")]];
    assert!(lower(&set(vec![block_exec(1, "/a", Match::Name)]), &mounts).is_ok());
    let error = lower(&set(vec![block_exec(1, "/a/b", Match::Name)]), &mounts).unwrap_err();
    assert!(matches!(error, LowerError::TooDeep { depth: 129, .. }), "{error}");
}

#[test]
fn a_source_is_known_by_every_place_that_its_directory_covers() {
    let directory = Directory { path: path("/usr"), recursive: true, atomic_volume: false };
    let mut rule = block_exec(1, "/bin/ls", Match::Name);
    rule.sources = vec![Source::Directory(directory)];
    let rules = set(vec![rule]);
    let plan = lower(&rules, &[vec![mount(1, "/", "/")]]).unwrap();
    let (tool, inside, outside) = (path("/bin/ls"), path("/usr/bin/sh"), path("/opt/sh"));
    let by = |exe| Access { exe: Some(exe), ..exec(&tool) };
    assert_eq!(Kernel(&plan).decide(&by(&inside), 1).verdict, Verdict::Block);
    assert_eq!(Kernel(&plan).decide(&by(&outside), 1).verdict, Verdict::Allow);
}

/// Flags of a place of the container's root.
fn flags_at(plan: &Plan<'_>, text: &str) -> u32 {
    let places = &plan.places;
    let found = path(text).components().fold(0, |parent, name| {
        let is_child = |planned: &PlannedPlace| {
            planned.place.parent == Some(parent) && planned.place.name == name
        };
        places.iter().position(is_child).unwrap()
    });
    places[found].node.flags
}

#[test]
fn what_lies_above_a_block_rule_is_marked() {
    let rules = vec![
        block_exec(1, "/usr/bin/apt", Match::Name),
        block_exec(2, "/usr/bin/apt", Match::Identity),
        block_exec(3, "/opt/tool", Match::Name),
        Rule { action: Action::Allow, ..block_exec(4, "/srv/tool", Match::Name) },
    ];
    let rules = set(rules);
    let plan = lower(&rules, &[vec![mount(1, "/", "/")]]).unwrap();
    assert_eq!(flags_at(&plan, "/usr/bin/apt"), 0);
    assert_eq!(flags_at(&plan, "/usr/bin"), abi::NODE_ABOVE_BLOCK);
    assert_eq!(flags_at(&plan, "/opt/tool"), abi::NODE_NAMES_ONLY);
    assert_eq!(flags_at(&plan, "/opt"), abi::NODE_ABOVE_BLOCK | abi::NODE_NAMES_ONLY);
    assert_eq!(flags_at(&plan, "/srv"), 0);
    assert_eq!(flags_at(&plan, "/"), abi::NODE_ABOVE_BLOCK | abi::NODE_NAMES_ONLY);
}

#[test]
fn the_ways_by_both_names_of_a_place_are_marked() {
    let mounts = [vec![mount(1, "/", "/"), mount(1, "/x/srv", "/mnt")]];
    for names in [["/mnt/d/tool", "/x/srv/d/other"], ["/x/srv/d/other", "/mnt/d/tool"]] {
        let rules = [(1, names[0]), (2, names[1])];
        let rules = set(rules.map(|(id, name)| block_exec(id, name, Match::Name)).into());
        let plan = lower(&rules, &mounts).unwrap();
        for above in ["/", "/x", "/x/srv", "/x/srv/d"] {
            assert_eq!(flags_at(&plan, above), abi::NODE_ABOVE_BLOCK | abi::NODE_NAMES_ONLY);
        }
    }
}

#[test]
fn a_blocked_directory_is_known_by_its_name_alone() {
    let directory = Directory { path: path("/run/secrets"), recursive: true, atomic_volume: false };
    let rule = Rule::new(RuleId(1), Category::File, Action::Block, Object::Directory(directory));
    let rules = set(vec![rule]);
    let plan = lower(&rules, &[vec![mount(1, "/", "/")]]).unwrap();
    assert_eq!(flags_at(&plan, "/run/secrets"), abi::NODE_NAMES_ONLY);
    assert_eq!(flags_at(&plan, "/run"), abi::NODE_ABOVE_BLOCK | abi::NODE_NAMES_ONLY);
}

#[test]
fn what_a_volume_is_mounted_below_is_marked_for_the_volumes_rules() {
    let mounts = [vec![mount(1, "/", "/"), mount(2, "/", "/srv/data")]];
    let rules = set(vec![block_exec(1, "/srv/data/tool", Match::Name)]);
    let plan = lower(&rules, &mounts).unwrap();
    let marked = |dev, name: &str| {
        let is_meant =
            |planned: &&PlannedPlace| planned.place.dev == dev && planned.place.name == name;
        plan.places.iter().find(is_meant).unwrap().node.flags & abi::NODE_ABOVE_BLOCK != 0
    };
    assert!(marked(1, "srv") && marked(1, "") && marked(2, ""));
    assert!(!marked(2, "tool"));
}

#[test]
fn where_an_atomic_writer_works_the_kernel_looks_one_directory_deeper() {
    let secrets = Mount { atomic: true, ..mount(2, "/c1/sa", "/run/sa") };
    let mounts = [vec![mount(1, "/", "/"), secrets]];
    let rule = block_exec(1, "/run/sa/dir/tool", Match::Name);
    let rules = set(vec![rule]);
    let plan = lower(&rules, &mounts).unwrap();
    let marked = |planned: &&PlannedPlace| planned.node.flags & abi::NODE_ATOMIC != 0;
    let marked: Vec<_> = plan.places.iter().filter(marked).map(|p| &p.place).collect();
    assert!(matches!(marked[..], [place] if place.dev == 2 && place.name == "sa"), "{marked:?}");
    let plain = lower(&rules, &[vec![mount(1, "/", "/"), mount(2, "/c1/sa", "/run/sa")]]);
    assert_eq!(plan.depth(), plain.unwrap().depth() + 1);
}

#[test]
fn mounts_of_namespaces_take_no_place_and_hide_what_they_cover() {
    let namespace = |point| Mount { root: None, fs_type: "nsfs".into(), ..mount(4, "", point) };
    let mounts = [vec![mount(1, "/", "/"), namespace("/run/ns/ipc"), namespace("/run/ns/uts")]];
    let rules = set(vec![
        block_exec(1, "/run/ns/ipc", Match::Name),
        block_exec(2, "/run/ns/tool", Match::Name),
    ]);
    let plan = lower(&rules, &mounts).unwrap();
    assert_eq!(plan.nowhere.keys().collect::<Vec<_>>(), ["/run/ns/ipc"]);
    let roots = plan.places.iter().filter(|planned| planned.place.parent.is_none());
    assert_eq!(roots.map(|planned| planned.place.dev).collect::<Vec<_>>(), [1, 4]);
    let tool = path("/run/ns/tool");
    assert_eq!(Kernel(&plan).decide(&exec(&tool), 1).verdict, Verdict::Block);
}

#[test]
fn a_rule_holds_on_the_mounts_of_the_registration_and_on_those_of_now() {
    let first = vec![mount(1, "/", "/")];
    let now = vec![mount(1, "/", "/"), mount(2, "/", "/usr")];
    let rules = set(vec![block_exec(1, "/usr/bin/tool", Match::Name)]);
    let plan = lower(&rules, &[first, now]).unwrap();
    let mut tools: Vec<_> = plan.places.iter().filter(|it| it.place.name == "tool").collect();
    tools.sort_by_key(|planned| planned.place.dev);
    assert_eq!(tools.iter().map(|it| it.place.dev).collect::<Vec<_>>(), [1, 2]);
    assert!(tools.iter().all(|planned| planned.node.exact != 0));
}

#[test]
fn what_a_container_mounts_too_deep_keeps_no_rule_from_its_places() {
    let deep = "/d".repeat(abi::MAX_DEPTH);
    let views = [vec![mount(1, "/", "/")], vec![mount(1, "/", "/"), mount(1, &deep, "/usr")]];
    let rules = set(vec![block_exec(1, "/usr/tool", Match::Name)]);
    let plan = lower(&rules, &views).unwrap();
    assert!(plan.nowhere["/usr/tool"].contains("128"), "{:?}", plan.nowhere);
    let tool = path("/usr/tool");
    assert_eq!(Kernel(&plan).decide(&exec(&tool), 1).verdict, Verdict::Block);
}

#[test]
fn more_lists_than_the_kernel_tells_apart_are_refused() {
    let listed =
        |at: u64| Rule { allowed_args: vec![at.to_string()], ..block_exec(at, "/a", Match::Name) };
    let mounts = [vec![mount(1, "/", "/")]];
    assert!(lower(&set((1..=5).map(listed).collect()), &mounts).is_ok());
    let error = lower(&set((1..=6).map(listed).collect()), &mounts).unwrap_err();
    assert!(error.to_string().contains("6 different lists of allowed arguments"), "{error}");
}

#[test]
fn each_option_is_a_bit_of_its_own() {
    let allowed = Rule { action: Action::Allow, ..block_exec(1, "/a", Match::Name) };
    let directory = Directory { path: path("/b"), recursive: false, atomic_volume: false };
    let blocked = Rule { object: Object::Directory(directory), ..block_exec(2, "/b", Match::Name) };
    let mut all = set(vec![allowed, blocked]);
    all.options = all_options();
    all.postures.process = Posture::Block;
    let plan = lower(&all, &[vec![mount(1, "/", "/")]]).unwrap();
    // A guard of ancestors is one of objects too, there are rules on programs, of which one blocks, and
    // what they name may have to be held.
    let options = Feature::of_options(&all.options);
    assert_eq!(plan.flags.count_ones() as usize, options.len() + 4);
    all.options.name_guard = NameGuard::Object;
    let plan = lower(&all, &[vec![mount(1, "/", "/")]]).unwrap();
    assert_eq!(plan.flags & abi::SET_GUARD_ANCESTORS, 0);
    assert_ne!(plan.flags & abi::SET_GUARD_OBJECTS, 0);
}

#[test]
fn what_a_whitelist_permits_is_kept_with_what_is_above_it() {
    let allowed =
        |id, text: &str| Rule { action: Action::Allow, ..block_exec(id, text, Match::Name) };
    let directory = Directory { path: path("/opt/bin"), recursive: false, atomic_volume: false };
    let below = Rule { object: Object::Directory(directory), ..allowed(2, "/opt") };
    let mut rules = set(vec![allowed(1, "/usr/bin/ls"), below]);
    rules.postures.process = Posture::Block;
    let kept = |rules: &RuleSet, place: &str| {
        let plan = lower(rules, &[vec![mount(1, "/", "/")]]).unwrap();
        let kernel = Kernel(&plan);
        (kernel.is_kept(&path(place), 1), kernel.flags(&path(place), 1))
    };
    assert_eq!(kept(&rules, "/usr/bin/ls"), (false, 0), "no option asks for it");
    rules.options.allow_guard = true;
    let above = abi::NODE_ABOVE_PERMITTED;
    assert_eq!(kept(&rules, "/usr/bin/ls"), (true, 0));
    assert_eq!(kept(&rules, "/usr/bin"), (false, above));
    assert_eq!(kept(&rules, "/opt/bin"), (true, above));
    assert_eq!(kept(&rules, "/opt/bin/new"), (true, 0));
    assert_eq!(kept(&rules, "/opt/bin/deep/er"), (false, 0));
    assert_eq!(kept(&rules, "/opt"), (false, above));
    rules.postures.process = Posture::Audit;
    assert_eq!(kept(&rules, "/usr/bin/ls"), (false, 0), "nothing is denied");
}
