-- The latest name of each worker that ever had one, and the day on which it was seen first.
CREATE OR REPLACE TEMPORARY VIEW worker_names AS
SELECT account, worker, name, min(date) AS since
FROM (
    SELECT account, worker, nick, date,
        max_by(nick, date) OVER (PARTITION BY account, worker) AS name
    FROM workers WHERE nick IS NOT NULL
)
WHERE nick = name
GROUP BY account, worker, name;

-- Service levels: the rows of four limits (`seconds` 30, 60, 180, 300) and of four units (`unit`
-- day, week, month, all). Pick one of each. `date` is the first day of the period.
--   SELECT * FROM service_level WHERE seconds = 180 AND unit = 'week'
CREATE OR REPLACE TEMPORARY VIEW counted_turns AS
SELECT
    seconds, unit, account, worker, date,
    CASE WHEN unit = 'all' THEN DATE '0001-01-01' ELSE CAST(date_trunc(unit, date) AS DATE) END
        AS period,
    outcome = 'answered' AS is_answered,
    outcome = 'answered' AND response_seconds <= seconds AS is_in_time,
    outcome = 'unanswered' AND is_first AS is_unanswered_first,
    outcome = 'unanswered' AND NOT is_first AS is_unanswered_later,
    asked_in_hours, business_seconds,
    asked_in_hours AND outcome = 'answered' AND business_seconds <= seconds AS is_in_time_in_hours
FROM response_pairs
CROSS JOIN (SELECT explode(array(30, 60, 180, 300)) AS seconds) AS limits
CROSS JOIN (SELECT explode(array('day', 'week', 'month', 'all')) AS unit) AS units;

-- Of the turns that were answered, or opened a session without an answer, the share answered in time. `strict`
-- counts as unanswered also what came later in a session, mostly a closing "thanks".
CREATE OR REPLACE TEMPORARY VIEW service_level AS
SELECT *,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    in_time / nullif(answered + unanswered_first + unanswered_later, 0) AS service_level_strict
FROM (
    SELECT
        seconds, unit, account, worker,
        CASE WHEN unit = 'all' THEN min(date) ELSE period END AS date,
        count_if(is_answered) AS answered, count_if(is_in_time) AS in_time,
        count_if(is_unanswered_first) AS unanswered_first,
        count_if(is_unanswered_later) AS unanswered_later
    FROM counted_turns GROUP BY seconds, unit, account, worker, period
);

-- The same of all workers of an account together.
CREATE OR REPLACE TEMPORARY VIEW service_level_of_accounts AS
SELECT *,
    in_time / nullif(answered + unanswered_first, 0) AS service_level,
    in_time / nullif(answered + unanswered_first + unanswered_later, 0) AS service_level_strict
FROM (
    SELECT
        seconds, unit, account,
        CASE WHEN unit = 'all' THEN min(date) ELSE period END AS date,
        count_if(is_answered) AS answered, count_if(is_in_time) AS in_time,
        count_if(is_unanswered_first) AS unanswered_first,
        count_if(is_unanswered_later) AS unanswered_later
    FROM counted_turns GROUP BY seconds, unit, account, period
);

-- Service level of the turns that were asked in business hours. Only seconds within these hours
-- count. Without a schedule, everything is 0 or null.
CREATE OR REPLACE TEMPORARY VIEW business_service_level AS
SELECT
    seconds, unit, account, worker, date, asked_in_hours, asked_out_of_hours, answered, in_time,
    unanswered_first, in_time / nullif(answered + unanswered_first, 0) AS service_level,
    business_seconds_p50, business_seconds_p90
FROM (
    SELECT
        seconds, unit, account, worker,
        CASE WHEN unit = 'all' THEN min(date) ELSE period END AS date,
        count_if(asked_in_hours) AS asked_in_hours,
        count_if(NOT asked_in_hours) AS asked_out_of_hours,
        count_if(asked_in_hours AND is_answered) AS answered,
        count_if(is_in_time_in_hours) AS in_time,
        count_if(asked_in_hours AND is_unanswered_first) AS unanswered_first,
        percentile(business_seconds, 0.5) FILTER (WHERE asked_in_hours) AS business_seconds_p50,
        percentile(business_seconds, 0.9) FILTER (WHERE asked_in_hours) AS business_seconds_p90
    FROM counted_turns GROUP BY seconds, unit, account, worker, period
);

-- The same of all workers of an account together.
CREATE OR REPLACE TEMPORARY VIEW business_service_level_of_accounts AS
SELECT
    seconds, unit, account, date, asked_in_hours, asked_out_of_hours, answered, in_time,
    unanswered_first, in_time / nullif(answered + unanswered_first, 0) AS service_level,
    business_seconds_p50, business_seconds_p90
