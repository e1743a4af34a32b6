"""Who speaks, and how much it counts: the names that data sets give to roles and weights, and ours.

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

# The peers' names for how much a turn counts: OpenAI, Axolotl (train, training), ms-swift (loss, loss_scale),
# LLaMA-Factory v1 (loss_weight). torchtune's `masked` says the opposite.
WEIGHTS = ("weight", "train", "training", "loss", "loss_scale", "loss_weight")
MASKED = "masked"
CALLS = ("function_call", "tool_call")
