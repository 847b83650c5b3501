-- The latest name of each worker that ever had one, by account, and the day on which it was seen first. Of `workers`, which has a row
-- for each worker and each day on which the list of workers had changed.
CREATE OR REPLACE VIEW worker_names AS
WITH named AS (SELECT account, worker, nick AS name, date FROM workers WHERE nick IS NOT NULL),
latest AS (SELECT account, worker, max_by(name, date) AS name FROM named GROUP BY ALL)
SELECT account, worker, latest.name, min(named.date) AS since
FROM latest JOIN named USING (account, worker, name)
GROUP BY ALL;

-- The first day of the period of a date. `unit` is 'day', 'week' (from Monday), 'month' or 'all'.
CREATE OR REPLACE MACRO first_day_of(date, unit) AS
    CASE WHEN unit = 'all' THEN DATE '0001-01-01'
    ELSE date_trunc(CASE unit WHEN 'all' THEN 'day' ELSE unit END::VARCHAR, date::DATE)::DATE END;

-- The turns that count for a service level, and those that may count: one row a turn.
CREATE OR REPLACE MACRO counted_turns(seconds, unit) AS TABLE
SELECT
    account, worker, date, first_day_of(date, unit) AS period,
    outcome = 'answered' AS is_answered,
    outcome = 'answered' AND response_seconds <= seconds AS is_in_time,
    outcome = 'unanswered' AND is_first AS is_unanswered_first,
    outcome = 'unanswered' AND NOT is_first AS is_unanswered_later,
    asked_in_hours, business_seconds,
    asked_in_hours AND outcome = 'answered' AND business_seconds <= seconds AS is_in_time_in_hours
FROM response_pairs;

-- Service level within `seconds`, by account, worker and period: of the turns that were answered,
-- or opened a session without an answer, the share answered in time. `strict` counts as unanswered also what
-- came later in a session, which is mostly a closing "thanks". `date` is the first day of the
-- period, `unit` is 'day', 'week', 'month' or 'all'.
--   FROM service_level(180);
--   FROM service_level(180, unit := 'week');
CREATE OR REPLACE MACRO service_level(seconds, unit := 'day') AS TABLE
SELECT
    account, worker, if(period = DATE '0001-01-01', min(date), period) AS date,
    count(*) FILTER (is_answered) AS answered,
    count(*) FILTER (is_in_time) AS in_time,
    count(*) FILTER (is_unanswered_first) AS unanswered_first,
    count(*) FILTER (is_unanswered_later) AS unanswered_later,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    in_time / nullif(answered + unanswered_first + unanswered_later, 0) AS service_level_strict
FROM counted_turns(seconds, unit)
GROUP BY account, worker, period;

-- The same of all workers of an account together.
--   FROM service_level_of_accounts(180, unit := 'month');
CREATE OR REPLACE MACRO service_level_of_accounts(seconds, unit := 'day') AS TABLE
SELECT
    account, if(period = DATE '0001-01-01', min(date), period) AS date,
    count(*) FILTER (is_answered) AS answered,
    count(*) FILTER (is_in_time) AS in_time,
    count(*) FILTER (is_unanswered_first) AS unanswered_first,
    count(*) FILTER (is_unanswered_later) AS unanswered_later,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    in_time / nullif(answered + unanswered_first + unanswered_later, 0) AS service_level_strict
FROM counted_turns(seconds, unit)
GROUP BY account, period;

-- Service level of the turns that were asked in business hours. Only seconds within these hours
-- count. Without a schedule, everything is 0 or null.
--   FROM business_service_level(180, unit := 'week');
CREATE OR REPLACE MACRO business_service_level(seconds, unit := 'day') AS TABLE
SELECT
    account, worker, if(period = DATE '0001-01-01', min(date), period) AS date,
    count(*) FILTER (asked_in_hours) AS asked_in_hours,
    count(*) FILTER (NOT asked_in_hours) AS asked_out_of_hours,
    count(*) FILTER (asked_in_hours AND is_answered) AS answered,
    count(*) FILTER (is_in_time_in_hours) AS in_time,
    count(*) FILTER (asked_in_hours AND is_unanswered_first) AS unanswered_first,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    quantile_cont(business_seconds, 0.5) FILTER (asked_in_hours) AS business_seconds_p50,
    quantile_cont(business_seconds, 0.9) FILTER (asked_in_hours) AS business_seconds_p90
FROM counted_turns(seconds, unit)
GROUP BY account, worker, period;

-- The same of all workers of an account together.
CREATE OR REPLACE MACRO business_service_level_of_accounts(seconds, unit := 'day') AS TABLE
SELECT
    account, if(period = DATE '0001-01-01', min(date), period) AS date,
    count(*) FILTER (asked_in_hours) AS asked_in_hours,
    count(*) FILTER (NOT asked_in_hours) AS asked_out_of_hours,
    count(*) FILTER (asked_in_hours AND is_answered) AS answered,
    count(*) FILTER (is_in_time_in_hours) AS in_time,
    count(*) FILTER (asked_in_hours AND is_unanswered_first) AS unanswered_first,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    quantile_cont(business_seconds, 0.5) FILTER (asked_in_hours) AS business_seconds_p50,
    quantile_cont(business_seconds, 0.9) FILTER (asked_in_hours) AS business_seconds_p90