FROM (
    SELECT
        seconds, unit, account,
        CASE WHEN unit = 'all' THEN min(date) ELSE period END AS date,
        count_if(asked_in_hours) AS asked_in_hours,
        count_if(NOT asked_in_hours) AS asked_out_of_hours,
        count_if(asked_in_hours AND is_answered) AS answered,
        count_if(is_in_time_in_hours) AS in_time,
        count_if(asked_in_hours AND is_unanswered_first) AS unanswered_first,
        percentile(business_seconds, 0.5) FILTER (WHERE asked_in_hours) AS business_seconds_p50,
        percentile(business_seconds, 0.9) FILTER (WHERE asked_in_hours) AS business_seconds_p90
    FROM counted_turns GROUP BY seconds, unit, account, period
);

-- Sessions by outcome, by account and period. `missed_share` is the share of missed sessions among
-- those that customers began and that are over.
--   SELECT * FROM sessions_by_outcome WHERE unit = 'week'
CREATE OR REPLACE TEMPORARY VIEW sessions_by_outcome AS
SELECT
    unit, account, CASE WHEN unit = 'all' THEN min(date) ELSE period END AS date,
    count(*) AS sessions,
    count_if(outcome = 'completed') AS completed, count_if(outcome = 'missed') AS missed,
    count_if(outcome = 'dropped') AS dropped, count_if(outcome = 'open') AS open,
    count_if(outcome = 'outreach') AS outreach,
    count_if(outcome = 'missed')
        / nullif(count_if(initiated_by = 'customer' AND outcome <> 'open'), 0) AS missed_share
FROM (
    SELECT *,
        CASE WHEN unit = 'all' THEN DATE '0001-01-01' ELSE CAST(date_trunc(unit, date) AS DATE) END
            AS period
    FROM sessions
    CROSS JOIN (SELECT explode(array('day', 'week', 'month', 'all')) AS unit) AS units
)
GROUP BY unit, account, period;

-- Per worker and period: sums from `worker_daily`, distinct customers from `messages`, percentiles
-- from `response_pairs`. `days` counts the days on which the worker sent a message.
--   SELECT * FROM worker_period WHERE unit = 'month'
CREATE OR REPLACE TEMPORARY VIEW worker_period AS
WITH
units AS (SELECT explode(array('day', 'week', 'month', 'all')) AS unit),
activity AS (
    SELECT
        unit, account, worker,
        CASE WHEN unit = 'all' THEN DATE '0001-01-01' ELSE CAST(date_trunc(unit, date) AS DATE) END
            AS period,
        min(date) AS first_date, count_if(messages_sent > 0) AS days,
        sum(messages_received) AS messages_received, sum(messages_sent) AS messages_sent,
        sum(replies) AS replies, sum(follow_ups) AS follow_ups, sum(outreach) AS outreach,
        sum(auto_messages_sent) AS auto_messages_sent, max(max_concurrent) AS max_concurrent,
        sum(answered) AS answered, sum(pending) AS pending,
        sum(unanswered_first) AS unanswered_first, sum(unanswered_later) AS unanswered_later,
        sum(takeovers) AS takeovers, sum(handed_off) AS handed_off,
        sum(answered_within_30s) AS answered_within_30s,
        sum(answered_within_60s) AS answered_within_60s,
        sum(answered_within_180s) AS answered_within_180s,
        sum(answered_within_300s) AS answered_within_300s
    FROM worker_daily CROSS JOIN units GROUP BY 1, 2, 3, 4
),
served AS (
    SELECT
        unit, account, worker,
        CASE WHEN unit = 'all' THEN DATE '0001-01-01' ELSE CAST(date_trunc(unit, date) AS DATE) END
            AS period,
        count(DISTINCT openid) AS customers
    FROM messages CROSS JOIN units WHERE opercode IN ({received}) GROUP BY 1, 2, 3, 4
),
waits AS (
    SELECT
        unit, account, worker,
        CASE WHEN unit = 'all' THEN DATE '0001-01-01' ELSE CAST(date_trunc(unit, date) AS DATE) END
            AS period,
        avg(response_seconds) AS response_seconds_mean,
        percentile(response_seconds, 0.5) AS response_seconds_p50,
        percentile(response_seconds, 0.9) AS response_seconds_p90,
        percentile(response_seconds, 0.95) AS response_seconds_p95,
        max(response_seconds) AS response_seconds_max,
        percentile(response_seconds, 0.5) FILTER (WHERE is_first) AS first_response_seconds_p50,
        percentile(response_seconds, 0.9) FILTER (WHERE is_first) AS first_response_seconds_p90
    FROM response_pairs CROSS JOIN units WHERE outcome = 'answered' GROUP BY 1, 2, 3, 4
)
SELECT
    unit, account, worker, CASE WHEN unit = 'all' THEN first_date ELSE period END AS period,
    days, messages_received, messages_sent, replies, follow_ups, outreach, auto_messages_sent,
    max_concurrent, answered, pending, unanswered_first, unanswered_later, takeovers, handed_off,
    answered_within_30s, answered_within_60s, answered_within_180s, answered_within_300s,
    coalesce(customers, 0) AS customers,
    response_seconds_mean, response_seconds_p50, response_seconds_p90, response_seconds_p95,
    response_seconds_max, first_response_seconds_p50, first_response_seconds_p90
