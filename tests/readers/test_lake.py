"""The lake as DuckDB and Polars read it: by a glob, with no option."""

import duckdb
import polars as pl
import pytest

ROWS = {"messages": 30 * 700 - 700, "response_pairs": None, "worker_daily": None}


@pytest.mark.parametrize("table", ROWS)
def test_both_read_the_same_rows_and_columns(lake, table):
    by_duckdb = duckdb.sql(f"SELECT * FROM '{lake}/{table}/*/*.parquet'")
    by_polars = pl.read_parquet(f"{lake}/{table}/")
    assert sorted(by_duckdb.columns) == sorted(by_polars.columns)
    [(rows,)] = by_duckdb.count("*").fetchall()
    assert rows == by_polars.height and rows > 0
    assert ROWS[table] in (None, rows)


def test_types_are_what_they_should_be(lake):
    columns = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{lake}/messages/*/*.parquet')").fetchall())
    assert columns == {
        "account": "VARCHAR",
        "openid": "VARCHAR",
        "worker": "VARCHAR",
        "opercode": "INTEGER",
        "text": "VARCHAR",
        "sent_at": "TIMESTAMP WITH TIME ZONE",
        "seq": "BIGINT",
        "date": "DATE",
    }
    assert pl.scan_parquet(f"{lake}/messages/").collect_schema()["sent_at"] == pl.Datetime("us", "UTC")


def test_every_message_is_on_its_local_day_and_numbered_without_a_hole(lake):
    wrong = duckdb.sql(f"""
        SELECT count(*) FROM (
            SELECT date, seq, sent_at,
                   row_number() OVER (PARTITION BY date ORDER BY sent_at, seq) - 1 AS expected
            FROM '{lake}/messages/*/*.parquet')
        WHERE seq <> expected OR (sent_at AT TIME ZONE 'Asia/Shanghai')::DATE <> date
    """).fetchall()
    assert wrong == [(0,)]


def test_a_day_without_messages_is_there_and_a_day_that_was_not_fetched_is_not(lake):
    assert (lake / "messages" / "date=2024-06-01").is_dir()
    assert not (lake / "messages" / "date=2024-05-15").exists()
    assert len(list((lake / "messages").iterdir())) == 32


def test_files_are_laid_out_as_promised(large_day):
    metadata = duckdb.sql(f"""
        SELECT path_in_schema, compression, row_group_num_rows, stats_min_value IS NOT NULL, bloom_filter_offset IS NOT NULL
        FROM parquet_metadata('{large_day}/messages/*/*.parquet') ORDER BY row_group_id, column_id
    """).fetchall()
    assert [rows for _, _, rows, _, _ in metadata][::7] == [122880, 122880, 54240]
    assert {compression for _, compression, *_ in metadata} == {"ZSTD"}
    assert all(has_statistics for *_, has_statistics, _ in metadata)
    assert {column for column, *_, has_bloom in metadata if has_bloom} == {"openid"}
    keys = duckdb.sql(f"SELECT decode(key) FROM parquet_kv_metadata('{large_day}/messages/*/*.parquet')").fetchall()
    assert {"kefu.schema_version", "kefu.timezone", "kefu.window_start", "kefu.window_end", "kefu.rows", "kefu.content_hash"} <= {key for (key,) in keys}


def test_the_history_of_runs_is_a_table(lake):
    runs = duckdb.sql(f"FROM read_json('{lake}/_kefu/accounts/*/runs/*.json')")
    assert {"started_at", "outcome", "exit_code", "duration_seconds", "retries", "rejects", "days_fetched"} <= set(runs.columns)
    assert str(dict(zip(runs.columns, runs.types))["started_at"]).startswith("TIMESTAMP")
    assert runs.count("*").fetchall()[0][0] >= 1
