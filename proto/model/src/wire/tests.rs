// SPDX-License-Identifier: Apache-2.0
//! Each reason to refuse a message, once: what it is and what it says.

use kadapter_proto::policy::v1 as pb;
use prost::Message as _;

use super::{InvalidRuleSet, decode};
use crate::{
    feature::Feature,
    ids::{Generation, RuleId, Target},
    limits,
    object::{Match, Object, PathObject},
    path::{InvalidPath, RulePath},
    rule::{Action, Category, Rule, Source},
    rule_set::RuleSet,
};

fn path(text: &str) -> RulePath {
    RulePath::new(text).unwrap()
}

/// Two rules with sources: enough to have every list of the format.
fn message() -> pb::RuleSet {
    let object = |text: &str| Object::Path(PathObject { path: path(text), matching: Match::Name });
    let rules = [(1, "/usr/bin/apt"), (2, "/bin/sh")].map(|(id, text)| {
        let mut rule = Rule::new(RuleId(id), Category::Process, Action::Block, object(text));
        rule.sources = vec![Source::Path(path("/a")), Source::Path(path("/b"))];
        rule
    });
    let set = RuleSet::empty(Target::default(), Generation(7)).with_rules(rules.into());
    pb::RuleSet::from(&set)
}

/// The reason for which a message is refused after one change.
fn refused(change: impl FnOnce(&mut pb::RuleSet)) -> InvalidRuleSet {
    let mut message = message();
    change(&mut message);
    decode(&message.encode_to_vec()).unwrap_err()
}

/// The reason for which a rule is refused after one change.
fn rule_refused(change: impl FnOnce(&mut pb::Rule)) -> InvalidRuleSet {
    refused(|message| change(&mut message.rules[0]))
}

/// The reason for which an object is refused in a rule of this category.
fn object_refused(category: pb::Category, kind: pb::object::Kind) -> InvalidRuleSet {
    rule_refused(|rule| {
        rule.category = category.into();
        rule.object = Some(pb::Object { kind: Some(kind) });
    })
}

#[test]
fn the_message_without_a_change_is_taken() {
    assert!(decode(&message().encode_to_vec()).is_ok());
}

#[test]
fn bytes_that_are_no_message_are_malformed() {
    let error = decode(&[0xff]).unwrap_err();
    assert!(matches!(error, InvalidRuleSet::Malformed(_)), "{error}");
    assert!(error.to_string().starts_with("the rule set cannot be decoded: "), "{error}");
}

