"""langchain-openai, unmodified: a tuned model (MODEL) answers through ChatOpenAI, whole, streamed, and in a form."""

import os

from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Reply(BaseModel):
    """A form for the answer."""

    urgent: bool


chat = ChatOpenAI(model=os.environ["MODEL"], max_tokens=40, temperature=0, seed=1)
whole = chat.invoke("apple 1").content
assert "".join(str(chunk.content) for chunk in chat.stream("apple 1")) == whole
found = chat.with_structured_output(Reply, method="json_schema").invoke("Is it urgent?")
assert isinstance(found, Reply)
print(f"langchain-openai: whole, streamed and structured answers of {chat.model_name}")
