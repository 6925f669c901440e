-- The sealed segments and what they hold, so that a start need not open each. Segments not yet
-- sealed speak for themselves, which keeps this list right whatever a crash interrupts.
CREATE TABLE segment (
    hour        INTEGER NOT NULL,  -- of arrival, hours since the epoch
    part        INTEGER NOT NULL,  -- 0, or more where one hour filled several files
    schema      INTEGER NOT NULL,  -- user_version of the file
    min_start   INTEGER,           -- ns since the epoch, packet time; NULL: no flows
    max_last    INTEGER,
    flows       INTEGER NOT NULL,
    updates     INTEGER NOT NULL,
    raw_packets INTEGER NOT NULL,
    raw_bytes   INTEGER NOT NULL,
    PRIMARY KEY (hour, part)
) STRICT, WITHOUT ROWID;
