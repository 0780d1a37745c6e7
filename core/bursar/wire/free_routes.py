"""
Paths that cost nothing: what reads, keeps, counts, checks, stops or administers.

Each of the OpenAI and Anthropic APIs is written out, so that a path that nobody has looked at is not taken to be free:
a test walks the SDKs and fails where a method goes to a path that no rule knows.  `{}` stands for one name between
slashes.

Sources: the providers' price pages list no price for any of these; what is billed of a resource that is made by one of
them (the storage of a vector store, say) is billed where it is made, and `unmetered_routes` names that path.
"""

from __future__ import annotations

from typing import Final

ADMINISTRATION: Final = (
    r"organizations?(/.*)?",
    r"projects/.*/roles(/.*)?",
    r"webhook_(endpoints|event_types)(/.*)?",
    r"vaults(/.*)?",
    r"safety/(alerts|cases)/{}",
    r"compliance/review/(notices|items/{}|cases(/{}(/respond)?)?)",
    r"tunnels(/.*)?",
    r"user_profiles(/.*)?",
)
"""Free by any method: keys, users, roles, alerts, hooks.  None of it runs a model or keeps a user's data."""

READS: Final = (
    r"(tunedModels|cachedContents|operations|foundation-models|inference-profiles)(/.+)?",
    r"models(/.+)?",
    r"files(/{}(/content)?)?",
    r"uploads(/{})?",
    r"batches(/{})?",
    r"messages/batches(/{}(/results)?)?",
    r"chat/completions(/{}(/messages)?)?",
    r"responses/{}(/input_items)?",
    r"conversations(/{}(/items(/{})?)?)?",
    r"assistants(/{})?",
    r"threads/{}(/messages(/{})?|/runs(/{}(/steps(/{})?)?)?)?",
    r"vector_stores(/{}(/files(/{}(/content)?)?|/file_batches/{}(/files)?)?)?",
    r"containers(/{}(/files(/{}(/content)?)?)?)?",
    r"fine_tuning/jobs(/{}(/checkpoints|/events)?)?",
    r"fine_tuning/checkpoints/.+/permissions(/{})?",
    r"evals(/{}(/runs(/{}(/output_items(/{})?)?)?)?)?",
    r"videos(/{}(/content)?|/characters/{})?",
    r"audio/voice_consents(/{})?",
    r"audio/voices(/{})?",
    r"live/sessions/{}/content",
    r"chatkit/threads(/{}(/items)?)?",
    r"skills(/{}(/content|/versions(/{}(/content)?)?)?)?",
    # Agents that the provider runs: looking at them is free, running them is not.
    r"agents(/{}(/versions)?)?",
    r"agents/automations(/{}(/invocations(/{})?)?)?",
    r"agents/environments(/{}(/files)?|/templates/{})?",
    r"agents/sessions(/{}(/(artifacts(/{}(/content)?)?|events|items|traces|turns(/{}(/items)?)?))?)?",
    r"agents/sessions/{}/subagents(/{}(/(items|turns(/{}(/items)?)?))?)?",
    r"deployments(/{})?",
    r"deployment_runs(/{})?",
    r"dreams(/{})?",
    r"environments(/{}(/work(/{})?)?)?",
    r"sessions(/{}(/(events(/stream)?|resources(/{})?|threads(/{}(/(events|stream))?)?))?)?",
    r"memory_stores(/{}(/(memories|memory_versions)(/{})?)?)?",
)
"""Free to read and to delete."""

WRITES: Final = (
    # Google's, Bedrock's and Cohere's.
    r".*:(countTokens|computeTokens)",
    r"model/.+/count-tokens",
    r"v1/(tokenize|detokenize|check-api-key)",
    r"moderations",
    r"messages/count_tokens",
    r"responses/input_tokens",
    r"responses/{}/cancel",
    r"chat/completions/{}",
    r"files",
    r"uploads(/{}/(parts|complete|cancel))?",
    r"conversations(/{}(/items)?)?",
    r"assistants(/{})?",
    r"threads",
    r"threads/(?!runs$){}",
    r"threads/{}/messages(/{})?",
    r"threads/{}/runs/{}(/cancel)?",
    r"(messages/)?batches/{}/cancel",
    r"fine_tuning/jobs/{}/(cancel|pause)",
    r"fine_tuning/checkpoints/.+/permissions",
    r"fine_tuning/alpha/graders/validate",
    r"evals(/{})?",
    r"evals/{}/runs/{}(/cancel)?",
    r"vector_stores/{}",
    r"vector_stores/{}/files/{}",
    r"vector_stores/{}/file_batches/{}/cancel",
    r"containers/{}/files",
    r"audio/voice_consents(/{})?",
    r"skills(/{}(/versions)?)?",
    r"chatkit/sessions/{}/cancel",
    r"realtime/calls/{}/(hangup|refer|reject)",
    r"live/sessions/{}/(hangup|refer|reject)",
    r"agents(/(?!(sessions|automations|environments)$){})?",
    r"agents/{}/archive",
    r"agents/automations/{}(/pause)?",
    r"agents/environments/templates(/{})?",
    r"agents/sessions/{}",
    r"deployments/{}(/(archive|pause))?",
    r"dreams/{}/(archive|cancel)",
    # Anthropic's environments are only described so; work is what a machine of one's own picks up.
    r"environments(/{}(/archive)?)?",
    r"environments/{}/work/{}(/(ack|heartbeat|stop))?",
    r"sessions/{}(/archive)?",
    r"sessions/{}/resources(/{})?",
    r"sessions/{}/threads/{}/archive",
    r"memory_stores(/{}(/archive)?)?",
    r"memory_stores/{}/memories(/{})?",
    r"memory_stores/{}/memory_versions/{}/redact",
)
"""Free to post to."""
