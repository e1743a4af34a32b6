"""Who speaks: the names that data sets give to the roles, and ours.

The decision: the peers' names are listed once. In a format that is known for them they are simply read; in
`messages`, where they are foreign, they are read and mentioned.
"""

ROLES = ("system", "developer", "user", "assistant", "tool")
BEFORE = ("system", "developer")

ALIASES = {
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "claude": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "function_response": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}

CALLS = ("function_call", "tool_call")
