"""The board as a static site: plain files that work from a disk or any web server, with nothing fetched from elsewhere.

index.html        the table, its charts, and how to take part
s/SLUG.html       a page for each submission
p/SHA256.jpg      pictures of the galleries
site.css          the style of all pages
"""

from chatgenbench.leaderboard.site.build import build_site

__all__ = ["build_site"]
