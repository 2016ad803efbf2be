-- Events taken; the same id is taken once.
CREATE TABLE events (
    id         TEXT    PRIMARY KEY,
    taken_at   INTEGER NOT NULL,
    -- How often it came again.
    duplicates INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications (
    id         INTEGER PRIMARY KEY,
    event_id   TEXT    NOT NULL REFERENCES events (id),
    account    TEXT    NOT NULL,
    customer   TEXT,
    message    TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notifications_by_customer ON notifications (customer, id);
CREATE INDEX notifications_by_account ON notifications (account, id);
