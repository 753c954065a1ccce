"""The hub's answers for collecting and hydrating alike: from the store, else asked for, and kept without user names.

An answer is kept for good, but for some that may not be about what was asked:

- A list of models that is refused ends the run and is not kept.
- Pictures refused with 403 are kept so that the run can go on without them, but every run asks for them again.  When
  `REFUSED` new ones come in a row, or the last new ones end a run, the token is tried on a page that was given before:
  if it does not open that, or there is none, that ends the run, and those refusals are not kept.
- A request that is never answered can be given up (`skip`).  That is kept once the hub has answered another such
  request, so that a hub that is down is never taken for one without that page; without `skip` it is asked for again.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from chatgenbench.build import civitai
from chatgenbench.build.client import CHECK_TOKEN, Client, Params, Unanswered
from chatgenbench.build.store import UNANSWERED, Answer, RawStore, key_of
from chatgenbench.build.walk import check_listed
from chatgenbench.errors import InfraError, UserError

#: So many requests in a row that were never refused before are refused.
REFUSED = 3


class Answers:
    """Answers of one run.

    Args:
        salt: keys the pseudonyms that user names are replaced by.
        skip: what was given up in an earlier run is not asked for again.
    """

    def __init__(self, store: RawStore, client: Client, salt: bytes, skip: bool = False) -> None:
        self._store, self._client, self._salt, self._skip = store, client, salt, skip
        self._given_up: dict[str, Answer] = {}
        self._refused: dict[str, Answer] = {}
        self._asks_again, self._trying = True, False

    def known(self, path: str, params: Params) -> bool:
        """Whether `get` will ask nobody."""
        status = self._store.status(key_of(path, params))
        if status == UNANSWERED:
            return self._skip
        return status is not None and not (status == 403 and self._asks_again)

    async def get(self, path: str, params: Params) -> Answer:
        """The answer to a request, which is in the store now, or will be once `settle` was called.

        Raises:
            Unanswered: there is none.
            UserError: the token is refused, or the query.
            InfraError: the disk refuses.
        """
        key = key_of(path, params)
        kept = self._store.get(key)
        if kept is not None and self.known(path, params):
            return kept
        try:
            answer = await self._client.get(path, params)
        except Unanswered:
            if kept is None or kept.status == UNANSWERED:
                raise
            self._asks_again = False
            return kept
        self._keep_given_up(path)
        if path == "/models":
            check_listed(answer)
        clean = self._without_names(answer)
        if clean.status == 403:
            await self._refuse(key, clean)
        else:
            self._keep(self._refused)
            self._store.put(key, clean)
        return clean

    def give_up(self, path: str, params: Params) -> Answer:
        """Go on without an answer that never comes; kept as `UNANSWERED` when `path` next answers something."""
        key = key_of(path, params)
        return self._given_up.setdefault(key, Answer(key, UNANSWERED, b"{}"))

    async def settle(self) -> None:
        """Keep what was refused or given up last, at the end of a run.

        Raises:
            UserError: it was the token.
            InfraError: the hub is down.
        """
        for path in sorted({key.partition("?")[0] for key in self._given_up}):
            if not await self._given_again(path):
                raise InfraError(f"the API answers nothing under {path}: type the command again later")
            self._keep_given_up(path)
        if self._refused:
            await self._try_token(next(iter(self._refused.values())))

    async def _refuse(self, key: str, answer: Answer) -> None:
        if self._store.status(key) == 403:  # as the last time, when others were given
            return
        self._refused[key] = answer
        if len(self._refused) >= REFUSED and not self._trying:
            self._trying = True
            try:
                await self._try_token(answer)
            finally:
                self._trying = False

    async def _try_token(self, refusal: Answer) -> None:
        """Keep the refusals if the token opens a page of pictures that was given before; else it is the token."""
        if not await self._given_again("/images"):
            said = civitai.reason(refusal.body) or "status 403"
            raise UserError(f"the API refuses to give pictures ({said}): {CHECK_TOKEN}; what was collected is kept")
        self._keep(self._refused)

    async def _given_again(self, path: str) -> bool:
        """Whether the hub, when it is asked again for something under `path` that it gave before, gives it."""
        given = (key for key in self._store if key.startswith(path) and self._store.status(key) == 200)
        asked, _, query = next(given, "").partition("?")
        if not asked:
            return False
        try:
            return (await self._client.get(asked, parse_qsl(query, keep_blank_values=True))).status == 200
        except Unanswered as failure:
            raise InfraError(f"the API does not answer ({failure.why}): type the command again") from None

    def _keep_given_up(self, path: str) -> None:
        alike = {key: answer for key, answer in self._given_up.items() if key.partition("?")[0] == path}
        for key in alike:
            del self._given_up[key]
        self._keep(alike)

    def _keep(self, answers: dict[str, Answer]) -> None:
        for key, answer in answers.items():
            self._store.put(key, answer)
        answers.clear()

    def _without_names(self, answer: Answer) -> Answer:
        try:
            body = civitai.load(answer.body)
        except ValueError:
            return Answer(answer.url, answer.status, b'{"error":"no JSON"}')
        civitai.scrub(body, lambda name: civitai.pseudonym(self._salt, name))
        return Answer(answer.url, answer.status, civitai.dump(body))
