"""Generation data out of ComfyUI's API graphs: `{id: {"class_type": ..., "inputs": {name: value or [id, slot]}}}`.

A graph is a program, and any program can be written in it.  Read are those that have one first pass, a sampler that
starts from an empty latent picture, whose prompts are texts that can be followed to where they are typed.  Other
graphs get one of `REASONS`; nothing is guessed.  The hub's own graphs carry what was asked as `extraMetadata`, which
counts before the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatgenbench.build import fields, resources
from chatgenbench.build.comfy_text import Texts
from chatgenbench.build.records import Generation, Resource

REASONS = {
    "comfy-unreadable": "a ComfyUI graph that is damaged, or of nodes whose meaning is not known",
    "comfy-workflow-only": "a ComfyUI workflow without the graph that was run",
    "comfy-no-first-pass": "a ComfyUI graph without a sampler that starts from nothing",
    "comfy-several-samplers": "a ComfyUI graph that draws several pictures from nothing",
    "comfy-no-prompt": "a ComfyUI graph whose prompt cannot be followed to a text",
}
_LATENT = ("latent_image", "latent", "samples", "pixels", "image", "images", "any", "anything")
_SAMPLES = ("sampler_name", "sampler")
_STEPS = ("steps", "sigmas")
_FILES = ("ckpt_name", "unet_name", "base_ckpt_name")
_SIGMAS = {
    "KarrasScheduler": "karras", "ExponentialScheduler": "exponential", "AlignYourStepsScheduler": "align_your_steps",
}  # fmt: skip

Node = Mapping[str, Any]


def read(graph: Any) -> Generation | str:
    """The generation data of a graph, given as JSON text (NaN allowed) or as an object.

    `{"prompt": graph, "workflow": ...}` is understood too.
    """
    value = fields.load(graph) if isinstance(graph, str) else graph
    if not isinstance(value, Mapping):
        return "comfy-unreadable"
    asked = _asked(value)
    if asked is not None:
        return asked
    inner = value.get("prompt")
    if isinstance(inner, str) and inner.lstrip().startswith("{"):
        inner = fields.load(inner)
    if isinstance(inner, Mapping) and "class_type" not in inner:
        value = inner
    nodes = {str(key): node for key, node in value.items() if _is_node(node)}
    if not nodes:
        only = isinstance(value.get("nodes"), list) or isinstance(value.get("workflow"), str | Mapping)
        return "comfy-workflow-only" if only else "comfy-unreadable"
    return _Graph(nodes).generation()


def _asked(value: Mapping[str, Any]) -> Generation | None:
    """What was asked of the hub's own generator."""
    inner = value.get("prompt")
    extra = value.get("extraMetadata") or (inner.get("extraMetadata") if isinstance(inner, Mapping) else None)
    found = fields.load(extra) if isinstance(extra, str) else extra
    if not isinstance(found, Mapping) or fields.text(found.get("prompt")) is None:
        return None
    flat = fields.folded(found)
    width, height = fields.integer(flat.get("width")), fields.integer(flat.get("height"))
    skip, seed = fields.integer(flat.get("clipskip")), fields.integer(flat.get("seed"))
    prompt = fields.text(flat.get("prompt")) or ""
    return Generation(
        prompt=prompt,
        negative_prompt=fields.text(flat.get("negativeprompt")) or "",
        sampler=fields.sampler(flat.get("sampler"), flat.get("scheduler")),
        steps=_positive(fields.integer(flat.get("steps"))),
        cfg_scale=fields.number(flat.get("cfgscale")),
        width=_positive(width) if height else None,
        height=_positive(height) if width else None,
        seed=seed if seed is not None and seed >= 0 else None,
        clip_skip=_positive(skip),
        resources=resources.of(flat, prompt),
        tool="civitai",
    )


