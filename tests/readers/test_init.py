"""`kefu init` in a pseudo-terminal: its questions, its files, and where the secret is not."""

import os
import pty
import re
import select
import stat
import subprocess
import time

import pytest
from conftest import KEFU, simulator

LIMIT = 60


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, folder, environment, *arguments):
        self.shown = ""
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execve(KEFU, [KEFU, *arguments], environment)

    def read_until(self, words):
        """Reads until the words are shown. Returns what came before them."""
        before = ""
        deadline = time.monotonic() + LIMIT
        while words not in before:
            assert time.monotonic() < deadline, f"no {words!r} in {self.shown!r}"
            if select.select([self.terminal], [], [], LIMIT)[0]:
                before += self.read()
        return before

    def read(self):
        try:
            text = os.read(self.terminal, 4096).decode()
        except OSError:
            # The process has closed the terminal.
            text = ""
        self.shown += text
        assert text, self.shown
        return text

    def type(self, text):
        os.write(self.terminal, text.encode())

    def command_line(self):
        """The command line and the environment of the process, as other users of the machine see them."""
        return b"".join(open(f"/proc/{self.process}/{name}", "rb").read() for name in ["cmdline", "environ"])

    def end(self):
        """Reads to the end. Returns the exit code."""
        while True:
            try:
                text = os.read(self.terminal, 4096).decode(errors="replace")
            except OSError:
                break
            if not text:
                break
            self.shown += text
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture(scope="module")
def served():
    with simulator("--days", "1", "--messages-per-day", "10") as settings:
        yield settings


def answered(folder, served, answers):
    """Answers the questions. Returns the terminal after the last one."""
    terminal = Terminal(folder, {"KEFU_BASE_URL": served["KEFU_BASE_URL"]}, "init")
    for question, answer in answers:
        terminal.read_until(f"{question}")
        terminal.read_until(": ") if not terminal.shown.endswith(": ") else None
        terminal.type(f"{answer}\n")
    return terminal


def test_answers_become_files_and_the_secret_is_shown_nowhere(served, tmp_path):
    secret = served["KEFU_SECRET"]
    terminal = answered(tmp_path, served, [
        ("AppID", "gh_0123456789ab"),
        ("AppID", served["KEFU_APPID"]),
        ("Name of the account", "shop"),
        ("Time zone", "Beijing"),
        ("Time zone", ""),
        ("Business hours", "yes"),
    ])
    terminal.read_until("AppSecret (not shown): ")
    terminal.type(f"{secret}\n")
    terminal.read_until("checks, as `kefu doctor` makes them")
    assert secret.encode() not in terminal.command_line()
    assert terminal.end() == 0, terminal.shown
    assert secret not in terminal.shown
    assert "it begins with gh_" in terminal.shown and "which begins with wx" in terminal.shown
    assert "`Beijing` is not an IANA time zone" in terminal.shown
    assert re.search(r"^ok +token ", terminal.shown, re.MULTILINE), terminal.shown

    file = tmp_path / "kefu.secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == f"{secret}\n"
    settings = (tmp_path / "kefu.toml").read_text()
    assert secret not in settings
    for line in [f'appid = "{served["KEFU_APPID"]}"', 'account = "shop"', 'timezone = "Asia/Shanghai"', 'monday = ["09:00-18:00"]']:
        assert line in settings.splitlines()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kefu.secret", "kefu.toml"]

    # The same again replaces nothing.
    before = settings
    again = Terminal(tmp_path, {}, "init")
    assert again.end() == 2
    assert "kefu.toml exists already, and is not replaced" in again.shown
    assert (tmp_path / "kefu.toml").read_text() == before


def test_an_interrupted_question_leaves_no_file_and_a_terminal_with_echo(served, tmp_path):
    terminal = answered(tmp_path, served, [
        ("AppID", served["KEFU_APPID"]),
        ("Name of the account", ""),
        ("Time zone", ""),
        ("Business hours", ""),
    ])
    terminal.read_until("AppSecret (not shown): ")
    import termios

    assert not termios.tcgetattr(terminal.terminal)[3] & termios.ECHO
    terminal.type("half of a secret\x03")
    terminal.read_until("stopped by SIGINT")
    assert terminal.end() == 130
    # One line of its own, and nothing about a lake.
    assert terminal.shown.splitlines()[-2:] == ["AppSecret (not shown): ", "stopped by SIGINT"], terminal.shown
    assert "half of a secret" not in terminal.shown
    assert termios.tcgetattr(terminal.terminal)[3] & termios.ECHO
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_simulator_says_so_in_a_line(tmp_path):
    terminal = Terminal(tmp_path, {}, "simulate")
    terminal.read_until("base_url")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert re.sub(r"^\^C", "", terminal.shown.splitlines()[-1]) == "stopped by SIGINT", terminal.shown


def test_the_end_of_the_input_leaves_no_file(served, tmp_path):
    terminal = answered(tmp_path, served, [("AppID", served["KEFU_APPID"])])
    terminal.read_until("Name of the account")
    terminal.type("\x04")
    assert terminal.end() == 2
    assert "the input has ended" in terminal.shown
    assert list(tmp_path.iterdir()) == []


def test_flags_and_stdin_give_the_same_files(served, tmp_path):
    arguments = ["init", "--appid", served["KEFU_APPID"], "--account", "shop", "--business-hours", "yes", "--secret-stdin"]
    environment = {"KEFU_BASE_URL": served["KEFU_BASE_URL"]}
    done = subprocess.run([KEFU, *arguments], cwd=tmp_path, env=environment, input=f"{served['KEFU_SECRET']}\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Business hours, yes" not in done.stderr and served["KEFU_SECRET"] not in done.stdout + done.stderr
    status = subprocess.run([KEFU, "doctor", "--output", "json"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert status.returncode == 0, status.stdout
    assert served["KEFU_SECRET"] not in status.stdout
