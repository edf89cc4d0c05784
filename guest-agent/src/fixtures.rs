// SPDX-License-Identifier: Apache-2.0
//! What tests of several modules begin with.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use policy_model::{
    Action, Category, Digest, Generation, Match, Object, PathObject, Rule, RuleId, RulePath,
    RuleSet, Target, wire,
};

use tokio::time::Instant;

use crate::{
    apply::Accepted,
    containers::{ContainerId, Init, Role},
    registry::{self, Arrival, Registry, double::KernelDouble},
};

/// Long enough for anything that a test waits for; short enough to show that it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a future yields, if it does at all.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test waited in vain")
}

/// A process that waits, as a container's does at the gate, until it is dropped.
pub(crate) struct Waiting(Child);

impl Waiting {
    pub(crate) fn spawn() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn init(&self) -> Init {
        Init::open(self.pid()).unwrap()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Ends it, as a container's process does.
    pub(crate) fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }

    /// The signal that ended it.
    pub(crate) fn signal(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn target() -> Target {
    Target {
        namespace: "prod".into(),
        pod: "shop-0".into(),
        pod_uid: "u-1".into(),
        container_name: "web".into(),
    }
}

pub(crate) fn id(text: &str) -> ContainerId {
    ContainerId::new(text).unwrap()
}

pub(crate) fn arrival(name: &str, process: &Waiting) -> Arrival {
    let role = Role::Workload(target());
    Arrival {
        id: id(name),
        role,
        init: process.init(),
        rootfs: None,
        until: Instant::now() + PATIENCE,
    }
}

pub(crate) fn rules(generation: u64) -> RuleSet {
    rules_of(target(), generation)
}

pub(crate) fn rules_of(target: Target, generation: u64) -> RuleSet {
    let path = RulePath::new("/usr/bin/apt").unwrap();
    let object = Object::Path(PathObject { path, matching: Match::Name });
    let rule = Rule::new(RuleId(7), Category::Process, Action::Block, object);
    RuleSet::empty(target, Generation(generation)).with_rules(vec![rule])
}

pub(crate) fn accepted(rules: RuleSet) -> Accepted {
    Accepted { digest: Digest::of(&wire::encode(&rules)), rules: rules.into() }
}

/// A registry whose owner runs on the double.
pub(crate) fn registry() -> (Registry, KernelDouble) {
    let kernel = KernelDouble::default();
    let (registry, inbox) = registry::channel();
    let owners = kernel.clone();
    thread::spawn(move || inbox.run(owners, |_| {}));
    (registry, kernel)
}
