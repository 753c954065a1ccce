"""Two finished runs against each other: a page of what differs and why, and people's blind votes.

`match` pairs the rows of two runs, `write_diff` makes the page, `VoteServer` asks people, and `count_votes` sums up
what they said.
"""

from __future__ import annotations

from chatgenbench.compare.ballots import VotesFile
from chatgenbench.compare.diff import write_diff
from chatgenbench.compare.pairing import Match, Pair, match
from chatgenbench.compare.results import count_votes
from chatgenbench.compare.server import VoteServer

__all__ = ["Match", "Pair", "VoteServer", "VotesFile", "count_votes", "match", "write_diff"]
