"""LangGraph: the graph is saved and stops at `interrupt` until the user has consented.

pip install countersign-client langchain langgraph
"""

from typing import Annotated, Any

from countersign import Client, Completed, ConsentRequired, Failed
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

countersign = Client()


def star_repo_for(user: str) -> BaseTool:
    @tool
    def star_repo(owner: str, repo: str, call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Star a GitHub repository for the user."""
        try:
            arguments = {"owner": owner, "repo": repo}
            return str(countersign.execute("Github.StarRepo", arguments, user, idempotency_key=call_id))
        except ConsentRequired as consent:
            # A graph that is resumed runs this function from its start: with the consent, it does not come here again.
            # Without it, `interrupt` returns what the graph was resumed with.
            asked = consent.authorization
            return str(interrupt({"authorization": asked.id, "url": asked.url}))

    return star_repo


def run(model: BaseChatModel, user: str, question: str) -> str:
    agent = create_agent(model, [star_repo_for(user)], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": f"chat-of-{user}"}}
    state = agent.invoke({"messages": [HumanMessage(question)]}, thread)
    while pauses := state.get("__interrupt__"):
        # An application returns here, and resumes when its user comes back; in another process, with another saver.
        answers = {}
        for pause in pauses:
            print("Open this link:", pause.value["url"])
            match countersign.wait(pause.value["authorization"]):
                case Completed():
                    answers[pause.id] = "The user has consented."
                case Failed(reason):
                    answers[pause.id] = f"Not done: {reason}"
                case _:
                    answers[pause.id] = "Not done: the user has not opened the link."
        state = agent.invoke(Command(resume=answers), thread)
    return str(state["messages"][-1].content)


if __name__ == "__main__":
    from langchain.chat_models import init_chat_model

    print(run(init_chat_model("openai:gpt-5"), "ana", "Star rust-lang/rust for me."))
