//! `POST /api/pcap`: capture files over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::failure::{Code, Failure, PlainFailure};
use crate::server::App;
use crate::services::{PcapReport, PcapUpload};
use crate::wire::UploadReport;

/// Pieces of a body between the connection and the thread that reads them: at hyper's piece size
/// (up to 400 KiB) 1.6 MB. Full, the connection is not read, and TCP slows the sender down.
const QUEUE: usize = 4;
/// How long, and how much, is still read of a file that was refused.
const DRAIN_TIME: Duration = Duration::from_secs(2);
const DRAIN_BYTES: usize = 64 << 20;

/// Takes a capture file: pcap, pcapng, or gzip of either, as the body itself or as the files of a
/// multipart form.
///
/// The answer comes when the flows can be queried. Its size is not limited: packets become flows as
/// they arrive, and a sender that is too fast is slowed down.
#[utoipa::path(
    post,
    path = "/api/pcap",
    tag = "captures",
    request_body(content((Vec<u8> = "application/vnd.tcpdump.pcap"), (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "multipart/form-data")), description = "The file"),
    responses(
        (status = 202, description = "Every packet was read", body = UploadReport),
        (status = 400, description = "Not a capture file, or cut short; the packets before the fault are kept",
            body = String, content_type = "text/plain"),
        (status = 503, description = "Too many uploads at once", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<(StatusCode, Json<UploadReport>), PlainFailure> {
    let _permit = app.uploads.try_acquire().map_err(|_| Failure::busy("uploads"))?;
    let mut report = UploadReport {
        capture_id: app.services.uploads.capture_id().to_string(),
        ..UploadReport::default()
    };
    if is_multipart(&request) {
        let form = Multipart::from_request(request, &app).await;
        let mut form = form.map_err(|rejection| bad_form(rejection.body_text()))?;
        while let Some(field) = form
            .next_field()
            .await
            .map_err(|error| bad_form(error.body_text()))?
        {
            let name = field.file_name().map(str::to_owned);
            // A form's other fields (buttons, tokens) are no files.
            if let Some(name) = name {
                let from = format!("upload of {name}");
                take(
                    &app,
                    &from,
                    field.map(|piece| piece.map_err(|e| e.to_string())),
                    &mut report,
                )
                .await?;
            }
        }
        if report.files == 0 {
            return Err(bad_form("the form holds no file".to_owned()).into());
        }
    } else {
        let pieces = Body::into_data_stream(request.into_body());
        take(
            &app,
            "upload",
            pieces.map(|piece| piece.map_err(|e| e.to_string())),
            &mut report,
        )
        .await?;
    }
    Ok((StatusCode::ACCEPTED, Json(report)))
}

fn is_multipart(request: &Request) -> bool {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/form-data"))
}

fn bad_form(detail: String) -> Failure {
    Failure::new(Code::BadBody, detail, "")
}

/// Takes one file as its pieces come.
async fn take<S>(app: &App, from: &str, pieces: S, report: &mut UploadReport) -> Result<(), Failure>
where
    S: Stream<Item = Result<Bytes, String>>,
{
    let (queue, reader) = begin(app.services.uploads.begin(from));
    let mut pieces = std::pin::pin!(pieces);
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        // The sender has gone, or broke the rules of HTTP: dropping the queue ends the upload.
        let piece = piece.map_err(|error| {
            Failure::new(
                Code::BadBody,
                format!("the upload broke off after {bytes} bytes: {error}"),
                "",
            )
        })?;
        bytes += piece.len() as u64;
        if queue.send(Piece::Bytes(piece)).await.is_err() {
            // The reader gave up. A sender that is cut off in the middle may never see why.
            let _ = timeout(DRAIN_TIME, drain(&mut pieces)).await;
            break;
        }
    }
    // Refused if the reader has ended: its answer says why.
    let _ = queue.send(Piece::End).await;
    let ended = reader.await.map_err(|error| {
        tracing::error!(%error, "an upload panicked");
        Failure::new(Code::Internal, "the upload failed inside flowtap", "")
    })?;
    let file = ended.map_err(|reason| Failure::new(Code::BadCapture, reason, ""))?;
    report.files += 1;
    report.bytes += bytes;
    report.packets += file.packets;
    report.unsupported += file.unsupported;
    Ok(())
}

/// Throws away what still comes, up to a limit.
async fn drain<S>(pieces: &mut S)
where
    S: Stream<Item = Result<Bytes, String>> + Unpin,
{
    let mut bytes = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        bytes += piece.len();
        if bytes > DRAIN_BYTES {
            return;
        }
    }
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// Reads on a blocking thread, since a full table or store queue makes it wait.
fn begin(mut upload: Box<dyn PcapUpload>) -> (mpsc::Sender<Piece>, JoinHandle<Result<PcapReport, String>>) {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let reader = tokio::task::spawn_blocking(move || {
        loop {
            match receiver.blocking_recv() {
                Some(Piece::Bytes(bytes)) => upload.feed(&bytes)?,
                Some(Piece::End) => return upload.finish(),
                None => return Err("the upload broke off".to_owned()),
            }
        }
    });
    (sender, reader)
}
