"""Mistakes in what was typed for `chatgenbench build`, told before any work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatgenbench.dates import today
from chatgenbench.errors import UserError
from chatgenbench.remote.address import bare

if TYPE_CHECKING:
    from chatgenbench.build_commands import Request

#: The name of the small language model that is served on this machine.
LOCAL = "local"


def check(request: Request) -> None:
    """See that a request can be carried out, as far as that can be told without a network.

    Raises:
        UserError: what is wrong, and how to mend it.
    """
    from chatgenbench.build.client import checked
    from chatgenbench.build.publish import check_name, check_push

    checked(request.api)
    check_name(request.name)
    if request.push_to_hub is not None:
        check_push(request.push_to_hub, "full" if request.form == "full" else "release")
    if request.llm_model is not None and not request.llm_model.strip():
        raise UserError("--llm-model is empty: name a model of the endpoint, or local")
    if request.llm_model is not None and request.llm_model != LOCAL:
        bare(request.llm_base_url)
    elif request.llm_model is None and not request.dry_run:
        raise UserError(
            "who plays the people? give --llm-model with --llm-base-url (any OpenAI-compatible endpoint), or "
            "--llm-model local for a small one on this machine"
        )
    if request.budget is not None and not (request.llm_price_in or request.llm_price_out):
        raise UserError("--budget needs prices to be kept to: give --llm-price-in and --llm-price-out")
    today()