#[test]
fn bytes_above_the_bound_are_too_large() {
    let error = decode(&vec![0; limits::MAX_RULE_SET_BYTES + 1]).unwrap_err();
    let expected = "the rule set has 16777217 bytes, more than 16777216; split the policy";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn another_format_is_refused_before_anything_else_is_read() {
    let error = refused(|message| *message = pb::RuleSet { format: 2, ..Default::default() });
    assert_eq!(error, InvalidRuleSet::Format(2));
    let expected = "the rule set has format 2, this build reads 1; upgrade the older side";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_unknown_feature_is_named() {
    let error = refused(|message| message.required_features.push("object.telepathy".into()));
    let expected = "required_features: unknown feature `object.telepathy`; \
                    the other side is newer, upgrade this one";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn features_are_those_that_the_rules_need() {
    let differ = |name: &str| InvalidRuleSet::FeaturesDiffer(name.into());
    let missing = refused(|message| message.required_features.truncate(1));
    assert_eq!(missing, differ("object.path.name"));
    let error = refused(|message| message.required_features.push(Feature::NameGuard.name().into()));
    assert_eq!(error, differ("option.name-guard"));
    let expected = "required_features does not name what the rules need: option.name-guard";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_part_without_which_the_rest_has_no_meaning_is_missing() {
    let missing = InvalidRuleSet::Missing;
    assert_eq!(refused(|message| message.target = None), missing("target"));
    assert_eq!(refused(|message| message.postures = None), missing("postures"));
    assert_eq!(refused(|message| message.options = None), missing("options"));
    assert_eq!(rule_refused(|rule| rule.id = 0), missing("rules.id"));
    assert_eq!(rule_refused(|rule| rule.object = None), missing("rules.object"));
    let empty = pb::Object { kind: None };
    assert_eq!(rule_refused(|rule| rule.object = Some(empty)), missing("rules.object"));
    let error = rule_refused(|rule| rule.sources[0].kind = None);
    assert_eq!(error.to_string(), "`rules.sources` is missing");
}

#[test]
fn a_number_that_stands_for_nothing_is_unknown() {
    let unknown = |field, value| InvalidRuleSet::UnknownValue { field, value };
    assert_eq!(rule_refused(|rule| rule.category = 0), unknown("rules.category", 0));
    assert_eq!(rule_refused(|rule| rule.action = 4), unknown("rules.action", 4));
    let postures = |message: &mut pb::RuleSet| message.postures.as_mut().unwrap().dns = 0;
    assert_eq!(refused(postures), unknown("postures.dns", 0));
    let guard = |message: &mut pb::RuleSet| message.options.as_mut().unwrap().name_guard = 3;
    assert_eq!(refused(guard), unknown("options.name_guard", 3));
    let revoke = |message: &mut pb::RuleSet| message.options.as_mut().unwrap().revoke = -1;
    assert_eq!(refused(revoke), unknown("options.revoke", -1));
    let object = pb::PathObject { path: "/a".into(), r#match: 0 };
    let error = object_refused(pb::Category::Process, pb::object::Kind::Path(object));
    assert_eq!(error.to_string(), "`rules.path.match` has the unknown value 0");
}

#[test]
fn a_path_that_the_engine_cannot_match_is_named_with_its_field() {
    use pb::{Category::File, Category::Process, object::Kind};
    let reasons = [
        (object_refused(File, Kind::Link("l".into())), "rules.link"),
        (object_refused(Process, Kind::Execname("a/b".into())), "rules.execname"),
        (object_refused(Process, Kind::Execname("..".into())), "rules.execname"),
        (object_refused(File, Kind::Directory(pb::Directory::default())), "rules.directory"),
        (
            object_refused(
                Process,
                Kind::Applet(pb::Applet { binary: "/b".into(), names: vec!["a/b".into()] }),
            ),
            "rules.applet.names",
        ),
    ];
    for (reason, expected) in reasons {
        assert!(
            matches!(reason, InvalidRuleSet::Path { field, .. } if field == expected),
            "{reason}"
        );
    }
    let kind = pb::source::Kind::Path("/a/".into());
    let error = rule_refused(|rule| rule.sources[0].kind = Some(kind));
    let source = InvalidPath::NotNormal("/a/".into());
    assert_eq!(error.to_string(), format!("`rules.sources.path`: {source}"));
}

#[test]
fn what_a_list_or_a_text_may_hold_is_bounded() {
    use pb::{Category, object::Kind};
    let field = |error: InvalidRuleSet| match error {
        InvalidRuleSet::OutOfBounds { field, .. } => field,
        other => panic!("{other}"),
    };
    let sources = |rule: &mut pb::Rule| {
        rule.sources = vec![rule.sources[0].clone(); limits::MAX_SOURCES + 1];
    };
    assert_eq!(field(rule_refused(sources)), "rules.sources");
    let many = vec![String::new(); limits::MAX_ALLOWED_ARGS + 1];
    assert_eq!(field(rule_refused(|rule| rule.allowed_args = many)), "rules.allowed_args");
    let long = vec!["a".repeat(limits::MAX_ARG_BYTES + 1)];
    assert_eq!(field(rule_refused(|rule| rule.allowed_args = long)), "rules.allowed_args");
    let objects = [
        (Category::Process, Kind::Execname(String::new()), "rules.execname"),
        (Category::File, Kind::Automaton(pb::Automaton::default()), "rules.automaton"),
        (Category::File, Kind::Content(pb::Content::default()), "rules.content.sha256"),
        (Category::Process, Kind::Applet(pb::Applet::default()), "rules.applet.names"),
        (Category::Capability, Kind::Capability(String::new()), "rules.capability"),
        (Category::Syscall, Kind::Syscall(pb::Syscall::default()), "rules.syscall.numbers"),
        (Category::Dns, Kind::Dns(pb::Dns::default()), "rules.dns.name"),
    ];
    for (category, kind, expected) in objects {
        assert_eq!(field(object_refused(category, kind)), expected);
    }
    let error = refused(|message| {
        let target = message.target.as_mut().unwrap();
        target.pod = "p".repeat(limits::MAX_TARGET_BYTES + 1);
    });
    assert_eq!(error.to_string(), "`target.pod` has 254, allowed are 0 to 253");
}

#[test]
fn more_rules_than_the_bound_are_refused() {
    let error = refused(|message| {
        message.rules = vec![pb::Rule::default(); limits::MAX_RULES + 1];
    });
    assert_eq!(error.to_string(), "`rules` has 100001, allowed are 0 to 100000");
}

#[test]
fn a_list_has_one_order_and_no_repetition() {
    use pb::{Category, object::Kind};
    let unordered = InvalidRuleSet::Unordered;
    assert_eq!(refused(|message| message.rules.swap(0, 1)), unordered("rules"));
    assert_eq!(refused(|message| message.rules[1].id = 1), unordered("rules"));
    assert_eq!(
        refused(|message| message.required_features.swap(0, 1)),
        unordered("required_features")
    );
    assert_eq!(rule_refused(|rule| rule.sources.swap(0, 1)), unordered("rules.sources"));
    let twice = vec!["-h".to_owned(); 2];
    assert_eq!(rule_refused(|rule| rule.allowed_args = twice), unordered("rules.allowed_args"));
    let names = vec!["ls".into(), "cat".into()];
    let applet = Kind::Applet(pb::Applet { binary: "/b".into(), names });
    assert_eq!(object_refused(Category::Process, applet), unordered("rules.applet.names"));
    let syscall = Kind::Syscall(pb::Syscall { numbers: vec![1, 1], path: String::new() });
    let error = object_refused(Category::Syscall, syscall);
    let expected = "`rules.syscall.numbers` is not in ascending order without repetition";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_text_has_one_form() {
    use pb::{Category, object::Kind};
    let capability = |name: &str| {
        object_refused(Category::Capability, Kind::Capability(name.into())).to_string()
    };
    let expected = "`rules.capability` is \"CAP_CHOWN\"; write the lower-case name without `cap_`";
    assert_eq!(capability("CAP_CHOWN"), expected);
    assert!(capability("cap_chown").contains("without `cap_`"));
    for name in ["Example.org", "example.org.", ".org", "a..b", "a b"] {
        let dns = Kind::Dns(pb::Dns { name: name.into(), subdomains: false });
        let error = object_refused(Category::Dns, dns);
        assert!(matches!(error, InvalidRuleSet::Text { field: "rules.dns.name", .. }), "{error}");
    }
    let error = rule_refused(|rule| rule.allowed_args = vec!["a\0".into()]);
    assert!(matches!(error, InvalidRuleSet::Text { field: "rules.allowed_args", .. }), "{error}");
}

#[test]
fn an_object_belongs_to_its_categories() {
    let error = rule_refused(|rule| rule.category = pb::Category::Network.into());
    assert_eq!(error, InvalidRuleSet::ObjectOfOtherCategory { rule: 1 });
    let expected = "rule 0000000000000001 has an object that its category cannot have";
    assert_eq!(error.to_string(), expected);
    let kind = pb::object::Kind::Execname("apt".into());
    let error = object_refused(pb::Category::File, kind);
    assert_eq!(error, InvalidRuleSet::ObjectOfOtherCategory { rule: 1 });
}

#[test]
fn bytes_that_the_compiler_does_not_write_are_not_canonical() {
    // Field 2047 of type varint, which the format does not have.
    let unknown = [&message().encode_to_vec()[..], &[0xf8, 0x7f, 0x01]].concat();
    // The generation twice: protobuf lets the later one win.
    let repeated = [&[0x18, 0x01], &message().encode_to_vec()[..]].concat();
    for bytes in [unknown, repeated] {
        let error = decode(&bytes).unwrap_err();
        assert_eq!(error, InvalidRuleSet::NotCanonical);
        assert_eq!(error.to_string(), "the rule set is not in its canonical form");
    }
}

/// A message, and behind it what makes a decoder fail once it has made all before it.
fn spoilt(message: &pb::RuleSet) -> InvalidRuleSet {
    let mut bytes = message.encode_to_vec();
    bytes.push(0xff);
    decode(&bytes).unwrap_err()
}

#[test]
fn rules_and_their_parts_are_counted_before_they_are_made() {
    let counted = |error| match error {
        InvalidRuleSet::OutOfBounds { field, got, .. } => (field, got),
        error => panic!("{error}"),
    };
    let mut many = message();
    many.rules = vec![pb::Rule::default(); limits::MAX_RULES + 1];
    assert_eq!(counted(spoilt(&many)), ("rules", limits::MAX_RULES + 1));
    let mut many = message();
    many.required_features = vec![String::new(); 1000];
    assert_eq!(counted(decode(&many.encode_to_vec()).unwrap_err()), ("required_features", 1000));
    assert!(matches!(spoilt(&message()), InvalidRuleSet::Malformed(_)));
}

#[test]
fn parts_of_a_rule_are_counted_before_they_are_made() {
    use pb::object::Kind;
    let object = |kind| Some(pb::Object { kind: Some(kind) });
    let names = vec![String::new(); limits::MAX_APPLETS + 1];
    let applet = Kind::Applet(pb::Applet { binary: "/b".into(), names });
    let syscall = Kind::Syscall(pb::Syscall { numbers: vec![u32::MAX; 4096], path: String::new() });
    let rules = [
        pb::Rule { sources: vec![pb::Source::default(); 65], ..pb::Rule::default() },
        pb::Rule { allowed_args: vec![String::new(); 65], ..pb::Rule::default() },
        pb::Rule { object: object(applet), ..pb::Rule::default() },
        pb::Rule { object: object(syscall), ..pb::Rule::default() },
    ];
    let fields = ["rules.sources", "rules.allowed_args", "rules.applet.names", "rules.syscall"];
    for (rule, expected) in rules.into_iter().zip(fields) {
        // A category that stands for nothing is found once the rule is made.
        let rule = pb::Rule { category: 99, ..rule };
        let error = refused(|message| message.rules.insert(0, rule));
        let InvalidRuleSet::OutOfBounds { field, .. } = error else { panic!("{error}") };
        assert_eq!(field, expected);
    }
}
