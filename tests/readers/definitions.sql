-- The definitions once more, in SQL: from the files of `messages` alone, each partition from its own view of the days around it.
-- Filled in by test_definitions.py: the lake, the time zone, a condition that makes a message automatic, and the shifts by weekday or date.

CREATE TABLE fetched AS
SELECT parse_filename(file, true) AS account, regexp_extract(file, 'date=([0-9-]+)', 1)::DATE AS day
FROM glob('{lake}/messages/*/*.parquet');

-- Unbroken runs of fetched days, and what each day's partition may look at.
CREATE TABLE views AS
WITH runs AS (
    SELECT account, day, day - row_number() OVER (PARTITION BY account ORDER BY day)::INTEGER AS run FROM fetched
), bounds AS (SELECT account, run, min(day) AS first_day, max(day) AS last_day FROM runs GROUP BY ALL)
SELECT
    account, day AS partition_day,
    greatest(first_day, day - 2) AS first_day, least(last_day, day + 3) AS last_day,
    epoch((least(last_day, day + 3) + 1)::TIMESTAMP AT TIME ZONE '{timezone}')::BIGINT AS horizon,
    last_day >= day + 3 AS is_final,
    epoch(day::TIMESTAMP AT TIME ZONE '{timezone}')::BIGINT AS day_start,
    epoch((day + 1)::TIMESTAMP AT TIME ZONE '{timezone}')::BIGINT AS day_end
FROM runs JOIN bounds USING (account, run);

CREATE TABLE messages AS
SELECT
    account, openid, worker, opercode = 2003 AS inbound, date AS day, epoch(sent_at)::BIGINT AS instant, seq,
    hour(sent_at AT TIME ZONE '{timezone}') AS hour,
    opercode = 2002 AND coalesce({automatic}, false) AS automatic
FROM read_parquet('{lake}/messages/*/*.parquet', hive_partitioning = true)
WHERE opercode IN (2002, 2003);

CREATE TABLE timeline AS
WITH visible AS (
    SELECT partition_day, horizon, is_final, messages.*
    FROM views JOIN messages ON messages.account = views.account AND day BETWEEN first_day AND last_day
    WHERE NOT automatic
), neighbours AS (
    SELECT *, lag(inbound) OVER customer AS after_inbound, instant - lag(instant) OVER customer AS gap
    FROM visible WINDOW customer AS (PARTITION BY account, partition_day, openid ORDER BY instant, seq)
), kinds AS (
    SELECT
        *,
        inbound AND (gap IS NULL OR gap > 1800 OR NOT after_inbound) AS starts_turn,
        NOT inbound AND coalesce(after_inbound AND gap <= 172800, false) AS is_reply,
        NOT inbound AND coalesce(NOT after_inbound AND gap <= 1800, false) AS is_follow_up
    FROM neighbours
), starts AS (
    SELECT *, NOT inbound AND NOT is_reply AND NOT is_follow_up AS is_outreach,
        (inbound AND (gap IS NULL OR gap > 1800)) OR (NOT inbound AND NOT is_reply AND NOT is_follow_up) AS starts_session
    FROM kinds
)
SELECT
    *,
    sum(starts_turn::INTEGER) OVER customer AS turn, sum(starts_session::INTEGER) OVER customer AS session,
    lead(starts_turn, 1, false) OVER customer AS next_starts_turn
FROM starts WINDOW customer AS (PARTITION BY account, partition_day, openid ORDER BY instant, seq);

