//! What only ethtool knows: speed and offload features, over generic netlink (`linux/ethtool_netlink.h`).

use std::io;

use serde_json::{Map, Value};

use super::numbers::*;
use super::socket::Socket;
use super::wire::{Attributes, Message, Request, text, u16_at, u32_at};

/// Bytes of `struct genlmsghdr`.
const FIXED: usize = 4;

/// Asks ethtool of one namespace.
#[derive(Debug)]
pub(super) struct Ethtool {
    socket: Socket,
    /// The number that the kernel gave the family `ethtool`.
    family: u16,
    /// The names of the features, by bit.
    names: Vec<String>,
}

impl Ethtool {
    /// Learns the family's number and the features' names.
    ///
    /// # Errors
    /// Those of the socket; `NotFound` if the kernel has no ethtool over netlink (before 5.6).
    pub(super) fn new(mut socket: Socket, buffer: &mut [u8]) -> io::Result<Self> {
        let find = Request::new(GENL_ID_CTRL, 0)
            .bytes(&[CTRL_CMD_GETFAMILY, 1, 0, 0])
            .attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
        let mut family = None;
        socket.ask(buffer, &find, |message| {
            let attribute = Attributes::after(message.body, FIXED).find_kind(CTRL_ATTR_FAMILY_ID);
            family = attribute.and_then(|id| u16_at(id, 0));
        })?;
        let family = family.ok_or_else(|| io::Error::other("the kernel does not say ethtool's number"))?;
        let mut ethtool = Self {
            socket,
            family,
            names: Vec::new(),
        };
        ethtool.names = ethtool.feature_names(buffer)?;
        Ok(ethtool)
    }

    fn request(&self, command: u8) -> Request {
        Request::new(self.family, 0).bytes(&[command, 1, 0, 0])
    }

    fn about(&self, command: u8, index: u32) -> Request {
        self.request(command).nested(ETHTOOL_A_HEADER, |header| {
            header
                .attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes())
                .attribute(
                    ETHTOOL_A_HEADER_FLAGS,
                    &ETHTOOL_FLAG_COMPACT_BITSETS.to_ne_bytes(),
                )
        })
    }

    fn feature_names(&mut self, buffer: &mut [u8]) -> io::Result<Vec<String>> {
        let request = self
            .request(ETHTOOL_MSG_STRSET_GET)
            // Of no interface, and yet it has to be there.
            .nested(ETHTOOL_A_HEADER, |header| header)
            .nested(ETHTOOL_A_STRSET_STRINGSETS, |sets| {
                sets.nested(ETHTOOL_A_STRINGSETS_STRINGSET, |set| {
                    set.attribute(ETHTOOL_A_STRINGSET_ID, &ETH_SS_FEATURES.to_ne_bytes())
                })
            });
        let mut names = Vec::new();
        self.socket
            .ask(buffer, &request, |message| names = string_set(message))?;
        Ok(names)
    }

    /// `Features`: each of the kernel's offload features and whether it is on.
    ///
    /// # Errors
    /// Those of the socket; that the interface is gone, or has no features.
    pub(super) fn features(&mut self, buffer: &mut [u8], index: u32) -> io::Result<Value> {
        let request = self.about(ETHTOOL_MSG_FEATURES_GET, index);
        let mut active = Vec::new();
        self.socket.ask(buffer, &request, |message| {
            let bits = Attributes::after(message.body, FIXED)
                .find_kind(ETHTOOL_A_FEATURES_ACTIVE)
                .and_then(|bitset| Attributes::of(bitset).find_kind(ETHTOOL_A_BITSET_VALUE));
            active = bits.unwrap_or_default().to_vec();
        })?;
        let is_active = |bit: usize| {
            let word = u32_at(&active, bit / 32 * 4).unwrap_or_default();
            word & (1 << (bit % 32)) != 0
        };
        let named = self.names.iter().enumerate().filter(|(_, name)| !name.is_empty());
        let features: Map<_, _> = named
            .map(|(bit, name)| (name.clone(), is_active(bit).into()))
            .collect();
        Ok(features.into())
    }

    /// `Speed` in megabits a second, where it is known.
    ///
    /// # Errors
    /// Those of the socket; that the interface is gone, or has no speed.
    pub(super) fn speed(&mut self, buffer: &mut [u8], index: u32) -> io::Result<Option<u32>> {
        let request = self.about(ETHTOOL_MSG_LINKMODES_GET, index);
        let mut speed = None;
        self.socket.ask(buffer, &request, |message| {
            let attribute = Attributes::after(message.body, FIXED).find_kind(ETHTOOL_A_LINKMODES_SPEED);
            speed = attribute.and_then(|speed| u32_at(speed, 0));
        })?;
        Ok(speed.filter(|speed| *speed != u32::MAX))
    }
}

/// The strings of the one set in an answer, by their index.
fn string_set(message: Message<'_>) -> Vec<String> {
    let strings = Attributes::after(message.body, FIXED)
        .find_kind(ETHTOOL_A_STRSET_STRINGSETS)
        .and_then(|sets| Attributes::of(sets).find_kind(ETHTOOL_A_STRINGSETS_STRINGSET))
        .and_then(|set| Attributes::of(set).find_kind(ETHTOOL_A_STRINGSET_STRINGS))
        .unwrap_or_default();
    let mut names = Vec::new();
    for (kind, string) in Attributes::of(strings) {
        let attributes = Attributes::of(string);
        let index = attributes
            .find_kind(ETHTOOL_A_STRING_INDEX)
            .and_then(|index| u32_at(index, 0));
        let index = index.and_then(|index| usize::try_from(index).ok());
        // The kernel has some 64; no answer makes us allocate more than a little.
        let Some(index) = index.filter(|index| kind == ETHTOOL_A_STRINGS_STRING && *index < 1_024) else {
            continue;
        };
        if names.len() <= index {
            names.resize(index + 1, String::new());
        }
        names[index] = attributes
            .find_kind(ETHTOOL_A_STRING_VALUE)
            .map(text)
            .unwrap_or_default();
    }
    names
}
