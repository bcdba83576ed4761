"""A bridge and a worker that speak only the fixed part of the protocol, for `faults mixed`: no beats, no numbers, no
log, one JSON message a word, acknowledged and not deleted."""

import json
import uuid

import anyio
from redis.asyncio import Redis

GROUP = "gpu_workers"


async def old_worker(redis: "Redis", key: str, slots: int, word_s: float, served: list[str]) -> None:
    """Says each prompt back, word by word; `served` gets the request ids."""

    async def serve(entry: bytes, fields: dict[bytes, bytes]) -> None:
        job = json.loads(fields[b"data"])
        served.append(job["request_id"])
        channel = f"result:{job['request_id']}"
        for position, word in enumerate(job["prompt"].split(" ")):
            await anyio.sleep(word_s)
            await redis.publish(channel, json.dumps({"chunk": f" {word}" if position else word, "is_final": False}))
        await redis.publish(channel, json.dumps({"chunk": "", "is_final": True}))
        await redis.xack(key, GROUP, entry)

    async def one_by_one() -> None:
        name = f"old-{uuid.uuid4().hex[:6]}"
        while True:
            for _, entries in await redis.xreadgroup(GROUP, name, {key: ">"}, count=1, block=500):
                for entry, fields in entries:
                    await serve(entry, fields)

    async with anyio.create_task_group() as tasks:
        for _ in range(slots):
            tasks.start_soon(one_by_one)


async def old_ask(redis: "Redis", key: str, prompt: str, limit_s: float) -> str:
    """What came: the text, or why there is none."""
    request_id, text = uuid.uuid4().hex, ""
    async with redis.pubsub(ignore_subscribe_messages=True) as heard:
        await heard.subscribe(f"result:{request_id}")
        while await heard.get_message(timeout=0.05):
            pass
        job = {"request_id": request_id, "prompt": prompt, "context": [], "embedding": [], "metadata": {}}
        await redis.xadd(key, {"data": json.dumps(job)})
        with anyio.move_on_after(limit_s):
            while True:
                message = await heard.get_message(timeout=1)
                if message is None:
                    continue
                reply = json.loads(message["data"])
                text += reply["chunk"]
                if reply.get("error"):
                    return f"error: {reply['error']}"
                if reply["is_final"]:
                    return text
    return "lost"
