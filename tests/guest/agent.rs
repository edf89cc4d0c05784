// SPDX-License-Identifier: Apache-2.0
//! A client of the agent that is no relay, for messages that no relay sends and for a second one.

use std::{io, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use e2e::node::{Node, PATIENCE};
use hyper_util::rt::TokioIo;
use kadapter_proto::guest::v1::{
    Applied, Chunk, StatusReply, StatusRequest, guest_client::GuestClient,
};
use session_tls::{client_config, read, server_name};
use tokio::{io::AsyncReadExt as _, net::UnixStream, runtime::Runtime};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::service_fn;

pub(crate) const AGENT_PORT: u32 = 1034;

/// Far below the limit of a message.
const CHUNK_BYTES: usize = 1 << 20;

/// A client of the agent.
pub(crate) struct Agent {
    runtime: Runtime,
    client: GuestClient<Channel>,
    health: HealthClient<Channel>,
}

impl Agent {
    /// Connects with the key of the node's relay.
    pub(crate) fn dial(node: &Node) -> Result<Self> {
        let config = client_config(&read(&node.key())?);
        let runtime = Runtime::new().context("start a runtime")?;
        let channel = runtime.block_on(async {
            let mut stream = Some(TokioIo::new(shake(node, config).await?));
            let connector = service_fn(move |_: Uri| {
                let stream = stream.take().ok_or(io::ErrorKind::NotConnected);
                async move { Ok::<_, io::Error>(stream?) }
            });
            let endpoint = Endpoint::from_static("http://guest");
            anyhow::Ok(endpoint.connect_with_connector(connector).await?)
        })?;
        let health = HealthClient::new(channel.clone());
        Ok(Self { runtime, client: GuestClient::new(channel), health })
    }

    /// Whether the agent obeys another client now.
    pub(crate) fn is_second(&mut self) -> bool {
        let refused = self.status().err();
        refused.is_some_and(|status| {
            status.code() == Code::FailedPrecondition && status.message().contains("another relay")
        })
    }

    pub(crate) fn apply(&mut self, envelope: &[u8]) -> Result<Applied, Status> {
        let chunks: Vec<_> =
            envelope.chunks(CHUNK_BYTES).map(|data| Chunk { data: data.to_vec() }).collect();
        let applied = self.client.apply(tokio_stream::iter(chunks));
        Ok(self.runtime.block_on(applied)?.into_inner())
    }

    pub(crate) fn status(&mut self) -> Result<StatusReply, Status> {
        let status = self.client.status(StatusRequest {});
        Ok(self.runtime.block_on(status)?.into_inner())
    }

    /// Whether the agent's service says that it serves.
    pub(crate) fn is_healthy(&mut self) -> Result<bool, Status> {
        let request = HealthCheckRequest { service: "kadapter.guest.v1.Guest".into() };
        let reply = self.runtime.block_on(self.health.check(request))?.into_inner();
        Ok(reply.status() == ServingStatus::Serving)
    }
}

/// Shows what this configuration shows and gives the agent's answer to it.
pub(crate) fn refusal(node: &Node, config: ClientConfig) -> Result<io::Error> {
    let runtime = Runtime::new().context("start a runtime")?;
    runtime.block_on(async {
        // In TLS 1.3 a client is done before the server has looked at its key.
        let answer = shake(node, config).await?.read_u8().await;
        answer.err().context("the agent goes on")
    })
}

async fn shake(node: &Node, config: ClientConfig) -> Result<TlsStream<UnixStream>> {
    let stream = node.vm.connect(AGENT_PORT, Instant::now() + PATIENCE)?;
    stream.set_nonblocking(true)?;
    let tls = TlsConnector::from(Arc::new(config));
    let stream = tls.connect(server_name(), UnixStream::from_std(stream)?).await;
    stream.context("shake hands with the agent")
}
