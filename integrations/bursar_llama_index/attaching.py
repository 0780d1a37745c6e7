"""`attach_budget`: guards the models of an agent or a workflow that is there already, in place."""

# What a workflow keeps is of whatever class the user has written.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from llama_index.core.agent.workflow import AgentWorkflow, BaseWorkflowAgent
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.workflow import Workflow

from bursar_llama_index.guarding import guard_model
from bursar_llama_index.payers import LlamaIndexPayer

if TYPE_CHECKING:
    from bursar.budget import Budget
    from bursar.money import Money

WorkflowT = TypeVar("WorkflowT")
_MODELS: Final = (BaseLLM, BaseEmbedding)


def attach_budget(
    workflow: WorkflowT, budget: Money | Budget | None = None, *, agent: str | None = None
) -> WorkflowT:
    """
    Guard every model of *workflow* in place, and return it.

    ```python
    attach_budget(AgentWorkflow(agents=[researcher, writer], root_agent="researcher"), Budget("$2.00"))
    ```

    Guarded are the LLM of each agent, and the LLMs and embedding models that a workflow of the user's own keeps as
    attributes. Models themselves are not changed: who uses the same one elsewhere uses it as before. What a tool calls
    by itself is not reached; guard that where it is made.

    Args:
        workflow: An `AgentWorkflow`, an agent, or any `Workflow`. A run that has begun pays from its next step on.

        budget: A `Budget`, which pays for each run of *workflow* anew; or dollars for all its runs together; None to
            pay from what is around.

        agent: Who all its calls are booked to, in place of its agents.

    Raises:
        TypeError: *workflow* is none of these.
        ValueError: It has no model that can be guarded, or the budget makes no sense.
    """
    if not isinstance(workflow, Workflow):
        kind = f"{type(workflow).__module__}.{type(workflow).__qualname__}"
        msg = (
            f"attach_budget() takes an agent or a workflow of LlamaIndex's, not {kind}; guard() takes models"
        )
        raise TypeError(msg)
    payer = LlamaIndexPayer(budget, agent=agent)
    payer.check_agent()
    owners: list[Any] = [workflow]
    if isinstance(workflow, AgentWorkflow):
        owners += workflow.agents.values()
    guarded: dict[int, Any] = {}
    for owner in owners:
        for name, model in _models_of(owner):
            if id(model) not in guarded:
                guarded[id(model)] = guard_model(model, payer)
            setattr(owner, name, guarded[id(model)])
    if not guarded:
        msg = f"{type(workflow).__name__} keeps no LLM or embedding model; guard() the one that it calls"
        raise ValueError(msg)
    return workflow


def _models_of(owner: Any) -> list[tuple[str, Any]]:
    if isinstance(owner, BaseWorkflowAgent):
        return [("llm", owner.llm)]
    return [(name, value) for name, value in vars(owner).items() if isinstance(value, _MODELS)]
