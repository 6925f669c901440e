//! Texts that many flows share, kept once a segment.

use std::collections::HashMap;

use ahash::RandomState;
use flowtap_flow::text::Text;
use rusqlite::{CachedStatement, Connection};

/// The texts of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Application = 0,
    Layers = 1,
    Node = 2,
    Capture = 3,
}

/// Numbers texts for the segment being written.
///
/// It holds a segment's distinct texts: protocol paths, port names, nodes, captures. Those are
/// hundreds, about 100 bytes each; a new segment starts anew.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    ids: HashMap<Text, i64, RandomState>,
    /// Of each slot, texts that it had, each in the place that its memory chooses. Flows share their texts'
    /// memory, so comparing two pointers mostly saves the hash.
    recent: [[Option<Known>; RECENT]; 4],
}

/// A text and its number.
type Known = (Text, i64);

/// Texts of a slot that are found by their memory: more than most traffic has protocols.
const RECENT: usize = 16;

fn place(text: &Text) -> usize {
    // Nothing that is allocated is closer to the next than 16 bytes.
    (text.as_ptr().addr() / 16) % RECENT
}

impl Dictionary {
    /// Reads what a segment holds already.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut texts = Vec::new();
        extend(connection, &mut texts)?;
        let ids = texts.into_iter().zip(0..).collect();
        Ok(Self {
            ids,
            recent: Default::default(),
        })
    }

    /// The statement that [`Dictionary::id`] needs.
    pub(super) fn insert_statement(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
        connection.prepare_cached("INSERT INTO dictionary VALUES (?1, ?2)")
    }

    /// The number of `text`; a new one is written in the open transaction.
    pub(super) fn id(
        &mut self,
        slot: Slot,
        text: &Text,
        insert: &mut CachedStatement<'_>,
    ) -> rusqlite::Result<i64> {
        let recent = &mut self.recent[slot as usize][place(text)];
        if let Some((recent, id)) = recent
            && recent.is_same(text)
        {
            return Ok(*id);
        }
        let id = match self.ids.get(text) {
            Some(id) => *id,
            None => {
                let id = i64::try_from(self.ids.len()).unwrap_or(i64::MAX);
                insert.execute((id, &**text))?;
                self.ids.insert(text.clone(), id);
                id
            }
        };
        *recent = Some((text.clone(), id));
        Ok(id)
    }
}

/// Appends to `texts`, whose positions are the numbers, what a segment has learned since.
pub(super) fn extend(connection: &Connection, texts: &mut Vec<Text>) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("SELECT text FROM dictionary WHERE id >= ?1 ORDER BY id")?;
    let known = i64::try_from(texts.len()).unwrap_or(i64::MAX);
    let mut rows = statement.query([known])?;
    while let Some(row) = rows.next()? {
        texts.push(Text::from(row.get_ref(0)?.as_str()?));
    }
    Ok(())
}
