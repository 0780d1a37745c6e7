"""What a user may write for a budget's arguments, and what is said about anything else."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from bursar.account import PPM, Limits
from bursar.allotment import Share, parse_share, share_of
from bursar.money import format_usd, parse_usd
from bursar.names import writable
from bursar.store import Store
from bursar.stores.opening import check_store_url

if TYPE_CHECKING:
    from bursar.policy import OnExceed


def parse_limits(limit: Any, *, tokens: object, calls: object, attempts: object) -> Limits:  # noqa: ANN401
    """
    Return the limits in every unit.

    Raises:
        ValueError, TypeError: One is neither an amount nor a count; the message names it.
    """
    if isinstance(limit, str) and limit.strip().endswith("%"):
        msg = f"a budget of {limit!r} is a share of nothing; write dollars here, and shares in agents="
        raise ValueError(msg)
    return Limits(
        None if limit is None else parse_usd(limit),
        _parse_count(tokens, "tokens"),
        _parse_count(calls, "calls"),
        _parse_count(attempts, "attempts"),
    )


def checked_agents(agents: object) -> Mapping[str, Any]:
    """
    Return *agents* as a mapping from their names.

    Raises:
        ValueError, TypeError: It is no mapping, or a name is empty or no text.
    """
    if agents is None:
        return {}
    if not isinstance(agents, Mapping):
        msg = f'agents must map names to shares or amounts, such as {{"planner": "15%"}}, not {type(agents).__name__}'
        raise TypeError(msg)
    for name in cast("Mapping[object, Any]", agents):
        if not isinstance(name, str) or not name.strip():
            msg = f"an agent's name must be a text that is not empty, not {name!r}"
            raise ValueError(msg)
    return {writable(name): allotment for name, allotment in cast("Mapping[str, Any]", agents).items()}


def parse_allotments(
    agents: Mapping[str, Any], limits: Limits, *, oversubscribe: bool
) -> dict[str, Share | int]:
    """
    Return a share, or an amount in nano-dollars, for each agent.

    Raises:
        ValueError, TypeError: One is not a share or an amount, or together they are more than the whole.
    """
    allotments = {name: parse_share(value, agent=name) for name, value in agents.items()}
    shares = {name: share for name, share in allotments.items() if isinstance(share, Fraction)}
    if shares and all(limit is None for limit in limits):
        msg = (
            'agents have shares of a budget that has no limit; give it one, or write amounts such as "$1.50"'
        )
        raise ValueError(msg)
    if not oversubscribe:
        _check_sum(allotments, shares, limits)
    return allotments


def parse_on_exceed(on_exceed: Any) -> OnExceed:  # noqa: ANN401 - unchecked yet
    """
    Return what to do with a call that does not fit.

    Raises:
        ValueError: It is none of the words, and no function.
        TypeError: It is a function that cannot be called with one argument.
    """
    if callable(on_exceed):
        check_takes_one(on_exceed, "on_exceed", "the BudgetExceeded")
        return cast("OnExceed", on_exceed)
    if isinstance(on_exceed, str) and on_exceed in {"raise", "stop", "warn"}:
        return cast("OnExceed", on_exceed)
    msg = f'on_exceed must be "raise", "stop", "warn" or a function, not {on_exceed!r}'
    raise ValueError(msg)


def parse_thresholds(value: object, what: str) -> tuple[int, ...]:
    """
    Return thresholds as parts per million, ascending.

    Raises:
        ValueError: One is no share above 0 and at most 1; the message names *what*.
    """
    if value is None:
        return ()
    return tuple(sorted({parse_threshold(one, what) for one in _each(value)}))


def parse_threshold(value: object, what: str) -> int:
    """
    Return a threshold as parts per million.

    Raises:
        ValueError: It is no share above 0 and at most 1; the message names *what*.
    """
    share = share_of(value) if isinstance(value, str) else value
    if isinstance(share, bool) or not isinstance(share, int | float | Fraction) or not 0 < share <= 1:
        msg = (
            f'{what} must be a share of the limit above 0 and at most 1, such as 0.8 or "80%", not {value!r}'
        )
        raise ValueError(msg)
    return round(share * PPM)


def parse_ladder(downgrade: object) -> dict[str, tuple[str, ...]]:
    """
    Return the ladder below each model: `{"a": "b", "b": "c"}` gives `a` the ladder `b`, `c`.

    Raises:
        TypeError: It is no mapping.
        ValueError: Something in it is no name of a model, or a ladder leads back to its own model.
    """
    if downgrade is None:
        return {}
    if not isinstance(downgrade, Mapping):
        msg = (
            "downgrade must map a model to the cheaper one that stands in for it, such as "
            f'{{"gpt-4o": "gpt-4o-mini"}}, not {downgrade!r}'
        )
        raise TypeError(msg)
    steps = dict(_step(model, to) for model, to in cast("Mapping[object, object]", downgrade).items())
    return {model: tuple(_descend(model, steps)) for model in steps}


def _step(model: object, to: object) -> tuple[str, tuple[str, ...]]:
    names = [model, *_each(to)]
    if not all(isinstance(name, str) and name.strip() for name in names):
        msg = (
            "downgrade must map names of models to the name of a cheaper one, or to several in order, not "
            f"{model!r}: {to!r}"
        )
        raise ValueError(msg)
    first, *others = cast("list[str]", names)
    return first, tuple(others)


def _each(value: object) -> list[object]:
    """Return what *value* holds, or itself where it is one thing."""
    is_one = isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable)
    return [value] if is_one else list(cast("Iterable[object]", value))


def _descend(model: str, steps: Mapping[str, tuple[str, ...]]) -> list[str]:
    below: list[str] = []
    pending = list(steps[model])
    while pending:
        cheaper = pending.pop(0)
        if cheaper == model:
            msg = f'downgrade leads from "{model}" back to "{model}"; a ladder must go down'
            raise ValueError(msg)
        if cheaper not in below:
            below.append(cheaper)
            pending.extend(steps.get(cheaper, ()))
    return below


def check_takes_one(function: object, what: str, argument: str) -> None:
    """
    Check that *function* can be called with one argument, now and not when it is needed.

    Raises:
        TypeError: It cannot.
    """
    if not callable(function):
        msg = f"{what} must be a function that takes {argument}, not {function!r}"
        raise TypeError(msg)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some that are built in do not say.
        return
    try:
        signature.bind(None)
    except TypeError as error:
        msg = f"{what} is called with one argument, {argument}, and {function!r} does not take it: {error}"
        raise TypeError(msg) from None


def check_is_told(function: object, what: str, argument: str) -> None:
    """
    Check that *function* can be told of *argument*, whether or not there is anybody who could await it.

    Raises:
        TypeError: It cannot be called with one argument, or must be awaited.
    """
    check_takes_one(function, what, argument)
    if inspect.iscoroutinefunction(function):
        msg = f"{what} is told of {argument} at once and never awaited, so that {function!r} would not run: use a def"
        raise TypeError(msg)


def parse_store(store: object) -> Store | str | None:
    """
    Return what accounts and ledger are to be kept in.

    Raises:
        TypeError: It is neither a URL nor a store.
        ValueError: It is a URL of no store that there is.
    """
    if store and isinstance(store, str):
        check_store_url(store)
    if store is None or isinstance(store, str | Store):
        return store
    msg = f'store must be a URL such as "sqlite:///ledger.db", or an open store, not {type(store).__name__}'
    raise TypeError(msg)


def parse_name(name: object, what: str) -> str | None:
    """
    Return a name that the user gave, or None where he gave none.

    Raises:
        ValueError: It is empty, or no text.
    """
    if name is None:
        return None
    if isinstance(name, str) and name.strip():
        return writable(name)
    msg = f"{what} must be a text that is not empty, not {name!r}; leave it out for none"
    raise ValueError(msg)


def parse_on_store_failure(word: object) -> bool:
    """
    Return whether calls go through while the store does not answer.

    Raises:
        ValueError: It is neither word.
    """
    if word not in ("closed", "open"):
        msg = f'on_store_failure must be "closed" or "open", not {word!r}'
        raise ValueError(msg)
    return word == "open"


def parse_at_least(least: int, value: object, what: str) -> float:
    """
    Return *value* if it is a finite number from *least* up.

    Raises:
        ValueError: It is not; the message names *what*.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        msg = f"{what} must be a number from {least} up, not {value!r}"
        raise ValueError(msg)
    return value


