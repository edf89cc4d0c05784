// SPDX-License-Identifier: Apache-2.0
//! PID 1 of the test VM: brings the guest up, then serves the control channel until power-off.

mod boot;
mod children;
mod console;
mod control;
mod exec;
mod spawn;

use std::panic;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("guest-init is the first process of a test VM and does nothing elsewhere");
        return ExitCode::FAILURE;
    }
    panic::set_hook(Box::new(|panic| give_up(&panic.to_string())));
    let Err(error) = boot::bring_up().and_then(|()| control::serve());
    give_up(&format!("{error:#}"));
    ExitCode::FAILURE
}

/// An init that ends would leave a kernel panic as the only trace; say why, then power off.
fn give_up(reason: &str) {
    console::failed(reason);
    boot::power_off();
}
