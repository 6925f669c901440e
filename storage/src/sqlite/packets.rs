//! Reading raw packets.

use std::ops::ControlFlow;

use flowtap_flow::flow::FlowId;
use flowtap_flow::packet::RawPacket;
use flowtap_flow::query::Cancel;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::find::FoundFlow;
use super::pool::{SegmentError, Snapshot};
use super::raw;

/// Visits all packets that a segment has of the flows `found`, which come newest first.
pub(super) fn visit(
    snapshot: &Snapshot<'_>,
    found: &[FoundFlow],
    cancel: &Cancel,
    visit: &mut dyn FnMut(FlowId, RawPacket) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, SegmentError> {
    let sql = "SELECT data FROM raw WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
    let mut later = snapshot.connection.prepare_cached(sql)?;
    let mut groups = Groups::prepare(snapshot.connection)?;
    for flow in found.iter().filter(|flow| flow.has_packets) {
        cancel.check()?;
        let mut hand_out = |chunk: &[u8]| -> Result<ControlFlow<()>, SegmentError> {
            for packet in raw::decode(chunk) {
                let packet = packet.map_err(|_| SegmentError::DamagedPackets(flow.id))?;
                if visit(flow.uuid, packet).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        if let Some(chunk) = groups.find(flow.id)?
            && hand_out(chunk)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        let mut chunks = later.query([raw::key(flow.id, 0), raw::key(flow.id, u32::MAX)])?;
        while let Some(chunk) = chunks.next()? {
            let chunk = chunk.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            if hand_out(chunk)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Groups of first chunks. Neighbouring flows share one, so the last is kept.
struct Groups<'c> {
    statement: CachedStatement<'c>,
    last: Option<(i64, Vec<u8>)>,
}

impl<'c> Groups<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT id, data FROM raw_group WHERE id <= ?1 ORDER BY id DESC LIMIT 1";
        Ok(Self {
            statement: connection.prepare_cached(sql)?,
            last: None,
        })
    }

    /// The first chunk of `flow`, if it has one. Flows come in falling order of their rows, so that
    /// the last group serves until one precedes it.
    fn find(&mut self, flow: i64) -> Result<Option<&[u8]>, SegmentError> {
        if self.last.as_ref().is_none_or(|(first, _)| flow < *first) {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            self.last = self.statement.query_row([flow], read).optional()?;
        }
        let Some((first, group)) = &self.last else {
            return Ok(None);
        };
        raw::find_in_group(*first, group, flow).map_err(|_| SegmentError::DamagedPackets(flow))
    }
}
