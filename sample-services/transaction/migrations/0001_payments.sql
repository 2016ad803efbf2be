CREATE TABLE payments (
    id            TEXT    PRIMARY KEY,
    -- The Idempotency-Key it was asked with.
    key           TEXT    NOT NULL UNIQUE,
    from_account  TEXT    NOT NULL,
    to_account    TEXT    NOT NULL,
    from_customer TEXT,
    to_customer   TEXT,
    amount_cents  INTEGER NOT NULL,
    currency      TEXT    NOT NULL,
    reference     TEXT    NOT NULL,
    -- assessing, debiting, crediting, refunding: on the way;
    -- completed, declined, refunded: ended; failed: nothing charged, the same key may try again
    state         TEXT    NOT NULL,
    engine        TEXT    NOT NULL DEFAULT '',
    decision      TEXT    NOT NULL DEFAULT '',
    score         REAL    NOT NULL DEFAULT 0,
    reason        TEXT    NOT NULL DEFAULT '',
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX payments_by_payer ON payments (from_account, created_at);
CREATE INDEX payments_by_payee ON payments (to_account, created_at);
CREATE INDEX payments_by_state ON payments (state, engine);

-- What others are to be told: one row per event and consumer, written with the payment's last state.
-- Rows are kept.
CREATE TABLE outbox (
    sequence        INTEGER PRIMARY KEY,
    event_id        TEXT    NOT NULL,
    consumer        TEXT    NOT NULL,
    body            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    -- Deliveries that the consumer refused as malformed.
    refusals        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL DEFAULT 0,
    delivered_at    INTEGER,
    UNIQUE (event_id, consumer)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (consumer, sequence) WHERE delivered_at IS NULL;