FROM counted_turns(seconds, unit)
GROUP BY account, period;

-- Sessions by outcome, by account and period. `missed_share` is the share of missed sessions among
-- those that customers began and that are over.
--   FROM sessions_by_outcome(unit := 'week');
CREATE OR REPLACE MACRO sessions_by_outcome(unit := 'day') AS TABLE
SELECT
    account, if(period = DATE '0001-01-01', min(date), period) AS date,
    count(*) AS sessions,
    count(*) FILTER (outcome = 'completed') AS completed,
    count(*) FILTER (outcome = 'missed') AS missed,
    count(*) FILTER (outcome = 'dropped') AS dropped,
    count(*) FILTER (outcome = 'open') AS open,
    count(*) FILTER (outcome = 'outreach') AS outreach,
    missed / nullif(count(*) FILTER (initiated_by = 'customer' AND outcome <> 'open'), 0)
        AS missed_share
FROM (SELECT *, first_day_of(date, unit) AS period FROM sessions)
GROUP BY account, period;

-- Per worker and period ('day', 'week', 'month' or 'all'): sums from `worker_daily`, distinct
-- customers from `messages`, percentiles from `response_pairs`. `days` counts the days on which the
-- worker sent a message, so that sums can be compared by day worked.
--   FROM worker_period('month');
CREATE OR REPLACE MACRO worker_period(unit) AS TABLE
WITH
activity AS (
    SELECT
        account, worker, first_day_of(date, unit) AS period, min(date) AS first_date,
        count(*) FILTER (messages_sent > 0) AS days,
        sum(messages_received)::BIGINT AS messages_received,
        sum(messages_sent)::BIGINT AS messages_sent,
        sum(replies)::BIGINT AS replies, sum(follow_ups)::BIGINT AS follow_ups,
        sum(outreach)::BIGINT AS outreach,
        sum(auto_messages_sent)::BIGINT AS auto_messages_sent,
        max(max_concurrent) AS max_concurrent,
        sum(answered)::BIGINT AS answered, sum(pending)::BIGINT AS pending,
        sum(unanswered_first)::BIGINT AS unanswered_first,
        sum(unanswered_later)::BIGINT AS unanswered_later,
        sum(takeovers)::BIGINT AS takeovers, sum(handed_off)::BIGINT AS handed_off,
        sum(answered_within_30s)::BIGINT AS answered_within_30s,
        sum(answered_within_60s)::BIGINT AS answered_within_60s,
        sum(answered_within_180s)::BIGINT AS answered_within_180s,
        sum(answered_within_300s)::BIGINT AS answered_within_300s
    FROM worker_daily GROUP BY ALL
),
served AS (
    SELECT
        account, worker, first_day_of(date, unit) AS period,
        count(DISTINCT openid) AS customers
    FROM messages WHERE opercode IN ({received}) GROUP BY ALL
),
waits AS (
    SELECT
        account, worker, first_day_of(date, unit) AS period,
        avg(response_seconds) AS response_seconds_mean,
        quantile_cont(response_seconds, 0.5) AS response_seconds_p50,
        quantile_cont(response_seconds, 0.9) AS response_seconds_p90,
        quantile_cont(response_seconds, 0.95) AS response_seconds_p95,
        max(response_seconds) AS response_seconds_max,
        quantile_cont(response_seconds, 0.5) FILTER (is_first) AS first_response_seconds_p50,
        quantile_cont(response_seconds, 0.9) FILTER (is_first) AS first_response_seconds_p90
    FROM response_pairs WHERE outcome = 'answered' GROUP BY ALL
)
SELECT
    activity.account, activity.worker,
    if(activity.period = DATE '0001-01-01', first_date, activity.period) AS period,
    activity.* EXCLUDE (account, worker, period, first_date),
    coalesce(customers, 0) AS customers,
    waits.* EXCLUDE (account, worker, period)
FROM activity
LEFT JOIN served USING (account, worker, period)
LEFT JOIN waits USING (account, worker, period);

CREATE OR REPLACE VIEW worker_weekly AS FROM worker_period('week');
CREATE OR REPLACE VIEW worker_monthly AS FROM worker_period('month');

