"""Stages that load a language model or a cross-encoder, with tiny models of the published architectures."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatgenbench.benchmark import Benchmark
from chatgenbench.errors import UserError
from chatgenbench.schema import FreestyleInput, Message, Plan
from chatgenbench.systems import ask, ready, resolve
from chatgenbench.systems.causal import CausalModel, first_line, join_turns
from chatgenbench.systems.stages.rewriters import BeautifulPrompt

WORDS = [*"a cat fox dog shiny ink toy drawing plastic red blue Instruction Input Output please nice".split(), *":.,"]  # noqa: SIM905


def tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: at for at, word in enumerate(["<unk>", "</s>", "<pad>", *WORDS])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="<pad>", sep_token="</s>"
    ).save_pretrained(str(folder))


@pytest.fixture(scope="module")
def bloom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BloomConfig, BloomForCausalLM

    folder = tmp_path_factory.mktemp("bloom")
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=len(WORDS) + 3, hidden_size=16, n_layer=1, n_head=2)
    BloomForCausalLM(config).save_pretrained(str(folder))
    tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(WORDS) + 3, n_embd=16, n_layer=1, n_head=2, n_positions=120)
    GPT2LMHeadModel(config).save_pretrained(str(folder))
    tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("judge")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 3, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_labels=1, type_vocab_size=2,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(str(folder))
    tokenizer(folder)
    return folder


def answers(spec: str, benchmark: Benchmark, inputs: list[FreestyleInput], batch: int) -> list[Plan]:
    system = resolve(spec, benchmark, 0)
    ready(system, benchmark)
    found = [answer for _, answer, _ in ask(system, inputs, benchmark.catalog, batch)]
    assert all(isinstance(answer, Plan) for answer in found), found
    return [answer for answer in found if isinstance(answer, Plan)]


def test_beautifulprompt_writes_and_the_rest_of_the_plan_is_composed(
    bloom: Path, benchmark: Benchmark, inputs: list[FreestyleInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BeautifulPrompt, "max_new_tokens", 12)
    spec = f"beautifulprompt:{bloom} | bm25-cards | popular-args"
    found = answers(spec, benchmark, inputs, 2)
    assert answers(spec, benchmark, inputs, 5) == found
    assert all(plan.prompt and set(plan.prompt.split()) <= {*WORDS, "<unk>"} for plan in found)
    assert {plan.arguments.steps for plan in found} == {20}


def test_magicprompt_continues_the_wish(gpt2: Path, benchmark: Benchmark, inputs: list[FreestyleInput]) -> None:
    found = answers(f"magicprompt:{gpt2}", benchmark, inputs, 3)
    for chat, plan in zip(inputs, found, strict=True):
        wish = " ".join(chat.text.split())
        assert plan.prompt.startswith(wish)
        assert len(plan.prompt) > len(wish)


def test_a_very_long_chat_leaves_room_for_what_is_written(gpt2: Path, benchmark: Benchmark) -> None:
    long = [FreestyleInput(id="x", kind="single", messages=(Message(text="a red fox " * 200),))]
    assert answers(f"magicprompt:{gpt2}", benchmark, long, 1)[0].prompt


def test_a_cross_encoder_reorders_the_head_of_the_search(
    judge: Path, benchmark: Benchmark, inputs: list[FreestyleInput]
) -> None:
    searched = answers("chat | hybrid", benchmark, inputs, 5)
    found = answers(f"chat | rerank:{judge}", benchmark, inputs, 5)
    assert [set(plan.ranking) for plan in found] == [set(plan.ranking) for plan in searched]
    assert found == answers(f"chat | rerank:{judge}", benchmark, inputs, 2)


def test_the_same_seed_writes_the_same_text_and_leaves_the_generator_alone(gpt2: Path) -> None:
    import torch

    model = CausalModel(str(gpt2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    texts = [model.write("a cat", seed, 8, do_sample=True) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_models_that_cannot_be_loaded_are_told_in_one_line(
    gpt2: Path, bloom: Path, tmp_path: Path, benchmark: Benchmark
) -> None:
    import torch

    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for file in gpt2.iterdir():
        if file.suffix != ".safetensors":
            (pickled / file.name).write_bytes(file.read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    for spec, message in (
        (f"magicprompt:{pickled}", "CHATGENBENCH_ALLOW_PICKLE=1"),
        (f"beautifulprompt:{tmp_path / 'nowhere'}", "cannot load"),
        (f"rerank:{tmp_path / 'nowhere'}", "stage 'rerank' cannot load"),
    ):
        with pytest.raises(UserError, match=message) as told:
            ready(resolve(spec, benchmark, 0), benchmark)
        assert "\n" not in str(told.value)


def test_text_is_taken_apart_as_documented() -> None:
    assert first_line("\n  \n a fox \nmore") == "a fox"
    assert first_line(" \n") == ""
    assert join_turns(["a\ncat", "", " in  ink "]) == "a cat in ink"
