CREATE TABLE accounts (
    id            TEXT    PRIMARY KEY,
    customer_id   TEXT    NOT NULL,
    currency      TEXT    NOT NULL,
    -- The house owes what customers deposited at opening; only it may be negative.
    is_house      INTEGER NOT NULL DEFAULT 0,
    balance_cents INTEGER NOT NULL CHECK (is_house OR balance_cents >= 0),
    entries       INTEGER NOT NULL DEFAULT 0,
    opened_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every operation ever answered, refusals included: the same id gets the same answer.
CREATE TABLE operations (
    id            TEXT    PRIMARY KEY,
    -- open, debit, credit
    kind          TEXT    NOT NULL,
    account_id    TEXT    NOT NULL,
    customer_id   TEXT    NOT NULL,
    amount_cents  INTEGER NOT NULL,
    currency      TEXT    NOT NULL,
    -- done, exists, unknown-account, wrong-currency, insufficient-funds
    outcome       TEXT    NOT NULL,
    balance_cents INTEGER NOT NULL,
    answered_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The ledger. Rows are only ever added.
CREATE TABLE entries (
    id            INTEGER PRIMARY KEY,
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    operation_id  TEXT    NOT NULL REFERENCES operations (id) DEFERRABLE INITIALLY DEFERRED,
    amount_cents  INTEGER NOT NULL,
    balance_cents INTEGER NOT NULL,
    reference     TEXT    NOT NULL,
    booked_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX entries_by_account_and_operation ON entries (account_id, operation_id);
