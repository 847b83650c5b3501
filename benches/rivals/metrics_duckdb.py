"""The metrics stage in DuckDB SQL, with kefu's definitions: one timeline over all days, two threads, a Parquet file for each table.

Covers what most teams ask for: `response_pairs`, `sessions` and `worker_daily` without its concurrency and without business hours or
automatic replies. It is generous to DuckDB: kefu computes those, `worker_hourly` and `account_daily` too, and files by day.
"""

import pathlib
import sys

import duckdb

SQL = """
CREATE TABLE starts AS
WITH messages AS (
    SELECT openid, worker, opercode = 2003 AS inbound, epoch(sent_at)::BIGINT AS instant, seq, date AS day
    FROM read_parquet('{lake}/messages/*/*.parquet', hive_partitioning = true) WHERE opercode IN (2002, 2003)
), neighbours AS (
    SELECT *, lag(inbound) OVER customer AS after_inbound, instant - lag(instant) OVER customer AS gap
    FROM messages WINDOW customer AS (PARTITION BY openid ORDER BY instant, seq)
), kinds AS (
    SELECT *,
        inbound AND (gap IS NULL OR gap > 1800 OR NOT after_inbound) AS starts_turn,
        NOT inbound AND coalesce(after_inbound AND gap <= 172800, false) AS is_reply,
        NOT inbound AND coalesce(NOT after_inbound AND gap <= 1800, false) AS is_follow_up
    FROM neighbours
), starts AS (
    SELECT *, NOT inbound AND NOT is_reply AND NOT is_follow_up AS is_outreach,
        (inbound AND (gap IS NULL OR gap > 1800)) OR (NOT inbound AND NOT is_reply AND NOT is_follow_up) AS starts_session
    FROM kinds
)
SELECT * EXCLUDE (after_inbound, gap),
    sum(starts_turn::INTEGER) OVER customer AS turn, sum(starts_session::INTEGER) OVER customer AS session,
    lead(starts_turn, 1, false) OVER customer AS next_starts_turn
FROM starts WINDOW customer AS (PARTITION BY openid ORDER BY instant, seq);

CREATE TABLE horizon AS SELECT max(day) AS last_day, epoch((max(day) + 1)::TIMESTAMP AT TIME ZONE 'Asia/Shanghai')::BIGINT AS instant FROM starts;

CREATE TABLE pairs AS
WITH turns AS (
    SELECT openid, turn, min(day) AS day,
        arg_min(worker, (instant, seq)) FILTER (inbound) AS first_worker, arg_max(worker, (instant, seq)) FILTER (inbound) AS last_worker,
        any_value(worker) FILTER (is_reply) AS reply_worker,
        min(instant) FILTER (inbound) AS asked_at, max(instant) FILTER (inbound) AS last_asked_at, min(instant) FILTER (is_reply) AS replied_at,
        count(*) FILTER (inbound) AS customer_messages, bool_or(starts_session AND inbound) AS is_first, bool_or(inbound AND next_starts_turn) AS is_superseded
    FROM starts WHERE inbound OR is_reply GROUP BY openid, turn
), own AS (
    SELECT starts.openid, starts.turn, min(instant) AS own_asked_at
    FROM starts JOIN turns ON starts.openid = turns.openid AND starts.turn = turns.turn AND starts.worker = turns.reply_worker
    WHERE inbound GROUP BY ALL
)
SELECT turns.*, coalesce(reply_worker, last_worker) AS worker,
    CASE WHEN replied_at IS NOT NULL THEN 'answered'
         WHEN NOT is_superseded AND last_day < day + 3 AND horizon.instant - last_asked_at <= 172800 THEN 'pending' ELSE 'unanswered' END AS outcome,
    replied_at - asked_at AS response_seconds, replied_at - last_asked_at AS since_last_seconds, replied_at - own_asked_at AS own_response_seconds
FROM turns LEFT JOIN own USING (openid, turn) CROSS JOIN horizon;

COPY (SELECT day, openid, worker, first_worker, asked_at, last_asked_at, replied_at, outcome, response_seconds, since_last_seconds, own_response_seconds,
    customer_messages, is_first FROM pairs ORDER BY asked_at, openid) TO '{out}/response_pairs.parquet' (COMPRESSION zstd);

COPY (
    WITH sessions AS (
        SELECT openid, session, min(day) AS day, min(instant) AS started_at, max(instant) AS ended_at, arg_min(inbound, (instant, seq)) AS by_customer,
            count(*) FILTER (inbound) AS customer_messages, count(*) FILTER (NOT inbound) AS worker_messages, count(*) FILTER (starts_turn) AS turns,
            count(*) FILTER (is_reply) AS answered, count(DISTINCT worker) AS workers, min(turn) FILTER (inbound) AS first_turn, max(turn) FILTER (inbound) AS last_turn
        FROM starts GROUP BY openid, session
    )
    SELECT sessions.day, sessions.openid, started_at, ended_at, if(by_customer, 'customer', 'worker') AS initiated_by,
        CASE WHEN sessions.customer_messages = 0 THEN 'outreach' WHEN last.outcome = 'answered' THEN 'completed' WHEN last.outcome = 'pending' THEN 'open'
             WHEN worker_messages = 0 THEN 'missed' ELSE 'dropped' END AS outcome,
        if(by_customer, first.replied_at - started_at, NULL) AS first_response_seconds, sessions.customer_messages, worker_messages, turns, answered, workers
    FROM sessions
    LEFT JOIN pairs AS first ON first.openid = sessions.openid AND first.turn = first_turn
    LEFT JOIN pairs AS last ON last.openid = sessions.openid AND last.turn = last_turn
    ORDER BY started_at, sessions.openid
) TO '{out}/sessions.parquet' (COMPRESSION zstd);

COPY (
    WITH by_message AS (
        SELECT day, worker, count(*) FILTER (inbound) AS messages_received, count(*) FILTER (NOT inbound) AS messages_sent, count(*) FILTER (is_reply) AS replies,
            count(*) FILTER (is_follow_up) AS follow_ups, count(*) FILTER (is_outreach) AS outreach, count(DISTINCT openid) FILTER (inbound) AS customers,
            min(instant) FILTER (NOT inbound) AS first_sent_at, max(instant) FILTER (NOT inbound) AS last_sent_at
        FROM starts GROUP BY ALL
    ), by_turn AS (
        SELECT day, worker, count(*) FILTER (outcome = 'answered') AS answered, count(*) FILTER (outcome = 'pending') AS pending,
            count(*) FILTER (outcome = 'unanswered' AND is_first) AS unanswered_first, count(*) FILTER (outcome = 'unanswered' AND NOT is_first) AS unanswered_later,
            count(*) FILTER (outcome = 'answered' AND own_response_seconds IS NULL) AS takeovers,
            sum(response_seconds)::BIGINT AS response_seconds_sum, avg(response_seconds) AS response_seconds_mean,
            quantile_cont(response_seconds, [0.5, 0.9, 0.95]) AS response_seconds_percentiles, max(response_seconds) AS response_seconds_max,
            count(*) FILTER (response_seconds <= 30) AS within_30, count(*) FILTER (response_seconds <= 60) AS within_60,
            count(*) FILTER (response_seconds <= 180) AS within_180, count(*) FILTER (response_seconds <= 300) AS within_300,
            count(*) FILTER (outcome = 'answered' AND is_first) AS first_responses, sum(response_seconds) FILTER (is_first)::BIGINT AS first_sum,
            avg(response_seconds) FILTER (is_first) AS first_mean, quantile_cont(response_seconds, [0.5, 0.9, 0.95]) FILTER (is_first) AS first_percentiles,
            max(response_seconds) FILTER (is_first) AS first_max,
            avg(own_response_seconds) AS own_mean, quantile_cont(own_response_seconds, [0.5, 0.9]) AS own_percentiles
        FROM pairs GROUP BY ALL
    )
    FROM by_message FULL JOIN by_turn USING (day, worker) ORDER BY day, worker
) TO '{out}/worker_daily.parquet' (COMPRESSION zstd);
"""


def main():
    lake, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'Asia/Shanghai'; SET preserve_insertion_order = false")
    connection.execute(SQL.format(lake=lake, out=out))


if __name__ == "__main__":
    main()
