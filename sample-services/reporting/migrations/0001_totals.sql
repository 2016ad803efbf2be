-- Events counted; the same id is counted once.
CREATE TABLE events (
    id         TEXT    PRIMARY KEY,
    taken_at   INTEGER NOT NULL,
    -- How often it came again.
    duplicates INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE totals (
    -- UTC, YYYY-MM-DD
    day          TEXT    NOT NULL,
    currency     TEXT    NOT NULL,
    completed    INTEGER NOT NULL DEFAULT 0,
    declined     INTEGER NOT NULL DEFAULT 0,
    refunded     INTEGER NOT NULL DEFAULT 0,
    -- Of any outcome: marked for a human by the fraud engine.
    reviewed     INTEGER NOT NULL DEFAULT 0,
    -- Of completed payments.
    amount_cents INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, currency)
) STRICT, WITHOUT ROWID;
