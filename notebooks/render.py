"""Executes the notebooks from clean and writes each as one HTML page that needs nothing else: `python render.py [--lake PATH] [NAME …]`.

Ends with 1 when a cell fails, when a committed notebook has outputs, when a text of a plot has no translation, or when a page would load
something or name a folder of this machine.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.filters import ansi2html
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "data" / "demo"
LANGUAGES = ["en", "zh"]
# The texts of a page around its notebook.
FRAME = {
    "en": {"code": "code", "demo": "the demo lake (generated conversations)", "lake": "the lake “{}”", "note": "Made by notebooks/render.py from {} and {}."},
    "zh": {"code": "代码", "demo": "演示数据湖（生成的会话）", "lake": "数据湖“{}”", "note": "由 notebooks/render.py 根据 {} 和{}生成。"},
}
# Parts that a page must not have, because they would load something.
LOADS = re.compile(r"<script|<link|<iframe|@import|url\((?!#)|\b(?:src|srcset)\s*=\s*[\"'](?!data:)", re.IGNORECASE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks to render, as 01-first-look or 01 [default: all]")
    parser.add_argument("--lake", type=Path, default=DEMO, help="folder of the lake [default: the demo's, data/demo]")
    parser.add_argument("--out", type=Path, default=HERE / "rendered", help="folder for the pages [default: notebooks/rendered]")
    parser.add_argument("--check", action="store_true", help="only say whether the pages are of the notebooks as they are")
    parser.add_argument("--clean", action="store_true", help="only take outputs out of the notebooks, before a commit")
    arguments = parser.parse_args()
    notebooks = [path for path in sorted(HERE.glob("0*.ipynb")) if not arguments.names or any(path.stem.startswith(name) for name in arguments.names)]
    if not notebooks:
        parser.error("no such notebook")
    if arguments.clean:
        for path in notebooks:
            clean(path)
        return 0
    if arguments.check:
        return 0 if all([is_current(path, arguments.out) for path in notebooks]) else 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    lake = arguments.lake.resolve()
    os.environ.update(KEFU_LAKE=str(lake), PYTHONHASHSEED="0", PYDEVD_DISABLE_FILE_VALIDATION="1")
    outcomes = []
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as missing:
        os.environ["KEFU_MISSING_WORDS"] = missing.name
        for lang in LANGUAGES:
            os.environ["KEFU_LANG"] = lang  # The kernels inherit it.
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                outcomes += pool.map(lambda path: report(path, lake, arguments.out, lang), notebooks)
        untranslated = sorted(set(missing.read().splitlines()))
    for text in untranslated:
        print(f"words.zh.txt has no {text}", file=sys.stderr)
    return 0 if all(outcomes) and not untranslated else 1


def report(path, lake, out, lang):
    """Renders one notebook and says in a line how that went."""
    began = time.monotonic()
    try:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        faults = unclean(notebook) + (translate(notebook, path, lang) if lang != "en" else [])
        if not faults:
            execute(notebook)
            page = to_page(notebook, path, lake, lang)
            faults = foreign(page, lake) + noise(notebook)
            page_of(path, out, lang).write_text(page, encoding="utf-8")
    except CellExecutionError as failure:
        faults = [re.sub(r"\x1b\[[0-9;]*m", "", failure.traceback).strip()]
    for fault in faults:
        print(f"{path.name}: {fault}", file=sys.stderr)
    print(f"{path.name} ({lang}): {'failed' if faults else 'ok'}, {time.monotonic() - began:.1f} s", flush=True)
    return not faults


def unclean(notebook):
    """Why a notebook is not as it is to be committed."""
    faults = []
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        faults.append("is not nbformat 4.5")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        faults.append("is not for the kernel python3")
    if any(cell.get("outputs") or cell.get("execution_count") is not None for cell in notebook.cells):
        faults.append("has outputs; take them out with `python render.py --clean`")
    if len({cell.get("id") for cell in notebook.cells}) < len(notebook.cells):
        faults.append("has cells with the same id")
    return faults


def clean(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        for key in ["execution", "collapsed", "scrolled", "ExecuteTime"]:
            cell.metadata.pop(key, None)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def translate(notebook, path, lang):
    """Puts the prose of another language in place of the English one. Returns what is missing, or is of an older text."""
    there = prose(HERE / f"prose.{lang}" / f"{path.stem}.md")
    faults = []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "markdown"):
        mark = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        known, text = there.pop(cell.id, (None, ""))
        if known != mark:
            what = "has no text" if known is None else "has changed"
            faults.append(f"the cell {cell.id} {what} in prose.{lang}; write it there below <!-- {cell.id} {mark} -->")
        cell.source = text
    return faults + [f"prose.{lang} has a text for a cell {name}, which is not there" for name in there]


def prose(file):
    """The texts of a notebook in another language, by the cell: the mark of the English text, and the text."""
    parts = re.split(r"^<!-- (\S+) (\S+) -->\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: (mark, text.strip()) for name, mark, text in zip(parts[1::3], parts[2::3], parts[3::3])}


def execute(notebook):
    # The kernel runs in this folder and communicates through files instead of ports.
    with tempfile.TemporaryDirectory() as sockets:
        settings = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        NotebookClient(notebook, timeout=300, kernel_name="python3", config=settings, resources={"metadata": {"path": str(HERE)}}).execute()


def page_of(path, out, lang):
    return out / (f"{path.stem}.html" if lang == "en" else f"{path.stem}.{lang}.html")


def is_current(path, out):
    return all([is_page_current(path, page_of(path, out, lang)) for lang in LANGUAGES])


def is_page_current(path, page):
    if page.is_file() and f'content="{sources(path)}"' in page.read_text(encoding="utf-8"):
        return True
    print(f"{page.name} is not of {path.name} as it is; make it again with `python notebooks/render.py`", file=sys.stderr)
    return False


def sources(path):
    """A hash of all that a page is made of, but for the lake."""
    modules = [HERE / name for name in ["lake.py", "look.py", "words.py", "requirements.txt"]]
    texts = [*sorted(HERE.glob("words.*.txt")), *sorted(HERE.glob(f"prose.*/{path.stem}.md"))]
    files = [path, *modules, *texts, *sorted((HERE / "page").iterdir())]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def to_page(notebook, path, lake, lang):
    title = next((line.lstrip("# ") for cell in notebook.cells for line in cell.source.splitlines() if line.startswith("# ")), path.stem)
    frame = FRAME[lang]
    which = frame["demo"] if lake.name == "demo" else frame["lake"].format(lake.name)
    exporter = HTMLExporter(template_name="page", extra_template_basedirs=[str(HERE)], filters={"shown": shown})
    resources = {
        "title": f"{title} – kefu",
        "css": (HERE / "page" / "page.css").read_text(encoding="utf-8"),
        "sources": sources(path),
        "note": frame["note"].format(path.name, which),
        "lang": lang,
        "code": frame["code"],
    }
    return exporter.from_notebook_node(notebook, resources=resources)[0]


def shown(output):
    """An output of a cell as HTML."""
    if output.output_type == "stream":
        return f"<pre>{ansi2html(output.text)}</pre>"
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return svg_image(data["image/svg+xml"])
    if "text/html" in data:
        return re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL)  # Of pandas' tables; the page has its own.
    return f"<pre>{ansi2html(data.get('text/plain', ''))}</pre>"


def svg_image(svg):
    """As an image of its own, so that the ids in one figure are not those of another. Its longest text, the title, describes it."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg[svg.index("<svg"):], flags=re.DOTALL)
    alt = max(re.findall(r"<text[^>]*>([^<]*)</text>", svg), key=len, default="").replace('"', "&quot;")
    # Round to hundredths of a point, so that every machine gives the same result. Without DejaVu
    # Sans, the browser uses a font of about the same width.
    svg = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), svg)
    svg = re.sub(r"'DejaVu Sans'(, '[^']*')*", "DejaVu Sans, Verdana, Noto Sans CJK SC, PingFang SC, Microsoft YaHei, sans-serif", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><").replace("'", "&#39;").replace('"', "'")
    address = urllib.parse.quote(svg, safe=" !$&'()*+,-./:;=?@[]^_`{|}~<>")
    return f'<img class="plot" alt="{alt}" src="data:image/svg+xml,{address.replace("&", "&amp;")}">'


def foreign(page, lake):
    """What a page must not have."""
    bare = re.sub(r'src="data:[^"]*"', "", page)
    faults = [f"would load something: {found!r}" for found in sorted(set(LOADS.findall(bare)))]
    faults += ["shows an address in memory" for _ in set(re.findall(r" at 0x[0-9a-f]{6,}", bare))]
    faults += [f"names the folder {folder}" for folder in {str(lake), str(HERE), os.path.expanduser("~")} - {"/"} if folder in page]
    return faults


def noise(notebook):
    """Warnings, which belong to no page, and failures that do not stop a cell, as while a figure is drawn."""
    faults = []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.output_type == "stream" and output.name == "stderr":
            faults.append(f"writes to stderr: {output.text.strip()}")
        if output.output_type == "error":
            faults.append(f"fails without stopping: {output.ename}: {output.evalue}")
    return faults


if __name__ == "__main__":
    sys.exit(main())
