"""The metrics stage in polars' Python, with kefu's definitions; it covers what metrics_duckdb.py covers. `metrics_polars.py LAKE OUT`"""

import os
import pathlib
import sys

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl

DAY = 86_400


def within(column, key):
    """Only where the row before is of the same customer."""
    return pl.when(pl.col("customer") == pl.col("customer").shift(1)).then(column).otherwise(None).alias(key)


def percentiles(column, *percents):
    return [pl.col(column).quantile(percent / 100, "linear").alias(f"{column}_p{percent}") for percent in percents]


def main():
    lake, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    messages = (
        pl.scan_parquet(lake / "messages/*/*.parquet", hive_partitioning=True)
        .filter(pl.col("opercode").is_in([2002, 2003]))
        .select(
            "openid",
            "worker",
            (pl.col("opercode") == 2003).alias("inbound"),
            pl.col("sent_at").dt.epoch("s").alias("instant"),
            "seq",
            pl.col("date").cast(pl.Date).cast(pl.Int32).alias("day"),
        )
        .with_columns(pl.col("openid").rank("dense").alias("customer"))
        .sort("customer", "instant", "seq")
        .collect()
    )
    last_day = messages["day"].max()
    horizon = (last_day + 1) * DAY - 8 * 3_600
    inbound, gap, after_inbound = pl.col("inbound"), pl.col("gap"), pl.col("after_inbound")
    silence = gap.is_null() | (gap > 1_800)
    starts = (
        messages.lazy()
        .with_columns(within(pl.col("instant") - pl.col("instant").shift(1), "gap"), within(inbound.shift(1), "after_inbound"))
        .with_columns(
            (inbound & (silence | ~after_inbound.fill_null(True))).alias("starts_turn"),
            (~inbound & after_inbound & (gap <= 172_800)).fill_null(False).alias("is_reply"),
            (~inbound & ~after_inbound & (gap <= 1_800)).fill_null(False).alias("is_follow_up"),
        )
        .with_columns((~inbound & ~pl.col("is_reply") & ~pl.col("is_follow_up")).alias("is_outreach"))
        .with_columns(((inbound & silence) | pl.col("is_outreach")).alias("starts_session"))
        .with_columns(
            pl.col("starts_turn").cum_sum().alias("turn"),
            pl.col("starts_session").cum_sum().alias("session"),
            pl.when(pl.col("customer") == pl.col("customer").shift(-1)).then(pl.col("starts_turn").shift(-1)).otherwise(False).alias("next_starts_turn"),
        )
        .collect()
    )
    of_turns = starts.lazy().filter(inbound | pl.col("is_reply"))
    received = pl.col("inbound")
    turns = (
        of_turns.group_by("turn", maintain_order=True)
        .agg(
            pl.col("openid").first(),
            pl.col("day").first(),
            pl.col("worker").first().alias("first_worker"),
            pl.col("worker").filter(received).last().alias("last_worker"),
            pl.col("worker").filter("is_reply").first().alias("reply_worker"),
            pl.col("instant").first().alias("asked_at"),
            pl.col("instant").filter(received).last().alias("last_asked_at"),
            pl.col("instant").filter("is_reply").first().alias("replied_at"),
            received.sum().alias("customer_messages"),
            (pl.col("starts_session") & received).any().alias("is_first"),
            (received & pl.col("next_starts_turn")).any().alias("is_superseded"),
        )
    )
    own = (
        of_turns.filter(received)
        .join(turns.select("turn", "reply_worker"), left_on=["turn", "worker"], right_on=["turn", "reply_worker"], how="semi")
        .group_by("turn")
        .agg(pl.col("instant").min().alias("own_asked_at"))
    )
    may_wait = ~pl.col("is_superseded") & (pl.col("day") + 3 > last_day) & (horizon - pl.col("last_asked_at") <= 172_800)
    pairs = (
        turns.join(own, on="turn", how="left")
        .with_columns(
            pl.coalesce("reply_worker", "last_worker").alias("worker"),
            pl.when(pl.col("replied_at").is_not_null()).then(pl.lit("answered")).when(may_wait).then(pl.lit("pending")).otherwise(pl.lit("unanswered")).alias("outcome"),
            (pl.col("replied_at") - pl.col("asked_at")).alias("response_seconds"),
            (pl.col("replied_at") - pl.col("last_asked_at")).alias("since_last_seconds"),
            (pl.col("replied_at") - pl.col("own_asked_at")).alias("own_response_seconds"),
        )
        .collect()
    )
    pairs.drop("turn", "reply_worker", "own_asked_at", "is_superseded").sort("asked_at", "openid").write_parquet(out / "response_pairs.parquet", compression="zstd")
    is_customers = pl.col("inbound").first()
    outcomes = pairs.select("turn", "outcome", "replied_at")
    sessions = (
        starts.lazy()
        .group_by("session", maintain_order=True)
        .agg(
            pl.col("openid").first(),
            pl.col("day").first(),
            pl.col("instant").first().alias("started_at"),
            pl.col("instant").last().alias("ended_at"),
            is_customers.alias("by_customer"),
            received.sum().alias("customer_messages"),
            (~received).sum().alias("worker_messages"),
            pl.col("starts_turn").sum().alias("turns"),
            pl.col("is_reply").sum().alias("answered"),
            pl.col("worker").n_unique().alias("workers"),
            pl.col("turn").filter(received).first().alias("first_turn"),
            pl.col("turn").filter(received).last().alias("last_turn"),
        )
        .join(outcomes.lazy().rename({"outcome": "last_outcome", "replied_at": "_"}), left_on="last_turn", right_on="turn", how="left")
        .join(outcomes.lazy().rename({"outcome": "__", "replied_at": "first_replied_at"}), left_on="first_turn", right_on="turn", how="left")
        .with_columns(
            pl.when(pl.col("customer_messages") == 0).then(pl.lit("outreach")).when(pl.col("last_outcome") == "answered").then(pl.lit("completed"))
            .when(pl.col("last_outcome") == "pending").then(pl.lit("open")).when(pl.col("worker_messages") == 0).then(pl.lit("missed")).otherwise(pl.lit("dropped")).alias("outcome"),
            pl.when("by_customer").then(pl.col("first_replied_at") - pl.col("started_at")).alias("first_response_seconds"),
        )
        .drop("session", "first_turn", "last_turn", "last_outcome", "first_replied_at", "_", "__")
        .sort("started_at", "openid")
        .collect()
    )
    sessions.write_parquet(out / "sessions.parquet", compression="zstd")
    sent = pl.col("instant").filter(~received)
    by_message = starts.lazy().group_by("day", "worker").agg(
        received.sum().alias("messages_received"), (~received).sum().alias("messages_sent"), pl.col("is_reply").sum().alias("replies"),
        pl.col("is_follow_up").sum().alias("follow_ups"), pl.col("is_outreach").sum().alias("outreach"),
        pl.col("customer").filter(received).n_unique().alias("customers"), sent.min().alias("first_sent_at"), sent.max().alias("last_sent_at"),
    )
    response, outcome, first = pl.col("response_seconds"), pl.col("outcome"), pl.col("is_first")
    by_turn = (
        pairs.lazy()
        .with_columns(pl.when("is_first").then("response_seconds").alias("first_response_seconds"))
        .group_by("day", "worker")
        .agg(
            (outcome == "answered").sum().alias("answered"), (outcome == "pending").sum().alias("pending"),
            ((outcome == "unanswered") & first).sum().alias("unanswered_first"), ((outcome == "unanswered") & ~first).sum().alias("unanswered_later"),
            ((outcome == "answered") & pl.col("own_response_seconds").is_null()).sum().alias("takeovers"),
            response.sum().alias("response_seconds_sum"), response.mean().alias("response_seconds_mean"), response.max().alias("response_seconds_max"),
            *[(response <= seconds).sum().alias(f"answered_within_{seconds}s") for seconds in (30, 60, 180, 300)],
            ((outcome == "answered") & first).sum().alias("first_responses"),
            pl.col("first_response_seconds").sum().alias("first_sum"), pl.col("first_response_seconds").mean().alias("first_mean"),
            pl.col("first_response_seconds").max().alias("first_max"), pl.col("own_response_seconds").mean().alias("own_mean"),
            *percentiles("response_seconds", 50, 90, 95), *percentiles("first_response_seconds", 50, 90, 95), *percentiles("own_response_seconds", 50, 90),
        )
    )
    by_message.join(by_turn, on=["day", "worker"], how="full", coalesce=True).sort("day", "worker").collect().write_parquet(out / "worker_daily.parquet", compression="zstd")


if __name__ == "__main__":
    main()