-- Open hours: each day's shifts, by date where the date has its own, else by weekday; joined where they overlap or touch.
CREATE TABLE shifts (weekday INTEGER, date DATE, opens VARCHAR, closes VARCHAR);
{shifts}
CREATE TABLE open_hours AS
WITH days AS (SELECT unnest(generate_series((SELECT min(day) - 2 FROM fetched), (SELECT max(day) + 5 FROM fetched), INTERVAL 1 DAY))::DATE AS day),
chosen AS (
    SELECT day, opens, closes FROM days JOIN shifts ON shifts.date = days.day WHERE opens IS NOT NULL
    UNION ALL
    SELECT day, opens, closes FROM days JOIN shifts ON shifts.weekday = isodow(days.day)
    WHERE day NOT IN (SELECT date FROM shifts WHERE date IS NOT NULL)
), stretches AS (
    SELECT
        epoch((day + opens::INTERVAL) AT TIME ZONE '{timezone}')::BIGINT AS opens_at,
        epoch((day + (CASE WHEN closes::INTERVAL <= opens::INTERVAL THEN 1 ELSE 0 END) + closes::INTERVAL) AT TIME ZONE '{timezone}')::BIGINT AS closes_at
    FROM chosen
), marked AS (
    SELECT *, opens_at > max(closes_at) OVER (ORDER BY opens_at, closes_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS is_apart FROM stretches
), grouped AS (SELECT *, sum(coalesce(is_apart, true)::INTEGER) OVER (ORDER BY opens_at, closes_at) AS stretch FROM marked)
SELECT min(opens_at) AS opens_at, max(closes_at) AS closes_at FROM grouped GROUP BY stretch;

CREATE TABLE pairs AS
WITH turns AS (
    SELECT
        account, partition_day AS date, openid, turn, any_value(horizon) AS horizon, any_value(is_final) AS is_final,
        min(instant) FILTER (inbound) AS asked_at, max(instant) FILTER (inbound) AS last_asked_at, min(instant) FILTER (is_reply) AS replied_at,
        arg_min(worker, (instant, seq)) AS first_worker,
        arg_max(worker, (instant, seq)) FILTER (inbound) AS last_worker,
        any_value(worker) FILTER (is_reply) AS reply_worker,
        arg_min(hour, (instant, seq)) AS hour, arg_min(day, (instant, seq)) AS asked_day, min(seq) FILTER (starts_turn) AS first_seq,
        count(*) FILTER (inbound) AS customer_messages,
        bool_or(starts_turn AND starts_session) AS is_first,
        bool_or(inbound AND next_starts_turn) AS is_superseded,
        list(DISTINCT worker) FILTER (inbound) AS receivers,
        list({{'worker': worker, 'instant': instant}}) FILTER (inbound) AS received
    FROM timeline WHERE (inbound OR is_reply) AND turn > 0 GROUP BY account, partition_day, openid, turn
), outcomes AS (
    SELECT *, coalesce(reply_worker, last_worker) AS worker,
        CASE WHEN replied_at IS NOT NULL THEN 'answered'
             WHEN NOT is_superseded AND NOT is_final AND horizon - last_asked_at <= 172800 THEN 'pending'
             ELSE 'unanswered' END AS outcome
    FROM turns WHERE asked_day = date
)
SELECT
    *,
    replied_at - asked_at AS response_seconds, replied_at - last_asked_at AS since_last_seconds,
    replied_at - list_min([one.instant FOR one IN received IF one.worker = reply_worker]) AS own_response_seconds,
    CASE WHEN (SELECT count(*) FROM shifts) > 0 AND replied_at IS NOT NULL THEN coalesce((
        SELECT sum(least(closes_at, replied_at) - greatest(opens_at, asked_at)) FROM open_hours WHERE opens_at < replied_at AND closes_at > asked_at
    ), 0)::BIGINT END AS business_seconds,
    CASE WHEN (SELECT count(*) FROM shifts) > 0 THEN EXISTS (FROM open_hours WHERE opens_at <= asked_at AND asked_at < closes_at) END AS asked_in_hours
FROM outcomes;

CREATE TABLE expected_response_pairs AS
SELECT account, date, openid, worker, first_worker, asked_at, last_asked_at, replied_at, outcome, response_seconds, since_last_seconds,
    own_response_seconds, business_seconds, asked_in_hours, customer_messages, is_first, first_seq AS asked_seq
FROM pairs ORDER BY account, date, asked_at, openid, first_seq;

CREATE TABLE expected_sessions AS
WITH sessions AS (
    SELECT
        account, partition_day AS date, openid, session,
        min(instant) AS started_at, max(instant) AS ended_at, arg_min(inbound, (instant, seq)) AS by_customer, arg_min(day, (instant, seq)) AS started_day, min(seq) FILTER (starts_session) AS first_seq,
        count(*) FILTER (inbound) AS customer_messages, count(*) FILTER (NOT inbound) AS worker_messages,
        count(*) FILTER (starts_turn) AS turns, count(*) FILTER (is_reply) AS answered, count(DISTINCT worker) AS workers,
        max(turn) FILTER (inbound) AS last_turn, min(turn) FILTER (inbound) AS first_turn
    FROM timeline GROUP BY account, partition_day, openid, session
), turns AS (
    SELECT account, partition_day AS date, openid, turn, min(instant) FILTER (is_reply) AS replied_at, max(instant) FILTER (inbound) AS last_asked_at,
        bool_or(inbound AND next_starts_turn) AS is_superseded, any_value(horizon) AS horizon, any_value(is_final) AS is_final
    FROM timeline WHERE inbound OR is_reply GROUP BY ALL
)
SELECT
    sessions.account, sessions.date, sessions.openid, started_at, ended_at, if(by_customer, 'customer', 'worker') AS initiated_by,
    CASE WHEN customer_messages = 0 THEN 'outreach'
         WHEN last.replied_at IS NOT NULL THEN 'completed'
         WHEN NOT last.is_superseded AND NOT last.is_final AND last.horizon - last.last_asked_at <= 172800 THEN 'open'
         WHEN worker_messages = 0 THEN 'missed' ELSE 'dropped' END AS outcome,
    if(by_customer, first.replied_at - started_at, NULL) AS first_response_seconds,
    customer_messages, worker_messages, turns, answered, workers, first_seq AS started_seq
FROM sessions
LEFT JOIN turns AS last ON (last.account, last.date, last.openid, last.turn) = (sessions.account, sessions.date, sessions.openid, last_turn)
LEFT JOIN turns AS first ON (first.account, first.date, first.openid, first.turn) = (sessions.account, sessions.date, sessions.openid, first_turn)
WHERE started_day = sessions.date
ORDER BY sessions.account, sessions.date, started_at, sessions.openid, first_seq;

-- Segments: chains of one worker's messages with one customer, cut at the day's bounds; then what is true between one bound and the next.
CREATE TABLE concurrency AS
WITH gaps AS (
    SELECT *, coalesce(instant - lag(instant) OVER chain > 1800, true) AS is_new
    FROM timeline WINDOW chain AS (PARTITION BY account, partition_day, openid, worker ORDER BY instant, seq)
), numbered AS (
    SELECT *, sum(is_new::INTEGER) OVER (PARTITION BY account, partition_day, openid, worker ORDER BY instant, seq) AS segment FROM gaps
), segments AS (
    SELECT account, partition_day AS date, worker, min(instant) AS starts_at, max(instant) + 1 AS ends_at
    FROM numbered GROUP BY account, partition_day, openid, worker, segment
), cut AS (
    SELECT segments.account, date, worker, greatest(starts_at, day_start) AS starts_at, least(ends_at, day_end) AS ends_at
    FROM segments JOIN views ON views.account = segments.account AND views.partition_day = segments.date
    WHERE starts_at < day_end AND ends_at > day_start
), instants AS (SELECT DISTINCT account, date, worker, unnest([starts_at, ends_at]) AS instant FROM cut),
pieces AS (SELECT *, lead(instant) OVER (PARTITION BY account, date, worker ORDER BY instant) AS until FROM instants),
levels AS (
    SELECT account, date, worker, pieces.instant, until, count(cut.starts_at) AS level
    FROM pieces LEFT JOIN cut USING (account, date, worker)
    WHERE cut.starts_at <= pieces.instant AND pieces.until <= cut.ends_at GROUP BY ALL
)
SELECT account, date, worker, max(level) AS max_concurrent, sum(level * (until - instant)) / sum(until - instant) AS mean_concurrent FROM levels GROUP BY ALL;

CREATE TABLE expected_worker_daily AS
WITH own AS (SELECT * FROM timeline WHERE day = partition_day),
by_message AS (
    SELECT account, partition_day AS date, worker,
        count(*) FILTER (inbound) AS messages_received, count(*) FILTER (NOT inbound) AS messages_sent, count(*) FILTER (is_reply) AS replies,
        count(*) FILTER (is_follow_up) AS follow_ups, count(*) FILTER (is_outreach) AS outreach,
        count(DISTINCT openid) FILTER (inbound) AS customers,
        min(instant) FILTER (NOT inbound) AS first_sent_at, max(instant) FILTER (NOT inbound) AS last_sent_at
    FROM own GROUP BY ALL
), by_customer AS (
    SELECT account, date, worker, count(*) FILTER (was_received AND was_sent) AS customers_served FROM (
        SELECT account, partition_day AS date, worker, openid, bool_or(inbound) AS was_received, bool_or(NOT inbound) AS was_sent FROM own GROUP BY ALL
    ) GROUP BY ALL
), automatic AS (
    SELECT messages.account, day AS date, worker, count(*) AS auto_messages_sent FROM messages JOIN fetched USING (account, day) WHERE automatic GROUP BY ALL
), by_turn AS (
    SELECT account, date, worker,
        count(*) FILTER (outcome = 'answered') AS answered, count(*) FILTER (outcome = 'pending') AS pending,
        count(*) FILTER (outcome = 'unanswered' AND is_first) AS unanswered_first, count(*) FILTER (outcome = 'unanswered' AND NOT is_first) AS unanswered_later,
        count(*) FILTER (outcome = 'answered' AND own_response_seconds IS NULL) AS takeovers,
        sum(response_seconds)::BIGINT AS response_seconds_sum, avg(response_seconds) AS response_seconds_mean,
        quantile_cont(response_seconds, 0.5) AS response_seconds_p50, quantile_cont(response_seconds, 0.9) AS response_seconds_p90,
        quantile_cont(response_seconds, 0.95) AS response_seconds_p95, max(response_seconds) AS response_seconds_max,
        count(*) FILTER (response_seconds <= 30) AS answered_within_30s, count(*) FILTER (response_seconds <= 60) AS answered_within_60s,
        count(*) FILTER (response_seconds <= 180) AS answered_within_180s, count(*) FILTER (response_seconds <= 300) AS answered_within_300s,
        count(*) FILTER (outcome = 'answered' AND is_first) AS first_responses,
        sum(response_seconds) FILTER (is_first)::BIGINT AS first_response_seconds_sum, avg(response_seconds) FILTER (is_first) AS first_response_seconds_mean,
        quantile_cont(response_seconds, 0.5) FILTER (is_first) AS first_response_seconds_p50, quantile_cont(response_seconds, 0.9) FILTER (is_first) AS first_response_seconds_p90,
        quantile_cont(response_seconds, 0.95) FILTER (is_first) AS first_response_seconds_p95, max(response_seconds) FILTER (is_first) AS first_response_seconds_max,
        avg(own_response_seconds) AS own_response_seconds_mean, quantile_cont(own_response_seconds, 0.5) AS own_response_seconds_p50,
        quantile_cont(own_response_seconds, 0.9) AS own_response_seconds_p90,
        count(*) FILTER (outcome = 'answered' AND asked_in_hours) AS answered_in_hours,
        avg(business_seconds) FILTER (asked_in_hours) AS business_seconds_mean, quantile_cont(business_seconds, 0.5) FILTER (asked_in_hours) AS business_seconds_p50,
        quantile_cont(business_seconds, 0.9) FILTER (asked_in_hours) AS business_seconds_p90,
        count(*) FILTER (NOT asked_in_hours) AS asked_out_of_hours
    FROM pairs GROUP BY ALL
), by_hand_off AS (
    SELECT account, date, receiver AS worker, count(*) AS handed_off
    FROM (SELECT account, date, worker, unnest(receivers) AS receiver FROM pairs) WHERE receiver <> worker GROUP BY ALL
), workers AS (
    SELECT account, date, worker FROM by_message UNION SELECT account, date, worker FROM automatic
    UNION SELECT account, date, worker FROM by_turn UNION SELECT account, date, worker FROM by_hand_off
)
SELECT
    account, date, worker, coalesce(messages_received, 0) AS messages_received, coalesce(messages_sent, 0) AS messages_sent, coalesce(replies, 0) AS replies,
    coalesce(follow_ups, 0) AS follow_ups, coalesce(outreach, 0) AS outreach, coalesce(auto_messages_sent, 0) AS auto_messages_sent,
    coalesce(customers, 0) AS customers, coalesce(customers_served, 0) AS customers_served, first_sent_at, last_sent_at,
    coalesce(max_concurrent, 0) AS max_concurrent, mean_concurrent,
    coalesce(answered, 0) AS answered, coalesce(pending, 0) AS pending, coalesce(unanswered_first, 0) AS unanswered_first, coalesce(unanswered_later, 0) AS unanswered_later,
    coalesce(takeovers, 0) AS takeovers, coalesce(handed_off, 0) AS handed_off,
    response_seconds_sum, response_seconds_mean, response_seconds_p50, response_seconds_p90, response_seconds_p95, response_seconds_max,
    coalesce(answered_within_30s, 0) AS answered_within_30s, coalesce(answered_within_60s, 0) AS answered_within_60s,
    coalesce(answered_within_180s, 0) AS answered_within_180s, coalesce(answered_within_300s, 0) AS answered_within_300s,
    coalesce(first_responses, 0) AS first_responses, first_response_seconds_sum, first_response_seconds_mean, first_response_seconds_p50,
    first_response_seconds_p90, first_response_seconds_p95, first_response_seconds_max,
    own_response_seconds_mean, own_response_seconds_p50, own_response_seconds_p90,
    if((SELECT count(*) FROM shifts) > 0, coalesce(answered_in_hours, 0), NULL) AS answered_in_hours,
    business_seconds_mean, business_seconds_p50, business_seconds_p90,
    if((SELECT count(*) FROM shifts) > 0, coalesce(asked_out_of_hours, 0), NULL) AS asked_out_of_hours
FROM workers
LEFT JOIN by_message USING (account, date, worker) LEFT JOIN by_customer USING (account, date, worker) LEFT JOIN automatic USING (account, date, worker)
LEFT JOIN by_turn USING (account, date, worker) LEFT JOIN by_hand_off USING (account, date, worker) LEFT JOIN concurrency USING (account, date, worker)
ORDER BY account, date, worker;
