"""Word lists: what they catch in prompt syntax and disguises, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatgenbench.build import words
from chatgenbench.errors import UserError


@pytest.mark.parametrize(
    "text",
    [
        "a child flying a kite on the beach, golden hour",
        "a 10 year old whisky on an oak table",
        "two teenagers repair a bicycle, watercolour",
        "robin red breast on a twig",
        "a classic assassin in a cassock, Essex, grass",
        "Middlesex coat of arms, heraldry",
        "Jackson Pollock drip painting, emerald stone",
        "100 year old tree, 4k, 8k, 1girl, 3d render, score_9",
        "portrait of an old fisherman, (wrinkles:1.3), [blurry]",
        "a young woman in a red dress",
        "",
    ],
)
def test_harmless_texts_have_no_flag(text: str) -> None:
    assert words.flags(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "nude woman", "NUDE", "(nude:1.3)", "n u d e", "nu\u00adde",
        "ｎｕｄｅ", "nud3", "fully_nude", "n.u.d.e.", "nüde", "photoNude", "\\(nude\\)",
        "[nude:clothed:0.5]", "p0rn",
    ],
)  # fmt: skip
def test_explicit_words_are_seen_through_disguises(text: str) -> None:
    assert words.flags(text) == ("explicit",)


@pytest.mark.parametrize(
    "text",
    [
        "Emma Watson",
        "emma_watson",
        "(emma:1.2) watson",
        "EmmaWatson",
        "emma-watson",
        "Beyoncé",
        "photo of TimothéeChalamet",
    ],
)
def test_real_people(text: str) -> None:
    assert words.flags(text) == ("real-person",)


@pytest.mark.parametrize("text", ["emma", "watson and holmes", "a swift, taylor made", "evanstone"])
def test_parts_of_names_are_no_people(text: str) -> None:
    assert words.flags(text) == ()


@pytest.mark.parametrize(
    "text",
    ["loli", "l0li in a garden", "schoolgirl, sexy", "16yo, bikini", "15-year-old in lingerie", "age 12, seductive",
     "sixteen year old, cleavage", "a child, suggestive pose"],
)  # fmt: skip
def test_sexualised_minors(text: str) -> None:
    assert words.flags(text) == ("minors",)


def test_minors_with_explicit_words_have_both_flags() -> None:
    assert words.flags("teen, nsfw") == ("minors", "explicit")


@pytest.mark.parametrize(
    "text", ["18 year old, bikini", "116 years old, sexy", "golden age 1920s, lingerie advert", "aged 45, sexy"]
)
def test_grown_ups_are_no_minors(text: str) -> None:
    assert words.flags(text) == ()


def test_insults_are_toxic_and_slurs_explicit_too() -> None:
    assert words.flags("you idiot, draw it already") == ("toxic",)
    assert words.flags("what a f4gg0t") == ("explicit", "toxic")


def test_blocklist_is_read_and_matched_on_word_boundaries(tmp_path: Path) -> None:
    path = tmp_path / "block.txt"
    path.write_text("# mine\n\nNight Sky\ncafé\n", "utf-8")
    blocked = words.read_blocklist(path)
    assert blocked == ("Night Sky", "café")
    assert words.holds("a (night_sky:1.2) over Oslo", blocked)
    assert words.holds("CAFE at dawn", blocked)
    assert not words.holds("midnight skyline", blocked)
    assert not words.holds("night sky", ())


def test_bad_blocklists_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        words.read_blocklist(tmp_path / "no.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        words.read_blocklist(tmp_path / "bytes.txt")
    (tmp_path / "marks.txt").write_text("ok\n!!\n", "utf-8")
    with pytest.raises(UserError, match="line 2"):
        words.read_blocklist(tmp_path / "marks.txt")


@pytest.mark.parametrize("path", sorted(words.FOLDER.glob("*.txt")), ids=lambda p: p.stem)
def test_lists_are_tidy(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    head = [line for line in lines if line.startswith("#")]
    body = lines[len(head) :]
    assert head
    assert lines[: len(head)] == head, "the header comes first"
    assert body == sorted(set(body)), "sorted, each once"
    assert all(line and line == words.plain(line).strip() for line in body), "as the matcher sees them"


@given(st.text(max_size=200))
def test_any_text_is_answered_and_the_answer_has_an_order(text: str) -> None:
    found = words.flags(text)
    assert list(found) == [name for name in words.NAMES if name in found]


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_word_is_found_wherever_it_stands(before: str, after: str) -> None:
    assert "explicit" in words.flags(f"{before} , pornography , {after}")
