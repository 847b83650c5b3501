"""The look of the notebooks: numbers for people, tables, plots, and a conversation as a dialogue."""

import html
import logging
import math
import re
import textwrap

import matplotlib.pyplot as plt
import matplotlib.text
import numpy as np
import pandas as pd
from IPython.display import HTML, display
from matplotlib import font_manager
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from words import Catalogue

# Fonts with Chinese characters, in order of preference. Without any of them, the figures are laid
# out by other widths, and the reader's browser has the characters.
CHINESE_FONTS = ["Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Zen Hei", "SimHei"]

_words = Catalogue("en")


def language(lang):
    """The language of plots and summaries: en or zh."""
    global _words
    _words = Catalogue(lang)


def keep_names(names):
    """Names of workers, which are not words: a worker may be called Sun."""
    _words.names = set(names)


def translated(text):
    """A text in the language of the plots."""
    return _words.translated(text)


_set_text = matplotlib.text.Text.set_text
# Every text of a figure, also labels of axes and legends.
matplotlib.text.Text.set_text = lambda self, text: _set_text(self, translated(text) if isinstance(text, str) else text)

# --- Formatted numbers --------------------------------------------------------------------------


def duration(seconds):
    """45 s, 3 min 20 s, 1 h 05 min, 2 d 3 h."""
    if seconds is None or pd.isna(seconds):
        return "–"
    whole = round(float(seconds))
    if _words.lang == "zh":
        return _duration_in_chinese(whole)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    if whole < 86_400:
        return f"{whole // 3_600} h" + (f" {whole % 3_600 // 60:02} min" if whole % 3_600 // 60 else "")
    return f"{whole // 86_400} d" + (f" {whole % 86_400 // 3_600} h" if whole % 86_400 // 3_600 else "")


def _duration_in_chinese(whole):
    for size, name, rest_size, rest_name in [(86_400, "天", 3_600, "小时"), (3_600, "小时", 60, "分钟"), (60, "分", 1, "秒")]:
        if whole >= size:
            rest = whole % size // rest_size
            alone = "分钟" if name == "分" else name  # Minutes without seconds after them.
            return f"{whole // size} {name} {rest} {rest_name}" if rest else f"{whole // size} {alone}"
    return f"{whole} 秒"


def percent(share):
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f} %"


def number(value):
    """12,345 or 12.3."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


_MOST_ROWS = 50

# Columns with words of a notebook, not of the data.
_WRITTEN = {"what", "ending", "enough", "assumption", "measure", "verdict", "remedy", "turn"}


def heading_of(heading):
    """A heading in the language of the plots. Many have both languages: `worker 客服`."""
    if _words.lang == "zh":
        both = re.fullmatch(r"[ -~…’]* ([\u4e00-\u9fff][^A-Za-z]*)", heading)
        return both[1] if both and not _words.knows(heading) else translated(heading)
    return heading


def table(frame, caption=None, **columns):
    """A table for reading: `column="heading"` or `column=("heading", format)`. Everything from the data is escaped.

    Headings are in the language of the plots, and so are the cells of columns that notebooks write (`_WRITTEN`).
    """
    columns = columns or {name: name for name in frame.columns}
    more = f"<p><em>{translated(f'… and {len(frame) - _MOST_ROWS:,} more')}</em></p>" if len(frame) > _MOST_ROWS else ""
    frame = frame.head(_MOST_ROWS)
    heads, bodies = [], []
    for name, heading in columns.items():
        heading, show = heading if isinstance(heading, tuple) else (heading, None)
        numeric = pd.api.types.is_numeric_dtype(frame[name]) or show is not None
        show = show or (number if numeric else lambda value: "–" if pd.isna(value) else str(value))
        side = ' class="number"' if numeric else ""
        heads.append(f"<th{side}>{html.escape(heading_of(heading))}</th>")
        said = translated if name in _WRITTEN else str
        bodies.append([f"<td{side}>{html.escape(said(show(value)))}</td>" for value in frame[name]])
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*bodies))
    title = f"<caption>{html.escape(translated(caption))}</caption>" if caption else ""
    return HTML(f"<table>{title}<thead><tr>{''.join(heads)}</tr></thead><tbody>{rows}</tbody></table>{more}")


def to_csv(frame):
    """The frame as CSV. No text is a formula to a spreadsheet, whatever the name of a worker begins with."""
    def plain(value):
        return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" and value else value
    return frame.map(plain).to_csv(index=False, encoding="utf-8-sig")


# --- Plots --------------------------------------------------------------------------------------

# Colours of Okabe and Ito, which colour-blind people can tell apart. Each colour has one meaning in
# all notebooks.
COLORS = {
    "answered": "#0072B2",  # also: in time
    "late": "#E69F00",
    "unanswered": "#D55E00",
    "pending": "#999999",
    "customer": "#56B4E9",  # what customers do: arrivals, demand, messages received
    "worker": "#009E73",  # what workers do: messages sent, capacity
    "model": "#CC79A7",  # what a formula says, beside what was seen
    "ink": "#222222",
    "faint": "#BBBBBB",
}
# For accounts, weekdays and other values whose colour has no meaning.
CYCLE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999"]
# For ordered values, from low to high.
SHADES = ["#6baed6", "#3182bd", "#08519c", "#08306b"]
# For heat maps. Light means low.
HEAT = "Blues"

_DURATIONS = {
    0.5: "<1 s", 1: "1 s", 3: "3 s", 10: "10 s", 30: "30 s", 60: "1 min", 180: "3 min", 600: "10 min",
    1_800: "30 min", 3_600: "1 h", 10_800: "3 h", 43_200: "12 h", 86_400: "1 d", 172_800: "2 d",
}


def _fonts():
    """The Chinese font of this machine: names of workers need it, in every language."""
    there = set(font_manager.get_font_names())
    found = [name for name in CHINESE_FONTS if name in there][:1]
    if not found:
        import warnings

        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    return found


def style():
    """The look of all plots, and figures as SVG that are the same whenever they are drawn."""
    plt.rcParams.update({
        "figure.figsize": (9, 4.2),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "font.family": ["DejaVu Sans", *_fonts()],
        "font.size": 11,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.labelcolor": COLORS["ink"],
        "axes.edgecolor": COLORS["faint"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E8E8E8",
        "axes.prop_cycle": plt.cycler(color=CYCLE),
        "legend.frameon": False,
        "lines.linewidth": 2,
        "text.parse_math": False,  # A dollar in a worker's name is a dollar.
        "svg.hashsalt": "kefu",
        "svg.fonttype": "none",
    })
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})
    except (ImportError, AttributeError):
        pass  # Not in a notebook.


def finding(figure, title, what=None):
    """The title says what is to be seen, the line below what is drawn."""
    width = int(figure.get_figwidth() * 9.5)
    title, what = translated(title), translated(what) if what else what
    if _words.lang == "zh":
        width //= 2  # A Chinese character is as wide as two others.
    figure.suptitle("\n".join(textwrap.wrap(title, width)), x=0.012, ha="left", fontsize=13, fontweight="bold", color=COLORS["ink"])
    if what:
        figure.axes[0].set_title("\n".join(textwrap.wrap(what, int(width * 1.25))), loc="left", color="#666666", fontsize=10, pad=10)


def log_seconds(seconds):
    """For a logarithmic axis, where 0 s would be nowhere: drawn at half a second."""
    return np.maximum(np.asarray(seconds, dtype=float), 0.5)


def duration_axis(axis, label="response time", seconds=()):
    """A logarithmic axis in seconds, with ticks that people count in, no further than the data (`seconds`) go."""
    axis._set_axes_scale("log")
    values = log_seconds([value for value in seconds if value is not None and not math.isnan(value)])
    low, high = (values.min(), values.max()) if len(values) else (1, 3_600)
    axis.axes.__getattribute__(f"set_{axis.axis_name}lim")(low / 1.2, max(high * 1.2, low * 10))
    bottom, top = axis.get_view_interval()
    ticks = [tick for tick in _DURATIONS if bottom <= tick <= top]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: translated(_DURATIONS.get(tick, ""))))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(f"{translated(label)} {translated('(log scale)')}")


def percent_axis(axis, label):
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axis.set_label_text(label)


def hour_axis(axis, lake, label="hour of the day", step=2):
    """0 to 24 o'clock, local."""
    axis.set_major_locator(FixedLocator(range(0, 25, step)))
    axis.set_major_formatter(FuncFormatter(lambda hour, _: f"{int(hour):02}:00"))
    axis.set_label_text(f"{translated(label)} ({lake.zone})")


def end_labels(axes, ends, apart=0.075):
    """Names lines at the right end instead of in a legend: (height, text, colour), moved apart where they would overlap. After the limits are set."""
    to_share = axes.transScale.transform
    low, high = (to_share((1, limit))[1] for limit in axes.get_ylim())
    places = [((to_share((1, height))[1] - low) / (high - low), text, color) for height, text, color in ends]
    places.sort()
    heights = [place for place, _, _ in places]
    for below, above in zip(range(len(heights)), range(1, len(heights))):
        heights[above] = max(heights[above], heights[below] + apart)
    excess = max(0, heights[-1] - 1) if heights else 0
    if excess:  # Down again from the top, as far as is needed.
        heights[-1] -= excess
        for above in range(len(heights) - 1, 0, -1):
            heights[above - 1] = min(heights[above - 1], heights[above] - apart)
    for height, (_, text, color) in zip(heights, places):
        axes.annotate(text, (1.01, height), xycoords="axes fraction", va="center", color=color, fontsize=9.5, annotation_clip=False)


def say(*sentences):
    """A paragraph in the language of the plots."""
    joint = "" if _words.lang == "zh" else " "
    display(HTML(f"<p>{html.escape(joint.join(translated(sentence) for sentence in sentences if sentence))}</p>"))


def nothing(what):
    """In place of a plot for which there are no data."""
    return HTML(f"<p><em>{html.escape(translated(what))}</em></p>")


def summary(*lines):
    """What a reader without time takes away, at the top of a notebook."""
    items = "".join(f"<li>{html.escape(translated(line))}</li>" for line in lines if line)
    return HTML(f'<div class="summary"><strong>{html.escape(translated("In short"))}</strong><ul>{items}</ul></div>')


# --- A dialogue ---------------------------------------------------------------------------------

_SILENCE = 120  # Seconds after which it is worth a line.


def dialogue(messages, title):
    """Messages (`opercode`, `text`, `local`: local time, `who`) as bubbles: the customer's on the left, the worker's on the right, silence between.

    What is shown comes from strangers: all of it is escaped.
    """
    lines = [
        '<div style="max-width:40rem;margin:1.2rem 0">'
        f'<div style="font-weight:600;margin-bottom:.5rem">{html.escape(translated(title))}</div>'
    ]
    before, day = None, None
    for message in messages.itertuples():
        if message.local.date() != day:
            day = message.local.date()
            lines.append(_between(f"{day:%Y-%m-%d}, {translated(f'{day:%a}')}"))
        if before is not None and (message.local - before.local).total_seconds() >= _SILENCE:
            is_wait = before.opercode == 2003 and message.opercode == 2002
            silence = duration((message.local - before.local).total_seconds())
            lines.append(_between(translated(f"{silence} until somebody answered") if is_wait else silence, is_wait))
        lines.append(_bubble(message))
        before = message
    return HTML("".join(lines) + "</div>")


def _between(text, is_late=False):
    color = f"color:{COLORS['unanswered']};font-weight:600" if is_late else "opacity:.65"
    return f'<div style="text-align:center;font-size:.8rem;margin:.5rem 0;{color}">{html.escape(text)}</div>'


def _bubble(message):
    is_customer = message.opercode == 2003
    side, tint = ("flex-start", "127,127,127,.16") if is_customer else ("flex-end", "0,114,178,.2")
    is_kept = not pd.isna(message.text)
    text = html.escape(message.text).replace("\n", "<br>") if is_kept else f"<em style=\"opacity:.65\">{translated('text not kept')}</em>"
    name = translated("customer") if is_customer else html.escape(message.who)
    return (
        f'<div style="display:flex;justify-content:{side};margin:.2rem 0"><div style="max-width:78%;padding:.35rem .7rem;border-radius:.8rem;'
        f'background:rgba({tint});overflow-wrap:anywhere"><div style="font-size:.72rem;opacity:.7">{name} · {message.local:%H:%M:%S}</div>{text}</div></div>'
    )
