"""Runs the views of `kefu sql --dialect spark` and prints the rows of each query, as JSON: `spark_views.py QUERIES`, the script on stdin."""

import json
import sys

from pyspark.sql import SparkSession


def main():
    settings = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "2")
    session = settings.config("spark.driver.host", "127.0.0.1").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    for statement in statements(sys.stdin.read()):
        session.sql(statement)
    results = [[list(row) for row in session.sql(query).collect()] for query in json.loads(sys.argv[1])]
    print(json.dumps(results, default=str))


def statements(script):
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]


if __name__ == "__main__":
    main()
