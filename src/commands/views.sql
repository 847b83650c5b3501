-- The latest name of each worker that ever had one, by account, and the day on which it was seen first. Of `workers`, which has a row
-- for each worker and each day on which the list of workers had changed.
CREATE OR REPLACE VIEW worker_names AS
WITH named AS (SELECT account, worker, nick AS name, date FROM workers WHERE nick IS NOT NULL),
latest AS (SELECT account, worker, max_by(name, date) AS name FROM named GROUP BY ALL)
SELECT account, worker, latest.name, min(named.date) AS since
FROM latest JOIN named USING (account, worker, name)
GROUP BY ALL;

-- Service level within `seconds`, by account, worker and day: of the turns that were answered or opened a session in vain, the share answered
-- in time. `strict` counts as unanswered also what came later in a session, which is mostly a closing "thanks".
--   FROM service_level(180);
CREATE OR REPLACE MACRO service_level(seconds) AS TABLE
SELECT
    account, worker, date,
    count(*) FILTER (outcome = 'answered') AS answered,
    count(*) FILTER (outcome = 'answered' AND response_seconds <= seconds) AS in_time,
    count(*) FILTER (outcome = 'unanswered' AND is_first) AS unanswered_first,
    count(*) FILTER (outcome = 'unanswered' AND NOT is_first) AS unanswered_later,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    in_time / nullif(answered + unanswered_first + unanswered_later, 0) AS service_level_strict
FROM response_pairs
GROUP BY ALL;

-- Per worker and period ('week' or 'month'): sums from `worker_daily`, distinct customers from `messages`, percentiles from `response_pairs`.
CREATE OR REPLACE MACRO worker_period(unit) AS TABLE
WITH
activity AS (
    SELECT
        account, worker, date_trunc(unit, date)::DATE AS period,
        sum(messages_received)::BIGINT AS messages_received, sum(messages_sent)::BIGINT AS messages_sent,
        sum(replies)::BIGINT AS replies, sum(follow_ups)::BIGINT AS follow_ups, sum(outreach)::BIGINT AS outreach,
        sum(auto_messages_sent)::BIGINT AS auto_messages_sent, max(max_concurrent) AS max_concurrent,
        sum(answered)::BIGINT AS answered, sum(pending)::BIGINT AS pending,
        sum(unanswered_first)::BIGINT AS unanswered_first, sum(unanswered_later)::BIGINT AS unanswered_later,
        sum(takeovers)::BIGINT AS takeovers, sum(handed_off)::BIGINT AS handed_off,
        sum(answered_within_30s)::BIGINT AS answered_within_30s, sum(answered_within_60s)::BIGINT AS answered_within_60s,
        sum(answered_within_180s)::BIGINT AS answered_within_180s, sum(answered_within_300s)::BIGINT AS answered_within_300s
    FROM worker_daily GROUP BY ALL
),
served AS (
    SELECT account, worker, date_trunc(unit, date)::DATE AS period, count(DISTINCT openid) AS customers
    FROM messages WHERE opercode IN ({received}) GROUP BY ALL
),
waits AS (
    SELECT
        account, worker, date_trunc(unit, date)::DATE AS period,
        avg(response_seconds) AS response_seconds_mean,
        quantile_cont(response_seconds, 0.5) AS response_seconds_p50,
        quantile_cont(response_seconds, 0.9) AS response_seconds_p90,
        quantile_cont(response_seconds, 0.95) AS response_seconds_p95,
        max(response_seconds) AS response_seconds_max,
        quantile_cont(response_seconds, 0.5) FILTER (is_first) AS first_response_seconds_p50,
        quantile_cont(response_seconds, 0.9) FILTER (is_first) AS first_response_seconds_p90
    FROM response_pairs WHERE outcome = 'answered' GROUP BY ALL
)
SELECT activity.*, coalesce(customers, 0) AS customers, waits.* EXCLUDE (account, worker, period)
FROM activity
LEFT JOIN served USING (account, worker, period)
LEFT JOIN waits USING (account, worker, period);

