"""The words of the plots in another language than English, in which the notebooks have them.

A text with numbers in it is found by its pattern: `{}` stands for a number, a name or a duration. Parts that
"; ", " · " or ", " join are translated one by one where the whole text has no pattern. Names, units, names of columns and commands
need no translation: a text lacks one if two English words follow each other in it.
"""

import os
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
SENTENCE = re.compile("[A-Za-z]{2,} +[A-Za-z]{2,}")


class Catalogue:
    def __init__(self, lang):
        self.lang, self.known, self.patterns, self.names = lang, {}, [], set()
        if lang == "en":
            return
        for english, other in entries(HERE / f"words.{lang}.txt"):
            if "{}" in english:
                pattern = "((?:(?!; ).)+?)".join(map(re.escape, english.split("{}")))
                self.patterns.append((english, re.compile(pattern), other))
            else:
                self.known[english] = other
        # The pattern with the most words says most.
        self.patterns.sort(key=lambda entry: -len(entry[0].replace("{}", "")))

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
        for _, pattern, other in self.patterns:
            found = pattern.fullmatch(text)
            values = [self._value(value) for value in found.groups()] if found else [None]
            if all(value is not None for value in values):
                return other.format(*values)
        return None

    def _value(self, value):
        """A number, a name or a duration, translated where it has words. None for a part of an English sentence."""
        return self._found(value) or (None if SENTENCE.search(value) else value)

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
        if "KEFU_MISSING_WORDS" in os.environ and SENTENCE.search(text) and not text.startswith("kefu "):
            with open(os.environ["KEFU_MISSING_WORDS"], "a", encoding="utf-8") as file:
                file.write(repr(text) + "\n")


def entries(path):
    """Pairs of lines: the English text, then the other one. Empty lines and lines with # are not read. `\\n` is a new line."""
    lines = [line.replace("\\n", "\n") for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return list(zip(lines[::2], lines[1::2], strict=True))
