import asyncio
import contextlib
import gc
import ssl

import aiohttp
import pytest

from apps.providers import openai_wire
from apps.providers.base import ChatMessage, ChatRequest, Finished, ModelInfo, Sampling, TextDelta, ToolCallDelta
from apps.providers.errors import ErrorKind
from apps.providers.openai_wire import OpenAICompatible
from tests.providers.streams import listen, request_for
from tests.upstream import texts

BEGINNING = "These words came through. "


@pytest.fixture
async def provider(upstream):
    provider = OpenAICompatible("openai", "OpenAI", upstream.url + "/", " sk-test\n")
    yield provider
    await provider.aclose()


async def test_a_whole_answer_arrives_with_its_reason_and_usage(provider, upstream):
    heard = await listen(provider, "fake")
    assert heard.text == texts.ANSWER
    assert heard.reason == "stop"
    assert heard.usage.prompt_tokens == 11
    assert heard.usage.reasoning_tokens == 2
    assert heard.usage.cached_tokens == 3
    assert sum(isinstance(event, TextDelta) for event in heard.events) > 20
    await upstream.eventually(lambda: upstream.streams[0].end == "completed")


async def test_the_request_carries_model_messages_sampling_and_key(provider, upstream):
    await listen(provider, request_for("fake", sampling=Sampling(temperature=0.2, top_k=7, max_tokens=9)))
    sent = upstream.requests[0]
    assert sent["body"] == {
        "model": "fake",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "top_k": 7,
        "max_tokens": 9,
    }
    assert sent["headers"]["authorization"] == "Bearer sk-test"
    assert sent["headers"]["accept-encoding"] == "identity"


async def test_without_a_key_none_is_sent(upstream):
    provider = OpenAICompatible("ollama", "Ollama", upstream.url)
    await listen(provider, "fake")
    await provider.aclose()
    assert "authorization" not in upstream.requests[0]["headers"]


async def test_a_key_that_fits_no_header_is_refused_before_it_is_sent(upstream):
    provider = OpenAICompatible("openai", "OpenAI", upstream.url, "sk-\r\nEvil: 1")
    heard = await listen(provider, "fake")
    await provider.aclose()
    assert heard.error.kind is ErrorKind.KEY_REFUSED
    assert upstream.connections == 0


async def test_a_second_answer_uses_the_connection_of_the_first(provider, upstream):
    await listen(provider, "fake")
    await listen(provider, "fake-reason")
    assert upstream.connections == 1


async def test_reasoning_comes_before_the_text(provider):
    heard = await listen(provider, "fake-reason")
    assert heard.reasoning == texts.REASONING
    assert heard.text == texts.ANSWER


async def test_tool_calls_arrive_in_pieces(provider):
    heard = await listen(provider, "fake-tools")
    calls = [event for event in heard.events if isinstance(event, ToolCallDelta)]
    assert (calls[0].index, calls[0].id, calls[0].name) == (0, "call_0", "search")
    assert "".join(call.arguments for call in calls if call.index == 1) == '{"a": 1, "b": 2}'
    assert heard.reason == "tool_calls"


async def test_many_answers_at_once_do_not_mix(provider):
    models = ["fake", "fake-reason", "fake-splitutf8"] * 5
    heard = await asyncio.gather(*(listen(provider, model) for model in models))
    expected = {"fake": texts.ANSWER, "fake-reason": texts.ANSWER, "fake-splitutf8": texts.MANY_BYTES}
    assert [one.text for one in heard] == [expected[model] for model in models]


async def test_characters_cut_between_packets_arrive_whole(provider):
    assert (await listen(provider, "fake-splitutf8")).text == texts.MANY_BYTES


async def test_surrogate_pairs_cut_between_chunks_are_joined_and_halves_replaced(provider):
    assert (await listen(provider, "fake-surrogates")).text == "tree 🌳, half \ufffd and nul \ufffd."


async def test_all_line_ends_and_comments_are_read(provider):
    heard = await listen(provider, "fake-crlf")
    assert (heard.text, heard.reason) == ("Well read.", "stop")


async def test_a_huge_token_arrives_whole(provider):
    assert (await listen(provider, "fake-huge")).text == texts.HUGE


async def test_an_answer_in_one_json_object_is_read_as_well(provider):
    heard = await listen(provider, "fake-json")
    assert (heard.text, heard.reason) == (texts.ANSWER, "stop")
    assert heard.usage.completion_tokens == 7


async def test_a_filtered_answer_says_so(provider):
    heard = await listen(provider, "fake-filter")
    assert (heard.text, heard.reason, heard.error) == (BEGINNING, "content_filter", None)


async def test_an_empty_answer_has_no_delta(provider):
    heard = await listen(provider, "fake-empty")
    assert (heard.events[0], heard.text) == (Finished("stop"), "")


