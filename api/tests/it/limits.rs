//! Limits of number and time, and what happens when a client goes away.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use flowtap_api::{Limits, router, serve};
use flowtap_flow::query::{
    Cancel, FlowQuery, FlowReader, FlowRef, FlowVisitor, MetricVisitor, PacketVisitor, ReadError, TimeRange,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::common::{get, sample, services};

/// Reads until it is told to stop.
#[derive(Default)]
struct Endless {
    begun: Notify,
    ended: Notify,
}

struct EndlessReader(Arc<Endless>);

impl FlowReader for EndlessReader {
    fn flows(&self, _: &FlowQuery, cancel: &Cancel, _: &mut FlowVisitor<'_>) -> Result<(), ReadError> {
        self.0.begun.notify_one();
        loop {
            if let Err(error) = cancel.check() {
                self.0.ended.notify_one();
                return Err(error);
            }
            std::thread::yield_now();
        }
    }

    fn raw_packets(
        &self,
        _: &[FlowRef],
        _: TimeRange,
        _: &Cancel,
        _: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        Ok(())
    }

    fn metrics(
        &self,
        _: &[FlowRef],
        _: TimeRange,
        _: &Cancel,
        _: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        Ok(())
    }
}

/// Fails as a broken disk does.
struct BrokenReader;

impl FlowReader for BrokenReader {
    fn flows(&self, _: &FlowQuery, _: &Cancel, _: &mut FlowVisitor<'_>) -> Result<(), ReadError> {
        Err(ReadError::Store {
            what: "segment 1".to_owned(),
            source: "disk on fire".into(),
        })
    }

    fn raw_packets(
        &self,
        _: &[FlowRef],
        _: TimeRange,
        _: &Cancel,
        _: &mut PacketVisitor<'_>,
    ) -> Result<(), ReadError> {
        Ok(())
    }

    fn metrics(
        &self,
        _: &[FlowRef],
        _: TimeRange,
        _: &Cancel,
        _: &mut MetricVisitor<'_>,
    ) -> Result<(), ReadError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_ends() {
    let mut services = services(EndlessReader(Arc::default()));
    services.limits.query_time = Duration::from_millis(20);
    let answer = get(&router(services), "/api/v1/flows").await;
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (StatusCode::GATEWAY_TIMEOUT, "timed-out")
    );
}

#[tokio::test]
async fn a_failing_store_is_named() {
    let router = router(services(BrokenReader));
    let answer = get(&router, "/api/v1/packets").await;
    let (code, detail) = answer.problem();
    assert_eq!(
        (answer.status, code.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "store-failed")
    );
    assert_eq!(detail, "failed to read segment 1: disk on fire");
}

#[tokio::test]
async fn one_query_too_many_is_sent_away_at_once() {
    let endless = Arc::new(Endless::default());
    let mut services = services(EndlessReader(endless.clone()));
    services.limits = Limits {
        queries: 1,
        ..Limits::default()
    };
    let router = router(services);
    let first = tokio::spawn(
        router
            .clone()
            .oneshot(Request::get("/api/v1/flows").body(Body::empty()).unwrap()),
    );
    endless.begun.notified().await;
    let answer = get(&router, "/api/v1/flows").await;
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "busy")
    );
    assert_eq!(answer.header(header::RETRY_AFTER), "1");
    first.abort();
    endless.ended.notified().await;
}

/// Holds until the store's client reads its answer.
#[tokio::test]
async fn unread_answers_are_bounded() {
    let mut services = services(sample());
    services.limits.answer_bytes = 8 << 10;
    let router = router(services);
    let request = || Request::get("/api/v1/flows").body(Body::empty()).unwrap();
    let unread = router.clone().oneshot(request()).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    let answer = get(&router, "/api/v1/flows").await;
    assert_eq!(
        (answer.status, answer.problem().0.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "busy")
    );
    drop(unread);
    assert_eq!(get(&router, "/api/v1/flows").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_query() {
    let endless = Arc::new(Endless::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(
        listener,
        router(services(EndlessReader(endless.clone()))),
        stop.clone(),
    ));
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /api/v1/flows HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    endless.begun.notified().await;
    drop(client);
    endless.ended.notified().await;
    stop.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn a_stop_lets_answers_finish_and_takes_no_more() {
    let endless = Arc::new(Endless::default());
    let mut services = services(EndlessReader(endless.clone()));
    services.limits.query_time = Duration::from_millis(200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, router(services), stop.clone()));
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET /api/v1/flows HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    endless.begun.notified().await;
    stop.cancel();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
    server.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
