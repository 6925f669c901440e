//! Which namespace a number means. A namespace gives others numbers of its own: `link-netnsid 0` of a
//! veth is the peer's namespace as seen from here.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;

use crate::watch::netns::{NamespaceId, open_namespace};
use crate::watch::shared::{Place, Places};

use super::numbers::{NETNSA_FD, NETNSA_NSID, RTM_GETNSID};
use super::socket::Socket;
use super::wire::{Attributes, Request, i32_at};

/// The numbers that one namespace gives to others, as far as they were needed.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: HashMap<i32, NamespaceId>,
    /// Numbers that meant none of the places of that version: they are not asked for again until there
    /// is another place.
    unknown: HashMap<i32, u64>,
}

impl Peers {
    /// The namespace that `number` means; `None` if it is not watched.
    pub(super) fn resolve(
        &mut self,
        number: i32,
        places: &Places,
        requests: &mut Socket,
        buffer: &mut [u8],
    ) -> Option<NamespaceId> {
        if let Some(id) = self.known.get(&number) {
            return Some(*id);
        }
        let version = places.version();
        if self.unknown.get(&number) == Some(&version) {
            return None;
        }
        let found = places
            .all()
            .into_iter()
            .find(|place| number_of(place, requests, buffer).ok().flatten() == Some(number));
        match found {
            Some(place) => {
                self.unknown.remove(&number);
                self.known.insert(number, place.id);
                Some(place.id)
            }
            None => {
                self.unknown.insert(number, version);
                None
            }
        }
    }

    /// Forgets a number, for the kernel may give it to another namespace.
    pub(super) fn forget(&mut self, number: i32) {
        self.known.remove(&number);
        self.unknown.remove(&number);
    }

    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }
}

/// The number that a place has in the namespace of `requests`, if it has one.
fn number_of(place: &Place, requests: &mut Socket, buffer: &mut [u8]) -> io::Result<Option<i32>> {
    let file = open_namespace(&place.path)?;
    if NamespaceId::of(&file)? != Some(place.id) {
        return Ok(None);
    }
    let request = Request::new(RTM_GETNSID, 0)
        .bytes(&[0; 4])
        .attribute(NETNSA_FD, &file.as_raw_fd().to_ne_bytes());
    let mut number = None;
    requests.ask(buffer, &request, |message| number = number_in(message.body))?;
    Ok(number)
}

/// The number that an `RTM_NEWNSID` or `RTM_DELNSID` tells of.
pub(super) fn number_in(body: &[u8]) -> Option<i32> {
    let number = Attributes::after(body, 1).find_kind(NETNSA_NSID)?;
    i32_at(number, 0).filter(|number| *number >= 0)
}
