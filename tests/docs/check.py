"""Checks the documentation against the program.

    python tests/docs/check.py KEFU

KEFU is the program. Prints what is wrong, and ends with 1 if anything is. Needs duckdb, for the
columns of the tables.
"""

import glob
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import duckdb

ROOT = pathlib.Path(__file__).parents[2]
README_LINES = 150
# Names of Arrow types in the documentation, and DuckDB's.
TYPES = {
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "boolean": "BOOLEAN",
    "instant": "TIMESTAMP WITH TIME ZONE",
}

problems = []


def problem(place, text):
    problems.append(f"{place}: {text}")


def compare(place, what, documented, real):
    documented, real = set(documented), set(real)
    for name in sorted(real - documented, key=str):
        problem(place, f"{what} `{name}` is missing")
    for name in sorted(documented - real, key=str):
        problem(place, f"{what} `{name}` does not exist")


def read(path):
    return (ROOT / path).read_text()


def output(*command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, **options)
    return ran.stdout + ran.stderr


def markdown_files():
    listed = output("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
    return [ROOT / name for name in listed.splitlines()]


def without_code(text):
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def section(text, heading):
    """The text below a heading, up to the next one of its level or above."""
    level = len(heading.split(" ")[0])
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def first_cells(text):
    """The names in backticks in the first cell of each row of the tables in a text."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


# --- README, links and anchors ---


def anchors(path):
    """The anchors of a file's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", without_code(path.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip()
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        name, number = anchor, 0
        while name in found:
            number += 1
            name = f"{anchor}-{number}"
        found.add(name)
    return found


def check_readme():
    lines = read("README.md").count("\n")
    if lines >= README_LINES:
        problem("README.md", f"{lines} lines, and fewer than {README_LINES} are wanted")
    for command in ["cargo run --release -- demo", "cargo test --release"]:
        if command not in read("README.md").splitlines():
            problem("README.md", f"`{command}` is missing")


def check_links():
    for path in markdown_files():
        text = re.sub(r"`[^`\n]*`", "", without_code(path.read_text()))
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
        for target in targets:
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = path.relative_to(ROOT)
            aim = (path.parent / name).resolve() if name else path
            if not aim.exists():
                problem(place, f"the link {target} leads nowhere")
            elif anchor and anchor not in anchors(aim):
                problem(place, f"the link {target} has no heading to lead to")


def check_paths():
    """Every file of the repository that a page names exists."""
    for path in markdown_files():
        if path.name == "CHANGELOG.md":
            continue
        for name in re.findall(r"`((?:src|tests|docs|deploy|notebooks|benches|\.ci)/[\w./-]+)`", path.read_text()):
            if not (ROOT / name).exists():
                problem(path.relative_to(ROOT), f"there is no {name}")


# --- commands ---


class Commands:
    """The commands and flags of the program, from its help."""

    def __init__(self, kefu):
        self.kefu = kefu
        listed = re.search(r"^Commands:\n(.*?)\n\n", self.help(), re.MULTILINE | re.DOTALL).group(1)
        self.names = set(re.findall(r"^  (\w+)", listed, re.MULTILINE)) - {"help"}
        self.common = self.flags_of(self.help())
        self.flags = {name: self.flags_of(self.help(name)) for name in self.names}

    def help(self, *command):
        return output(self.kefu, *command, "--help")

    @staticmethod
    def flags_of(text):
        return set(re.findall(r"^ {2,6}(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE)) - {"--help", "--version"}

    def check(self, place, line):
        """Checks the calls of kefu in a line of shell."""
        line = re.sub(r"(^|\s)#.*$", "", line)
        for call in re.findall(r"(?:^|[\s(|;&/])kefu(?: -- )?((?:[ \t]+[^|;&)\n>]+)?)", line):
            words = re.sub(r"\"[^\"]*\"|'[^']*'", "X", call).split()
            if not words or words[0].startswith(("/", ".", "-s", "=")):
                continue
            if words[0] == "help":
                words = words[1:]
            if words and words[0] not in self.names:
                if not words[0].startswith("-"):
                    problem(place, f"`kefu {words[0]}` is no command: {line.strip()}")
                continue
            for word in words[1:]:
                flag = word.split("=")[0]
                if flag.startswith("--") and flag not in self.flags[words[0]]:
                    problem(place, f"`kefu {words[0]}` has no {flag}: {line.strip()}")


def check_commands(commands):
    for path in markdown_files():
        place = path.relative_to(ROOT)
        for block in blocks(path.read_text(), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                # Files of other programs can have kefu in their names.
                if "kefu" in line and not line.lstrip().startswith(("sudo", "docker", "kubectl")):
                    commands.check(place, line.replace("cargo run --release -- ", "kefu "))


def check_reference_of_commands(commands):
    place = "docs/reference/commands.md"
    text = read(place)
    compare(place, "the command", re.findall(r"^## kefu (\w+)$", text, re.MULTILINE), commands.names)
    flags = lambda part: set(re.findall(r"--[a-z-]+", "\n".join(line for line in part.splitlines() if line.startswith("| `"))))
    compare(place, "the option of all commands", flags(section(text, "## Options for all commands")), commands.common)
    for name in sorted(commands.names):
        own = commands.flags[name] - commands.common
        compare(place, f"`kefu {name}`: the option", flags(section(text, f"## kefu {name}")), own)


# --- reference ---


def check_exit_codes(kefu):
    codes = re.findall(r"^ +(\d+)  ", output(kefu, "--help").split("Exit codes:")[1], re.MULTILINE)
    # Signals are not in the help.
    real = {int(code) for code in codes} | {130, 143}
    for place in ["docs/reference/exit-codes.md", "docs/guide/scheduling.md", "README.zh-CN.md"]:
        table = re.search(r"^\| (?:exit|退出码) .*?\n\n", read(place), re.MULTILINE | re.DOTALL)
        cells = [row.split("|")[1] for row in table.group(0).splitlines() if row.startswith("|")] if table else []
        compare(place, "the exit code", {int(code) for cell in cells for code in re.findall(r"\d+", cell)}, real)


def check_findings():
    place = "docs/reference/verify.md"
    real = re.findall(r"Self::\w+ => \"(\w+)\"", read("src/pipeline/finding.rs"))
    text = read(place)
    compare(place, "the kind", first_cells(section(text, "## Broken")) + first_cells(section(text, "## Notes")), real)


def check_error_codes():
    """Every number that src/wechat/code.rs knows is explained."""
    code = read("src/wechat/code.rs").split("#[cfg(test)]")[0]
    real = set()
    for arm in re.findall(r"^ +((?:-?\d+(?: \| )?)+)(?: if [^=]*)? =>", code, re.MULTILINE):
        real |= set(re.findall(r"-?\d+", arm))
    for place, heading in [("docs/reference/troubleshooting.md", "## WeChat's error codes"), ("README.zh-CN.md", "## 微信错误码")]:
        rows = [line.split("|")[1] for line in section(read(place), heading).splitlines() if line.startswith("|")]
        compare(place, "the error code", {number for row in rows for number in re.findall(r"-?\d+", row)}, real)


def check_messages():
    """Every message in troubleshooting is one of the program's, as its source or a snapshot has it."""
    place = "docs/reference/troubleshooting.md"
    code = [path.read_text() for pattern in ["src/**/*.rs", "tests/**/*.snap", "tests/**/*.rs"] for path in ROOT.glob(pattern)]
    for heading in ["## Network", "## Records", "## Lake", "## Settings"]:
        for message in first_cells(section(read(place), heading)):
            for part in message.split("…"):
                part = part.strip(" :?")
                if len(part) > 3 and not any(part in text for text in code):
                    problem(place, f"no error says `{part}`")


def check_settings(kefu):
    place = "docs/reference/settings.md"
    text = read(place)
    with tempfile.TemporaryDirectory() as folder:

        def keys(table):
            """The keys that the program names when it refuses an unknown one."""
            (pathlib.Path(folder) / "kefu.toml").write_text(f"{table}\nzzzzzz = []\n")
            refused = output(kefu, "status", cwd=folder, env={})
            return set(re.findall(r"`(\w+)`", refused.split("expected")[1].split("\n")[0]))

        table = section(text, "## Keys")
        rows = [row.split("|") for row in table.splitlines() if row.startswith("|")][2:]
        cells = lambda column: {name for row in rows for name in re.findall(r"`([^`]+)`", row[column])}
        compare(place, "the key", cells(3), keys(""))
        variables = set(re.findall(r"KEFU_[A-Z_]+", output(kefu, "--help")))
        compare(place, "the variable", cells(2), variables)
        parts = [
            ("[[accounts]]", "## Several accounts"),
            ("[privacy]", "## Personal data"),
            ("[report]", "## Report"),
        ]
        for name, heading in parts:
            compare(place, f"the key of {name}", first_cells(section(text, heading))[1:], keys(name))
        rules = section(text, "## Rules for the metrics")
        for name in ["[metrics]", "[[metrics.auto_reply]]", "[metrics.business_hours]"]:
            part = re.search(rf"^\| key of `{re.escape(name)}`.*?\n\n", rules, re.MULTILINE | re.DOTALL)
            compare(place, f"the key of {name}", first_cells(part.group(0))[1:], keys(name))


def check_tables(kefu, lake):
    """Names, order and types of columns, from the views of `kefu sql`."""
    place = "docs/reference/tables.md"
    text = read(place)
    connection = duckdb.connect()
    connection.execute(output(kefu, "sql", "--lake", lake))
    views = re.findall(r"CREATE OR REPLACE VIEW (\w+) AS SELECT", output(kefu, "sql", "--lake", lake))
    compare(place, "the table", set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) - {"Footers"}, views)
    for view in views:
        described = connection.execute(f"DESCRIBE {view}").fetchall()
        real = [(name, kind) for name, kind, *_ in described if name != "date"]
        rows = re.findall(r"^\| `(\w+)` \| (\w+)(?:, nullable)? \| (.+) \| (.+) \|$", section(text, f"## {view}"), re.MULTILINE)
        documented = [(name, TYPES.get(kind, kind)) for name, kind, _, _ in rows]
        compare(place, f"{view}: the column", documented, real)
        if sorted(documented) == sorted(real) and documented != real:
            problem(place, f"{view}: the columns are in another order than in the files")


def check_log():
    place = "docs/reference/log.md"
    code = "\n".join(path.read_text() for path in ROOT.glob("src/**/*.rs"))
    real = re.findall(r"event = \"(\w+)\"", code)
    compare(place, "the event", first_cells(read(place)), real)


def run_of_two_days(kefu, folder):
    """The result of `kefu run` against the simulator."""
    command = [kefu, "simulate", "--days", "2", "--messages-per-day", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as simulator:
        try:
            served = json.loads(simulator.stdout.readline())
            environment = {
                "KEFU_BASE_URL": served["base_url"],
                "KEFU_APPID": served["appid"],
                "KEFU_SECRET": served["secret"],
                "KEFU_LAKE": f"{folder}/lake",
            }
            days = ["--from", "2024-05-13", "--to", "2024-05-14"]
            shown = output(kefu, "run", *days, "--output", "json", "--log-level", "error", cwd=folder, env=environment)
            return json.loads(shown.splitlines()[-1])
        finally:
            simulator.terminate()


def check_json(kefu, lake, results):
    """Every field that the program gives on the demo's lake is explained."""
    place = "docs/reference/json.md"
    text = read(place)
    [run] = glob.glob(f"{lake}/_kefu/accounts/demo/runs/*.json")
    record = json.loads(pathlib.Path(run).read_text())
    compare(place, "history: the field", first_cells(section(text, "## History of runs")), record)
    known = set(re.findall(r"`(\w+)`", text + read("docs/reference/verify.md")))
    results["history"] = record["days"]
    account = {"KEFU_ACCOUNT": "demo", "KEFU_APPID": "wx5ec0de51mu1a70"}
    page = str(pathlib.Path(lake).parent / "page.html")
    for command in ["status", "verify", "doctor", "metrics", "redact", "prune --keep-days 5", "accounts --shards 2", f"report --out {page}"]:
        shown = output(kefu, *command.split(), "--lake", lake, "--output", "json", "--log-level", "error", env=account)
        results[command] = json.loads(shown.splitlines()[-1])
    # Figures of the report have the names of columns.
    columns = set(re.findall(r"^\| `(\w+)` \|", read("docs/reference/tables.md"), re.MULTILINE))
    for name, result in results.items():
        for field in sorted(keys_of(result) - known - (columns if name.startswith("report") else set())):
            problem(place, f"{name}: the field `{field}` is missing")


def keys_of(value):
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values())) if value else set()
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def main():
    [kefu] = sys.argv[1:]
    kefu = str(pathlib.Path(kefu).absolute())
    commands = Commands(kefu)
    check_readme()
    check_links()
    check_paths()
    check_commands(commands)
    check_reference_of_commands(commands)
    check_exit_codes(kefu)
    check_findings()
    check_error_codes()
    check_messages()
    check_settings(kefu)
    check_log()
    with tempfile.TemporaryDirectory() as folder:
        lake = f"{folder}/demo"
        demo = output(kefu, "demo", "--lake", lake, "--output", "json", "--log-level", "error")
        check_tables(kefu, lake)
        results = {"demo": json.loads(demo.splitlines()[-1]), "run": run_of_two_days(kefu, folder)}
        check_json(kefu, lake, results)
    for line in problems:
        print(line)
    if problems:
        sys.exit(1)
    print(f"docs: {len(markdown_files())} files agree with the program")


main()
