-- What nodes counted, in intervals: beside the revisions, which counters do not make.
CREATE TABLE topology_metric (
    row      INTEGER PRIMARY KEY,   -- in the order in which they came
    last     INTEGER NOT NULL,      -- ms since the epoch, the interval's end
    metric   INTEGER NOT NULL,      -- 0: LastUpdateMetric, 1: Ovs.LastUpdateMetric, 2: SFlow.LastUpdateMetric
    node     TEXT    NOT NULL,
    start    INTEGER NOT NULL,      -- ms since the epoch
    counters TEXT    NOT NULL       -- JSON, without zeros; last, so that a scan need not read it
) STRICT;

-- Both grow at their end alone. A question is answered from here but for the counters it wants: an index
-- by node would be written all over for each look at all interfaces.
CREATE INDEX topology_metric_time ON topology_metric (last, metric, node, start);
