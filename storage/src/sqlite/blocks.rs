//! The blocks of a segment, but for those that surely hold nothing that is wanted.

use flowtap_flow::query::Cancel;
use rusqlite::{CachedStatement, Connection, Rows};

use super::columns::Damaged;
use super::keys::Wanted;
use super::pool::SegmentError;

/// Reads blocks by their numbers.
pub(super) struct Blocks<'c> {
    wanted: Wanted,
    keys: CachedStatement<'c>,
    /// By itself: a block is ten times as long as its keys.
    data: CachedStatement<'c>,
}

/// Some of them, newest first.
pub(super) struct BlocksBetween<'a, 'c> {
    wanted: &'a Wanted,
    rows: Rows<'a>,
    data: &'a mut CachedStatement<'c>,
    cancel: &'a Cancel,
}

impl<'c> Blocks<'c> {
    pub(super) fn prepare(connection: &'c Connection, wanted: Wanted) -> rusqlite::Result<Self> {
        let keys = "SELECT id, keys FROM flow_block WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC";
        Ok(Self {
            wanted,
            keys: connection.prepare_cached(keys)?,
            data: connection.prepare_cached("SELECT data FROM flow_block WHERE id = ?1")?,
        })
    }

    /// Those whose first flow has a number in `first..=last`.
    pub(super) fn between<'a>(
        &'a mut self,
        first: i64,
        last: i64,
        cancel: &'a Cancel,
    ) -> rusqlite::Result<BlocksBetween<'a, 'c>> {
        Ok(BlocksBetween {
            wanted: &self.wanted,
            rows: self.keys.query([first, last])?,
            data: &mut self.data,
            cancel,
        })
    }
}

impl BlocksBetween<'_, '_> {
    /// Reads the next block; false if there is none.
    pub(super) fn read_next(
        &mut self,
        read: impl FnOnce(&[u8]) -> Result<(), Damaged>,
    ) -> Result<bool, SegmentError> {
        loop {
            self.cancel.check()?;
            let Some(row) = self.rows.next()? else {
                return Ok(false);
            };
            let keys = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            if !self.wanted.may_be_in(keys) {
                continue;
            }
            let id: i64 = row.get(0)?;
            return self.data.query_row([id], |row| {
                let data = row.get_ref(0)?.as_blob()?;
                Ok(read(data)
                    .map(|()| true)
                    .map_err(|Damaged| SegmentError::DamagedFlows(id)))
            })?;
        }
    }
}
