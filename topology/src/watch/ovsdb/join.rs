//! Which interface of the kernel a row of OVSDB is about.
//!
//! The row has a name, and an ifindex once the switch has opened the device, in the switch's own
//! namespace, which OVSDB does not name. Names and indexes are unique in one namespace only, the row
//! may come before the device or after it, and a device that is moved to another namespace keeps its
//! row, which then says ifindex 0 and no MAC (userspace datapath).

use crate::identity::NodeId;

/// What the row knows.
#[derive(Debug, Default)]
pub(super) struct Clues<'a> {
    /// In the switch's namespace; `None` if the switch has not said, or does not see it any more.
    pub(super) ifindex: Option<i64>,
    /// The MAC that the switch sees, or saw last.
    pub(super) mac: Option<&'a str>,
    /// The MAC that the orchestrator wrote: of the interface itself, or of the guest behind it.
    pub(super) attached_mac: Option<&'a str>,
    /// Whether the switch has the device open.
    pub(super) open: bool,
}

/// An interface of the kernel that bears the row's name.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: &'a NodeId,
    pub(super) ifindex: i64,
    pub(super) mac: Option<&'a str>,
    /// Whether it is in the namespace that flowtap runs in.
    pub(super) on_host: bool,
    /// Whether the row is joined to it already.
    pub(super) joined: bool,
}

impl Clues<'_> {
    fn has_mac(&self, candidate: &Candidate<'_>) -> bool {
        let known = [self.mac, self.attached_mac];
        candidate.mac.is_some_and(|mac| {
            known
                .iter()
                .flatten()
                .any(|known| known.eq_ignore_ascii_case(mac))
        })
    }
}

/// The interface that the row is about, if it is among `candidates`.
pub(super) fn choose<'a>(clues: &Clues<'_>, candidates: &[Candidate<'a>]) -> Option<&'a NodeId> {
    // How sure it is, surest first; `None` is too unsure.
    let rank = |candidate: &Candidate<'_>| match clues.ifindex {
        Some(ifindex) if ifindex != candidate.ifindex => None,
        // Before the MAC: that of the device changes before that of the row.
        Some(_) if candidate.joined => Some(0),
        Some(_) if clues.has_mac(candidate) => Some(1),
        Some(_) => candidate.on_host.then_some(2),
        None if candidate.joined => Some(3),
        None if clues.has_mac(candidate) => Some(4),
        None if candidate.on_host => Some(5),
        // It is open, yet not where it should be: somebody moved it before we could see.
        None if clues.open && clues.mac.is_none() && candidates.len() == 1 => Some(6),
        None => None,
    };
    let ranked = candidates
        .iter()
        .filter_map(|candidate| Some((rank(candidate)?, !candidate.on_host, candidate.id)));
    ranked.min().map(|(_, _, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "fa:16:3e:00:00:01";

    /// An interface as `ID IFINDEX [host] [mac] [joined]`.
    fn chosen(clues: &Clues<'_>, interfaces: &[&str]) -> Option<String> {
        let ids: Vec<NodeId> = interfaces
            .iter()
            .map(|text| text.split(' ').next().unwrap().into())
            .collect();
        let candidates: Vec<_> = interfaces
            .iter()
            .zip(&ids)
            .map(|(text, id)| {
                let words: Vec<_> = text.split(' ').collect();
                Candidate {
                    id,
                    ifindex: words[1].parse().unwrap(),
                    mac: Some(if words.contains(&"mac") { MAC } else { "other" }),
                    on_host: words.contains(&"host"),
                    joined: words.contains(&"joined"),
                }
            })
            .collect();
        choose(clues, &candidates).map(|id| id.to_string())
    }

    #[test]
    fn with_an_ifindex_it_must_be_that_one() {
        let clues = Clues {
            ifindex: Some(4),
            mac: Some("FA:16:3E:00:00:01"),
            ..Clues::default()
        };
        let is = |interfaces: &[&str], id: &str| assert_eq!(chosen(&clues, interfaces).as_deref(), Some(id));
        is(&["a 4 host", "b 5 host mac"], "a");
        is(&["a 4 host", "b 4 mac"], "b");
        is(&["a 4 joined", "b 4 host mac"], "a");
        assert_eq!(
            chosen(&clues, &["a 5 host mac joined"]),
            None,
            "made anew: not yet seen"
        );
        assert_eq!(chosen(&clues, &["a 4"]), None, "a container's, by chance");
        assert_eq!(chosen(&clues, &[]), None);
    }

    #[test]
    fn before_the_switch_has_opened_it_the_name_counts_on_this_host() {
        let row_first = Clues::default();
        assert_eq!(chosen(&row_first, &["a 4 host", "b 4"]).as_deref(), Some("a"));
        assert_eq!(chosen(&row_first, &["b 4"]), None);
    }

    #[test]
    fn a_device_that_moved_is_found_again() {
        let moved = Clues {
            mac: Some(MAC),
            open: true,
            ..Clues::default()
        };
        assert_eq!(chosen(&moved, &["a 9 mac", "b 6"]).as_deref(), Some("a"));
        assert_eq!(
            chosen(&moved, &["a 9 mac", "b 6 joined"]).as_deref(),
            Some("b"),
            "it may get a new MAC"
        );
        assert_eq!(chosen(&moved, &["c 7"]), None, "another one of that name");
        let unseen = Clues {
            attached_mac: Some(MAC),
            open: true,
            ..Clues::default()
        };
        assert_eq!(
            chosen(&unseen, &["c 7"]).as_deref(),
            Some("c"),
            "moved before our start"
        );
        assert_eq!(chosen(&unseen, &["c 7", "d 8 mac"]).as_deref(), Some("d"));
        assert_eq!(chosen(&unseen, &["c 7", "d 8"]), None);
    }
}
