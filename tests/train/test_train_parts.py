"""Parts of recipes: model tokens, rank loss, checkpoints, folders, bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner

from chatgenbench.benchmark import load_benchmark
from chatgenbench.cli import app
from chatgenbench.errors import InfraError, UserError
from chatgenbench.report.notes import troubles
from chatgenbench.systems import resolve
from chatgenbench.systems.trained.lm import LanguageModel, load
from chatgenbench.systems.trained.wording import ask_prompt, read_api
from chatgenbench.train import tokens
from chatgenbench.train.bases import prepared
from chatgenbench.train.notebook import Notebook
from chatgenbench.train.pictures import combined
from chatgenbench.train.rrhf import loss_of
from chatgenbench.train.sft import Collator, encode
from chatgenbench.train.workplace import Workplace, last_checkpoint
from chatgenbench.train_commands import writing

QUESTIONS = [(f"Person: {word} please\nModel:", model) for model, word in (("m1", "a cat"), ("m2", "a dog")) * 4]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return prepared("tiny", tmp_path_factory.mktemp("tiny"), [q for q, _ in QUESTIONS])


def test_only_the_new_embeddings_are_trained(base: str, tmp_path: Path) -> None:
    lm = LanguageModel(base)
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    folder, report = tokens.train(lm, ["m1", "m2", "m3"], QUESTIONS, tokens.TokenFit(steps=50), tmp_path)
    after = lm.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    from safetensors.torch import load_file

    assert {k: v.shape for k, v in load_file(folder / "model_tokens.safetensors").items()} == {
        "embedding": torch.Size([3, 64])
    }
    assert report["last loss"] < report["first loss"] == pytest.approx(math.log(3))
    assert report["accuracy on training"] == 1.0


def test_the_state_after_a_text_does_not_depend_on_its_neighbours(base: str) -> None:
    lm = LanguageModel(base)
    texts = ["a cat", "a dog please, and a cat, and a dog, and another one please", "please"]
    together = lm.after(texts)
    for row, text in enumerate(texts):
        assert torch.allclose(together[row], lm.after([text])[0], atol=1e-5)


def test_rank_loss_is_that_of_the_paper() -> None:
    means, rewards = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([0.3, 0.9, -100.0])
    # pairs worse < better: (0, 1): relu(-1 + 2) = 1; (2, 0): relu(-0.5 + 1) = 0.5; (2, 1): relu(-0.5 + 2) = 1.5
    assert float(loss_of(means, rewards)) == pytest.approx(1 + 0.5 + 1.5 + 2.0)


def test_rewards_are_standardised_before_they_are_mixed() -> None:
    values = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([300.0, 200.0, 100.0]), "flat": np.zeros(3)}
    assert combined(values, {"a": 1.0, "b": 1.0, "flat": 1.0}) == pytest.approx(np.zeros(3))


def test_only_the_answer_is_learnt_and_a_long_question_loses_its_beginning(base: str) -> None:
    _, tokenizer = load(base)
    row = encode(tokenizer, "cat " * 2000 + "dog", "a cat")
    assert len(row["input_ids"]) == len(row["labels"]) == 512
    told = [i for i in row["labels"] if i != -100]
    assert tokenizer.decode(told) == " a cat<end>"
    assert "dog a cat" in tokenizer.decode(row["input_ids"])
    batch = Collator(tokenizer.pad_token_id)([row, encode(tokenizer, "cat", "dog")])
    assert batch["attention_mask"].sum(1).tolist()[0] == 512
    assert (batch["labels"][1][batch["attention_mask"][1] == 0] == -100).all()


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((5, '{"global_step": 5}'), (10, '{"global_step": 10}'), (15, '{"global_st')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-20").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-5"]


def test_a_torn_line_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "n.jsonl").write_text('{"a": 1}\n{"a": 2')
    book = Notebook(tmp_path / "n.jsonl")
    book.add({"a": 3})
    assert [record["a"] for record in book] == [1, 3]


def test_a_stage_that_was_killed_while_it_was_moved_is_moved_again(tmp_path: Path) -> None:
    Workplace(tmp_path / "t", "diffagent", {"x": 0}, {})  # nothing was trained yet: another one may begin here
    place = Workplace(tmp_path / "t", "evo", {"x": 1}, {})
    (tmp_path / "t" / "writer").mkdir()
    (tmp_path / "t" / "writer" / "old").write_text("half")
    trained = place.draft("writer") / "trained"
    trained.mkdir()
    (trained / "new").write_text("whole")
    place.finish("writer", {"steps": 1}, trained)
    assert [p.name for p in (tmp_path / "t" / "writer").iterdir()] == ["new"]
    assert Workplace(tmp_path / "t", "evo", {"x": 1}, {}).done("writer") == {"steps": 1}


def test_chats_are_told_with_their_pictures_and_turns() -> None:
    benchmark = load_benchmark("miniature")
    told = {chat.input.kind: ask_prompt(chat.input) for chat in benchmark.train_inputs}
    assert told["multimodal"].startswith("Person: [picture] ")
    assert "\nAssistant: " in told["history"]
    assert all(text.endswith("\nPrompt:") for text in told.values())


def test_a_call_is_taken_apart_and_what_is_missing_stays_missing() -> None:
    assert read_api("p", 'Stamp Ink | lora | SD | {"steps": 20}')["arguments"] == '{"steps": 20}'
    assert read_api("p", "nonsense") == {"prompt": "p", "model": "nonsense", "arguments": ""}


def test_notes_of_answers_stand_beside_the_numbers() -> None:
    summary = {"outcomes": {"ok": 3}, "rows": 3, "incomplete": 0, "reasons": {}, "approximated_samplers": {}, "run": {}}
    assert troubles(summary | {"notes": {"usual arguments": 2}}) == ["2 rows: usual arguments"]
    assert troubles(summary) == []  # of a run that was made before there were notes


def test_mistakes_are_told_in_one_line(tmp_path: Path) -> None:
    benchmark = load_benchmark("miniature")
    with pytest.raises(UserError, match=r"holds no trained system: recipe\.json is missing"):
        resolve(f"evo:{tmp_path}", benchmark, 0)
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(UserError, match=r"recipe.json is damaged \("):
        resolve(f"evo:{tmp_path}", benchmark, 0)
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": "evo", "asked": {}, "stages": {}}))
    with pytest.raises(UserError, match="is not trained to the end: type its `chatgenbench train evo` again"):
        resolve(f"evo:{tmp_path}", benchmark, 0)


def test_the_command_trains_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = str(tmp_path / "t")
    typed = ["train", "evo", "--base-model", "tiny", "--limit", "8", "--epochs", "1", "--out", out]
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 0, done.output
    assert f"chatgenbench eval --system evo:{out} --benchmark miniature" in done.output
    assert resolve(f"evo:{out}", load_benchmark("miniature"), 0).name == "evo"


def test_a_base_model_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    typed = ["train", "evo", "--base-model", "nowhere/nothing", "--out", str(tmp_path / "t")]
    error = CliRunner().invoke(app, typed).exception
    assert isinstance(error, UserError)
    assert str(error).startswith("cannot load the base model 'nowhere/nothing': ")
    assert "\n" not in str(error)


def test_a_reward_that_is_no_metric_is_refused(tmp_path: Path) -> None:
    typed = ["train", "beautifulprompt", "--reward", "beauty=1", "--out", str(tmp_path / "t")]
    assert "--reward 'beauty=1' is no METRIC=WEIGHT" in str(CliRunner().invoke(app, typed).exception)


def test_a_full_disk_is_one_line_whoever_writes() -> None:
    def torchs() -> None:
        with Path("/dev/full").open("wb") as file:
            torch.save({"a": torch.zeros(100_000)}, file)

    def safetensors() -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    for write in (torchs, safetensors):
        with pytest.raises((InfraError, OSError), match=r"cannot write to runs.evo .*: mend that|No space left"):  # noqa: SIM117
            with writing(Path("runs/evo")):
                write()
    with pytest.raises(RuntimeError, match="shape"), writing(Path("runs/evo")):
        raise RuntimeError("shape mismatch")