def parse_min_output_tokens(value: object) -> int:
    """
    Return the smallest output limit that a request is lowered to.

    Raises:
        ValueError: It is not a whole number from 1 up.
    """
    count = _parse_count(value, "min_output_tokens")
    if not count:
        msg = f"min_output_tokens must be a whole number from 1 up, not {value!r}"
        raise ValueError(msg)
    return count


def _parse_count(value: object, what: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        msg = f"{what} must be a whole number from 0 up, not {value!r}"
        raise ValueError(msg)
    return value


def _check_sum(allotments: Mapping[str, Share | int], shares: Mapping[str, Share], limits: Limits) -> None:
    whole = sum(shares.values(), Fraction(0))
    if whole > 1:
        percent = f"{float(whole) * 100:.6g}%"
        msg = f"the shares of agents= add up to {percent}, above 100%; lower them or pass oversubscribe=True"
        raise ValueError(msg)
    amounts = sum(amount for amount in allotments.values() if isinstance(amount, int))
    if limits.nanousd is not None and amounts + limits.nanousd * whole > limits.nanousd:
        msg = (
            f"the allotments of agents= add up to {format_usd(int(amounts + limits.nanousd * whole))}, more than the "
            f"limit of {format_usd(limits.nanousd)}; lower them or pass oversubscribe=True"
        )
        raise ValueError(msg)
