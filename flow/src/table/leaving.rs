//! What leaves the table together.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::flow::FinishType;
use crate::key::FlowKey;
use crate::query::{Batch, FlowUpdate};

use super::FlowTable;
use super::ended::Ended;
use super::point::Point;
use super::state::FlowState;

/// Counters of the table since its start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) begun: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) updates: AtomicU64,
}

/// Updates and kept packets on their way out of the map, and what is counted meanwhile: all of it is handed over
/// at once. Numbers that all readers share would cost each flow more than the counting.
#[derive(Default)]
pub(super) struct Leaving {
    pub(super) batch: Batch,
    pub(super) begun: u64,
    expired: u64,
    finished: u64,
    evicted: u64,
}

impl Leaving {
    /// Adds an update of `state`: its interval is closed. `finish_type` is how it leaves the table, if it does; `ended`
    /// is that of its shard.
    pub(super) fn update(
        &mut self,
        ended: &mut Ended,
        key: &FlowKey,
        state: &mut FlowState,
        point: &Point,
        finish_type: FinishType,
    ) {
        let last_word = finish_type != FinishType::NotFinished;
        if last_word {
            ended.prefetch(state.uuid);
            *match finish_type {
                FinishType::Timeout => &mut self.expired,
                FinishType::Evicted => &mut self.evicted,
                _ => &mut self.finished,
            } += 1;
        }
        let ends = if last_word {
            finish_type
        } else {
            state.finish_type()
        };
        self.push(key, state, point, ends, last_word);
        if last_word {
            ended.note(point.number, state.start_millis(), state.uuid);
        }
    }

    /// Adds the last update of `state`, which ends with the table or has ended before.
    pub(super) fn last(&mut self, key: &FlowKey, state: &mut FlowState, point: &Point) {
        let finish_type = state.finish_type();
        self.finished += u64::from(finish_type != FinishType::NotFinished);
        self.push(key, state, point, finish_type, true);
    }

    fn push(
        &mut self,
        key: &FlowKey,
        state: &mut FlowState,
        point: &Point,
        finish_type: FinishType,
        last_word: bool,
    ) {
        // Most that were stored with their packets had ended by then.
        if state.has_told(finish_type) {
            return;
        }
        let (interval, first) = state.close_interval(last_word);
        self.batch.updates.push(FlowUpdate {
            flow: state.snapshot(key, point, finish_type),
            interval,
            first,
        });
    }

    /// Hands it all over; true if that was anything: then the sender must wait for room once it holds no
    /// lock.
    pub(super) fn send(&mut self, table: &FlowTable) -> bool {
        let counters = &table.counters;
        let updates = self.batch.updates.len() as u64;
        for (number, counter) in [
            (std::mem::take(&mut self.begun), &counters.begun),
            (std::mem::take(&mut self.expired), &counters.expired),
            (std::mem::take(&mut self.finished), &counters.finished),
            (std::mem::take(&mut self.evicted), &counters.evicted),
            (updates, &counters.updates),
        ] {
            if number > 0 {
                counter.fetch_add(number, Ordering::Relaxed);
            }
        }
        let is_anything = !self.batch.is_empty();
        if is_anything {
            table.updates.send(&mut self.batch);
        }
        is_anything
    }
}
