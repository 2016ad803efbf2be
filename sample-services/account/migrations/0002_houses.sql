-- The house of a currency is known by being one, and there is one of each.
CREATE UNIQUE INDEX accounts_one_house ON accounts (currency) WHERE is_house;

-- A customer could once open an account under the name of another currency's house, and openings in that
-- currency then took their deposits from that customer. Such deposits are booked over to a house, by entries
-- of their own: what was booked stays. The customer keeps the account; its name is no longer given out.
CREATE TEMPORARY TABLE misbooked AS
SELECT e.account_id, o.currency, -sum(e.amount_cents) AS cents,
       'correction:' || e.account_id || ':' || o.currency AS operation_id,
       CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now
FROM entries e
JOIN operations o ON o.id = e.operation_id
JOIN accounts a ON a.id = e.account_id
WHERE o.kind = 'open' AND o.account_id <> e.account_id AND NOT a.is_house
GROUP BY e.account_id, o.currency;

INSERT INTO accounts (id, customer_id, currency, is_house, balance_cents, opened_at)
SELECT 'house/' || currency, 'house', currency, 1, 0, now FROM misbooked
WHERE true ON CONFLICT DO NOTHING;

-- A colon is in no caller's operation id. The kind is that of the entries it corrects, so that their sums agree.
INSERT INTO operations (id, kind, account_id, customer_id, amount_cents, currency, outcome, balance_cents,
                        answered_at)
SELECT m.operation_id, 'open', a.id, a.customer_id, m.cents, m.currency, 'done', a.balance_cents + m.cents, m.now
FROM misbooked m JOIN accounts a ON a.id = m.account_id;

INSERT INTO entries (account_id, operation_id, amount_cents, balance_cents, reference, booked_at)
SELECT a.id, m.operation_id, m.cents, a.balance_cents + m.cents, 'correction: deposits of others', m.now
FROM misbooked m JOIN accounts a ON a.id = m.account_id;

INSERT INTO entries (account_id, operation_id, amount_cents, balance_cents, reference, booked_at)
SELECT h.id, m.operation_id, -m.cents, h.balance_cents - m.cents, 'correction: deposits of others', m.now
FROM misbooked m JOIN accounts h ON h.currency = m.currency AND h.is_house;

UPDATE accounts SET balance_cents = balance_cents + m.cents, entries = accounts.entries + 1
FROM misbooked m WHERE accounts.id = m.account_id;

UPDATE accounts SET balance_cents = balance_cents - m.cents, entries = accounts.entries + 1
FROM misbooked m WHERE accounts.is_house AND accounts.currency = m.currency;

DROP TABLE misbooked;
