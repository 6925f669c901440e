//! Response bodies that are written as the client reads, and what is held for them meanwhile.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use bytes::Bytes;
use futures_util::stream;

use crate::runner::Held;

/// Bytes per chunk: large enough to cost few wake-ups, small enough to be written between two looks
/// at other tasks.
const CHUNK: usize = 64 * 1024;

/// A body of bytes that are there already, and its length, so that a download can show its progress.
pub(crate) fn whole(bytes: Vec<u8>, held: Held) -> ([(HeaderName, HeaderValue); 1], Body) {
    let length = [(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()))];
    let mut rest = Bytes::from(bytes);
    let chunks = std::iter::from_fn(move || {
        let _held = &held;
        let chunk = rest.split_to(rest.len().min(CHUNK));
        (!chunk.is_empty()).then_some(Ok::<_, Infallible>(chunk))
    });
    (length, Body::from_stream(stream::iter(chunks)))
}

/// A body of items that are written one by one, between `head` and `tail`.
pub(crate) fn items<T, W>(head: Vec<u8>, items: Vec<T>, tail: Vec<u8>, mut write: W, held: Held) -> Body
where
    T: Send + 'static,
    W: FnMut(&T, &mut Vec<u8>) + Send + 'static,
{
    let mut items = items.into_iter();
    let mut chunk = head;
    let mut tail = Some(tail);
    let chunks = std::iter::from_fn(move || {
        let _held = &held;
        while chunk.len() < CHUNK {
            match items.next() {
                Some(item) => write(&item, &mut chunk),
                None => {
                    chunk.extend(tail.take().into_iter().flatten());
                    break;
                }
            }
        }
        let full = std::mem::take(&mut chunk);
        (!full.is_empty()).then_some(Ok::<_, Infallible>(Bytes::from(full)))
    });
    Body::from_stream(stream::iter(chunks))
}

/// A writer for [`items`] that makes a JSON list of them.
pub(crate) fn json_list<T: serde::Serialize>() -> impl FnMut(&T, &mut Vec<u8>) + Send + 'static {
    let mut first = true;
    move |item, out| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_json(item, out);
    }
}

/// A writer for [`items`] that makes the entries of a JSON object of them, each by its `key`.
pub(crate) fn json_entries<T: serde::Serialize>(
    key: impl Fn(&T) -> &str + Send + 'static,
) -> impl FnMut(&T, &mut Vec<u8>) + Send + 'static {
    let mut first = true;
    move |item, out| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_json(key(item), out);
        out.push(b':');
        write_json(item, out);
    }
}

/// Appends `value` as JSON. Our documents have text keys and finite numbers, and memory takes all
/// bytes, so that this does not fail; should it, the list gets a null and stays a list.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}
