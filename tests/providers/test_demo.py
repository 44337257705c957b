import asyncio

import pytest

from apps.providers.base import ChatMessage, ChatRequest, ModelInfo, ReasoningDelta, Sampling, TextDelta
from apps.providers.demo import DemoChat
from apps.providers.demo_text import make_title
from apps.providers.errors import ErrorKind
from tests.providers.streams import listen, request_for

UNHURRIED = float("inf")


@pytest.fixture
def demo():
    return DemoChat(deltas_per_second=UNHURRIED)


def path(*contents: str, system: str = "", **fields) -> ChatRequest:
    """Messages of user and assistant in turn."""
    messages = [ChatMessage("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(contents)]
    return ChatRequest("bough", ((ChatMessage("system", system),) if system else ()) + tuple(messages), **fields)


async def test_it_says_what_it_is_and_shows_markdown_after_a_short_reasoning(demo):
    heard = await listen(demo, request_for("bough", "How are you today?"))
    assert "demo model" in heard.text
    assert "How are you today?" in heard.text
    for mark in ("## ", "\n- ", "|:--|", "```", "$$"):
        assert mark in heard.text
    kinds = [type(event) for event in heard.events[:-2]]
    first_text = kinds.index(TextDelta)
    assert set(kinds[:first_text]) == {ReasoningDelta}
    assert set(kinds[first_text:]) == {TextDelta}
    assert heard.reason == "stop"
    assert heard.usage.prompt_tokens == 4
    assert heard.usage.completion_tokens == len(kinds)


async def test_deltas_are_small(demo):
    heard = await listen(demo, "bough")
    assert max(len(event.text) for event in heard.events[:-2]) < 20


async def test_it_answers_the_same_request_the_same_way_and_others_otherwise(demo):
    first, again = await listen(demo, path("Hello")), await listen(demo, path("Hello"))
    assert first.text == again.text
    others = [path("Hello you"), path("Hello", first.text, "Hello")]
    assert len({first.text, *[(await listen(demo, other)).text for other in others]}) == 3


async def test_asked_again_it_can_answer_otherwise_and_every_answer_can_be_continued():
    demo = DemoChat(deltas_per_second=UNHURRIED, varies=True)
    texts = [(await listen(demo, path("Hello"))).text for _ in range(3)]
    assert len(set(texts)) == 3
    for text in texts:
        # In the last tenth, where no two of them are alike.
        at = len(text) * 9 // 10
        assert (await listen(demo, path("Hello", text[:at], continuation=True))).text == text[at:]


@pytest.mark.parametrize("words", [1, 7, 2000])
async def test_it_writes_as_many_words_as_it_is_told(demo, words):
    heard = await listen(demo, request_for("bough", f"Please write {words} words about trees"))
    assert len(heard.text.split()) == words


async def test_it_reads_numbers_with_separators_and_has_a_limit(demo):
    assert len((await listen(demo, request_for("bough", "Write 1,200 words"))).text.split()) == 1200
    assert len((await listen(demo, request_for("bough", "write 999,999,999 words"))).text.split()) == 20_000


@pytest.mark.parametrize("text", ["fail", "Please fail", "Hello. Now fail!", "be fast, fail"])
async def test_told_to_fail_it_fails_after_a_few_words(demo, text):
    heard = await listen(demo, request_for("bough", text))
    assert 1 <= len(heard.text.split()) <= 10
    assert (heard.error.kind, heard.error.message) == (ErrorKind.OVERLOADED, "The demo model is overloaded.")


@pytest.mark.parametrize("text", ["Why do my tests fail?", "failure", "I think so"])
async def test_everyday_words_are_no_commands(demo, text):
    heard = await listen(demo, request_for("bough", text))
    assert heard.error is None
    assert len(heard.reasoning.split()) < 60


async def test_told_to_think_it_reasons_at_length(demo):
    assert len((await listen(demo, request_for("bough", "Think. What is 1 + 1?"))).reasoning.split()) > 100


@pytest.mark.parametrize(
    ("text", "there", "gone"),
    [
        ("show a table", "|:--|", "```"),
        ("Show me some code", "```", "|:--|"),
        ("show math", "$$", "```"),
        ("show a list", "\n- ", "$$"),
        ("show code and a table", "|:--|", "$$"),
        ("Show me a table, some code", "```", "$$"),
    ],
)
async def test_it_shows_what_it_is_told_to_show(demo, text, there, gone):
    heard = await listen(demo, request_for("bough", text))
    assert there in heard.text
    assert gone not in heard.text


async def test_what_the_user_wrote_is_echoed_as_text_and_not_as_markdown(demo):
    text = (await listen(demo, request_for("bough", "# *Look* ![x](http://evil.example/) `code` | <b>"))).text
    assert r"\*Look\* !\[x\](http://evil.example/) \`code\` \| \<b>" in text


@pytest.mark.parametrize("text", ["", "   ", "\ud83c", "\x00", "x" * 100_000])
async def test_any_text_gets_an_answer(demo, text):
    heard = await listen(demo, request_for("bough", text))
    assert heard.reason == "stop"
    assert len(heard.text) < 3_000


async def test_a_request_without_messages_gets_an_answer(demo):
    assert (await listen(demo, ChatRequest("bough", ()))).reason == "stop"


async def test_a_continuation_goes_on_where_the_text_ends(demo):
    whole = (await listen(demo, path("Hello"))).text
    rest = await listen(demo, path("Hello", whole[:50], continuation=True))
    assert (rest.text, rest.reasoning) == (whole[50:], "")


async def test_a_failed_answer_can_be_continued_to_its_end(demo):
    beginning = (await listen(demo, path("fail"))).text
    rest = await listen(demo, path("fail", beginning, continuation=True))
    assert (rest.error, rest.reason) == (None, "stop")
    assert rest.text


async def test_a_continuation_of_another_text_adds_a_paragraph(demo):
    assert (await listen(demo, path("Hello", "Once", continuation=True))).text.startswith("\n\nHere")


async def test_a_limit_of_tokens_ends_the_answer_for_its_length(demo):
    heard = await listen(demo, request_for("bough", sampling=Sampling(max_tokens=5)))
    assert (heard.reason, len(heard.events)) == ("length", 7)


async def test_a_title_is_made_of_the_users_words(demo):
    request = path("User: How do I bake sourdough bread at home?", system="Name this conversation in 2 to 5 words.")
    heard = await listen(demo, request)
    assert heard.text == "Bake sourdough bread home"
    assert heard.reasoning == ""


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("How are you?", "How are you"),
        ("Trees", "About Trees"),
        ("Which trees grow old?\n\nYews and oaks do.", "Trees grow old"),
        ("", "A wordless question"),
        ("?!", "A wordless question"),
        ("l'été à la mer, c'est beau", "L'été à la mer"),
        ("internationalisation " * 5, "Internationalisatio internationalisatio"),
        ("木の枝 について 教えて", "木の枝 について 教えて"),
    ],
)
def test_titles_have_two_to_five_words_and_forty_characters_at_most(text, title):
    assert make_title(text) == title
    assert len(title) <= 40


async def test_it_waits_between_deltas_as_fast_as_it_is_told():
    async def seconds(text: str) -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await listen(DemoChat(deltas_per_second=1_000), request_for("bough", text, sampling=Sampling(max_tokens=20)))
        return loop.time() - start

    assert await seconds("be slow") > 0.19
    assert 0.019 < await seconds("as usual") < 0.19


async def test_it_lists_its_model_and_has_nothing_to_close(demo):
    assert await demo.list_models() == [ModelInfo("bough", "Bough demo")]
    await demo.aclose()
