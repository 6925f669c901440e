-- One segment: what arrived in one hour. A segment stands alone; retention unlinks it as a whole.
-- While it is written it has no index on a random key: measured, one costs 7 to 10 µs a row inline
-- and 0.85 µs built afterwards (see ../seal.sql).

-- Texts that many flows share, named by number.
CREATE TABLE dictionary (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

-- One row per flow of which a second update came, replaced in place while it lives. Flows are numbered from 1 in order of arrival, here
-- and in flow_block together.
-- 64-bit ids and counters are stored as the signed number with the same bits. Columns that queries
-- test come first: SQLite decodes a row from the left and only as far as it must. Columns have no types
-- (they hold integers unless said): checking 32 values of each row would cost a tenth of writing it.
CREATE TABLE flow (
    id           INTEGER PRIMARY KEY,
    uuid,
    start,        -- ns since the epoch, of the first packet
    last,         -- ns since the epoch, of the last packet
    application,  -- dictionary
    layers,       -- dictionary
    node,         -- dictionary, TID
    capture,      -- dictionary, UUID
    net_a,        -- IPv4: its 32 bits as a number; IPv6: 16 bytes
    net_b,
    protocol,     -- of the transport layer, IANA's number
    port_a,
    port_b,
    tracking,
    l3_tracking,
    parent,       -- UUID, 0 if none
    link_a,       -- MAC address, 48 bits, first byte highest
    link_b,
    link_id,      -- VLAN ids
    net_id,       -- VNI or GRE key
    icmp,         -- kind << 24 | code << 16 | id
    ab_packets,   -- totals since the flow began
    ab_bytes,
    ba_packets,
    ba_bytes,
    rtt,          -- ns, 0 if not measured
    raw_packets,  -- kept so far, here or in an earlier segment
    finish,       -- FinishType
    metric_span,  -- start and last of the totals, where they are not the flow's
    last_update,  -- LastUpdateMetric: seven 64-bit numbers, little endian
    sampling,     -- Sampling: rate, packets and bytes both ways, five 64-bit numbers, little endian
    extra         -- the rest of FlowExtra as JSON
);

-- First updates of flows, for most the only one, many in one blob (its format: sqlite/block.rs). Their
-- totals are their first interval: they have no metric row. A block ends where its zone does.
CREATE TABLE flow_block (
    id   INTEGER PRIMARY KEY,  -- number of its first flow
    last INTEGER NOT NULL,     -- number of its last flow
    keys BLOB NOT NULL,        -- Bloom filter (sqlite/keys.rs) of what flows are looked up by
    data BLOB NOT NULL
) STRICT;

-- Rows of `flow` that go on with a flow of which an earlier version, here or in an earlier segment, is
-- out of date. A table of its own, so that a reader loads the few of them without a scan.
CREATE TABLE continued (
    id   INTEGER PRIMARY KEY,  -- flow.id
    uuid INTEGER NOT NULL
) STRICT;

-- One row per update interval of a flow with a row, only ever appended: in an order by flow, each insert would dirty a
-- page of its own.
CREATE TABLE metric (
    id         INTEGER PRIMARY KEY,
    flow       INTEGER NOT NULL,  -- flow.id
    start      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    ab_packets INTEGER NOT NULL,
    ab_bytes   INTEGER NOT NULL,
    ba_packets INTEGER NOT NULL,
    ba_bytes   INTEGER NOT NULL,
    rtt        INTEGER NOT NULL
) STRICT;

-- Where the chunks of kept packets lie in the file beside this one (sqlite/packets.rs). Whole chunks are
-- passed over by their times, and by a filter of the flows in them.
CREATE TABLE packet_chunk (
    id       INTEGER PRIMARY KEY,
    begin    INTEGER NOT NULL,  -- offset in the file
    length   INTEGER NOT NULL,
    min_time INTEGER NOT NULL,  -- ns since the epoch, of the packets; none is below 0
    max_time INTEGER NOT NULL,
    uuids    BLOB NOT NULL      -- Bloom filter (sqlite/bloom.rs)
) STRICT;

-- Which times lie in which 4,096 numbers (id >> 12) of flows (kind 0) and metrics (kind 1): stands in
-- for an index by time, at next to no cost, since rows arrive roughly in order of time.
CREATE TABLE zone (
    kind      INTEGER NOT NULL,
    zone      INTEGER NOT NULL,
    min_start INTEGER NOT NULL,
    max_last  INTEGER NOT NULL,
    PRIMARY KEY (kind, zone)
) STRICT, WITHOUT ROWID;

-- One row: what the segment holds, written with every batch.
CREATE TABLE total (
    flows       INTEGER NOT NULL,  -- without the continued ones
    updates     INTEGER NOT NULL,
    raw_packets INTEGER NOT NULL,
    raw_bytes   INTEGER NOT NULL,
    sealed      INTEGER NOT NULL   -- 1: no more rows come, and the indexes of seal.sql are there
) STRICT;

INSERT INTO total VALUES (0, 0, 0, 0, 0);
