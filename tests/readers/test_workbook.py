"""`kefu report --out x.xlsx`, opened by openpyxl: the figures are those of the JSON, and no text is a formula."""

import datetime
import json

import openpyxl
import pytest
from conftest import kefu, simulator

SHEETS = {
    "en": ["Key figures", "Days", "Workers", "Hours", "Unanswered turns", "Definitions", "Read with care"],
    "zh": ["核心指标", "每日", "客服", "时段", "未回复", "指标口径", "阅读提示"],
}
HOSTILE = ["=cmd|' /C calc'!A0@shop", "+1", "-1+1", "@SUM(A1)", "\t=1+1", "left\u202ecod.exe", "a\u0000b", "قسم", "'quoted", "_x003D_1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workbooks")
    kefu(folder, {}, "demo")
    return folder


def opened(folder, *arguments, lake="data/demo"):
    figures = kefu(folder, {}, "report", "--lake", lake, "--out", "x.xlsx", *arguments)
    return figures, openpyxl.load_workbook(folder / "x.xlsx")


def rows(sheet):
    [heading, *rest] = sheet.iter_rows(values_only=True)
    return heading, rest


def numbers(row):
    return [value for value in row if isinstance(value, (int, float))]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert one == pytest.approx(other, rel=1e-12), (found, expected)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_figure_is_that_of_the_json(folder, language):
    figures, book = opened(folder, "--lang", language, "--from", "2024-05-13", "--to", "2024-05-19", "--with-text")
    assert book.sheetnames == SHEETS[language]
    key_figures, days, workers, hours, unanswered, definitions, attention = book.worksheets
    for sheet in book.worksheets:
        assert sheet.freeze_panes == "B2"
        assert all(sheet.column_dimensions[cell.column_letter].width > 5 for cell in sheet[1])
        assert all(cell.font.b for cell in sheet[1])

    # Each number of the key figures is one of the totals, in order of the definitions.
    _, listed = rows(key_figures)
    assert listed[0][1] == datetime.datetime(2024, 5, 13) and listed[1][1] == datetime.datetime(2024, 5, 19)
    assert listed[2][1] == figures["timezone"]
    labels = [row[0] for row in listed[3:]]
    values = sorted(value for value in figures["totals"].values() if value is not None)
    shown = {name: value for name, value in zip(labels, [row[1] for row in listed[3:]])}
    assert len(shown) == len(labels)
    for value in shown.values():
        assert any(value == pytest.approx(total, rel=1e-12) for total in values), value
    service_level = next(cell for row in key_figures.iter_rows(min_row=5) for cell in row if cell.number_format == "0.0%")
    assert service_level.value == pytest.approx(figures["totals"]["service_level"])

    heading, listed = rows(days)
    assert [row[0].date().isoformat() for row in listed] == [day["date"] for day in figures["days"]]
    for row, day in zip(listed, figures["days"]):
        found = row[3:]
        for value in found:
            assert value is None or any(value == pytest.approx(other, rel=1e-12) for other in day.values() if isinstance(other, (int, float)))
        assert {day["messages_received"], day["messages_sent"], day["answered"]} <= set(found)

    heading, listed = rows(workers)
    assert len(listed) == len(figures["workers"]) == 7
    for row, worker in zip(listed, figures["workers"]):
        assert (row[0], row[1], row[2]) == (worker["worker"], worker["name"], worker["account"])
        expected = [value for name, value in worker.items() if isinstance(value, (int, float)) and name not in ("answered_within", "response_seconds_mean", "is_small_sample")]
        same(sorted(numbers(row)), sorted(expected))

    heading, listed = rows(hours)
    assert heading[2:] == tuple(f"{hour:02}" for hour in range(24))
    for row, load in zip(listed, figures["load"]):
        same(row[1:], [load["days"], *load["messages_received_mean"]])

    heading, listed = rows(unanswered)
    turns = figures["unanswered"]["turns"]
    assert len(listed) == len(turns) + (figures["unanswered"]["more"] > 0)
    for row, turn in zip(listed, turns):
        assert row[0] == datetime.datetime.fromisoformat(turn["asked_at"])
        assert row[2:6] == (turn["worker"], turn["name"], turn["account"], turn["customer"])
        assert row[6:8] == (turn["waited_seconds"], turn["customer_messages"])
        assert (row[8] or "").split("\n") == [text for text in turn["texts"]["texts"] if text is not None] or not row[8]

    heading, listed = rows(definitions)
    assert {row[0] for row in listed} >= set(labels)
    assert all(len(row[2]) > 5 for row in listed)

    # The last days of the demo are not final.
    heading, listed = rows(attention)
    open_days = [day["date"] for day in figures["days"] if not day["is_final"]]
    assert heading == (SHEETS[language][-1],) and len(open_days) > 1
    assert any(open_days[0] in text and open_days[-1] in text for [text] in listed), listed


def test_the_same_lake_gives_the_same_bytes(folder):
    opened(folder)
    before = (folder / "x.xlsx").read_bytes()
    opened(folder)
    assert (folder / "x.xlsx").read_bytes() == before
    kefu(folder, {}, "report", "--lake", "data/demo", "--out", "X.XLSX")
    assert (folder / "X.XLSX").read_bytes() == before


def test_hostile_names_stay_texts(folder):
    records = [
        {"openid": f"o{number}", "opercode": opercode, "text": f"=HYPERLINK(\"http://{number}\")", "time": 1_715_572_800 + number * 60 + later, "worker": worker}
        for number, worker in enumerate(HOSTILE)
        for opercode, later in [(2003, 0), (2002, 20), (2003, 40)]
    ]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    with simulator("--records", str(folder / "records.jsonl")) as settings:
        own = settings | {"KEFU_ACCOUNT": "shop", "KEFU_LAKE": "hostile"}
        kefu(folder, own, "run", "--from", "2024-05-13", "--to", "2024-05-17")
    figures, book = opened(folder, "--date", "2024-05-13", "--with-text", lake="hostile")
    assert len(figures["workers"]) == len(HOSTILE)
    named = [worker["name"] for worker in figures["workers"]]
    assert "=cmd|' /C calc'!A0" in named
    texts = []
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f", (sheet.title, cell.coordinate, cell.value)
                if isinstance(cell.value, str):
                    texts.append(cell.value)
                    assert "\u202e" not in cell.value and "\0" not in cell.value
                    if cell.value.lstrip()[:1] in tuple("=+-@"):
                        assert cell.data_type == "s" and cell.quotePrefix, (sheet.title, cell.coordinate, cell.value)
    for word in ["=cmd|' /C calc'!A0", "+1", "-1+1", "قسم", "'quoted", "left⟨U+202E⟩cod.exe"]:
        assert word in texts, word
    assert any(text.startswith("=HYPERLINK(") for text in texts)
