"""`chatgenbench systems`: the list, and one chat answered and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from chatgenbench.errors import UserError
from chatgenbench.systems import Options
from chatgenbench.systems_commands import Trial, chat_of, list_systems, run_trial
from tests.cli import run, run_here


def trial(*chat: str, name: str = "echo", images: tuple[Path, ...] = (), draw: Path | None = None) -> Trial:
    return Trial(name, chat, images, draw, "miniature", 0, "cpu", Options())


def test_the_list_names_systems_stages_and_what_else_can_be_one() -> None:
    console = Console(record=True, width=140)
    list_systems(console)
    text = console.export_text()
    for word in ("retrieval", "module:Object", "http://host/path", "openai:MODEL", "cmd:python my.py", "systems try"):
        assert word in text


def test_one_chat_is_answered_and_drawn(tmp_path: Path) -> None:
    console = Console(record=True, width=140)
    assert run_trial(trial("a red fox, flat sticker", draw=tmp_path / "fox.png"), console)
    with Image.open(tmp_path / "fox.png") as picture:
        assert picture.size == (64, 64)
    text = console.export_text()
    assert "a red fox, flat sticker" in text
    assert "device seconds" in text


def test_turns_and_pictures_make_the_kind_of_chat(tmp_path: Path) -> None:
    picture = tmp_path / "ref.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert chat_of(trial("a cow")).kind == "single"
    assert chat_of(trial("a cow", images=(picture,))).images == (str(picture),)
    chat = chat_of(trial("a cow", "which?", "a red one", images=(picture,)))
    assert chat.kind == "history"
    assert [message.role for message in chat.messages] == ["user", "assistant", "user"]
    assert chat.messages[2].images == (str(picture),)
    with pytest.raises(UserError, match="odd number of texts"):
        chat_of(trial("a cow", "which?"))
    with pytest.raises(UserError, match="no such file"):
        chat_of(trial("a cow", images=(tmp_path / "gone.png",)))


def test_words_that_are_no_utf8_are_one_line_and_nothing_a_terminal_obeys_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_here("systems", "try", "echo", "caf\udce9", home=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: 'caf?' is not UTF-8: type it in a terminal that is, or rename it\n"
    monkeypatch.chdir(tmp_path)
    done = run_here("systems", "try", "echo", "a \x1b[31mred\x07\u202e cow", home=tmp_path)
    assert done.returncode == 0
    assert "a \ufffd[31mred\ufffd\ufffd cow" in done.stdout


def test_a_system_that_has_no_plan_says_why(tmp_path: Path) -> None:
    done = run("systems", "try", "oracle", "a cow", home=tmp_path)
    assert done.returncode == 1
    assert "no item of this benchmark has the id 'try'" in done.stdout
    assert "Traceback" not in done.stderr