-- Load by weekday (1 = Monday) and local hour, over the days from `first` to `last`: messages on an
-- average such weekday. Every fetched day of the period counts, also those and their hours in which
-- nothing came.
--   FROM load_by_weekday_and_hour(DATE '2024-05-01', DATE '2024-05-31');
CREATE OR REPLACE MACRO load_by_weekday_and_hour(first, last) AS TABLE
WITH
weekdays AS (
    SELECT account, isodow(date) AS weekday, count(*) AS days
    FROM account_daily WHERE date BETWEEN first AND last GROUP BY ALL
),
hours AS (SELECT unnest(range(24)) AS hour),
load AS (
    SELECT
        account, isodow(date) AS weekday, hour,
        sum(messages_received) AS received, sum(messages_sent) AS sent
    FROM worker_hourly WHERE date BETWEEN first AND last GROUP BY ALL
)
SELECT
    account, weekday, hour::INTEGER AS hour, days,
    coalesce(received, 0) / days AS messages_received_mean,
    coalesce(sent, 0) / days AS messages_sent_mean
FROM weekdays CROSS JOIN hours
LEFT JOIN load USING (account, weekday, hour)
ORDER BY ALL;

CREATE OR REPLACE VIEW load_by_weekday_and_hour_overall AS
FROM load_by_weekday_and_hour(DATE '0001-01-01', DATE '9999-12-31');

-- Load by local half hour, like '09:30', over the days from `first` to `last`: messages on an
-- average day. Every fetched day of the period counts.
--   FROM load_by_half_hour(DATE '2024-05-01', DATE '2024-05-31') ORDER BY messages_received_mean DESC;
CREATE OR REPLACE MACRO load_by_half_hour(first, last) AS TABLE
WITH
fetched AS (
    SELECT account, count(*) AS days
    FROM account_daily WHERE date BETWEEN first AND last GROUP BY ALL
),
halves AS (
    SELECT strftime(TIMESTAMP '2000-01-01' + to_minutes(30 * number), '%H:%M') AS half_hour
    FROM (SELECT unnest(range(48)) AS number)
),
load AS (
    SELECT
        account,
        strftime(time_bucket(INTERVAL '30 minutes', sent_at AT TIME ZONE {zone}), '%H:%M')
            AS half_hour,
        count(*) FILTER (opercode IN ({received})) AS received,
        count(*) FILTER (opercode IN ({sent})) AS sent
    FROM messages WHERE date BETWEEN first AND last GROUP BY ALL
)
SELECT
    account, half_hour, days,
    coalesce(received, 0) / days AS messages_received_mean,
    coalesce(sent, 0) / days AS messages_sent_mean
FROM fetched CROSS JOIN halves
LEFT JOIN load USING (account, half_hour)
ORDER BY ALL;

CREATE OR REPLACE VIEW load_by_half_hour_overall AS
FROM load_by_half_hour(DATE '0001-01-01', DATE '9999-12-31');

-- The messages of one customer from one instant to another, in order.
--   FROM conversation('acme', 'oC1', '2024-05-13 10:00:00', '2024-05-13 18:00:00');
CREATE OR REPLACE MACRO conversation(account, openid, "from", "to") AS TABLE
SELECT messages.* FROM messages
WHERE messages.account = account AND messages.openid = openid
    AND messages.sent_at BETWEEN "from"::TIMESTAMPTZ AND "to"::TIMESTAMPTZ
    -- Leaves out the files of other days. A day more on each side, for another TimeZone.
    AND messages.date BETWEEN "from"::TIMESTAMPTZ::DATE - 1 AND "to"::TIMESTAMPTZ::DATE + 1
ORDER BY messages.sent_at, messages.date, messages.seq;

-- The messages of each turn with the turn's key (account, date, asked_seq), from its first message
-- to the reply, or to its last message where there is no reply.
--   WITH slow AS (FROM response_pairs ORDER BY response_seconds DESC LIMIT 3)
--   SELECT message.* FROM turn_messages() AS message
--   JOIN slow USING (account, date, asked_seq) ORDER BY ALL;
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

-- Explanations that tools show beside the views.
COMMENT ON VIEW messages IS 'One row a message. opercode: 2003 from the customer, 2002 from the worker';
COMMENT ON VIEW rejects IS 'Records of WeChat that could not be read, with the reason';
COMMENT ON VIEW response_pairs IS 'One row a turn: what a customer asks until somebody answers';
COMMENT ON VIEW sessions IS 'One row a session: a conversation without a longer silence';
COMMENT ON VIEW worker_daily IS 'One row a worker and day. Percentiles do not add up: see worker_weekly';
COMMENT ON VIEW worker_hourly IS 'One row a worker and local hour of a day';
COMMENT ON VIEW account_daily IS 'One row an account and fetched day, over all workers';
COMMENT ON VIEW workers IS 'One row a worker and day on which the list of workers had changed';
COMMENT ON VIEW worker_names IS 'The latest name of each worker';
COMMENT ON VIEW worker_weekly IS 'One row a worker and week, with exact percentiles and distinct customers';
COMMENT ON VIEW worker_monthly IS 'One row a worker and month, with exact percentiles and distinct customers';
COMMENT ON VIEW load_by_weekday_and_hour_overall IS 'Messages on an average weekday, by local hour';
COMMENT ON VIEW load_by_half_hour_overall IS 'Messages on an average day, by local half hour';
