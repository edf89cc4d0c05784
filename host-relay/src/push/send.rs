// SPDX-License-Identifier: Apache-2.0
//! One parcel over one channel.

use std::time::Duration;

use kadapter_proto::guest::v1::{Applied, Chunk, Envelope, guest_client::GuestClient};
use policy_model::Generation;
use prost::Message as _;
use tonic::{Code, Status, transport::Channel};

use super::Parcel;

/// Far below gRPC's limit of 4 MiB for one message, far above the cost of one.
const CHUNK_BYTES: usize = 256 * 1024;

/// The largest rule set (16 MiB) over the slowest measured vsock (27 MiB/s), applied and
/// acknowledged, on a guest under load.
const APPLY_DEADLINE: Duration = Duration::from_secs(30);

/// Why a parcel is not in force.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The guest refuses it; what was in force stays.
    #[error("the guest refuses it: {0}")]
    Refused(String),
    /// The guest acknowledges something else.
    #[error("the guest acknowledges generation {got} instead of {sent}, or another digest")]
    Mismatch {
        /// What was sent.
        sent: Generation,
        /// What was acknowledged.
        got: Generation,
    },
    /// The connection.
    #[error("the connection fails: {0}")]
    Connection(String),
}

/// Sends a parcel and waits until it is in force.
///
/// # Errors
/// If it is not.
pub async fn send(mut client: GuestClient<Channel>, parcel: &Parcel) -> Result<Applied, PushError> {
    let envelope = Envelope { payload: parcel.payload.clone(), signatures: Vec::new() };
    let bytes = envelope.encode_to_vec();
    let chunks: Vec<_> =
        bytes.chunks(CHUNK_BYTES).map(|data| Chunk { data: data.to_vec() }).collect();
    let applied = tokio::time::timeout(APPLY_DEADLINE, client.apply(tokio_stream::iter(chunks)))
        .await
        .map_err(|_| PushError::Connection(format!("no answer within {APPLY_DEADLINE:?}")))?
        .map_err(|status| failure(&status))?
        .into_inner();
    if applied.generation != parcel.generation.0 || applied.digest != parcel.digest.0 {
        let (sent, got) = (parcel.generation, Generation(applied.generation));
        return Err(PushError::Mismatch { sent, got });
    }
    Ok(applied)
}

fn failure(status: &Status) -> PushError {
    match status.code() {
        // These say nothing about the rule set: another connection may bring it through.
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded => {
            PushError::Connection(status.message().into())
        }
        _ => PushError::Refused(status.message().into()),
    }
}
