"""A Phoenix's REST API, as far as Tandem asks of it: spans read back, annotations, datasets, experiments."""

# What comes is JSON of another program, a tree of Any.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
import httpx

from observability.annotations import Annotation, bodies
from observability.datasets import Dataset, Example, Experiment, Run
from observability.spans_back import (
    Span,
    datasets_back,
    examples_back,
    experiments_back,
    page_back,
    ratings_back,
    scores_back,
)
from observability.traces import PROJECT

ANSWER_S = 60.0  # its first look at a project takes long on a busy machine
_PAGE = 50  # traces at once: each has some passages
_SPANS = 1_000  # in one answer at most
_SAID_CHARS = 300
_TOGETHER = 4  # requests at once; its database has one writer

Found = TypeVar("Found")


class PhoenixFailed(Exception):
    """Phoenix did not do what was asked of it; the message says why and what to do."""


class Phoenix:
    """Opened by `phoenix_at`. Every method raises PhoenixFailed."""

    def __init__(self, client: httpx.AsyncClient, project: str) -> None:
        self._client, self._project = client, quote(project, safe="")

    async def meet(self) -> None:
        """Raises where it is none, or refuses the key."""
        answer = await self._asked("GET", "/v1/projects", params={"limit": 1})
        if answer.status_code in (500, 502, 503, 504):
            self._read(answer, answer.json)
        try:
            is_phoenix = answer.is_success and "data" in answer.json()
        except (ValueError, TypeError):
            is_phoenix = False
        if not is_phoenix:
            raise PhoenixFailed(
                f"{self._where} was expected to be a Phoenix, but it answers otherwise: correct "
                "PHOENIX_COLLECTOR_ENDPOINT (other collectors take spans, but have no annotations and no datasets)"
            )

    async def traces(self, since: datetime, until: datetime) -> AsyncGenerator[list[list[Span]]]:
        """The traces with a search that began in [since, until), oldest first, some at a time, each whole."""
        times = {"start_time": since.isoformat(), "end_time": until.isoformat()}
        seen: set[str] = set()
        async for some in self._pages({**times, "span_kind": "RETRIEVER"}, _PAGE):
            new = list(dict.fromkeys(span.trace for span in some if span.trace not in seen))
            seen.update(new)
            whole: dict[str, list[Span]] = {id_: [] for id_ in new}
            if new:
                async for others in self._pages({"trace_id": new}, _SPANS):
                    for span in others:
                        if span.trace in whole:  # one that is older than the filter tells all traces
                            whole[span.trace].append(span)
            yield list(whole.values())

    async def ratings(self, traces: Collection[str]) -> dict[str, float]:
        """Trace -> what a person thought of it, 0 (down) to 1 (up)."""
        if not traces:
            return {}
        query = {"trace_ids": list(traces), "include_annotation_names": "rating", "limit": 10_000}
        said = await self._get(f"/v1/projects/{self._project}/trace_annotations", ratings_back, query, none=[])
        return dict(reversed(said))  # the latest comes first

    async def annotate(self, annotations: Sequence[Annotation]) -> None:
        """Returns once they are kept. What was said before by the same name of the same thing is replaced."""
        for path, body in bodies(annotations).items():
            await self._post(path, body, sync="true")

    async def dataset(self, name: str) -> Dataset | None:
        found = await self._get("/v1/datasets", datasets_back, {"name": name, "limit": 1})
        return next((one for one in found if one.name == name), None)

    async def datasets(self) -> list[str]:
        """Names of the latest."""
        return [one.name for one in await self._get("/v1/datasets", datasets_back, {"limit": 20})]

    async def add_examples(self, name: str, description: str, examples: Sequence[Example]) -> Dataset:
        """Makes the dataset where there is none."""
        body = {
            "action": "append",
            "name": name,
            "description": description,
            "inputs": [one.input for one in examples],
            "outputs": [one.output for one in examples],
            "metadata": [one.metadata for one in examples],
            "example_ids": [one.key for one in examples],
            "span_ids": [one.span for one in examples],
        }
        made = await self._post("/v1/datasets/upload", body, sync="true")
        return Dataset(made["dataset_id"], name)

    async def examples(self, dataset: Dataset) -> tuple[str, list[Example]]:
        """The dataset's latest version, and what it holds."""
        return await self._get(f"/v1/datasets/{dataset.id}/examples", examples_back)

    async def experiments(self, dataset: Dataset) -> list[Experiment]:
        """The latest first."""
        return await self._get(f"/v1/datasets/{dataset.id}/experiments", experiments_back, {"limit": 1_000})

    async def add_experiment(
        self, dataset: Dataset, version: str, name: str, metadata: Mapping[str, Any], runs: Sequence[Run]
    ) -> Experiment:
        body = {"name": name, "metadata": metadata, "version_id": version}
        made = await self._post(f"/v1/datasets/{dataset.id}/experiments", body)
        limiter = anyio.CapacityLimiter(_TOGETHER)
        failed: list[PhoenixFailed] = []

        async def add(run: Run) -> None:
            async with limiter:
                try:
                    if not failed:
                        await self._add_run(made["id"], run)
                except PhoenixFailed as error:
                    failed.append(error)

        async with anyio.create_task_group() as tasks:
            for run in runs:
                tasks.start_soon(add, run)
        if failed:
            raise failed[0]
        return Experiment(made["id"], made["name"], metadata, len(runs))

    async def scores(self, experiment: Experiment) -> dict[str, dict[str, float]]:
        """measure -> example's id -> score."""
        return await self._get(f"/v1/experiments/{experiment.id}/json", scores_back)

    def compared_at(self, dataset: Dataset, experiments: Sequence[str]) -> str:
        """Where people see the experiments side by side."""
        query = httpx.QueryParams([("experimentId", one) for one in experiments])
        return f"{self._where}/datasets/{dataset.id}/compare?{query}"

    async def _add_run(self, experiment: str, run: Run) -> None:
        times = {"start_time": run.started, "end_time": run.ended}
        body = {"dataset_example_id": run.example, "output": run.output, "repetition_number": 1, **times}
        told = {"error": run.error, "trace_id": run.trace}
        made = await self._post(f"/v1/experiments/{experiment}/runs", body | told)
        for name, (score, explanation) in run.scores.items():
            result = {"score": score, "explanation": explanation, "label": None if score is not None else "not judged"}
            body = {"experiment_run_id": made["id"], "name": name, "annotator_kind": "CODE", "result": result, **times}
            await self._post("/v1/experiment_evaluations", body)

    async def _pages(self, query: Mapping[str, Any], limit: int) -> AsyncIterator[list[Span]]:
        cursor: dict[str, str] = {}
        asked = {**query, "limit": limit, "sort": "start_time", "order": "asc"}
        while True:
            path = f"/v1/projects/{self._project}/spans"
            spans, after = await self._get(path, page_back, {**asked, **cursor}, none=([], None))
            yield spans
            if not after:
                return
            cursor = {"cursor": after}

    async def _get(
        self,
        path: str,
        read: Callable[[Any], Found],
        query: Mapping[str, Any] | None = None,
        none: Found | None = None,
    ) -> Found:
        """`read`: of the answer's JSON. `none`: what stands for what is not there."""
        answer = await self._asked("GET", path, params=query)
        if answer.status_code == 404 and none is not None:
            return none
        return self._read(answer, lambda: read(answer.json()))

    async def _post(self, path: str, body: Mapping[str, Any], **query: str) -> Any:
        answer = await self._asked("POST", path, params=query, json=body)
        return self._read(answer, lambda: answer.json()["data"])

    async def _asked(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise PhoenixFailed(
                f"Phoenix at {self._where} did not answer within {ANSWER_S:g} s: look at its log, and try again"
            ) from error
        except httpx.HTTPError as error:
            raise PhoenixFailed(
                f"no Phoenix answers at {self._where} ({error}): start it, or correct PHOENIX_COLLECTOR_ENDPOINT"
            ) from error
        if answer.status_code in (401, 403):
            raise PhoenixFailed(
                f"Phoenix at {self._where} refuses the key with {answer.status_code}: set PHOENIX_API_KEY to a key "
                "made in Phoenix under Settings, API Keys"
            )
        return answer

    def _read(self, answer: httpx.Response, read: Callable[[], Found]) -> Found:
        said = " ".join(answer.text[:_SAID_CHARS].split())
        asked = f"Phoenix at {self._where} answered {answer.status_code} to {answer.request.url.path}"
        if answer.is_error:
            raise PhoenixFailed(f"{asked}: {said or 'its log says why'}")
        try:
            return read()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise PhoenixFailed(f"{asked} with what is not understood: {said}; Tandem knows Phoenix 20") from error

    @property
    def _where(self) -> str:
        return str(self._client.base_url.copy_with(userinfo=b"")).rstrip("/")


@asynccontextmanager
async def phoenix_at(endpoint: httpx.URL, api_key: str | None, project: str = PROJECT) -> AsyncGenerator[Phoenix]:
    """`endpoint`: without the path for traces. Raises PhoenixFailed where none answers there, or it refuses the key."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    # A proxy set for the Internet must not get what is meant for this machine.
    here = endpoint.host in ("127.0.0.1", "localhost", "::1")
    async with httpx.AsyncClient(
        base_url=endpoint.copy_with(query=None),
        params=endpoint.params,
        headers=headers,
        timeout=ANSWER_S,
        trust_env=not here,
    ) as client:
        phoenix = Phoenix(client, project)
        await phoenix.meet()
        yield phoenix
