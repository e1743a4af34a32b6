"""The whole way with openai-python (1.x to 3.x), unmodified: upload → job → events → result file → chat → delete.

python openai_journey.py [sync|async]       with OPENAI_BASE_URL, OPENAI_API_KEY and DATA in the environment
"""

import asyncio
import inspect
import os
import sys
import time
from typing import Any


async def _got(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def journey(client: Any, error: type[Exception]) -> str:
    """Every step, the same for both kinds of client; returns the name of the tuned model (deleted by then)."""
    with open(os.environ["DATA"], "rb") as data:
        file = await _got(client.files.create(file=data, purpose="fine-tune"))
    jobs = client.fine_tuning.jobs
    job = await _got(jobs.create(model="tiny", training_file=file.id, suffix="py", hyperparameters={"n_epochs": 1}))
    seen = {job.status}
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.5)
        job = await _got(jobs.retrieve(job.id))
        seen.add(job.status)
    assert job.status == "succeeded", job.error
    assert {"validating_files", "running"} & seen
    events, listed = [], jobs.list_events(job.id, limit=2)  # several pages, followed by the client itself
    if hasattr(listed, "__aiter__"):
        async for event in listed:
            events.append(event)
    else:
        events = list(listed)
    messages = [event.message for event in events]
    assert messages[0] == "The job has successfully completed"
    assert len({event.id for event in events}) == len(events)
    assert any(event.type == "metrics" and event.data["train_loss"] > 0 for event in events)
    checkpoints = await _got(jobs.checkpoints.list(job.id))
    assert checkpoints.data[0].fine_tuned_model_checkpoint.startswith(f"{job.fine_tuned_model}:ckpt-step-")
    content = await _got(client.files.content(job.result_files[0]))
    assert content.read().decode().startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
    said = [{"role": "user", "content": "apple 1"}]
    ask = {"model": job.fine_tuned_model, "messages": said, "max_tokens": 8, "temperature": 0, "seed": 1}
    whole = await _got(client.chat.completions.create(**ask))
    stream, text = await _got(client.chat.completions.create(**ask, stream=True)), ""
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    else:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0
    assert job.fine_tuned_model in {model.id async for model in _each(client.models.list())}
    assert (await _got(client.models.delete(job.fine_tuned_model))).deleted
    assert (await _got(client.files.delete(file.id))).deleted
    refused = None
    try:
        await _got(client.chat.completions.create(**ask))
    except error as problem:
        refused = problem
    assert getattr(refused, "code", None) == "model_not_found"
    return str(job.fine_tuned_model)


async def _each(listed: Any) -> Any:
    if hasattr(listed, "__aiter__"):
        async for one in listed:
            yield one
    else:
        for one in listed:
            yield one


def main(kind: str) -> str:
    """The journey with one kind of client."""
    import openai

    if kind == "sync":
        return asyncio.run(journey(openai.OpenAI(), openai.NotFoundError))

    async def with_async() -> str:
        async with openai.AsyncOpenAI() as client:
            return await journey(client, openai.NotFoundError)

    return asyncio.run(with_async())


if __name__ == "__main__":
    import openai

    print(f"openai-python {openai.__version__} {sys.argv[1]}: {main(sys.argv[1])}")
