// SPDX-License-Identifier: Apache-2.0
//! Compiles the `.proto` files without protoc and keeps the descriptor set for reflection.

use std::{env, fs, path::PathBuf};

use anyhow::Context as _;
use prost::Message as _;

const FILES: [&str; 3] = [
    "kadapter/policy/v1/policy.proto",
    "kadapter/guest/v1/guest.proto",
    "kadapter/relay/v1/relay.proto",
];

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=kadapter");
    let descriptors = protox::compile(FILES, ["."]).context("compiling the .proto files")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(env::var_os("CARGO_FEATURE_CLIENT").is_some())
        .build_server(env::var_os("CARGO_FEATURE_SERVER").is_some())
        .compile_fds(descriptors)
        .context("generating the messages")
}
