"""OpenAI Agents SDK: a call without a consent is an interruption, which is approved once the user has consented.

pip install countersign-client openai-agents
"""

import asyncio
from typing import Any

from agents import Agent, Model, RunContextWrapper, Runner, function_tool
from agents.tool_context import ToolContext
from countersign import AsyncClient, Authorization, Completed, Failed

countersign = AsyncClient()


async def needs_consent(run: RunContextWrapper[str], _arguments: dict[str, Any], _call_id: str) -> bool:
    return (await authorization_of(run.context)).status != "completed"


async def authorization_of(user: str) -> Authorization:
    return await countersign.authorize("Github.StarRepo", user)


@function_tool(needs_approval=needs_consent)
async def star_repo(run: ToolContext[str], owner: str, repo: str) -> str:
    """Star a GitHub repository for the user."""
    arguments = {"owner": owner, "repo": repo}
    return str(await countersign.execute("Github.StarRepo", arguments, run.context, idempotency_key=run.tool_call_id))


async def run(model: str | Model, user: str, question: str) -> str:
    agent = Agent[str](name="assistant", model=model, tools=[star_repo])
    result = await Runner.run(agent, question, context=user)
    while result.interruptions:
        # An application keeps `state.to_string()`, and resumes when its user comes back.
        state = result.to_state()
        for interruption in result.interruptions:
            # The link of the open authorization again, or the end of it.
            asked = await authorization_of(user)
            if asked.url:
                print("Open this link:", asked.url)
            match await countersign.wait(asked):
                case Completed():
                    state.approve(interruption)
                case Failed(reason):
                    state.reject(interruption, rejection_message=f"Not done: {reason}")
                case _:
                    state.reject(interruption, rejection_message="Not done: the user has not opened the link.")
        result = await Runner.run(agent, state)
    return str(result.final_output)


if __name__ == "__main__":
    print(asyncio.run(run("gpt-5", "ana", "Star rust-lang/rust for me.")))
