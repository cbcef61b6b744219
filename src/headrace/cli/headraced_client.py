"""The commands' way to headraced: one HTTP call in, a decoded value or the server's own error out."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from headrace.core.errors import ErrorBody, Internal, Unavailable, from_body
from headrace.core.home import resolve_home

T = TypeVar("T")
READ_TIMEOUT_S = 60.0
# A deploy may stop a job with a savepoint and wait for the new one to start: 60 s each, and some.
DEPLOY_TIMEOUT_S = 180.0


class _ErrorAnswer(msgspec.Struct, frozen=True):
    error: ErrorBody


class Headraced:
    """A client of the daemon of one home; use it as a context manager."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url
        self._client = httpx.Client(base_url=url, timeout=READ_TIMEOUT_S, trust_env=False, transport=transport)

    @classmethod
    def of_home(cls, home: str | None) -> Headraced:
        """The client for `--home`, `HEADRACE_HOME`, or the current folder's stack.

        Raises:
            Unavailable: no stack runs there.
        """
        return cls(resolve_home(home).load_stack().endpoints.headraced)

    def __enter__(self) -> Self:
        """This client."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str, kind: type[T], **params: object) -> T:
        """GET and decode.

        Raises:
            HeadraceError: what the server said, or Unavailable when it does not answer.
        """
        return self._call("GET", path, kind, params={key: str(value) for key, value in params.items()})

    def post(self, path: str, kind: type[T], *, body: object, timeout_s: float = READ_TIMEOUT_S) -> T:
        """POST a value as JSON and decode the answer; raises as `get`."""
        headers = {"Content-Type": "application/json"}
        return self._call("POST", path, kind, content=msgspec.json.encode(body), headers=headers, timeout=timeout_s)

    def _call(self, method: str, path: str, kind: type[T], **options: Any) -> T:
        try:
            response = self._client.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise Unavailable(
                "headraced did not answer in time",
                context={"url": self._url + path},
                hint="the action may still finish: look with `headrace job list`",
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"headraced does not answer: {error}", context={"url": self._url}, hint="see `headrace status`"
            ) from error
        if response.is_success:
            return msgspec.json.decode(response.content, type=kind)
        try:
            raise from_body(msgspec.json.decode(response.content, type=_ErrorAnswer).error)
        except msgspec.MsgspecError as error:
            raise Internal(
                "headraced answered with something else than an error",
                context={"status": response.status_code, "path": path},
            ) from error
