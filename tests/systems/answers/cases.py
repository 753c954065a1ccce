"""Answers as language models and servers give them: each holds one plan, or fails as one kind of trouble.

`RIGHT`: the plan `WANTED` must be read.  `WRONG`: (answer, kind).  Every answer of a list is a case of its own.
"""

from __future__ import annotations

import json
from typing import Any

from chatgenbench.schema import Arguments, Plan

WANTED = Plan(
    prompt="a red fox, snow", model="inkSketch_v1",
    arguments=Arguments(sampler="Euler a", steps=20, cfg_scale=7.0, width=512, height=768),
)  # fmt: skip
ARGUMENTS: dict[str, Any] = {"sampler": "Euler a", "steps": 20, "cfg_scale": 7, "width": 512, "height": 768}
PLAN: dict[str, Any] = {"prompt": "a red fox, snow", "model": "inkSketch_v1", "arguments": ARGUMENTS}
FLAT = {"prompt": "a red fox, snow", "model": "inkSketch_v1", **ARGUMENTS}
GOOD = json.dumps(PLAN)
LAYOUT = f"Prompt: a red fox, snow\nModel: inkSketch_v1. Rough pen lines.\nArguments: {json.dumps(ARGUMENTS)}"
OTHER = json.dumps(PLAN | {"prompt": "a blue dog"})


def args(**changed: Any) -> str:
    """The good plan with other arguments; None takes one away."""
    return json.dumps(PLAN | {"arguments": {k: v for k, v in (ARGUMENTS | changed).items() if v is not None}})


def plan(**changed: Any) -> str:
    """The good plan with other parts; None takes one away."""
    return json.dumps({k: v for k, v in (PLAN | changed).items() if v is not None})