@pytest.mark.parametrize(
    ("model", "kind", "status", "retryable"),
    [
        ("fake-400", ErrorKind.BAD_REQUEST, 400, False),
        ("fake-401", ErrorKind.KEY_REFUSED, 401, False),
        ("fake-402", ErrorKind.NO_CREDIT, 402, False),
        ("fake-403", ErrorKind.KEY_REFUSED, 403, False),
        ("fake-404", ErrorKind.MODEL_GONE, 404, False),
        ("fake-429", ErrorKind.OVERLOADED, 429, True),
        ("fake-500", ErrorKind.UNAVAILABLE, 500, True),
        ("fake-503", ErrorKind.OVERLOADED, 503, True),
        ("fake-529", ErrorKind.OVERLOADED, 529, True),
        ("fake-quota", ErrorKind.NO_CREDIT, 429, False),
        ("fake-toolong", ErrorKind.TOO_LONG, 400, False),
        ("fake-moved", ErrorKind.BAD_REQUEST, 302, False),
    ],
)
async def test_a_refusal_gets_its_kind_and_repeats_nothing_of_the_body(
    provider, upstream, model, kind, status, retryable
):
    heard = await listen(provider, model)
    assert (heard.error.kind, heard.error.status, heard.error.retryable) == (kind, status, retryable)
    assert "sk-secret" not in f"{heard.error.message} {heard.error!r} {heard.error.__cause__!r}"
    assert len(upstream.requests) == 1


async def test_retry_after_is_handed_on(provider):
    assert (await listen(provider, "fake-429")).error.retry_after == 1.0


async def test_the_error_reads_as_the_reader_needs_it(provider):
    assert (await listen(provider, "fake-401")).error.message == "OpenAI refused the API key."
    assert (await listen(provider, "fake-404")).error.message == "fake-404 is no longer offered."


async def test_a_refusal_whose_body_never_comes_is_told_by_its_status(provider):
    provider.refusal_seconds = 0.05
    assert (await listen(provider, "fake-slowrefusal")).error.status == 500


async def test_a_server_that_hangs_up_at_once_has_cut_us_off(provider):
    error = (await listen(provider, "fake-refuse")).error
    assert (error.kind, error.retryable) == (ErrorKind.CUT_OFF, True)
    assert error.message == "The connection to OpenAI broke."


async def test_nobody_listening_is_unavailable(upstream, provider):
    upstream.stop()
    error = (await listen(provider, "fake")).error
    assert (error.kind, error.retryable) == (ErrorKind.UNAVAILABLE, True)
    assert error.message == "OpenAI cannot be reached."


async def test_an_address_that_is_none_is_unavailable():
    provider = OpenAICompatible("openai", "OpenAI", "localhost:1/v1")
    assert (await listen(provider, "fake")).error.kind is ErrorKind.UNAVAILABLE
    await provider.aclose()


async def test_what_is_no_http_is_malformed(provider):
    assert (await listen(provider, "fake-badhttp")).error.kind is ErrorKind.MALFORMED


async def test_a_web_page_is_malformed(provider):
    assert (await listen(provider, "fake-html")).error.kind is ErrorKind.MALFORMED


async def test_a_reset_amid_the_answer_keeps_the_text_and_is_not_retried(provider):
    heard = await listen(provider, "fake-reset")
    assert BEGINNING.startswith(heard.text)
    assert (heard.error.kind, heard.error.retryable) == (ErrorKind.CUT_OFF, False)
    assert heard.error.message == "The connection to the model broke."


async def test_an_end_without_finish_reason_is_left_to_the_caller_to_see(provider):
    heard = await listen(provider, "fake-nodone")
    assert (heard.text, heard.reason, heard.error) == (BEGINNING, None, None)


async def test_a_server_that_lingers_after_done_is_left_soon(provider, upstream):
    heard = await listen(provider, "fake-lingering")
    assert (heard.text, heard.reason, heard.error) == (BEGINNING, "stop", None)
    await upstream.eventually(lambda: upstream.streams[0].end == "client_closed", patience=1)


async def test_a_last_line_without_its_end_is_read(provider):
    heard = await listen(provider, "fake-nolineend")
    assert (heard.text, heard.reason) == (BEGINNING + "The end.", "stop")


async def test_an_end_amid_a_line_is_a_cut(provider):
    heard = await listen(provider, "fake-cutline")
    assert (heard.text, heard.error.kind) == (BEGINNING, ErrorKind.CUT_OFF)


async def test_a_broken_chunk_ends_the_answer_and_keeps_the_text(provider):
    heard = await listen(provider, "fake-malformed")
    assert (heard.text, heard.error.kind) == (BEGINNING, ErrorKind.MALFORMED)


