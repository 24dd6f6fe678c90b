"""pydantic-ai: a call without a consent is a deferred tool, which is approved once the user has consented.

pip install countersign-client pydantic-ai-slim
"""

import asyncio

from countersign import AsyncClient, Completed, ConsentRequired, Failed
from pydantic_ai import Agent, ApprovalRequired, DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied
from pydantic_ai.models import Model

countersign = AsyncClient()
# Of the type of its dependencies: the user's id.
agent = Agent(deps_type=str, output_type=[str, DeferredToolRequests])


@agent.tool
async def star_repo(run: RunContext[str], owner: str, repo: str) -> str:
    """Star a GitHub repository for the user."""
    try:
        arguments = {"owner": owner, "repo": repo}
        return str(await countersign.execute("Github.StarRepo", arguments, run.deps, idempotency_key=run.tool_call_id))
    except ConsentRequired as consent:
        asked = consent.authorization
        raise ApprovalRequired(metadata={"authorization": asked.id, "url": asked.url}) from consent


async def run(model: str | Model, user: str, question: str) -> str:
    result = await agent.run(question, model=model, deps=user)
    while isinstance(requests := result.output, DeferredToolRequests):
        # An application keeps `result.all_messages_json()`, and resumes when its user comes back.
        answers = DeferredToolResults()
        for call in requests.approvals:
            asked = requests.metadata[call.tool_call_id]
            print("Open this link:", asked["url"])
            match await countersign.wait(asked["authorization"]):
                case Completed():
                    answers.approvals[call.tool_call_id] = True
                case Failed(reason):
                    answers.approvals[call.tool_call_id] = ToolDenied(f"Not done: {reason}")
                case _:
                    answers.approvals[call.tool_call_id] = ToolDenied("Not done: the user has not opened the link.")
        messages = result.all_messages()
        result = await agent.run(model=model, deps=user, message_history=messages, deferred_tool_results=answers)
    return result.output


if __name__ == "__main__":
    print(asyncio.run(run("openai:gpt-5", "ana", "Star rust-lang/rust for me.")))
