"""The whole job as a strong script does it: strong.py, then response times and volumes of each worker and day. `strong_job.py BASE_URL APPID SECRET FIRST LAST OUT`

Simpler than kefu's metrics: a customer's messages up to the next reply are a turn, whatever the silence; days stand alone; no sessions, hours or business hours.
"""

import pathlib
import sys

import polars as pl

import strong


def metrics(day, messages):
    """One row for each worker: volumes, and response times of the turns that the worker answered."""
    messages = messages.lazy().filter(pl.col("opercode").is_in([2002, 2003]))
    received = pl.col("opercode") == 2003
    ordered = messages.sort("openid", "sent_at", "seq", maintain_order=True).with_columns(received.alias("received"))
    before = pl.col("received").shift(1).over("openid")
    turns = (
        ordered.with_columns((pl.col("received") & ~before.fill_null(False)).cum_sum().over("openid").alias("turn"))
        .group_by("openid", "turn")
        .agg(
            pl.col("sent_at").filter("received").first().alias("asked_at"),
            pl.col("sent_at").filter(~pl.col("received")).first().alias("replied_at"),
            pl.col("worker").filter(~pl.col("received")).first().alias("worker"),
        )
        .with_columns((pl.col("replied_at") - pl.col("asked_at")).dt.total_seconds().alias("seconds"))
    )
    seconds = pl.col("seconds")
    answered = turns.filter(seconds.is_not_null()).group_by("worker").agg(
        pl.len().alias("answered"),
        *[seconds.quantile(percent / 100, "linear").alias(f"p{percent}") for percent in (50, 90, 95)],
        (seconds <= 180).mean().alias("service_level"),
    )
    volumes = messages.group_by("worker").agg(
        received.sum().alias("messages_received"),
        (~received).sum().alias("messages_sent"),
        pl.col("openid").n_unique().alias("customers"),
    )
    return volumes.join(answered, on="worker", how="left").with_columns(pl.lit(day).alias("date")).sort("worker").collect()


def main():
    out = pathlib.Path(sys.argv[6])
    days = strong.download(*sys.argv[1:])
    pl.concat([metrics(day, messages) for day, messages in days]).write_parquet(out / "worker_daily.parquet", compression="zstd")


if __name__ == "__main__":
    main()
