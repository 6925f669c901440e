//! IPv4 with fragments, IPv6 with extension headers.

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::part::Fragment;
use super::{Next, Walk};
use crate::layers::Layer;

/// Extension headers walked before a packet is taken for hostile.
const MAX_EXTENSIONS: usize = 8;

mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION: u8 = 60;
}

impl Walk<'_, '_> {
    /// IPv4 or IPv6, whatever the version field says.
    pub(super) fn ip(&mut self) -> Next {
        match self.rest().first().map(|byte| byte >> 4) {
            Some(4) => self.ipv4(),
            Some(6) => self.ipv6(),
            _ => Next::End,
        }
    }

    fn ipv4(&mut self) -> Next {
        let Ok(header) = Ipv4HeaderSlice::from_slice(self.rest()) else {
            return Next::End;
        };
        let header_len = header.slice().len();
        let total_len = usize::from(header.total_len());
        let (source, destination) = (
            u32::from(header.source_addr()),
            u32::from(header.destination_addr()),
        );
        let (ttl, protocol) = (header.ttl(), header.protocol().0);
        let fragment = header.is_fragmenting_payload().then(|| Fragment {
            addresses: (source, destination),
            identification: header.identification(),
            protocol,
            offset: header.fragments_offset().value().saturating_mul(8),
            more: header.more_fragments(),
            payload: (0, 0),
        });
        if !self.push(Layer::Ipv4) {
            return Next::End;
        }
        if self.part.key.ip_version() == 0 {
            // The outermost addresses of a part are the flow's: IP in IP does not begin a new flow.
            self.part.key.set_ipv4(source, destination);
            self.part.ttl = ttl;
        }
        // A length of 0 is what segmentation offload leaves behind; then all bytes are payload.
        if total_len >= header_len {
            self.end = self.end.min(self.at + total_len);
        }
        self.advance(header_len);
        if let Some(mut fragment) = fragment {
            fragment.payload = self.span();
            self.push(Layer::Fragment);
            self.part.fragment = Some(fragment);
            return Next::End;
        }
        Next::Protocol(protocol)
    }

    fn ipv6(&mut self) -> Next {
        let Ok(header) = Ipv6HeaderSlice::from_slice(self.rest()) else {
            return Next::End;
        };
        let payload_len = usize::from(header.payload_length());
        let source = u128::from_be_bytes(header.source());
        let destination = u128::from_be_bytes(header.destination());
        let (hop_limit, next_header) = (header.hop_limit(), header.next_header().0);
        if !self.push(Layer::Ipv6) {
            return Next::End;
        }
        if self.part.key.ip_version() == 0 {
            self.part.key.set_ipv6(source, destination);
            self.part.ttl = hop_limit;
        }
        self.advance(40);
        // 0 is a jumbogram or what segmentation offload leaves behind.
        if payload_len != 0 {
            self.end = self.end.min(self.at + payload_len);
        }
        self.ipv6_extensions(next_header)
    }

    fn ipv6_extensions(&mut self, mut next_header: u8) -> Next {
        for _ in 0..MAX_EXTENSIONS {
            let layer = match next_header {
                extension::HOP_BY_HOP => Layer::Ipv6HopByHop,
                extension::ROUTING => Layer::Ipv6Routing,
                extension::DESTINATION => Layer::Ipv6Destination,
                extension::FRAGMENT => {
                    if self.rest().len() >= 8 {
                        self.push(Layer::Ipv6Fragment);
                        self.push(Layer::Fragment);
                    }
                    return Next::End;
                }
                protocol => return Next::Protocol(protocol),
            };
            let [following, words, ..] = *self.rest() else {
                return Next::End;
            };
            let len = (usize::from(words) + 1) * 8;
            if self.rest().len() < len || !self.push(layer) {
                return Next::End;
            }
            self.advance(len);
            next_header = following;
        }
        Next::End
    }

    /// Where the bytes from here to the end lie.
    pub(super) fn span(&self) -> (u32, u32) {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        (number(self.at), number(self.end.max(self.at)))
    }
}
