"""An `arcade-mcp-server` as its documentation writes one, over stdio: its tool needs an access token, for which the server asks its engine
(`ARCADE_API_URL`), and calls an API with it."""

import json
import os
import urllib.request
from typing import Annotated

from arcade_mcp_server import Context, MCPApp
from arcade_mcp_server.auth import OAuth2

app = MCPApp(name="notes_server", version="1.0.0")


@app.tool(requires_auth=OAuth2(id="notes", scopes=["notes:read"]))
def whoami(context: Context) -> Annotated[str, "Who the API thinks the caller is"]:
    """Ask the API who the caller is."""
    asked = urllib.request.Request(
        f"{os.environ['NOTES_API']}/me", headers={"authorization": f"Bearer {context.get_auth_token_or_empty()}"}
    )
    with urllib.request.urlopen(asked) as answer:
        return json.dumps(json.load(answer))


if __name__ == "__main__":
    app.run(transport="stdio")
