//! A capture's log.

use std::collections::VecDeque;

use crate::document::{CaptureEvent, EventKind};

/// Events that are kept of one capture, some 250 bytes each. Of more the oldest go; the gap in the
/// numbers tells. The first stays: it says since when the capture is there.
const KEPT: usize = 256;

/// What happened to one capture.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    events: VecDeque<CaptureEvent>,
    /// Events written so far.
    written: u64,
}

/// Where it happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    pub(crate) node_tid: &'a str,
    pub(crate) node_name: &'a str,
}

impl Journal {
    /// Writes down that `event` happened at `time`, in ms since the Unix epoch.
    pub(crate) fn write(&mut self, time: i64, event: EventKind, place: Place<'_>, detail: String) {
        self.written += 1;
        if self.events.len() == KEPT {
            self.events.remove(1);
        }
        self.events.push_back(CaptureEvent {
            sequence: self.written,
            time,
            event,
            node_tid: place.node_tid.to_owned(),
            node_name: place.node_name.to_owned(),
            detail,
        });
    }

    /// All that is kept, oldest first.
    pub(crate) fn events(&self) -> Vec<CaptureEvent> {
        self.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_but_the_first() {
        let mut journal = Journal::default();
        for time in 1..=300 {
            journal.write(time, EventKind::Matched, Place::default(), String::new());
        }
        let events = journal.events();
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(events.len(), KEPT);
        assert_eq!((sequences[0], sequences[1], sequences[KEPT - 1]), (1, 46, 300));
        assert!(
            events
                .iter()
                .all(|event| event.time == event.sequence.cast_signed())
        );
    }
}
