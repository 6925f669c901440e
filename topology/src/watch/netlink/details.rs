//! Reading what is not taken from events: lists of addresses, neighbours and routes, and features.

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use super::lists::{self, Address, Lists};
use super::numbers::*;
use super::routes::{self, Route};
use super::session::Session;
use super::socket::{Listed, Socket};
use super::wire::Request;

/// Reading takes at most one part in this many of the thread's time, however long the lists are and
/// however often they change.
const SHARE: u32 = 20;

impl Session<'_> {
    /// Reads again what is stale. A list during which something changed takes nothing away: it is read
    /// again.
    pub(super) fn read_lists(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let stale = std::mem::take(&mut self.stale);
        if stale.addresses {
            self.read_addresses()?;
        }
        if stale.neighbours {
            self.read_neighbours()?;
        }
        if stale.routes {
            self.read_routes()?;
        }
        self.read_features(&stale.features);
        self.watcher.reporter.left_out(self.left_out.iter().sum());
        self.rested = Instant::now() + began.elapsed() * SHARE;
        Ok(())
    }

    fn read_addresses(&mut self) -> io::Result<()> {
        let request = lists::request(RTM_GETADDR, AF_UNSPEC);
        let all = list(&mut self.requests, &mut self.answers, &request, |all, body| {
            if let Some(address) = Address::parse(body) {
                all.push(address.index, address);
            }
        })?;
        if !all.is_whole {
            // What is in it is there; what is not may be.
            for address in all.list.by_index.into_values().flatten() {
                self.interfaces.add_address(address);
            }
            self.stale.mark().addresses = true;
            return Ok(());
        }
        self.left_out[0] = all.list.left_out;
        self.interfaces.set_addresses(all.list.by_index);
        Ok(())
    }

    fn read_neighbours(&mut self) -> io::Result<()> {
        self.left_out[1] = 0;
        // A bridge's forwarding entries are neighbours of a family of their own.
        for (key, family) in [("Neighbors", AF_UNSPEC), ("FDB", AF_BRIDGE)] {
            let request = lists::request(RTM_GETNEIGH, family);
            let all = list(&mut self.requests, &mut self.answers, &request, |all, body| {
                if let Some((index, entry)) = lists::neighbour(body) {
                    all.push(index, entry);
                }
            })?;
            if !all.is_whole {
                self.stale.mark().neighbours = true;
                continue;
            }
            self.left_out[1] += all.list.left_out;
            self.interfaces.set_lists(key, all.list.by_index, lists::sorted);
        }
        Ok(())
    }

    fn read_routes(&mut self) -> io::Result<()> {
        let mut all = Lists::new();
        for family in [AF_INET, AF_INET6] {
            let request = lists::request(RTM_GETROUTE, family);
            let of_family = list(&mut self.requests, &mut self.answers, &request, Route::collect)?;
            if !of_family.is_whole {
                self.stale.mark().routes = true;
                return Ok(());
            }
            all.extend(of_family.list);
        }
        self.left_out[2] = all.left_out;
        let tables = |routes: Vec<Route>| routes::tables(&routes);
        self.interfaces.set_lists("RoutingTables", all.by_index, tables);
        Ok(())
    }

    /// What fails here fails because the interface is gone, or its driver knows nothing of it.
    fn read_features(&mut self, indexes: &BTreeSet<u32>) {
        let Some(ethtool) = &mut self.ethtool else {
            return;
        };
        for index in indexes {
            let features = ethtool.features(&mut self.answers, *index).ok();
            self.interfaces.say(*index, "Features", features);
            let speed = ethtool.speed(&mut self.answers, *index).ok().flatten();
            self.interfaces.say(*index, "Speed", speed.map(Into::into));
        }
    }
}

fn list<T>(
    requests: &mut Socket,
    answers: &mut [u8],
    request: &Request,
    each: impl Fn(&mut Lists<T>, &[u8]),
) -> io::Result<Listed<Lists<T>>> {
    requests.list(answers, request, Lists::new, |all, message| {
        each(all, message.body)
    })
}
