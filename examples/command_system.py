"""A system for `chatgenbench eval --system "cmd:python examples/command_system.py"`."""

import json
import sys

for line in sys.stdin:
    chat = json.loads(line).get("input")
    if (
        chat is None
    ):  # the first line holds the models and the training split: {"prepare": {"catalog": ..., "train": ...}}
        continue
    said = " ".join(message["text"] for message in chat["messages"] if message["role"] == "user")
    arguments = {"sampler": "Euler a", "steps": 20, "cfg_scale": 3, "width": 64, "height": 64}
    answer = {"id": chat["id"], "plan": {"prompt": said, "model": "stickerPop_v12", "arguments": arguments}}
    print(json.dumps(answer), flush=True)
