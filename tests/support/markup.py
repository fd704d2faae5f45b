"""Reading the HTML of a notebook."""

from __future__ import annotations

import html.parser


class Tags(html.parser.HTMLParser):
    """Check that tags are balanced, and gather the cells.

    Attributes
    ----------
    open : list of str
        Tags that were not closed.
    cells : list of tuple
        Tag and text of each piece of text.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append((self.open[-1], data))
