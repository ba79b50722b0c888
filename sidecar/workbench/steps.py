"""The steps of an explanation, in English and, for pages, in Chinese."""

from typing import NamedTuple


class Step(NamedTuple):
    """One step; ``held`` says whether a check passed, and is None for a remark.

    ``chinese`` is the text in Chinese, empty if there is only English.
    """

    name: str
    held: bool | None
    text: str
    chinese: str = ""


class Bilingual(NamedTuple):
    """A text in both languages."""

    english: str
    chinese: str

    @classmethod
    def joined(cls, parts: "list[Bilingual]") -> "Bilingual":
        """Return several texts as one."""
        return cls(
            "; ".join(each.english for each in parts), "；".join(each.chinese for each in parts)
        )