FROM activity
LEFT JOIN served USING (unit, account, worker, period)
LEFT JOIN waits USING (unit, account, worker, period);

CREATE OR REPLACE TEMPORARY VIEW worker_weekly AS SELECT * FROM worker_period WHERE unit = 'week';
CREATE OR REPLACE TEMPORARY VIEW worker_monthly AS SELECT * FROM worker_period WHERE unit = 'month';

-- Load by weekday (1 = Monday) and local hour: messages on an average such weekday. Every fetched
-- day counts, also those and their hours in which nothing came.
CREATE OR REPLACE TEMPORARY VIEW load_by_weekday_and_hour_overall AS
WITH
weekdays AS (
    SELECT account, weekday(date) + 1 AS weekday, count(*) AS days
    FROM account_daily GROUP BY 1, 2
),
hours AS (SELECT explode(sequence(0, 23)) AS hour),
load AS (
    SELECT
        account, weekday(date) + 1 AS weekday, hour,
        sum(messages_received) AS received, sum(messages_sent) AS sent
    FROM worker_hourly GROUP BY 1, 2, 3
)
SELECT
    account, weekday, hour, days,
    coalesce(received, 0) / days AS messages_received_mean,
    coalesce(sent, 0) / days AS messages_sent_mean
FROM weekdays CROSS JOIN hours
LEFT JOIN load USING (account, weekday, hour);

-- Load by local half hour, like 09:30: messages on an average day. Every fetched day counts.
CREATE OR REPLACE TEMPORARY VIEW load_by_half_hour_overall AS
WITH
fetched AS (SELECT account, count(*) AS days FROM account_daily GROUP BY account),
halves AS (
    SELECT format_string('%02d:%02d', number DIV 2, number % 2 * 30) AS half_hour
    FROM (SELECT explode(sequence(0, 47)) AS number)
),
load AS (
    SELECT
        account,
        format_string('%02d:%02d', hour(sent_at), minute(sent_at) DIV 30 * 30) AS half_hour,
        count_if(opercode IN ({received})) AS received, count_if(opercode IN ({sent})) AS sent
    FROM messages GROUP BY 1, 2
)
SELECT
    account, half_hour, days,
    coalesce(received, 0) / days AS messages_received_mean,
    coalesce(sent, 0) / days AS messages_sent_mean
FROM fetched CROSS JOIN halves
LEFT JOIN load USING (account, half_hour);

-- The messages of each turn with the turn's key (account, date, asked_seq), from its first message
-- to the reply, or to its last message where there is no reply.
--   SELECT * FROM turn_messages WHERE account = 'acme' AND date = '2024-05-13' AND asked_seq = 7
-- For the messages of one customer, select from `messages` by account, openid and sent_at.
CREATE OR REPLACE TEMPORARY VIEW turn_messages AS
WITH pairs AS (
    SELECT *,
        -- The next turn of the customer, which may begin in the second of the reply.
        lead(date) OVER (PARTITION BY account, openid ORDER BY date, asked_seq) AS next_date,
        lead(asked_seq) OVER (PARTITION BY account, openid ORDER BY date, asked_seq) AS next_seq
    FROM response_pairs
)
SELECT
    pairs.account, pairs.date, pairs.asked_seq,
    messages.sent_at, messages.seq, messages.worker, messages.opercode, messages.text,
    messages.openid
FROM pairs
JOIN messages ON messages.account = pairs.account AND messages.openid = pairs.openid
    AND messages.date BETWEEN pairs.date AND date_add(pairs.date, 3)
    AND messages.sent_at BETWEEN pairs.asked_at AND coalesce(pairs.replied_at, pairs.last_asked_at)
    AND (messages.date > pairs.date
        OR messages.date = pairs.date AND messages.seq >= pairs.asked_seq)
    AND (pairs.next_date IS NULL OR messages.date < pairs.next_date
        OR messages.date = pairs.next_date AND messages.seq < pairs.next_seq);
