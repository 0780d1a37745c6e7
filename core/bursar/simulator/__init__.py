"""
A local provider to rehearse workflows against, for nothing and without a key.

```python
from bursar.simulator import Answer, Simulator

with Simulator(script={"planner": Answer(text="1. Read. 2. Write.", output_tokens=300)}) as sim:
    client = openai.OpenAI(base_url=sim.openai_base_url, api_key="any")
    ...
    print(sim.bill.total, sim.bill.by_agent)
```

It speaks the wire formats of OpenAI (chat completions, Responses, embeddings, moderations; also under Azure's paths)
and Anthropic (messages), with server-sent events, usage details, latency and faults, and keeps a bill of its own.
"""

from __future__ import annotations

from bursar.simulator.billing import Bill
from bursar.simulator.faults import Fault
from bursar.simulator.records import RequestRecord
from bursar.simulator.script import Answer, Request, Rule, ToolCall
from bursar.simulator.simulator import Simulator

__all__ = ["Answer", "Bill", "Fault", "Request", "RequestRecord", "Rule", "Simulator", "ToolCall"]
