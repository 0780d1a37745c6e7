"""`guard()`: the strict door.  A model of a subclass of the user's own class, whose every call is paid."""

# What is overridden is of whatever class the user's model has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from weakref import WeakValueDictionary

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM

from bursar.clients.patches import tell_patches
from bursar.clients.twins import own_attributes
from bursar.ids import new_id
from bursar_llama_index.clients import (
    OverGuardedClients,
    guard_clients,
    has_clients,
    keep_clients,
    makes_clients,
    unguard_clients,
    unguarded_state,
)
from bursar_llama_index.embedding import GuardedEmbedding
from bursar_llama_index.llm import GuardedLLM
from bursar_llama_index.payers import LlamaIndexPayer, follow_runs
from bursar_llama_index.request import model_name, provider_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bursar.budget import Budget
    from bursar.money import Money

ModelT = TypeVar("ModelT")


class Guarding:
    """
    What a guarded model and its copies have in common.

    Attributes:
        payer: Who pays.

        steps: The models that may stand in, in order, whichever budget is short; None to do as the budgets say.

        fallback: Those of them that are models of their own, by the name that each is priced by.

        is_seen_below: Whether a guarded client of an SDK sends the calls.

        token: Finds it again in this process.
    """

    def __init__(self, payer: LlamaIndexPayer) -> None:
        self.payer = payer
        self.steps: tuple[str, ...] | None = None
        self.fallback: Mapping[str, Any] = {}
        self.is_seen_below = False
        self.token = new_id()
        _guardings[self.token] = self


_guardings: Final[WeakValueDictionary[str, Guarding]] = WeakValueDictionary()


def guard(
    model: ModelT,
    budget: Money | Budget | None = None,
    *,
    agent: str | None = None,
    downgrade: Iterable[str | BaseLLM] | None = None,
) -> ModelT:
    """
    Return a model like *model* whose every call is paid from a budget before it is sent.

    ```python
    llm = guard(OpenAI(model="gpt-4o"), Budget("$2.00", agents={"researcher": "60%"}))
    ```

    It is of a subclass of the model's class and over the same connections, and its copies are guarded too; *model* is
    not changed. Calls pay from *budget* and from the run around them, and are booked to the agent as LlamaIndex names
    it, in LlamaIndex's outermost run. Where OpenAI's or Anthropic's SDK is below, every attempt is seen, a stream
    states its usage, and a downgrade or a lower output limit is on the wire.

    Args:
        model: Any LLM or embedding model.

        budget: A `Budget`, which pays for each outermost run of LlamaIndex's anew; or dollars that this model may spend
            as long as it lives; None to pay from what is around.

        agent: Who the calls are booked to; it wins over what LlamaIndex would say.

        downgrade: What may stand in where a budget is short, in order: other models by name, for the same client, or
            LLMs, which then serve the call. Without it the budgets say (`Budget(downgrade=...)`).

    Raises:
        TypeError: *model* is neither an LLM nor an embedding model.
        ValueError: The budget, the name or *downgrade* makes no sense.
        UnknownAgent: The run around this code has a budget that does not know *agent*.
    """
    payer = LlamaIndexPayer(budget, agent=agent)
    payer.check_agent()
    return guard_model(model, payer, downgrade)


def guard_model(
    model: ModelT, payer: LlamaIndexPayer, downgrade: Iterable[str | BaseLLM] | None = None
) -> ModelT:
    """Return a guarded copy of *model* that *payer* pays for; see `guard`."""
    if not isinstance(model, BaseLLM | BaseEmbedding):
        raise TypeError(_what_else(model))
    follow_runs()
    tell_patches(model)
    guarding = Guarding(payer)
    twin = _twin(copy.copy(_without_clients(model)), guarding)
    if downgrade is not None:
        if isinstance(model, BaseEmbedding):
            msg = "an embedding model has no downgrade: vectors of two models cannot be compared"
            raise ValueError(msg)
        _add_fallback(model, guarding, downgrade)
    return cast("ModelT", twin)


def plain_class(model: object) -> type:
    """Return the class that the user made *model* of."""
    return cast("type", getattr(model, "bursar_plain", type(model)))


