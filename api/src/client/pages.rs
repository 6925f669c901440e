//! Lists, page after page.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::Client;
use super::error::ClientError;
use super::requests::{FlowsRequest, PacketsRequest};
use crate::wire::{FlowDocument, FlowPage, PacketDocument, PacketPage};

/// Items of a page: few requests, and some MB each.
const PAGE: usize = 5_000;

/// Reads a list page by page.
#[derive(Debug)]
pub struct Pages<'a, P> {
    client: &'a Client,
    path: &'static str,
    /// `None` after the last page. Relative times in it are kept as they are: a list that takes
    /// minutes to read moves its bounds by as much.
    request: Option<FlowsRequest>,
    page: PhantomData<P>,
}

/// A page of some list.
pub trait ListPage: DeserializeOwned {
    /// What the list is of.
    type Item;
    /// Its items, and the cursor of the next page.
    fn into_parts(self) -> (Vec<Self::Item>, Option<String>);
}

impl ListPage for FlowPage {
    type Item = FlowDocument;

    fn into_parts(self) -> (Vec<FlowDocument>, Option<String>) {
        (self.flows, self.next_cursor)
    }
}

impl ListPage for PacketPage {
    type Item = PacketDocument;

    fn into_parts(self) -> (Vec<PacketDocument>, Option<String>) {
        (self.packets, self.next_cursor)
    }
}

impl<'a> Pages<'a, FlowPage> {
    pub(super) fn flows(client: &'a Client, request: FlowsRequest) -> Self {
        Self {
            client,
            path: "/api/v1/flows",
            request: Some(request),
            page: PhantomData,
        }
    }
}

impl<'a> Pages<'a, PacketPage> {
    pub(super) fn packets(client: &'a Client, request: PacketsRequest) -> Self {
        Self {
            client,
            path: "/api/v1/packets",
            request: Some(request),
            page: PhantomData,
        }
    }
}

impl<P: ListPage> Pages<'_, P> {
    /// The next items; `None` at the end.
    ///
    /// # Errors
    /// See [`ClientError`]. The list ends with it.
    pub async fn next(&mut self) -> Result<Option<Vec<P::Item>>, ClientError> {
        let Some(mut request) = self.request.take() else {
            return Ok(None);
        };
        let wanted = request.limit;
        if wanted == Some(0) {
            return Ok(None);
        }
        let page_request = FlowsRequest {
            limit: Some(wanted.map_or(PAGE, |wanted| wanted.min(PAGE))),
            ..request.clone()
        };
        let page: P = self
            .client
            .get_with(self.path, &page_request.parameters())
            .await?;
        let (items, next) = page.into_parts();
        if let Some(cursor) = next {
            request.limit = wanted.map(|wanted| wanted.saturating_sub(items.len()));
            request.cursor = Some(cursor);
            self.request = Some(request);
        }
        Ok((!items.is_empty()).then_some(items))
    }
}
