-- What an account usually pays: enough to compute mean and deviation of its amounts.
CREATE TABLE habits (
    account      TEXT    PRIMARY KEY,
    payments     INTEGER NOT NULL,
    sum_cents    REAL    NOT NULL,
    sum_squares  REAL    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE payees (
    account TEXT NOT NULL,
    payee   TEXT NOT NULL,
    PRIMARY KEY (account, payee)
) STRICT, WITHOUT ROWID;

-- One row per payment: the same payment gets the same answer.
CREATE TABLE assessments (
    payment_id   TEXT    PRIMARY KEY,
    account      TEXT    NOT NULL,
    amount_cents INTEGER NOT NULL,
    decision     INTEGER NOT NULL,
    score        REAL    NOT NULL,
    reasons      TEXT    NOT NULL,
    assessed_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX assessments_by_account ON assessments (account, assessed_at);