def _twin(twin: Any, guarding: Guarding) -> Any:
    """Make *twin*, a copy of the user's model, one of a guarded class."""
    plain: Any = plain_class(twin)
    for name in vars(twin).keys() - own_attributes(twin).keys():
        # It would call the user's own model.
        del vars(twin)[name]
    parts: list[type] = [GuardedEmbedding if issubclass(plain, BaseEmbedding) else GuardedLLM]
    if makes_clients(plain):
        parts.append(OverGuardedClients)
    attributes = {
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": plain.__doc__,
        # Properties, because pydantic takes other attributes for fields.
        "bursar": property(lambda _: guarding.payer),
        "bursar_plain": property(lambda _: plain),
        "bursar_guarding": property(lambda _: guarding),
        "__deepcopy__": _deeply_copied,
        "__reduce__": _reduced,
        "__reduce_ex__": _reduced,
    }
    make: Any = type(plain)
    guarded_class = make(plain.__name__, (*parts, plain), attributes)
    object.__setattr__(twin, "__class__", guarded_class)
    guarding.is_seen_below = makes_clients(plain) or has_clients(twin)
    guard_clients(twin, guarding.payer)
    return twin


def _without_clients(model: Any) -> Any:
    """Return *model*, or of one that is guarded already a plain copy, which a guard of its own is put on."""
    if not hasattr(model, "bursar_plain"):
        return model
    plain = copy.copy(model)
    object.__setattr__(plain, "__class__", model.bursar_plain)
    unguard_clients(plain)
    return plain


def _add_fallback(model: Any, guarding: Guarding, downgrade: Iterable[str | BaseLLM]) -> None:
    steps: list[str] = []
    fallback: dict[str, Any] = {}
    for step in (downgrade,) if isinstance(downgrade, str) else downgrade:
        if isinstance(step, str):
            if not guarding.is_seen_below:
                kind = plain_class(model).__name__
                msg = f"downgrade={step!r}: {kind} cannot be asked for another model by name; give an LLM in its place"
                raise ValueError(msg)
            steps.append(step)
            continue
        if not isinstance(step, BaseLLM):  # pyright: ignore[reportUnnecessaryIsInstance]
            msg = f"downgrade takes names of models and LLMs, not {type(step).__name__}"
            raise TypeError(msg)
        # A price is found by the name alone where both are of one provider, else with the provider before it.
        name = model_name(step)
        seller = provider_of(step, name)
        if seller != provider_of(model, model_name(model)):
            name = f"{seller}/{name}"
        fallback[name] = _twin(copy.copy(_without_clients(step)), Guarding(guarding.payer))
        steps.append(name)
    guarding.steps, guarding.fallback = tuple(steps), fallback


def _deeply_copied(model: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a deep copy of *model*, which the same budget pays for."""
    memo = {} if memo is None else memo
    keep_clients(model, memo)
    return plain_class(model).__deepcopy__(model, memo)


def _reduced(model: Any, protocol: int = 0) -> Any:
    """Return how *model* is pickled: as its plain class would be, and who pays for it."""
    del protocol
    state: Any = dict(model.__getstate__())
    private = state.get("__pydantic_private__")
    if private:
        state["__pydantic_private__"] = unguarded_state(private)
    return _restored, (model.bursar_guarding.token, plain_class(model), state)


def _restored(token: str, plain: Any, state: Any) -> Any:
    guarding = _guardings.get(token)
    if guarding is None:
        msg = (
            f"a guarded {plain.__name__} was pickled where its budget is, and cannot be paid for here; "
            "pickle the model that you guarded, and guard it again in this process"
        )
        raise RuntimeError(msg)
    model: Any = object.__new__(plain)
    model.__setstate__(state)
    return _twin(model, guarding)


def _what_else(model: object) -> str:
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    hint = (
        "attach_budget() takes agents and workflows"
        if hasattr(model, "run")
        else "an SDK's own client is guarded by bursar.guard()"
    )
    return f"guard() takes an LLM or an embedding model of LlamaIndex's, not {kind}; {hint}"
