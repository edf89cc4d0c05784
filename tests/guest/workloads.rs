// SPDX-License-Identifier: Apache-2.0
//! Some of the workloads of `cargo xtask eval workloads`, on one root.

use anyhow::{Result, ensure};
use e2e::rootfs::Medium;
use e2e::workloads::{self, Level, Policies, Selection};

#[test]
fn work_goes_on_at_the_levels_that_are_meant_for_it() -> Result<()> {
    let outcome = workloads::run(&Selection {
        roots: vec![Medium::Overlay2],
        levels: vec![Level::Base, Level::Contained],
        policies: vec![Policies::Block],
        only: ["entrypoint", "editor-save", "python-bytecode"].map(str::to_owned).into(),
    })?;
    let (report, table) = (outcome.report(), outcome.table(false));
    ensure!(report.is_met() && report.is_complete(), "{table}");
    Ok(())
}