CREATE OR REPLACE VIEW worker_weekly AS FROM worker_period('week');
CREATE OR REPLACE VIEW worker_monthly AS FROM worker_period('month');

-- Load by weekday (1 = Monday) and local hour, over the days from `first` to `last`: messages on an average such weekday. Every fetched day of the
-- period counts, also those and their hours in which nothing came.
--   FROM load_by_weekday_and_hour(DATE '2024-05-01', DATE '2024-05-31');
CREATE OR REPLACE MACRO load_by_weekday_and_hour(first, last) AS TABLE
WITH
weekdays AS (
    SELECT account, isodow(date) AS weekday, count(*) AS days FROM account_daily WHERE date BETWEEN first AND last GROUP BY ALL
),
hours AS (SELECT unnest(range(24)) AS hour),
load AS (
    SELECT account, isodow(date) AS weekday, hour, sum(messages_received) AS received, sum(messages_sent) AS sent
    FROM worker_hourly WHERE date BETWEEN first AND last GROUP BY ALL
)
SELECT
    account, weekday, hour::INTEGER AS hour, days,
    coalesce(received, 0) / days AS messages_received_mean,
    coalesce(sent, 0) / days AS messages_sent_mean
FROM weekdays CROSS JOIN hours
LEFT JOIN load USING (account, weekday, hour)
ORDER BY ALL;

CREATE OR REPLACE VIEW load_by_weekday_and_hour_overall AS FROM load_by_weekday_and_hour(DATE '0001-01-01', DATE '9999-12-31');

-- The messages of one customer from one instant to another, in order.
--   FROM conversation('acme', 'oC1', '2024-05-13 10:00:00', '2024-05-13 18:00:00');
CREATE OR REPLACE MACRO conversation(account, openid, "from", "to") AS TABLE
SELECT messages.* FROM messages
WHERE messages.account = account AND messages.openid = openid
    AND messages.sent_at BETWEEN "from"::TIMESTAMPTZ AND "to"::TIMESTAMPTZ
    -- Leaves out the files of other days. A day more on each side, for another TimeZone than the lake's.
    AND messages.date BETWEEN "from"::TIMESTAMPTZ::DATE - 1 AND "to"::TIMESTAMPTZ::DATE + 1
ORDER BY messages.sent_at, messages.date, messages.seq;

-- The messages of each turn with the turn's key (account, date, asked_seq), from its first message to the reply, or to its last
-- message where there is no reply.
--   WITH slow AS (FROM response_pairs ORDER BY response_seconds DESC LIMIT 3)
--   SELECT message.* FROM turn_messages() AS message JOIN slow USING (account, date, asked_seq) ORDER BY ALL;
CREATE OR REPLACE MACRO turn_messages() AS TABLE
WITH pairs AS (
    SELECT *,
        -- The customer's next turn, which may begin in the second of the reply.
        lead(date) OVER turns AS next_date,
        lead(asked_seq) OVER turns AS next_seq
    FROM response_pairs
    WINDOW turns AS (PARTITION BY account, openid ORDER BY date, asked_seq)
)
SELECT
    pairs.account, pairs.date, pairs.asked_seq,
    messages.sent_at, messages.seq, messages.worker, messages.opercode, messages.text, messages.openid
FROM pairs
JOIN messages ON messages.account = pairs.account AND messages.openid = pairs.openid
    AND messages.date BETWEEN pairs.date AND pairs.date + 3
    AND messages.sent_at BETWEEN pairs.asked_at AND coalesce(pairs.replied_at, pairs.last_asked_at)
    AND (messages.date, messages.seq) >= (pairs.date, pairs.asked_seq)
    AND (messages.date, messages.seq)
        < (coalesce(pairs.next_date, DATE '9999-12-31'), coalesce(pairs.next_seq, 0));
