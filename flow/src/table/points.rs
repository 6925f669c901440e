//! The table's capture points, found by capture and node.

use std::collections::HashMap;
use std::sync::Arc;

use crate::kept::RawBudget;
use crate::point::PointOptions;
use crate::text::Text;

use super::point::{OpenChunk, Point};

/// Capture and node.
type Id = (Text, Text);

/// All of them. A number is that of a slot; one that is free is given again.
#[derive(Default)]
pub(super) struct PointList {
    slots: Vec<Option<Arc<Point>>>,
    by_id: HashMap<Id, Arc<Point>>,
}

/// What a reader at a point works with.
pub(super) struct Opened {
    pub(super) point: Arc<Point>,
    /// What it keeps.
    pub(super) chunk: Arc<OpenChunk>,
    /// The node, as it goes into UUIDs.
    pub(super) identity: Arc<str>,
}

impl PointList {
    /// The point with this number.
    pub(super) fn get(&self, number: u32) -> Option<&Arc<Point>> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn all(&self) -> Vec<Arc<Point>> {
        self.slots.iter().flatten().cloned().collect()
    }

    /// Another reader for the capture of `options` at a node.
    pub(super) fn open(&mut self, node_tid: &str, options: &PointOptions, budget: &Arc<RawBudget>) -> Opened {
        let id = (options.capture_id.clone(), Text::lasting(node_tid));
        let point = match self.by_id.get(&id) {
            Some(point) => Arc::clone(point),
            None => self.add(id, options, budget),
        };
        if !point.has_readers() {
            point.set_twin(self.free_twin(&point));
        }
        Opened {
            chunk: point.open_chunk(),
            identity: point.identity(),
            point,
        }
    }

    fn add(&mut self, id: Id, options: &PointOptions, budget: &Arc<RawBudget>) -> Arc<Point> {
        let free = self.slots.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let point = Point::new(number, id.1.clone(), options.clone(), Arc::clone(budget));
        let point = Arc::new(point);
        self.slots[place] = Some(Arc::clone(&point));
        self.by_id.insert(id, Arc::clone(&point));
        point
    }

    /// Two captures of one node see the same packets, and their flows would have the same UUIDs. The first
    /// has Skydive's; each further one gets a number. Streams that are of no node (`""`) share theirs: the
    /// same recording sent twice is the same flows.
    fn free_twin(&self, of: &Arc<Point>) -> u32 {
        if of.node_tid.is_empty() {
            return 0;
        }
        let others =
            self.slots.iter().flatten().filter(|other| {
                other.node_tid == of.node_tid && !Arc::ptr_eq(other, of) && other.has_readers()
            });
        let taken: Vec<u32> = others.map(|other| other.twin()).collect();
        (0..).find(|twin| !taken.contains(twin)).unwrap_or_default()
    }

    /// Gives up the points that have no reader and, since second `before` of the table's clock, no packet:
    /// their last flow has ended.
    pub(super) fn forget_idle(&mut self, before: u64) {
        for slot in &mut self.slots {
            if let Some(point) = slot
                && !point.has_readers()
                // A reader may have come and gone since the tick looked.
                && !point.has_news()
                && point.quiet_since() < before
            {
                let id = (point.options.capture_id.clone(), point.node_tid.clone());
                self.by_id.remove(&id);
                *slot = None;
            }
        }
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(capture: &str) -> PointOptions {
        PointOptions {
            capture_id: capture.into(),
            ..PointOptions::default()
        }
    }

    #[test]
    fn captures_of_one_node_are_told_apart_while_both_read() {
        let (mut points, budget) = (PointList::default(), Arc::new(RawBudget::new(1)));
        let first = points.open("tid", &options("a"), &budget);
        let second = points.open("tid", &options("b"), &budget);
        let third = points.open("tid", &options("c"), &budget);
        let another_reader = points.open("tid", &options("b"), &budget);
        assert_eq!(&*first.identity, "tid");
        assert_eq!(&*second.identity, "tid#1");
        assert_eq!(&*third.identity, "tid#2");
        assert_eq!(another_reader.identity, second.identity);
        assert_eq!(another_reader.point.number, second.point.number);
        // Who reads alone, or first again, has the node's own name.
        drop(first);
        assert_eq!(&*points.open("tid", &options("d"), &budget).identity, "tid");
        drop((second, another_reader));
        let again = points.open("tid", &options("b"), &budget);
        assert_eq!(&*again.identity, "tid");
        // Streams of no node are the same recording, perhaps.
        let streams = ["a", "b"].map(|capture| points.open("", &options(capture), &budget));
        assert!(streams.iter().all(|stream| stream.identity.is_empty()));
    }

    #[test]
    fn idle_points_without_readers_are_given_up_and_their_numbers_given_again() {
        let (mut points, budget) = (PointList::default(), Arc::new(RawBudget::new(1)));
        let kept = points.open("kept", &options("a"), &budget);
        let gone = points.open("gone", &options("a"), &budget).point.number;
        for point in points.all() {
            point.count(1);
            point.quiet_for(100);
        }
        points.forget_idle(100);
        assert_eq!(points.all().len(), 2);
        points.forget_idle(101);
        assert_eq!(points.all().len(), 1);
        assert!(points.get(gone).is_none() && points.get(kept.point.number).is_some());
        let next = points.open("next", &options("a"), &budget);
        assert_eq!(next.point.number, gone);
        drop(kept);
        points.forget_idle(101);
        let numbers: Vec<_> = points.all().iter().map(|point| point.number).collect();
        assert_eq!(numbers, [gone]);
    }
}
