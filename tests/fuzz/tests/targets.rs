// SPDX-License-Identifier: Apache-2.0
//! Each fuzz target as a test: a few executions, or as many as `KADAPTER_FUZZ_EXECUTIONS` says.

use fuzz::{run, targets};

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), targets::$name::check);
        }
    )+};
}

targets! {
    address, envelope, handshake, index, keys, lifecycle, mountinfo, oci, policy, record, reports,
    tls, wire,
}
