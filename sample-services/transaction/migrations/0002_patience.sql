-- Unfinished payments take turns: whoever was driven in vain waits longer each time and holds up no other.
ALTER TABLE payments ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE payments ADD COLUMN next_attempt_at INTEGER NOT NULL DEFAULT 0;
-- Why a person has to look at it; empty while it can be expected to finish by itself.
ALTER TABLE payments ADD COLUMN trouble TEXT NOT NULL DEFAULT '';
CREATE INDEX payments_unfinished ON payments (next_attempt_at)
    WHERE state IN ('assessing', 'debiting', 'crediting', 'refunding');

-- Deliveries that the consumer did not answer as it should, while it took other letters.
ALTER TABLE outbox ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