RIGHT: list[Any] = [
    # objects, nested, flat and wrapped
    PLAN, FLAT, GOOD, json.dumps(FLAT), json.dumps(PLAN, indent=4), json.dumps(PLAN, ensure_ascii=True),
    {"plan": PLAN}, {"answer": {"plan": PLAN}}, {"result": [PLAN]}, [GOOD][0] + "\n" + GOOD, f"[{GOOD}]",
    {"name": "make_plan", "arguments": FLAT}, {"tool": "draw", "parameters": PLAN | {"arguments": ARGUMENTS}},
    {"name": "make_plan", "arguments": PLAN}, json.dumps(json.dumps(PLAN)), PLAN | {"reasoning": "a fox is small"},
    PLAN | {"explanation": {"why": ["x"]}}, PLAN | {"confidence": 0.9, "": 1, "ranking": None},
    # fences, prose, thoughts
    f"```json\n{GOOD}\n```", f"```\n{GOOD}\n```", f"~~~json\n{GOOD}\n~~~", f"Here is your plan:\n\n```json\n{GOOD}\n```\nEnjoy!",
    f"Sure! {GOOD}", f"{GOOD} I hope this helps {{smile}}", f"```json\n{GOOD}", f"{GOOD}\n```", f"<think>{OTHER}</think>{GOOD}",
    f"<think>hm, {{maybe}} a dog</think>\n\n{GOOD}", f"maybe a dog?</think>{GOOD}", f"{GOOD}<think>was that", f"\ufeff{GOOD}",
    f"\u200b{GOOD}\u200b", f"\x00\x07{GOOD}\x1b[0m", f"\r\n{GOOD}\r\n", f"<answer>{GOOD}</answer>", f"{GOOD};", f"json\n{GOOD}",
    f"I'm sorry for the wait. {GOOD}", f"**Plan**\n\n{GOOD}", f"> {GOOD}", f"data: {GOOD}\n\ndata: [DONE]",
    # JSON as models spell it
    GOOD.replace('"', "'"), repr(PLAN), repr(PLAN | {"negative_prompt": None}), GOOD[:-1] + ",}", GOOD.replace("}", ",}"),
    GOOD.replace('"prompt"', "prompt").replace('"model"', "model"), GOOD.replace('"', "“", 1).replace('"', "”", 1),
    GOOD.replace('"a red fox, snow"', "“a red fox, snow”"), GOOD.replace('"a red fox, snow"', "「a red fox, snow」"),
    GOOD.replace(": ", "："), GOOD.replace(", \"", "，\""), GOOD.replace("{", "｛").replace("}", "｝"),
    GOOD.replace(", \"model\"", ' // the picture\n, "model"'), GOOD.replace(', "model"', ', /* which */ "model"'),
    GOOD.replace(', "model"', ' "model"'), GOOD.replace(', "model"', '\n"model"'), GOOD.replace(', "model"', '; "model"'),
    GOOD.replace("20", "+20"), GOOD.replace('"Euler a"', "Euler a"), GOOD.replace(': 20', ' = 20'),
    GOOD.replace(', "model"', ', # comment\n"model"'), json.dumps(PLAN, indent=1).replace(",\n", "\n"),
    '{"prompt": "a red fox, snow", "model": "inkSketch_v1", "arguments": ' + json.dumps(json.dumps(ARGUMENTS)) + "}",
    '{"prompt": "a red fox, snow", "model": "inkSketch_v1", "arguments": "Sampler: Euler a, Steps: 20, CFG scale: 7, Size: 512x768"}',
    GOOD.replace('"width": 512, "height": 768', '"size": "512x768"'), GOOD.replace('"width": 512, "height": 768', '"size": [512, 768]'),
    GOOD.replace('"width": 512, "height": 768', '"resolution": "512×768"'), GOOD.replace("768", "768,\n// done\n"),
    GOOD.replace('"width": 512, "height": 768', '"size": {"width": 512, "height": "768"}'),
    GOOD.replace("a red fox, snow", "a red \\ud800fox, snow"), GOOD.replace("a red fox", "a red\\u0000 fox"),
    # names of keys
    json.dumps({"Prompt": "a red fox, snow", "Model": "inkSketch_v1", "Arguments": ARGUMENTS}),
    json.dumps({"positive_prompt": "a red fox, snow", "model_name": "inkSketch_v1", "parameters": ARGUMENTS}),
    json.dumps({"PROMPT": "a red fox, snow", "checkpoint": "inkSketch_v1.safetensors", "settings": ARGUMENTS}),
    args(cfg_scale=None, guidance_scale=7), args(cfg_scale=None, CFG="7.0"), args(steps=None, num_inference_steps=20),
    args(sampler=None, sampler_name="Euler a"), args(sampler=None, scheduler="Euler a"), args(width=None, W=512),
    args(**{"cfg_scale": None, "CFG Scale": 7}), args(steps=None, 采样步数=20), args(seed=-1), args(seed=None, eta=0.3),
    # numbers as people write them
    args(steps="20"), args(steps="20.0"), args(steps=20.0), args(steps="twenty"), args(steps="Twenty steps"), args(steps="20 steps"),
    args(steps="二十"), args(steps="20步"), args(steps="２０"), args(steps=["20"]), args(steps=" 20 "), args(steps="~20"),
    args(cfg_scale="7"), args(cfg_scale="7,0"), args(cfg_scale="seven"), args(cfg_scale="seven point zero"), args(cfg_scale="七"),
    args(width="512px"), args(width="512 pixels"), args(width="five hundred and twelve"), args(width="五百一十二"), args(width="五一二"),
    args(height="seven hundred sixty-eight"), args(height="768 px"), args(height="\"768\""), args(height="**768**"),
    # models and prompts
    plan(model="inkSketch"), plan(model="INKSKETCH_V1"), plan(model="inkSketch_v1.safetensors"), plan(model=" inkSketch_v1 "),
    plan(model="inkSketch_v1. Black and white ink drawings"), plan(model="inkSketch_v1 - ink drawings"), plan(model="`inkSketch_v1`"),
    plan(model="inkSketch_v1 (SD 1.5)"), plan(model={"name": "inkSketch_v1", "description": "ink"}), plan(model={"id": "inkSketch_v1"}),
    plan(model=["inkSketch_v1"]), plan(model="urn:air:sd1:checkpoint:civitai:1"), plan(model="**inkSketch_v1**"),
    plan(model="inkSketch_v1: rough v1.5 lines. Good."), plan(prompt=["a red fox", "snow"]), plan(prompt="  a red fox, snow\n"),
    # layouts
    LAYOUT, LAYOUT.replace("\n", " "), LAYOUT.replace(": ", "："), LAYOUT.replace("\n", "\r\n"), LAYOUT.replace("\n", "\n\n"),
    LAYOUT.replace("Prompt:", "**Prompt:**").replace("Model:", "**Model**:").replace("Arguments:", "**Arguments:**"),
    LAYOUT.replace("Prompt:", "- Prompt:").replace("Model:", "- Model:").replace("Arguments:", "- Arguments:"),
    LAYOUT.replace("Prompt:", "1. Prompt:").replace("Model:", "2. Model:").replace("Arguments:", "3. Arguments:"),
    LAYOUT.replace("Prompt:", "### Prompt\n").replace("Model:", "### Model\n").replace("Arguments:", "### Arguments\n"),
    LAYOUT.upper().replace("A RED FOX, SNOW", "a red fox, snow").replace("EULER A", "Euler a"), LAYOUT + "\n\nHave fun!",
    "Sure:\n" + LAYOUT, LAYOUT.replace('"', "'"), f"```\n{LAYOUT}\n```", LAYOUT.replace("Arguments:", "Arguments:\n```json\n") + "\n```",
    "\n".join(reversed(LAYOUT.split("\n"))),
    "Prompt: a red fox, snow\nModel: inkSketch_v1\nSampler: Euler a\nSteps: 20\nCFG scale: 7\nSize: 512x768",
    "Prompt: a red fox, snow\nModel: inkSketch_v1\nArguments: Sampler: Euler a, Steps: 20, CFG scale: 7, Width: 512, Height: 768",
    "prompt: a red fox, snow\nmodel: inkSketch_v1\narguments:\n  sampler: Euler a\n  steps: 20\n  cfg_scale: 7\n  width: 512\n  height: 768",
    "prompt: \"a red fox, snow\"\nmodel: 'inkSketch_v1'\narguments:\n  - sampler: Euler a\n  - steps: 20\n  - cfg: 7\n  - size: 512x768",
    "a red fox, snow\nSteps: 20, Sampler: Euler a, CFG scale: 7, Size: 512x768, Model: inkSketch_v1",
    "a red fox, snow\nNegative prompt:\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: -1, Size: 512x768, Model: inkSketch_v1",
    "提示词：a red fox, snow\n模型：inkSketch_v1\n参数：采样器：Euler a，步数：二十，引导系数：７，宽度：５１２，高度：768",
    "<prompt>a red fox, snow</prompt><model>inkSketch_v1</model><arguments>{\"sampler\": \"Euler a\", \"steps\": 20, \"cfg\": 7, "
    "\"size\": \"512x768\"}</arguments>",
    "| Prompt | a red fox, snow |\n|---|---|\n| Model | inkSketch_v1 |\n| Sampler | Euler a |\n| Steps | 20 |\n| CFG scale | 7 |\n"
    "| Width | 512 |\n| Height | 768 |",
    "\"prompt\": \"a red fox, snow\",\n\"model\": \"inkSketch_v1\",\n\"sampler\": \"Euler a\",\n\"steps\": 20,\n\"cfg_scale\": 7,\n"
    "\"width\": 512,\n\"height\": 768",
]  # fmt: skip

