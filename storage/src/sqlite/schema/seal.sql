-- Run once on a segment that is written no more.
CREATE INDEX IF NOT EXISTS flow_uuid ON flow (uuid);
CREATE INDEX IF NOT EXISTS flow_tracking ON flow (tracking);
CREATE INDEX IF NOT EXISTS flow_net_a ON flow (net_a);
CREATE INDEX IF NOT EXISTS flow_net_b ON flow (net_b);
CREATE INDEX IF NOT EXISTS metric_flow ON metric (flow);
UPDATE total SET sealed = 1;
