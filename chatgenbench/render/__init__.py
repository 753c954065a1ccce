"""Plan -> picture: samplers, checkpoints, leases, the picture pool and what draws.

Importing this package does not import torch; drawing does.
"""

from chatgenbench.render.drawing import draw
from chatgenbench.render.estimate import RenderEstimate, plan_estimate
from chatgenbench.render.executor import Executor, Picture, Undrawn
from chatgenbench.render.leases import Lease, lease_requests
from chatgenbench.render.local import LocalExecutor, devices_for
from chatgenbench.render.pool import Pool
from chatgenbench.render.requests import engine_fingerprint, request_for
from chatgenbench.render.resolver import Located, Resolver
from chatgenbench.render.samplers import Sampler, known, resolve
from chatgenbench.render.weights import weights_digest

__all__ = [
    "Executor",
    "Lease",
    "LocalExecutor",
    "Located",
    "Picture",
    "Pool",
    "RenderEstimate",
    "Resolver",
    "Sampler",
    "Undrawn",
    "devices_for",
    "draw",
    "engine_fingerprint",
    "known",
    "lease_requests",
    "plan_estimate",
    "request_for",
    "resolve",
    "weights_digest",
]
