"""The wheel: what is in it, and whether it works where nothing else is installed."""

import json
import pathlib
import subprocess
import sys
import venv
import zipfile

ROOT = pathlib.Path(__file__).parents[2]


def test_the_wheel_brings_a_kefu_that_works(tmp_path):
    build = [sys.executable, "-m", "maturin", "build", "--release", "--out", tmp_path]
    subprocess.run(build, cwd=ROOT / "deploy/wheel", check=True)
    [wheel] = tmp_path.glob("*.whl")
    files = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert [name.split("/", 1)[1] for name in files] == ["scripts/kefu"]

    venv.create(tmp_path / "clean", with_pip=True)
    programs = tmp_path / "clean/bin"
    subprocess.run([programs / "pip", "install", "--quiet", "--no-index", wheel], check=True)
    demo = subprocess.run([programs / "kefu", "demo", "--output", "json"], cwd=tmp_path, env={}, capture_output=True, text=True)
    assert demo.returncode == 0, demo.stderr
    assert len(json.loads(demo.stdout.splitlines()[-1])["workers"]) > 1
    assert (tmp_path / "data/demo/messages").is_dir()
