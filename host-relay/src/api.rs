// SPDX-License-Identifier: Apache-2.0
//! The relay's own service, for the operators of the node.
//!
//! Views flow in through watch channels, replies flow out over a UNIX socket that only its owner
//! may open. It changes nothing: whoever reaches the socket can look, not act.

mod service;
mod socket;
mod to_wire;

use std::{io, time::Duration};

use kadapter_proto::{DESCRIPTORS, relay::v1::relay_server::RelayServer};
use tokio::time::sleep;
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::transport::Server;

pub use socket::{BindError, Listener};

use crate::{events::Hub, status::Views, stop::Stop};

/// Full name of the service.
const SERVICE: &str = "kadapter.relay.v1.Relay";

/// The largest request names a container, in three names of 253 bytes.
const MAX_REQUEST_BYTES: usize = 4 * 1024;

/// Bytes of a call's names and values, which are some hundred.
const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// Calls at once on a connection: a person has a few.
const MAX_CALLS: u32 = 32;

/// From a call to its reply, which is at hand; streams of replies go on. The largest rule set under
/// load takes a second.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A reader that stopped is asked this often whether it lives, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Without descriptors `accept` fails at once, again and again, and the server asks again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors for reflection.
    #[error("reflection cannot be offered")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport.
    #[error("the API cannot be served")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until it is told to stop.
///
/// # Errors
/// If it cannot be served.
pub async fn serve(
    listener: Listener,
    views: Views,
    hub: Hub,
    stop: Stop,
) -> Result<(), ServeError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE)
            .with_service_name("grpc.health.v1.Health")
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status(SERVICE, tonic_health::ServingStatus::Serving).await;
    let (listener, _file) = listener.into_parts();
    let relay = RelayServer::new(service::RelayService::new(views, hub, stop.clone()))
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_CALLS)
        .timeout(CALL_TIMEOUT)
        .add_service(relay)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(paced(UnixListenerStream::new(listener)), stop.wait())
        .await?;
    Ok(())
}

/// The same connections, with a pause behind each that could not be accepted.
fn paced<T>(connections: impl Stream<Item = io::Result<T>>) -> impl Stream<Item = io::Result<T>> {
    connections.then(async |connection| {
        if connection.is_err() {
            sleep(ACCEPT_PAUSE).await;
        }
        connection
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn connections_that_cannot_be_accepted_are_not_asked_for_without_a_pause() {
        let answers = [Err(io::Error::from(io::ErrorKind::Other)), Ok(1), Ok(2)];
        let started = Instant::now();
        let accepted: Vec<_> = paced(tokio_stream::iter(answers)).collect().await;
        assert_eq!(accepted.iter().filter(|accepted| accepted.is_ok()).count(), 2);
        assert!(started.elapsed() >= ACCEPT_PAUSE);
    }
}
