//! A real server on loopback, for one test.

use std::net::SocketAddr;
use std::sync::Arc;

use flowtap_api::client::Client;
use flowtap_api::{Services, router, serve};
use flowtap_topology::Graph;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) graph: Arc<Graph>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    declared: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(services: Services) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let graph = Arc::clone(services.topology.graph());
        let declared = tokio::spawn(Arc::clone(&services.declared).follow());
        let task = tokio::spawn(serve(listener, router(services), stop.clone()));
        Self {
            address,
            graph,
            stop,
            task,
            declared,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new([self.address.to_string()]).unwrap()
    }

    /// Ends it; returns when everything under way has ended.
    pub(crate) async fn stop(self) {
        self.declared.abort();
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
