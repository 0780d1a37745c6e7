"""Who plays: the agents, their models, and what each may spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from bursar.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bursar.demo.stage import Stage

Seller = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Part:
    """One agent: its share of the budget, who sells its model, and whether it needs a large or a small one."""

    name: str
    share: str
    seller: Seller
    size: Literal["large", "small"]


PARTS: Final = (
    Part("planner", "8%", "openai", "large"),
    Part("researcher-1", "8%", "openai", "small"),
    Part("researcher-2", "20%", "openai", "large"),
    Part("researcher-3", "9%", "anthropic", "small"),
    Part("researcher-4", "12%", "openai", "large"),
    Part("researcher-5", "8%", "openai", "small"),
    Part("writer", "24%", "anthropic", "large"),
    Part("reviewer", "11%", "openai", "large"),
)

RESEARCHERS: Final = tuple(part.name for part in PARTS if part.name.startswith("researcher"))

_REHEARSAL: Final[Mapping[Seller, Mapping[str, str]]] = {
    "openai": {"large": "gpt-4o", "small": "gpt-4o-mini"},
    "anthropic": {"large": "claude-sonnet-4-6", "small": "claude-haiku-4-5"},
}
_LIVE: Final[Mapping[Seller, Mapping[str, str]]] = {
    "openai": {"large": "gpt-4.1-mini", "small": "gpt-4.1-nano"},
    "anthropic": {"large": "claude-haiku-4-5", "small": "claude-haiku-4-5"},
}


@dataclass(frozen=True, slots=True)
class Cast:
    """
    The agents with models that the stage has.

    Attributes:
        sellers: Who sells to each agent; another than planned where a real key is missing.

        limit: Dollars for all of them.
    """

    models: Mapping[str, str]
    sellers: Mapping[str, Seller]
    limit: str
    ladder: Mapping[str, str]

    @classmethod
    def of(cls, stage: Stage) -> Cast:
        """Return the cast for *stage*."""
        models = _LIVE if stage.is_live else _REHEARSAL
        sellers: dict[str, Seller] = {
            part.name: part.seller if part.seller in stage.sellers else stage.sellers[0] for part in PARTS
        }
        return cls(
            models={part.name: models[sellers[part.name]][_size(part, sellers[part.name])] for part in PARTS},
            sellers=sellers,
            limit="$0.05" if stage.is_live else "$0.25",
            ladder={of["large"]: of["small"] for of in models.values() if of["large"] != of["small"]},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The agents, in the order of their entrance."""
        return tuple(self.models)

    def budget(self) -> Budget:
        """Return one budget for the run, split among the agents, with cheaper models from 80 % on."""
        return Budget(
            self.limit,
            agents={part.name: part.share for part in PARTS},
            downgrade=self.ladder,
            downgrade_at=0.8,
        )

    def summary(self) -> str:
        """Return in a sentence what the budget is and how it is split."""
        return f"{len(PARTS)} agents share {self.limit}: {', '.join(f'{part.name} {part.share}' for part in PARTS)}."


def _size(part: Part, seller: Seller) -> str:
    # The smallest models are so cheap that who is to reach a limit must not stand in with one of them.
    return part.size if seller == part.seller else "large"