class _Graph:
    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = nodes
        self.texts = Texts(nodes)

    def generation(self) -> Generation | str:
        firsts = [key for key in self._drawn() if _is_sampler(self.nodes[key]) and self._empty(key) is not None]
        if len(firsts) != 1:
            return "comfy-several-samplers" if firsts else "comfy-no-first-pass"
        sampler = self.nodes[firsts[0]]
        guider = self._linked(sampler, "guider") or sampler
        positive = self._prompt(guider, "positive", "conditioning")
        if not positive:
            return "comfy-no-prompt"
        latent = self.nodes[self._empty(firsts[0]) or ""]
        width, height = (_positive(fields.integer(self._value(latent, name))) for name in ("width", "height"))
        return Generation(
            prompt=positive,
            negative_prompt=self._prompt(guider, "negative") or "",
            sampler=self._sampler(sampler),
            steps=_positive(fields.integer(self._step_source(sampler, "steps"))),
            cfg_scale=self._cfg(guider),
            width=width if height else None,
            height=height if width else None,
            seed=self._seed(sampler),
            clip_skip=self._clip_skip(guider),
            resources=resources.merged(self._weights(guider), resources.tags(positive)),
            tool="comfyui",
        )

    def _drawn(self) -> list[str]:
        """Nodes that lead to a saved picture (to a shown one, if none is saved), in the graph's order."""
        for word in ("save", "preview", ""):
            ends = [key for key, node in self.nodes.items() if word in str(node["class_type"]).casefold()]
            reached = set(ends)
            while ends:
                ends = [key for end in ends for key in self._inputs(end) if key not in reached]
                reached.update(ends)
            if any(_is_sampler(self.nodes[key]) for key in reached):
                return [key for key in self.nodes if key in reached]
        return []

    def _inputs(self, key: str) -> list[str]:
        links = (_link(value) for value in self.nodes[key]["inputs"].values())
        return list(dict.fromkeys(link[0] for link in links if link and link[0] in self.nodes))

    def _empty(self, key: str) -> str | None:
        """The empty latent picture that a sampler starts from; None when it starts from another picture."""
        seen: set[str] = set()
        while key not in seen:
            seen.add(key)
            node = self.nodes[key]
            if "Empty" in str(node["class_type"]) and "width" in node["inputs"]:
                return key
            if len(seen) > 1 and _is_sampler(node):
                return None
            links = (_link(node["inputs"].get(name)) for name in _LATENT)
            following = next((link[0] for link in links if link and link[0] in self.nodes), None)
            if following is None:
                return None
            key = following
        return None

    def _linked(self, node: Node, name: str) -> Node | None:
        link = _link(node["inputs"].get(name))
        return self.nodes.get(link[0]) if link else None

    def _value(self, node: Node, *names: str) -> Any:
        return next((v for v in (self.texts.scalar(node, name) for name in names) if v is not None), None)

    def _prompt(self, guider: Node, *names: str) -> str | None:
        for name in names:
            if name in guider["inputs"]:
                return self.texts.conditioning(guider["inputs"][name], name)
        return None

    def _step_source(self, sampler: Node, name: str) -> Any:
        sigmas = self._linked(sampler, "sigmas")
        return self._value(sampler if sigmas is None else sigmas, name)

    def _sampler(self, sampler: Node) -> str | None:
        chosen = self._linked(sampler, "sampler") or sampler
        sigmas = self._linked(sampler, "sigmas")
        schedule = self._step_source(sampler, "scheduler")
        if schedule is None and sigmas is not None:
            schedule = _SIGMAS.get(str(sigmas["class_type"]), "unknown")
        return fields.sampler(self._value(chosen, "sampler_name"), schedule)

    def _seed(self, sampler: Node) -> int | None:
        noise = self._linked(sampler, "noise") or sampler
        seed = fields.integer(self._value(noise, "noise_seed", "seed"))
        return seed if seed is not None and seed >= 0 else None

    def _cfg(self, guider: Node) -> float | None:
        """CFG scale; where guidance is off (1, or a guider without it) the scale of a distilled model's guidance."""
        scale = fields.number(self._value(guider, "cfg"))
        if scale not in (None, 1.0):
            return scale
        for node in self._chain(guider, ("positive", "conditioning")):
            distilled = fields.number(self._value(node, "guidance"))
            if distilled is not None:
                return distilled
        return scale if scale is not None else 1.0 if guider["class_type"] == "BasicGuider" else None

    def _clip_skip(self, guider: Node) -> int | None:
        for node in self._chain(guider, ("positive", "conditioning", "clip")):
            layer = fields.integer(self._value(node, "stop_at_clip_layer"))
            if layer is not None and layer < 0:
                return -layer
        return None

    def _weights(self, guider: Node) -> list[Resource]:
        """Checkpoint and LoRAs along the model's path to the sampler; of merged models, neither."""
        found = []
        for node in self._chain(guider, ("model", "lora_stack", "optional_lora_stack", "basic_pipe")):
            inputs = node["inputs"]
            for name in _FILES:
                file = self.texts.scalar(node, name)
                if fields.text(file):
                    found.append(resources.named("checkpoint", str(file)))
            found += [resources.named("lora", name, weight) for name, weight in _loras(inputs)]
        return found

    def _chain(self, node: Node, names: tuple[str, ...]) -> Iterator[Node]:
        """`node` and those behind it along links of these names, nearest first, each once."""
        seen: set[str] = set()
        waiting = [node]
        while waiting:
            now = waiting.pop(0)
            yield now
            for name in names:
                link = _link(now["inputs"].get(name))
                if link and link[0] in self.nodes and link[0] not in seen:
                    seen.add(link[0])
                    waiting.append(self.nodes[link[0]])


def _loras(inputs: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Names and weights of the LoRAs that one node loads: core loaders, numbered stacks, objects of `on`/`lora`."""
    for key, value in inputs.items():
        if isinstance(value, Mapping) and fields.text(value.get("lora")):
            if value.get("on", True):
                yield str(value["lora"]), _weight(value.get("strength"))
        elif key == "lora_name" or key.startswith("lora_name_"):
            number = key.removeprefix("lora_name")
            used = str(inputs.get(f"switch{number}", "On")) == "On"
            if fields.text(value) and value != "None" and used:
                names = (f"strength_model{number}", f"model_weight{number}", f"lora_wt{number}", "lora_model_strength")
                yield value, _weight(next((inputs[name] for name in names if name in inputs), None))


def _weight(value: Any) -> float:
    read = fields.number(value)
    return 1.0 if read is None else read


def _is_node(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("inputs"), Mapping) and isinstance(value.get("class_type"), str)


def _is_sampler(node: Node) -> bool:
    """Whether a node draws: it is told a sampler, steps and where to begin."""
    inputs = node["inputs"]
    told = (_SAMPLES, _STEPS, ("latent_image", "latent"))
    return all(any(name in inputs for name in names) for names in told)


def _link(value: Any) -> tuple[str, int] | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int):
        return str(value[0]), value[1]
    return None


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None
