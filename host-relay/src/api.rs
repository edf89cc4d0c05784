// SPDX-License-Identifier: Apache-2.0
//! The relay's own service, for the operators of the node.
//!
//! Views flow in through watch channels, replies flow out over a UNIX socket that only its owner
//! may open. It changes nothing: whoever reaches the socket can look, not act.

mod service;
mod socket;
mod to_wire;

use kadapter_proto::{DESCRIPTORS, relay::v1::relay_server::RelayServer};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

pub use socket::{BindError, Listener};

use crate::{events::Hub, status::Views, stop::Stop};

/// Full name of the service.
const SERVICE: &str = "kadapter.relay.v1.Relay";

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
    let relay = RelayServer::new(service::RelayService::new(views, hub, stop.clone()));
    Server::builder()
        .add_service(relay)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.wait())
        .await?;
    Ok(())
}
