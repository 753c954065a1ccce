"""A system for `chatgenbench eval --system http://127.0.0.1:8000/plan`: python examples/http_system.py"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def plan(chat):  # your system goes here
    said = [message["text"] for message in chat["messages"] if message["role"] == "user"]
    arguments = {"sampler": "Euler a", "steps": 20, "cfg_scale": 3, "width": 64, "height": 64}
    return {"prompt": said[-1], "model": "stickerPop_v12", "arguments": arguments}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):  # what it is: the revision changes whenever its answers may
        self.send({"name": "my-system", "revision": "1"})

    def do_POST(self):  # a batch of chats; each is answered under its id
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send({"answers": [{"id": chat["id"], "plan": plan(chat)} for chat in asked["inputs"]]})

    def send(self, value):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8000), Handler).serve_forever()
