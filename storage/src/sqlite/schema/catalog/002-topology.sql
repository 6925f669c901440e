-- What the topology was: one row per revision of a node or edge.
CREATE TABLE topology_revision (
    row        INTEGER PRIMARY KEY,   -- a later revision of an element has a higher one
    kind       INTEGER NOT NULL,      -- 0: node, 1: edge
    id         TEXT    NOT NULL,
    valid_from INTEGER NOT NULL,      -- ms since the epoch, the change's own time
    valid_to   INTEGER NOT NULL,      -- ms, when it was no more; 9223372036854775807: it still is
    deleted    INTEGER NOT NULL,      -- 1: at valid_to the element went
    created_at INTEGER NOT NULL,      -- of the element, to tell it from one that came back
    revision   INTEGER NOT NULL,
    body       TEXT    NOT NULL       -- the element as JSON; last, so that a scan need not read it
) STRICT;

-- A slice is found here alone: from its start to now, whatever lies before.
CREATE INDEX topology_revision_time ON topology_revision (valid_to, valid_from);

-- What is open is closed by its id. It holds no more than the live graph.
CREATE INDEX topology_revision_open ON topology_revision (id, kind)
    WHERE valid_to = 9223372036854775807;

-- Until when the history is known to be complete.
CREATE TABLE topology_written (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    until INTEGER NOT NULL            -- ms since the epoch
) STRICT;

-- What users declared, by kind: rules, nodes and edges of their own.
CREATE TABLE resource (
    number   INTEGER PRIMARY KEY,     -- the order in which they were made
    kind     TEXT NOT NULL,
    uuid     TEXT NOT NULL,
    document TEXT NOT NULL,           -- JSON
    UNIQUE (kind, uuid)
) STRICT;
