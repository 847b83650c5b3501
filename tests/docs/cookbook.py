"""Runs the recipes of docs/guide/cookbook.md on a lake, in DuckDB and in Polars, and compares them.

    python tests/docs/cookbook.py KEFU LAKE …

A recipe is a block of SQL, followed by a block of Python that sets `answer`. Blocks without a
partner are run, too.
"""

import datetime
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import duckdb
import polars as pl

ROOT = pathlib.Path(__file__).parents[2]
COOKBOOK = ROOT / "docs/guide/cookbook.md"


def blocks():
    """The blocks of SQL and Python, in order, as (language, code)."""
    return re.findall(r"^```(sql|python)\n(.*?)^```$", COOKBOOK.read_text(), re.MULTILINE | re.DOTALL)


def comparable(value):
    """A value as both programs have it: instants in UTC, floats without their last digits."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.9g}")
    return value


def table(columns, rows):
    rows = [[comparable(value) for value in row] for row in rows]
    # Numbers of different types that are equal are written in one way.
    key = lambda row: [(value is None, str(value) if isinstance(value, str) else repr(value)) for value in row]
    return list(columns), sorted(rows, key=key)


def check(kefu, lake):
    views = subprocess.run([kefu, "sql", "--lake", lake], capture_output=True, text=True, check=True).stdout
    connection = duckdb.connect()
    connection.execute(views)
    names = {}
    asked = None
    compared = 0
    for language, code in blocks():
        try:
            if language == "sql":
                found = connection.execute(code)
                asked = table([column[0] for column in found.description], found.fetchall())
                continue
            names.pop("answer", None)
            exec(code, names)  # noqa: S102 (the code is ours)
            names["LAKE"] = lake
            if "answer" not in names:
                continue
            answer = names["answer"].collect()
            answered = table(answer.columns, answer.rows())
        except Exception as error:
            raise SystemExit(f"{COOKBOOK.name}, {lake}: {error}\n\n{code}")
        if asked != answered:
            raise SystemExit(f"{COOKBOOK.name}, {lake}: other answers\n\n{code}\nDuckDB {asked}\n\nPolars {answered}")
        compared += 1
    print(f"cookbook: {compared} recipes agree on {lake} (DuckDB {duckdb.__version__}, Polars {pl.__version__})")


def main():
    kefu, *lakes = sys.argv[1:]
    lakes = [os.path.abspath(lake) for lake in lakes]
    # Some recipes write files.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for lake in lakes:
            check(kefu, lake)
        os.chdir(ROOT)


main()