WRONG: list[tuple[Any, str]] = [
    # nothing, refusals, other things
    ("", "empty"), (" \n\t", "empty"), ("\x00\x01", "empty"), ("\u200b\ufeff", "empty"), ("<think>a long thought", "empty"),
    ("I'm sorry, but I can't help with that.", "refusal"), ("I’m sorry, I can’t do that", "refusal"), ("I cannot create this", "refusal"),
    ("As an AI language model, I do not draw.", "refusal"), ("Sorry! That is against our guidelines.", "refusal"),
    ("抱歉，我无法帮助您。", "refusal"), ("Lo siento, no puedo.", "refusal"), ("Désolé, je ne peux pas", "refusal"),
    ("Es tut mir leid, das geht nicht.", "refusal"), ("申し訳ありません", "refusal"), ("I won't draw that {person}.", "refusal"),
    ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "html"), ("<html>hi</html>", "html"), ("\n <HTML>", "html"),
    ("a red fox in the snow", "no-plan"), ("ok", "no-plan"), ("42", "no-plan"), ("null", "no-plan"), ("[]", "no-plan"), ("{}", "no-plan"),
    ([], "no-plan"), (7, "no-plan"), (None, "no-plan"), (True, "no-plan"), ({}, "no-plan"), ({"a": {"b": {"c": {}}}}, "no-plan"),
    ('{"error": "overloaded"}', "no-plan"), ("Prompt: a red fox", "no-plan"), ("What style would you like?", "no-plan"),
    ("🦊" * 50, "no-plan"), ("\ud800", "empty"), ("a" * 190_000, "no-plan"), ("{" * 1000, "broken-json"), ("}{", "cut-off"),
    ('{"type": "object", "properties": {"prompt": {"type": "string"}, "model": {"type": "string"}}}', "missing"),
    # too long
    ("word " * 100_000, "too-long"), (GOOD + " " * 400_000, "too-long"), (plan(prompt="x" * 30_000), "too-long"),
    (plan(negative_prompt="x" * 30_000), "too-long"), ("提" * 300_000, "too-long"),
    # cut off
    *((GOOD[:n], "cut-off") for n in (12, 25, 45, 60, 80, 100, 120, len(GOOD) - 2, len(GOOD) - 1)),
    (f"```json\n{GOOD[:70]}", "cut-off"), (f"Here you are: {GOOD[:90]}\n```", "cut-off"), (GOOD[:60].replace('"', "'"), "cut-off"),
    # JSON beyond repair
    ('{"prompt" "a red fox"}', "broken-json"), ("{a red fox}", "broken-json"), ("{'a':" * 500 + "1" + "}" * 500, "broken-json"),
    # two at once
    (f"{GOOD}\n{OTHER}", "two-plans"), (f"[{GOOD}, {OTHER}]", "two-plans"), ({"plans": [PLAN, PLAN | {"prompt": "x"}]}, "two-plans"),
    (f"Either {GOOD} or {OTHER}", "two-plans"), (f"{LAYOUT}\n\n{LAYOUT.replace('fox', 'dog')}", "two-plans"),
    (plan(model=["inkSketch_v1", "glossyToy_v3"]), "two-plans"), (GOOD[:-1] + ', "prompt": "a dog"}', "two-plans"),
    (json.dumps(FLAT | {"arguments": ARGUMENTS | {"steps": 30}}), "two-plans"), (GOOD[:-1] + ', "Model": "glossyToy_v3"}', "two-plans"),
    (f"```json\n{GOOD}\n```\n```json\n{OTHER}\n```", "two-plans"),
    # parts that are not there
    (plan(prompt=None), "missing"), (plan(prompt=""), "missing"), (plan(prompt="  "), "missing"), (plan(model=None), "missing"),
    (plan(model=""), "missing"), (plan(model=[]), "missing"), (plan(model={}), "missing"), (plan(arguments=None), "missing"),
    (plan(arguments={}), "missing"), (plan(arguments=[]), "missing"), (plan(arguments="the usual"), "missing"),
    *((args(**{key: None}), "missing") for key in ARGUMENTS), (args(sampler=""), "missing"), (args(steps=""), "missing"),
    ("Prompt: a red fox\nModel: inkSketch_v1", "missing"), ("Prompt: a red fox\nModel: inkSketch_v1\nArguments: default", "missing"),
    ("Model: inkSketch_v1\nArguments: " + json.dumps(ARGUMENTS), "missing"), (plan(prompt="\x00\x01"), "missing"),
    # values that are none
    (args(steps="many"), "bad-value"), (args(steps="20-30"), "bad-value"), (args(steps=20.5), "bad-value"), (args(steps=True), "bad-value"),
    (args(steps=0), "bad-value"), (args(steps=-5), "bad-value"), (args(steps=10**9), "bad-value"), (args(steps="1e400"), "bad-value"),
    (args(steps={"value": 20}), "bad-value"), (args(steps=[20, 30]), "bad-value"), (args(steps="a few"), "bad-value"),
    (args(steps=float("nan")), "bad-value"), (args(cfg_scale=float("inf")), "bad-value"), (args(cfg_scale="NaN"), "bad-value"),
    (args(cfg_scale=101), "bad-value"), (args(cfg_scale=-1), "bad-value"), (args(width=7), "bad-value"), (args(width=10**30), "bad-value"),
    (args(width="wide"), "bad-value"), (args(width="512x768"), "bad-value"), (args(height="tall enough"), "bad-value"),
    (args(width=None, height=None, size="large"), "bad-value"), (args(width=None, height=None, size="4:3"), "bad-value"),
    (args(width=None, height=None, size=[512]), "bad-value"), (args(sampler=7), "bad-value"), (args(sampler=["Euler a"]), "bad-value"),
    (args(sampler="x" * 90), "bad-value"), (args(seed="lucky"), "bad-value"), (args(clip_skip=99), "bad-value"), (args(seed=2**70), "bad-value"),
    (plan(prompt=7), "bad-value"), (plan(prompt={"text": "a fox"}), "bad-value"), (plan(prompt=["a", 7]), "bad-value"),
    (plan(model=7), "bad-value"), (plan(negative_prompt=7), "bad-value"), (args(steps="二十多"), "bad-value"), (args(steps="½"), "bad-value"),
    (args(steps="9" * 60), "bad-value"), (args(steps="٢٠ تقريبا"), "bad-value"),
    # a model where the sampler belongs, and models that are none
    (args(sampler="glossyToy_v3"), "model-as-sampler"), (args(sampler="inkSketch_v1"), "model-as-sampler"),
    (args(sampler="GLOSSYTOY_V3.safetensors"), "model-as-sampler"), (LAYOUT.replace("Euler a", "oilPaint_v2"), "model-as-sampler"),
    (args(sampler="plainBase"), "model-as-sampler"),
    (plan(model="inkSketch_v2"), "unknown-model"), (plan(model="Euler a"), "unknown-model"), (plan(model="SDXL"), "unknown-model"),
    (plan(model="x" * 5000), "unknown-model"), (plan(model="a model for ink. inkSketch_v1"), "unknown-model"),
    (LAYOUT.replace("inkSketch_v1", "samaritan3dCartoon_v40SDXL"), "unknown-model"), (plan(model="<Model_7>"), "unknown-model"),
    (plan(model="墨水"), "unknown-model"), (plan(model="../../etc/passwd"), "unknown-model"),
]  # fmt: skip
