"""The words of the plots in another language than English, in which the notebooks have them.

A text with numbers in it is found by its pattern: `{}` stands for a number, a name or a duration. Parts that
"; ", " · " or ", " join are translated one by one where the whole text has no pattern.
"""

import os
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Catalogue:
    def __init__(self, lang):
        self.lang, self.known, self.patterns, self.names = lang, {}, [], set()
        if lang == "en":
            return
        for english, other in entries(HERE / f"words.{lang}.txt"):
            if "{}" in english:
                pattern = "((?:(?!; ).)+?)".join(map(re.escape, english.split("{}")))
                self.patterns.append((re.compile(pattern), other))
            else:
                self.known[english] = other
        # The longest pattern says most.
        self.patterns.sort(key=lambda entry: -len(entry[0].pattern))

    def knows(self, text):
        return text in self.known

    def translated(self, text):
        if self.lang == "en" or not re.search("[A-Za-z]", text):
            return text
        said = self._found(text)
        if said is None:
            self._missing(text)
        return text if said is None else said

    def _found(self, text):
        if text in self.names:
            return text
        return self.known.get(text) or self._by_pattern(text) or self._by_parts(text)

    def _by_pattern(self, text):
        for pattern, other in self.patterns:
            found = pattern.fullmatch(text)
            if found:
                values = [self._found(value) or value for value in found.groups()]
                return other.format(*values)
        return None

    def _by_parts(self, text):
        for joint, other in [("\n", "\n"), ("; ", "；"), (" · ", " · "), (", ", "，")]:
            parts = text.split(joint)
            if len(parts) > 1:
                said = [self._found(part) for part in parts]
                if all(said):
                    return other.join(said)
        return None

    def _missing(self, text):
        """Collects texts without a translation in the file that KEFU_MISSING_WORDS names."""
        if "KEFU_MISSING_WORDS" in os.environ:
            with open(os.environ["KEFU_MISSING_WORDS"], "a", encoding="utf-8") as file:
                file.write(repr(text) + "\n")


def entries(path):
    """Pairs of lines: the English text, then the other one. Empty lines and lines with # are not read. `\\n` is a new line."""
    lines = [line.replace("\\n", "\n") for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return list(zip(lines[::2], lines[1::2], strict=True))
