"""The scripts: their syntax. Building the static binary takes 20 minutes, so no test does that."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("script", sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("deploy/**/*.sh")))
def test_the_syntax_of_a_script_is_right(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_a_new_user_of_the_dag_must_name_the_first_day():
    """Otherwise Airflow would make a run for each day since a date of this repository."""
    assert "\nSTART = None\n" in (ROOT / "deploy/airflow/kefu_dag.py").read_text()
