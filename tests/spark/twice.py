"""Runs one shard in two tasks at once, in two executors. Prints the exit codes."""

import sys

import kefu_on_spark
from pyspark.sql import SparkSession

shipped, config, *arguments = sys.argv[1:]
context = SparkSession.builder.getOrCreate().sparkContext
# A single attempt: the result is returned whatever it is.
job = kefu_on_spark.Job(shipped, config, arguments, shards=1, attempts=1)


def both_at_once(shards):
    from pyspark import BarrierTaskContext

    BarrierTaskContext.get().barrier()
    return (row["exit_code"] for shard in shards for row in kefu_on_spark.run_shard(job, shard))


codes = context.parallelize([0, 0], 2).barrier().mapPartitions(both_at_once).collect()
print(len(codes), sorted(set(codes)))
