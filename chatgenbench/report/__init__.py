"""Finished runs as a terminal table and as pages that open offline.

`print_table` for the terminal, `write_report` for one run, `write_comparison` for several.
"""

from __future__ import annotations

from chatgenbench.report.compare import write_comparison
from chatgenbench.report.data import PictureOf
from chatgenbench.report.html import write_report
from chatgenbench.report.markdown import markdown_table
from chatgenbench.report.terminal import print_table

__all__ = ["PictureOf", "markdown_table", "print_table", "write_comparison", "write_report"]
