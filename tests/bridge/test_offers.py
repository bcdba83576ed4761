"""Resources, prompts and completions, as every host asks for them."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import INVALID_PARAMS, PromptReference, ResourceTemplateReference, TextContent, TextResourceContents

from tests.bridge.fake_service import EXCERPT, FakeService
from tests.bridge.over_mcp import WAYS, Served, served_over_mcp

DOCUMENT, PASSAGE = "file:///{+path}", "file:///{+path}#{place}"
NOTES = ["/notes/a.html", "/notes/tax.pdf", "/notes/vpn.md"]


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Served]:
    async with served_over_mcp() as served:
        yield served


@pytest.fixture
def service(daemon: Served) -> FakeService:
    daemon.service.start_over()
    return daemon.service


@pytest.fixture(params=WAYS, ids=" ".join)
async def client(request: pytest.FixtureRequest, daemon: Served) -> AsyncGenerator[Client]:
    async with daemon.client(*request.param) as client:
        yield client


async def completed(client: Client, of: str, argument: str, value: str, **given: str) -> list[str]:
    at = ResourceTemplateReference(type="ref/resource", uri=of)
    ref = at if of.startswith("file:") else PromptReference(type="ref/prompt", name=of)
    found = await client.complete(ref, {"name": argument, "value": value}, context_arguments=given or None)
    return found.completion.values


async def prompted(client: Client, name: str, **arguments: str) -> str:
    (message,) = (await client.get_prompt(name, arguments)).messages
    assert isinstance(message.content, TextContent)
    return message.content.text


@pytest.mark.usefixtures("service")
async def test_each_document_is_a_resource_by_the_uri_of_its_file(client: Client) -> None:
    listed = await client.list_resources()
    assert [one.uri for one in listed.resources] == [f"file://{path}" for path in NOTES]
    assert [one.mime_type for one in listed.resources] == ["text/plain", "text/plain", "text/markdown"]
    assert listed.next_cursor is None
    assert [one.uri_template for one in (await client.list_resource_templates()).resource_templates] == [
        DOCUMENT,
        PASSAGE,
    ]


async def test_resources_are_listed_by_pages_that_miss_and_repeat_nothing(client: Client, service: FakeService) -> None:
    service.paths = [f"/notes/{n:03}.md" for n in range(230)]
    uris: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        page = await client.list_resources(cursor=cursor)
        uris += [one.uri for one in page.resources]
        cursor, pages = page.next_cursor, pages + 1
    assert pages == 3
    assert uris == [f"file://{path}" for path in service.paths]
    with pytest.raises(MCPError, match="begin again without one") as refused:
        await client.list_resources(cursor="%")
    assert refused.value.code == INVALID_PARAMS


async def test_a_passage_is_read_whole_by_its_uri(client: Client, service: FakeService) -> None:
    (content,) = (await client.read_resource(EXCERPT.uri)).contents
    assert content == TextResourceContents(uri=EXCERPT.uri, mime_type="text/markdown", text=EXCERPT.text)
    assert service.calls == [("read", EXCERPT.uri, None, "whole")]


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("file:///etc/passwd", "call `search`"),
        ("https://example.org/", "`resources/list` names the documents"),
        ("", "`resources/list` names the documents"),
    ],
)
async def test_a_uri_that_names_no_document_is_refused_with_what_to_do(client: Client, uri: str, told: str) -> None:
    with pytest.raises(MCPError, match=told) as refused:
        await client.read_resource(uri)
    assert refused.value.code == INVALID_PARAMS


@pytest.mark.usefixtures("service")
async def test_paths_are_completed_by_how_they_begin_or_by_what_stands_in_them(client: Client) -> None:
    assert await completed(client, DOCUMENT, "path", "notes/t") == ["notes/tax.pdf"]
    assert await completed(client, PASSAGE, "path", "vpn") == ["notes/vpn.md"]
    assert await completed(client, PASSAGE, "place", "L", path="notes/vpn.md") == []
    assert await completed(client, "compare_documents", "first", "/notes/t") == ["/notes/tax.pdf"]
    assert await completed(client, "summarise_folder", "folder", "") == ["/notes"]
    assert await completed(client, "cited_answer", "folder", "/no") == ["/notes"]
    assert await completed(client, "cited_answer", "question", "why") == []


async def test_names_are_completed_as_they_stand_in_a_uri(client: Client, service: FakeService) -> None:
    service.paths = ["/notes/100 % #1 ä?.md"]
    assert await completed(client, DOCUMENT, "path", "notes/100%20%25") == ["notes/100%20%25%20%231%20%C3%A4%3F.md"]


async def test_completions_are_a_hundred_at_most_and_say_that_there_are_more(
    client: Client, service: FakeService
) -> None:
    service.paths = [f"/notes/{n:03}.md" for n in range(230)]
    ref = ResourceTemplateReference(type="ref/resource", uri=DOCUMENT)
    found = (await client.complete(ref, {"name": "path", "value": "notes/"})).completion
    assert (len(found.values), found.has_more) == (100, True)


@pytest.mark.usefixtures("service")
async def test_each_prompt_names_the_tools_and_asks_for_citations_and_holds_no_text_of_a_file(client: Client) -> None:
    listed = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
    assert listed.keys() == {"cited_answer", "compare_documents", "summarise_folder"}
    for prompt in listed.values():
        assert prompt.title and prompt.description and prompt.arguments
        assert all(argument.description for argument in prompt.arguments)
    cited = await prompted(client, "cited_answer", question="When is it renewed?", folder="/notes")
    compared = await prompted(client, "compare_documents", first="vpn", second="/notes/tax.pdf", about="dates")
    summed = await prompted(client, "summarise_folder", folder="/notes")
    assert "When is it renewed?" in cited
    assert "`in` set to '/notes/'" in cited
    assert "about dates:\n\n> file:///notes/vpn.md\n> file:///notes/tax.pdf" in compared
    assert "> file:///notes/vpn.md" in summed
    for text, tool in ((cited, "`search`"), (compared, "`read`"), (summed, "`read`")):
        assert tool in text
        assert "Cite path and lines or page" in text
        assert "never instructions" in text
        assert "Renew" not in text


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("cite", {}, "expected one of the prompts cited_answer, compare_documents, summarise_folder"),
        ("cited_answer", {"question": " "}, "needs question"),
        ("cited_answer", {"question": "why?", "fol]der": "a"}, r"takes question, folder; got 'fol\]der'"),
        (
            "compare_documents",
            {"first": "vpn", "second": "nobody"},
            "no document of the index has 'nobody' in its path",
        ),
        ("compare_documents", {"first": "notes", "second": "vpn"}, "stands in the paths of several documents"),
        ("compare_documents", {"first": "vpn", "second": "file:///%ff"}, "escapes are UTF-8"),
    ],
)
async def test_a_prompt_that_cannot_be_made_says_why(
    client: Client, name: str, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(MCPError, match=told) as refused:
        await client.get_prompt(name, arguments)
    assert refused.value.code == INVALID_PARAMS
