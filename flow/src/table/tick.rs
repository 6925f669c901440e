//! What happens without packets: kept packets and updates of quiet flows go out, expiry, stop.
//!
//! Never on a packet's thread. Each tick looks at a fifth of the shards; few flows are looked at
//! at once, so that a reader waits for those at the most.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::flow::FinishType;
use crate::query::Batch;
use crate::timestamp::Timestamp;

use super::FlowTable;
use super::leaving::Leaving;
use super::map::{Flows, RUN, SHARDS};
use super::point::Point;
use super::state::FlowState;

/// Ticks until every shard has been looked at.
const TICKS: usize = 5;
/// After this silence of a whole capture point its flows are handed to the store: a replayed file
/// has ended, or the network is quiet and nothing is gained by waiting for the interval's end.
const QUIET_SECONDS: u64 = 3;

/// So long after its last flow must have ended, a capture point without readers is given up.
const FORGET_SECONDS: u64 = 60;

type NotedPoints<N> = HashMap<u32, (Arc<Point>, N)>;

/// What to do with a flow.
pub(super) enum Verdict {
    Leave,
    Update,
    Remove(FinishType),
    /// It goes with all others of its shard.
    Last,
}

impl FlowTable {
    /// Called once a second with the time on the wall: hands quiet flows to the store, those that have
    /// ended, and all packets kept since the last call.
    pub fn tick(&self, now: Timestamp) {
        let now = now.millis() / 1000;
        let elapsed = now.saturating_sub(*self.first_tick.get_or_init(|| now));
        // A wall clock that is set back stands still here until it has caught up.
        self.clock
            .fetch_max(u64::try_from(elapsed).unwrap_or_default(), Ordering::Relaxed);
        let clock = self.clock.load(Ordering::Relaxed);
        let points = self.points_by_number(|point| point.quiet_for(clock) >= QUIET_SECONDS);
        for (point, _) in points.values() {
            self.hand_on_kept(point);
        }
        let (interval, expire, clock) = (self.interval_nanos(), self.expire_nanos(), self.clock());
        let begin = self
            .next_shard
            .fetch_add(SHARDS.div_ceil(TICKS), Ordering::Relaxed);
        for number in begin..begin + SHARDS.div_ceil(TICKS) {
            self.visit_shard(number % SHARDS, &points, |state, quiet| {
                let now = state.now(clock);
                if let Some(finish_type) = state.ended_at(now, expire) {
                    Verdict::Remove(finish_type)
                } else if state.is_dirty()
                    && (quiet || state.last.div_euclid(interval) < now.div_euclid(interval))
                {
                    Verdict::Update
                } else if state.has_unstored_packets(now) {
                    state.store_with_packets(now)
                } else {
                    Verdict::Leave
                }
            });
        }
        self.flows.shrink();
        let keeps = self.options.expire_after.as_secs() + FORGET_SECONDS;
        if let Some(before) = self.clock.load(Ordering::Relaxed).checked_sub(keeps) {
            let mut list = self.points.write().unwrap_or_else(PoisonError::into_inner);
            list.forget_idle(before);
        }
    }

    /// Hands every flow with something new to the store, says of all that FIN or RST have ended that they have,
    /// and empties the table. For an orderly stop, when all readers have ended.
    pub fn drain(&self) {
        let points = self.points_by_number(|_| true);
        for (point, _) in points.values() {
            self.hand_on_kept(point);
        }
        for number in 0..SHARDS {
            self.visit_shard(number, &points, |state, _| {
                if state.is_dirty() || state.finish_type() != FinishType::NotFinished {
                    Verdict::Last
                } else {
                    Verdict::Leave
                }
            });
            self.flows.clear(number);
        }
    }

    /// The capture points by number, each with what `note` says of it.
    pub(super) fn points_by_number<N>(&self, note: impl Fn(&Point) -> N) -> NotedPoints<N> {
        let noted = |point: Arc<Point>| (point.number, (Arc::clone(&point), note(&point)));
        self.point_list().into_iter().map(noted).collect()
    }

    /// Applies `judge` to each flow of a shard that belongs to one of `points`. Updates go out when
    /// no lock is held.
    fn visit_shard(
        &self,
        number: usize,
        points: &NotedPoints<bool>,
        judge: impl Fn(&FlowState, bool) -> Verdict,
    ) {
        let moving = self.moving();
        let (mut leaving, mut sent) = (Leaving::default(), false);
        let mut walk = self.flows.walk(number);
        while let Some((mut shard, run)) = walk.next_run() {
            let Flows { slots, ended } = shard.flows();
            for slot in run {
                let Some((key, state)) = slots.at(slot) else {
                    continue;
                };
                let Some((point, noted)) = points.get(&key.point()) else {
                    continue;
                };
                match judge(state, *noted) {
                    Verdict::Leave => {}
                    Verdict::Update => {
                        leaving.update(ended, key, state, point, FinishType::NotFinished);
                    }
                    Verdict::Remove(finish_type) => {
                        let hash = self.flows.hash(key);
                        leaving.update(ended, key, state, point, finish_type);
                        slots.remove(hash, slot);
                    }
                    Verdict::Last => leaving.last(key, state, point),
                }
            }
            drop(shard);
            if leaving.batch.updates.len() >= Batch::UPDATES - RUN {
                sent |= leaving.send(self);
            }
        }
        drop(walk);
        sent |= leaving.send(self);
        if sent {
            drop(moving);
            self.updates.wait_in_background();
        }
    }
}
