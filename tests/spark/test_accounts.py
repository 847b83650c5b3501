"""`deploy/spark/kefu_on_spark.py` on a real cluster, and what it writes to a bucket."""

import collections
import pathlib
import re
import shutil
import subprocess

import pytest
from pyarrow import parquet

import kefu_on_spark
from cluster import Cluster, kill, submit
from servers import KEFU, KEY, Store, files, kefu, name, settings, simulator, wait_until

SCRIPT = pathlib.Path(__file__).parents[2] / "deploy/spark/kefu_on_spark.py"
DAYS = ["--from", "2024-05-13", "--to", "2024-05-15"]
ACCOUNTS = 20
FILES = ACCOUNTS * 3 * 6


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("moto"))
    yield store
    store.close()


@pytest.fixture(scope="module")
def wechat():
    arguments = ["--accounts", str(ACCOUNTS), "--first-day", "2024-05-12", "--days", "5", "--messages-per-day", "60"]
    with simulator(*arguments, "--latency-ms", "400") as served:
        yield served


@pytest.fixture(scope="module")
def expected(wechat, tmp_path_factory):
    """What a single machine writes."""
    base_url, secret = wechat
    folder = tmp_path_factory.mktemp("alone")
    settings(folder, "lake", ACCOUNTS, base_url, {"secret": secret})
    kefu(folder, "run", *DAYS)
    written = files(folder / "lake")
    assert len(written) == FILES
    return written


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), workers=2)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """The binary under the name that the jobs use."""
    return shutil.copy(KEFU, tmp_path_factory.mktemp("binary") / "kefu")


def finished(driver, code=0):
    try:
        out, log = driver.communicate(timeout=300)
    finally:
        driver.kill()
    assert driver.returncode == code, out + log[-4000:]
    return out


def reports(folder):
    return parquet.read_table(folder).to_pylist()


def test_one_unit_in_two_tasks_has_one_winner(store, cluster, wechat, expected, binary, tmp_path):
    base_url, secret = wechat
    shipped = [binary, *settings(tmp_path, store.lake("twice"), 4, base_url, {"secret": secret})]
    script = pathlib.Path(__file__).with_name("twice.py")
    out = finished(submit(cluster.url, shipped, script, "kefu", "kefu.toml", "run", *DAYS, modules=[SCRIPT]))
    assert out.split()[0] == "8", out
    mine = {key: content for key, content in expected.items() if key.endswith(tuple(f"/{name(number)}.parquet" for number in range(1, 5)))}
    assert store.content("twice") == mine
    puts = store.puts("twice")
    won = collections.Counter(path for path, status in puts if status == 200)
    assert len(won) == len(mine) and set(won.values()) == {1}, out


def test_a_lost_executor_changes_no_byte_and_a_second_run_puts_nothing(store, cluster, wechat, expected, binary, tmp_path):
    base_url, secret = wechat
    shipped = [binary, *settings(tmp_path / "job", store.lake("lost"), ACCOUNTS, base_url, {"secret": secret})]

    def start(reports):
        return submit(cluster.url, shipped, SCRIPT, "--config", "kefu.toml", "--batch", "2", "--retry-wait", "0", "--reports", reports, "--", "run", *DAYS)

    driver = start(tmp_path / "first")
    wait_until(lambda: len(store.keys("lost")) > FILES // 4)
    kill(cluster.workers[0])
    assert driver.poll() is None and len(store.keys("lost")) < FILES
    assert finished(driver) == f"{ACCOUNTS} accounts, 0 failed\n"
    assert store.content("lost") == expected
    rows = reports(tmp_path / "first")
    assert sorted(row["account"] for row in rows) == sorted(map(name, range(1, ACCOUNTS + 1)))
    assert {row["failure"] for row in rows} == {None}

    before = store.puts("lost")
    assert finished(start(tmp_path / "second")) == f"{ACCOUNTS} accounts, 0 failed\n"
    assert store.puts("lost") == before
    assert len(reports(tmp_path / "second")) == ACCOUNTS


def test_shards_fill_a_bucket_in_any_order_and_at_once(store, wechat, expected, tmp_path):
    base_url, secret = wechat
    settings(tmp_path, store.lake("shards"), ACCOUNTS, base_url, {"secret": secret})
    for shards in [["3/4"], ["2/4", "0/4", "1/4"]]:
        started = [subprocess.Popen([KEFU, "run", *DAYS, "--shard", shard], cwd=tmp_path, env=KEY, stdout=subprocess.DEVNULL) for shard in shards]
        assert [process.wait(timeout=300) for process in started] == [0] * len(shards)
    assert store.content("shards") == expected


def test_failures_are_retried_only_when_that_can_help(tmp_path):
    faults = ["--fault", "account=3/status:503:retry-after=600", "--fault", "account=4/errcode:45009"]
    with simulator("--accounts", "4", "--first-day", "2024-05-12", "--days", "5", "--messages-per-day", "60", *faults) as (base_url, secret):
        lake = tmp_path / "lake"
        settings(tmp_path / "job", lake, 4, base_url, {"secret": secret, "wrong": "no-secret-of-this-one"})
        # Each account has a shard of its own, and two shards have none.
        options = ["--kefu", KEFU, "--config", tmp_path / "job/kefu.toml", "--shards", "6", "--retry-wait", "0", "--reports", tmp_path / "reports"]
        driver = submit("local[2,2]", [], SCRIPT, *options, "--", "run", *DAYS)
        out = finished(driver, code=77)
    rows = {row["account"]: row for row in reports(tmp_path / "reports")}
    assert sorted(rows) == [name(1), name(2), name(3), name(4)]
    assert [(row["failure"], row["exit_code"], row["attempt"]) for _, row in sorted(rows.items())] == [
        (None, 0, 0), ("refused", 77, 0), ("unavailable", 69, 1), ("quota", 75, 0),
    ]
    lines = out.splitlines()
    assert lines[0] == "4 accounts, 3 failed" and lines[1] == "account\tfailure\tshard\treason"
    assert [line.split("\t")[:2] for line in lines[2:]] == [[name(2), "refused"], [name(3), "unavailable"], [name(4), "quota"]]
    assert len(files(lake)) == 3 * 6


def test_the_exit_codes_are_those_of_the_documentation():
    page = (SCRIPT.parents[2] / "docs/reference/exit-codes.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if re.match(r"\| \d", line)]
    codes = {int(code): row[3] for row in rows for code in row[1].split(",")}
    signals = {130, 143}
    assert set(kefu_on_spark.BY_SEVERITY) == codes.keys() - signals
    assert kefu_on_spark.RETRIED == {code for code, retry in codes.items() if retry in ("yes", "later")} - signals