async def test_an_error_inside_the_stream_gets_its_kind(provider):
    heard = await listen(provider, "fake-errorchunk")
    assert (heard.text, heard.error.kind, heard.error.status) == (BEGINNING, ErrorKind.OVERLOADED, 502)
    assert "10.0.0.7" not in heard.error.message


async def test_a_line_without_end_is_malformed_and_closed(provider, upstream):
    heard = await listen(provider, "fake-flood")
    assert (heard.text, heard.error.kind) == (BEGINNING, ErrorKind.MALFORMED)
    await upstream.eventually(lambda: upstream.streams[0].end == "client_closed")


@pytest.mark.parametrize("model", ["fake-endless", "fake-stall", "fake-slow"])
async def test_closing_the_stream_closes_the_connection_at_once(provider, upstream, model):
    async with contextlib.aclosing(provider.stream(request_for(model))) as events:
        async for event in events:
            assert isinstance(event, TextDelta)
            break
    await upstream.eventually(lambda: upstream.streams[0].end == "client_closed", patience=0.5)


@pytest.mark.parametrize("model", ["fake-silent", "fake-silenthead", "fake-stall"])
async def test_cancelling_closes_the_connection_at_once(provider, upstream, model):
    listening = asyncio.ensure_future(listen(provider, model))
    await upstream.eventually(lambda: bool(upstream.streams))
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await upstream.eventually(lambda: upstream.streams[0].end == "client_closed", patience=0.5)


async def test_an_optional_field_that_is_refused_is_left_out_now_and_later(provider, upstream):
    for _ in range(2):
        heard = await listen(provider, "fake-nousage")
        assert (heard.text, heard.usage) == (texts.ANSWER, None)
    assert ["stream_options" in request["body"] for request in upstream.requests] == [True, False, False]


async def test_a_continuation_is_asked_for_in_words_where_the_server_does_not_prefill(upstream):
    messages = (ChatMessage("user", "Count"), ChatMessage("assistant", "1, 2"))
    for prefills in (False, True):
        provider = OpenAICompatible("x", "X", upstream.url, prefills=prefills)
        await listen(provider, ChatRequest("fake", messages, continuation=True))
        await provider.aclose()
    roles = [[message["role"] for message in request["body"]["messages"]] for request in upstream.requests]
    assert roles == [["user", "assistant", "user"], ["user", "assistant"]]


async def test_a_very_long_message_is_sent_whole(provider, upstream):
    await listen(provider, request_for("fake", "木" * 1_000_000))
    assert len(upstream.requests[0]["body"]["messages"][0]["content"]) == 1_000_000


async def test_a_client_given_from_outside_is_used_and_left_open(upstream):
    async with aiohttp.ClientSession() as client:
        provider = OpenAICompatible("openai", "OpenAI", upstream.url, client=client)
        assert (await listen(provider, "fake")).text == texts.ANSWER
        assert ModelInfo("fake", "fake") in await provider.list_models()
        await provider.aclose()
        assert not client.closed


def test_each_event_loop_has_connections_of_its_own(upstream):
    provider = OpenAICompatible("openai", "OpenAI", upstream.url)

    async def once():
        heard = await listen(provider, "fake")
        await provider.aclose()
        await provider.aclose()
        return heard.text

    assert [asyncio.run(once()), asyncio.run(once())] == [texts.ANSWER] * 2
    gc.collect()


async def test_models_are_listed_in_the_order_of_the_server(provider):
    assert (await provider.list_models())[:2] == [ModelInfo("fake", "fake"), ModelInfo("fake-slow", "fake-slow")]


async def test_a_server_that_cannot_list_its_models_says_why(upstream):
    elsewhere = OpenAICompatible("openai", "OpenAI", upstream.url + "/nowhere")
    error = await _listing_error(elsewhere)
    assert (error.kind, error.status) == (ErrorKind.MODEL_GONE, 404)
    upstream.stop()
    assert (await _listing_error(elsewhere)).kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("place", "kind"),
    [("stalled", ErrorKind.TIMED_OUT), ("cut", ErrorKind.CUT_OFF), ("odd", ErrorKind.MALFORMED)],
)
async def test_a_list_of_models_that_breaks_is_an_error(upstream, place, kind):
    provider = OpenAICompatible("x", "X", f"{upstream.url}/{place}")
    provider.list_seconds = 0.5
    assert (await _listing_error(provider)).kind is kind


async def test_lists_of_models_come_in_other_forms_too(upstream):
    bare, empty = (OpenAICompatible("x", "X", f"{upstream.url}/{place}") for place in ("bare", "empty"))
    assert await bare.list_models() == [ModelInfo("bare", "Bare model")]
    assert await empty.list_models() == []


def test_certificates_are_checked():
    context = openai_wire._tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs()


async def _listing_error(provider):
    with pytest.raises(openai_wire.ProviderError) as caught:
        await provider.list_models()
    return caught.value
