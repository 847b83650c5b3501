"""A lake made by kefu, for the readers that its users have. Needs KEFU, the path of the binary."""

import json
import os
import pathlib
import subprocess
from contextlib import contextmanager

import pytest

KEFU = os.environ.get("KEFU", "kefu")


@contextmanager
def simulator(*arguments):
    """A running `kefu simulate`: the settings that a kefu needs to talk to it."""
    process = subprocess.Popen([KEFU, "simulate", *arguments], stdout=subprocess.PIPE)
    try:
        hello = json.loads(process.stdout.readline())
        yield {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def app(settings, number):
    """The settings of another app. The simulator knows ten, which differ in the last digit."""
    return settings | {"KEFU_APPID": f"{settings['KEFU_APPID'][:-1]}{number}"}


def kefu(folder, settings, *arguments):
    """Runs kefu in a folder and gives its summary."""
    result = subprocess.run([KEFU, *arguments, "--output", "json"], cwd=folder, env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def lake(tmp_path_factory) -> pathlib.Path:
    """A month of generated days with a missing one in between."""
    folder = tmp_path_factory.mktemp("month")
    with simulator("--first-day", "2024-05-01", "--days", "30", "--messages-per-day", "700") as settings:
        kefu(folder, settings, "run", "--from", "2024-05-01", "--to", "2024-05-14")
        kefu(folder, settings, "run", "--from", "2024-05-16", "--to", "2024-06-02")
    return folder / "data" / "lake"


@pytest.fixture(scope="session")
def large_day(tmp_path_factory) -> pathlib.Path:
    """A day of several row groups."""
    folder = tmp_path_factory.mktemp("large")
    with simulator("--first-day", "2024-05-13", "--days", "1", "--messages-per-day", "300000") as settings:
        kefu(folder, settings, "run", "--date", "2024-05-13")
    return folder / "data" / "lake"
