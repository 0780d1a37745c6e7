"""Embedding models that call no SDK that bursar knows: a subclass of the user's own class pays around each method."""

# What is overridden is of whatever class the user's model has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bursar.meter import Meter, Observer, plan_request
from bursar.meter.around import outer_meter
from bursar.meter.failures import failure_of
from bursar.scope import current_meter
from bursar.wire import OPENAI_EMBEDDINGS, Receipt

if TYPE_CHECKING:
    from collections.abc import Generator

    from bursar.payer import Payer

ModelT = TypeVar("ModelT")

_PROVIDERS: Final = {
    "langchain_openai": "openai",
    "langchain_cohere": "cohere",
    "langchain_google_genai": "google",
    "langchain_google_vertexai": "google",
    "langchain_mistralai": "mistral",
    "langchain_aws": "aws",
    "langchain_voyageai": "voyageai",
    "langchain_fireworks": "fireworks",
    "langchain_together": "together",
    "langchain_ollama": "ollama",
}
"""Who bills, by the package of the class; of others it is the package without `langchain_`."""


def guard_embeddings(model: ModelT, payer: Payer) -> ModelT:
    """Return a copy of *model*, of a subclass of its class, whose every embedding *payer* pays for."""
    plain: Any = type(model)
    plain = getattr(plain, "bursar_plain", plain)
    attributes = {
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": plain.__doc__,
        # Properties, because pydantic takes other attributes for fields.
        "bursar": property(lambda _: payer),
        "bursar_plain": property(lambda _: plain),
    }
    guarded_class = type(plain)(plain.__name__, (_GuardedEmbeddings, plain), attributes)
    twin = object.__new__(guarded_class)
    state: Any = model.__getstate__()
    if hasattr(twin, "__setstate__"):
        twin.__setstate__(state)
    else:
        parts: Any = state if isinstance(state, tuple) else (state,)
        for part in filter(None, parts):
            for name, value in part.items():
                setattr(twin, name, value)
    return twin


if TYPE_CHECKING:
    Model = Any
else:
    Model = object


class _GuardedEmbeddings(Model):
    """The methods that cost money; one that calls another pays once."""

    def embed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        with _paid(self, texts, is_async=False) as meter:
            meter.reserve()
            meter.dispatch()
            return super().embed_documents(texts, *args, **kwargs)

    def embed_query(self, text: str, *args: Any, **kwargs: Any) -> Any:
        with _paid(self, [text], is_async=False) as meter:
            meter.reserve()
            meter.dispatch()
            return super().embed_query(text, *args, **kwargs)

    async def aembed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> Any:
        with _paid(self, texts, is_async=True) as meter:
            await meter.areserve()
            meter.dispatch()
            return await super().aembed_documents(texts, *args, **kwargs)

    async def aembed_query(self, text: str, *args: Any, **kwargs: Any) -> Any:
        with _paid(self, [text], is_async=True) as meter:
            await meter.areserve()
            meter.dispatch()
            return await super().aembed_query(text, *args, **kwargs)


@contextmanager
def _paid(model: Any, texts: list[str], *, is_async: bool) -> Generator[Meter | Observer]:
    """Follow one call from before its hold to its end."""
    outer = outer_meter()
    meter: Meter | Observer = _meter(model, texts, is_async=is_async) if outer is None else Observer(outer)
    token = current_meter.set(meter) if isinstance(meter, Meter) else None
    try:
        yield meter
    except Exception as error:  # Booked by what failed, and raised again.
        is_billed, reason = failure_of(error)
        meter.fail(reason, is_billed=is_billed)
        raise
    except BaseException as error:  # Cancelled: it may be billed all the same; raised again.
        meter.abort(Receipt(), None, reason=type(error).__name__)
        raise
    else:
        # LangChain passes on no usage: what was sent is counted, or bounded.
        meter.estimate(Receipt(finished=True), 0)
    finally:
        if token is not None:
            current_meter.reset(token)


def _meter(model: Any, texts: list[str], *, is_async: bool) -> Meter:
    names = (getattr(model, key, None) for key in ("model", "model_name", "model_id"))
    name = next((name for name in names if isinstance(name, str) and name), type(model).__name__)
    package = type(model).__module__.partition(".")[0]
    return Meter(
        plan_request(
            OPENAI_EMBEDDINGS,
            {"model": name, "input": texts},
            model.bursar.booking(),
            provider=_PROVIDERS.get(package, package.removeprefix("langchain_")),
            can_downgrade=False,
            is_async=is_async,
        )
    )
