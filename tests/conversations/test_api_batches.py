"""Several models answering one message, over the API: ids in the order of the models, each followed and stopped alone."""

import asyncio
from dataclasses import dataclass, field

import pytest
from asgiref.testing import ApplicationCommunicator

from apps.conversations.models import Conversation, Generation, Message, MessageRevision
from apps.core.db import in_db
from apps.models.services import catalogue
from apps.providers import registry
from apps.providers.scripted import ScriptedChat
from tests.conversations.answers import end_all
from tests.conversations.api_calls import Calls, by_session
from tests.conversations.asgi_client import PATIENCE, AsgiCalls, heard
from tests.conversations.event_streams import read_events, texts_of
from tests.conversations.live_answers import END
from tests.factories import make_conversation, make_path

pytestmark = pytest.mark.django_db
# Where a runner writes, or many threads call at once.
MANY_THREADS = pytest.mark.django_db(transaction=True)
THREE = ["demo/bough", "scripted/model", "demo/bough"]
TIMES = 12


@pytest.fixture
def path(user):
    """A question and its answer."""
    return make_path(conversation=make_conversation(owner=user, title="Trees"), length=2)


@pytest.fixture
def asks(user):
    return by_session(user)


def doors(chat, path):
    """Every door that several models can answer at: its address, and what is sent beside the models."""
    where = f"/chats/{chat}/messages"
    return {
        "send": (where, {"content": "More"}),
        "regenerate": (f"{where}/{path[1].pk}/regenerate", {}),
        "edit": (f"{where}/{path[0].pk}/edit", {"content": "Other words", "mode": "branch"}),
    }


@pytest.fixture
def door(request, path):
    return doors(path[0].conversation_id, path)[request.param]


AT_EACH_DOOR = pytest.mark.parametrize("door", ["send", "regenerate", "edit"], indirect=True)


def rows():
    """Everything that a refused call must leave as it was."""
    kinds = (Conversation, Message, MessageRevision, Generation)
    return [list(kind.objects.order_by("pk").values()) for kind in kinds]


# --- each door --------------------------------------------------------------------------------------------------


@AT_EACH_DOOR
def test_its_owner_gets_all_ids_in_the_order_of_the_models(asks, path, door):
    url, body = door
    answer = asks.post(url, {**body, "models": THREE})
    assert answer.status_code == 202
    started = answer.json()
    assert list(started) == ["userMessageId", "messageIds", "generationIds", "leafId", "branched"]
    assert started["leafId"] == started["messageIds"][0]
    begun = Generation.objects.order_by("rank")
    assert [str(generation.pk) for generation in begun] == started["generationIds"]
    assert [str(generation.message_id) for generation in begun] == started["messageIds"]
    assert [generation.request["model"] for generation in begun] == THREE
    # Beside the path's old answer, where that is regenerated.
    shown = [asks.get(f"{_chat(path)}/messages?leafId={pk}").json()["messages"][-1] for pk in started["messageIds"]]
    assert [(one["model"], one["status"]) for one in shown] == [(model, "queued") for model in THREE]
    first = shown[0]["siblingIndex"]
    assert [one["siblingIndex"] for one in shown] == [first, first + 1, first + 2]
    assert [one["nextSiblingId"] for one in shown] == [*started["messageIds"][1:], None]


def _chat(path):
    return f"/chats/{path[0].conversation_id}"


@AT_EACH_DOOR
def test_a_stranger_finds_nothing_and_changes_nothing(stranger, door):
    url, body = door
    before = rows()
    refused = by_session(stranger).post(url, {**body, "models": THREE})
    assert (refused.status_code, refused.json()["error"]) == (404, "not_found")
    assert rows() == before


@AT_EACH_DOOR
def test_nobody_is_asked_to_sign_in(path, door):
    url, body = door
    before = rows()
    assert Calls().post(url, {**body, "models": THREE}).status_code == 401
    assert rows() == before


@AT_EACH_DOOR
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_another_method_is_405(asks, door, method):
    before = rows()
    assert asks(method, door[0], {**door[1], "models": THREE}).status_code == 405
    assert rows() == before


@AT_EACH_DOOR
@pytest.mark.parametrize(
    ("given", "error", "field", "said"),
    [
        ({"models": []}, "invalid", "models", "One to 8 models can answer a message."),
        ({"models": THREE * 3}, "invalid", "models", "One to 8 models can answer a message."),
        ({"model": "demo/bough", "models": THREE}, "invalid", "models", "Give model or models, not both."),
        ({"models": [*THREE, "no/such"]}, "unknown_model", "models", "There is no model 'no/such' here."),
        ({"models": ["demo/bough", ""]}, "unknown_model", "models", "A model is named provider/id, and '' isn't."),
        ({"models": "demo/bough"}, "invalid", "models", "Input should be a valid list."),
        ({"models": {"0": "demo/bough"}}, "invalid", "models", "Input should be a valid list."),
        ({"models": ["demo/bough", 5]}, "invalid", "models.1", "Input should be a valid string."),
        ({"models": ["x" * 301]}, "invalid", "models.0", "String should have at most 300 characters."),
    ],
)
def test_what_does_not_fit_is_422_in_plain_words_and_nothing_changes(asks, door, given, error, field, said):
    url, body = door
    before = rows()
    refused = asks.post(url, {**body, **given})
    assert refused.status_code == 422
    assert refused.json() == {"error": error, "message": said, "field": field}
    assert rows() == before


@AT_EACH_DOOR
def test_a_list_of_one_or_none_at_all_is_one_answer(asks, door):
    url, body = door
    for given in ({"models": ["demo/bough"]}, {"models": None, "model": "demo/bough"}, {"models": None}):
        assert len(asks.post(url, {**body, **given}).json()["messageIds"]) == 1
        end_all()


@AT_EACH_DOOR
def test_a_limit_that_has_no_room_for_all_says_so_and_stores_nothing(asks, door, settings):
    settings.GENERATIONS_AT_ONCE = 2
    url, body = door
    before = rows()
    refused = asks.post(url, {**body, "models": THREE})
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    assert (refused.json()["limit"], refused.json()["remaining"], refused.json()["reset"]) == (2, 2, 5)
    assert rows() == before


def test_continuing_is_the_work_of_one_model(asks, path):
    body = {"model": "demo/bough", "models": THREE}
    started = asks.post(f"{_chat(path)}/messages/{path[1].pk}/continue", body).json()
    assert started["messageIds"] == [str(path[1].pk)]
    assert [generation.request["model"] for generation in Generation.objects.all()] == ["demo/bough"]


def test_the_description_says_how_many_models_there_may_be(asks):
    schemas = asks.get("/openapi.json").json()["components"]["schemas"]
    for name in ("NewMessage", "Again", "Edit"):
        (listed, _) = schemas[name]["properties"]["models"]["anyOf"]
        assert (listed["minItems"], listed["maxItems"]) == (1, 8)


# --- while they write -------------------------------------------------------------------------------------------


def test_a_chat_is_generating_until_the_last_of_them_has_ended(asks, path):
    chat = _chat(path)
    started = asks.post(f"{chat}/messages", {"content": "More", "models": THREE}).json()
    first, second, third = started["messageIds"]

    def told():
        shown = asks.get(chat).json()
        assert asks.get("/chats").json()["chats"] == [shown]
        return shown["generating"], shown["currentStreamingMessageId"]

    assert told() == (True, first)
    asks.post(f"{chat}/messages/{third}/select")
    assert told() == (True, third)
    asks.post(f"{chat}/stop", {"generationId": started["generationIds"][2]})
    assert told() == (True, first)
    refused = asks.post(f"{chat}/messages", {"content": "Too soon"})
    assert (refused.status_code, refused.json()["error"]) == (409, "generation_in_progress")
    asks.post(f"{chat}/stop", {"generationId": started["generationIds"][0]})
    assert told() == (True, second)
    refused = asks.post(f"{chat}/messages", {"content": "Too soon"})
    assert (refused.status_code, refused.json()["error"]) == (409, "generation_in_progress")
    assert asks.post(f"{chat}/stop").json() == {"stopped": [started["generationIds"][1]]}
    assert told() == (False, None)
    assert asks.post(f"{chat}/messages", {"content": "Now"}).status_code == 202


def test_the_same_client_id_gives_all_ids_again(asks, path):
    body = {"content": "More", "clientId": "one", "models": THREE}
    first = asks.post(f"{_chat(path)}/messages", body)
    for models in (THREE, ["demo/bough"], None):
        again = asks.post(f"{_chat(path)}/messages", {**body, "models": models})
        assert (again.status_code, again.json()) == (202, first.json())
    refused = asks.post(f"{_chat(path)}/messages", {**body, "content": "Other"})
    assert refused.json()["error"] == "client_id_reused"
    assert Message.objects.count() == 2 + 4


@pytest.fixture
async def two(calls, chat):
    """A question and an answer, for calls from many threads."""
    return await in_db(make_path, conversation=chat, length=2)


@MANY_THREADS
async def test_of_many_batches_at_once_one_is_begun_whole(calls, chat, two):
    ways = list(doors(chat.pk, two).values())
    answers = await asyncio.gather(
        *(calls.call("POST", ways[n % 3][0], {**ways[n % 3][1], "models": THREE}) for n in range(TIMES))
    )
    assert sorted(status for status, _ in answers) == [202] + [409] * (TIMES - 1)
    assert await in_db(Generation.objects.count) == 3
    assert await in_db(Generation.objects.values("batch").distinct().count) == 1


@MANY_THREADS
async def test_the_same_client_id_at_once_is_one_batch(calls, chat):
    body = {"content": "Hello", "clientId": "the-same", "models": THREE}
    answers = await calls.all_at_once(TIMES, "POST", f"/chats/{chat.pk}/messages", body)
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0][0], len(answers[0][1]["messageIds"])) == (202, 3)
    assert await in_db(Message.objects.count) == 4


# --- as they are written ----------------------------------------------------------------------------------------

SLUGS = ("one", "two", "three")
SPOKEN = [f"{slug}/model" for slug in SLUGS]


@dataclass
class Choir:
    """Three models that each say half a sentence, and the rest once their gate opens; a client follows each."""

    calls: AsgiCalls
    chat: str
    providers: list[ScriptedChat]
    gates: list[asyncio.Event]
    generations: list[Generation] = field(default_factory=list)
    clients: list[ApplicationCommunicator] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    async def begin(self):
        """Have all three answer, and follow each: the first by the call itself, the others by their ids."""
        body = {"content": "Hello", "models": SPOKEN, "stream": True}
        await self._follow("POST", "/messages", body)
        start = read_events(self.heard[0])[0].data
        self.generations = await in_db(lambda: list(Generation.objects.order_by("rank")))
        first = self.generations[0]
        assert (start["generationId"], start["messageId"]) == (str(first.pk), str(first.message_id))
        for generation in self.generations[1:]:
            await self._follow("GET", "/stream", headers=[(b"last-event-id", f"{generation.pk}:1:0:0".encode())])
        assert [texts_of(read_events(raw)) for raw in self.heard] == [{0: f"{slug} says "} for slug in SLUGS]
        return self

    async def _follow(self, method, act, body=None, headers=()):
        client = await self.calls.stream(method, f"/chats/{self.chat}{act}", body, headers=headers)
        self.clients.append(client)
        self.heard.append(await heard(client, until=lambda event: event.name == "delta"))

    async def end_of(self, number):
        """Follow one to its end: its whole text, and how it ended."""
        raw = self.heard[number] + await heard(self.clients[number], until=lambda event: event.name == "end")
        await self.clients[number].wait(timeout=PATIENCE)
        events = read_events(raw)
        return texts_of(events)[0], events[-1].data["status"]

    async def let_go(self):
        """Leave what is still open, and let everything end."""
        for client in self.clients:
            if not client.future.done():
                await client.send_input({"type": "http.disconnect"})
                await client.wait(timeout=PATIENCE)
        for gate in self.gates:
            gate.set()
        for provider in self.providers:
            await provider.idle()


@pytest.fixture
async def choir(runner, calls, chat):
    gates = [asyncio.Event() for _ in SLUGS]
    scripts = [[f"{slug} says ", gate, "hello", END] for slug, gate in zip(SLUGS, gates, strict=True)]
    providers = [ScriptedChat(script, slug=slug) for slug, script in zip(SLUGS, scripts, strict=True)]
    with registry.installed(*providers):
        catalogue.forget()
        choir = Choir(calls, chat.pk, providers, gates)
        yield await choir.begin()
        await choir.let_go()
    catalogue.forget()


async def all_ended():
    async with asyncio.timeout(PATIENCE):
        while await in_db(Generation.objects.active().exists):
            await asyncio.sleep(0.005)


@MANY_THREADS
async def test_each_is_followed_by_itself_and_its_end_is_its_own(calls, chat, choir):
    for number, still_generating in ((2, True), (0, True), (1, False)):
        choir.gates[number].set()
        assert await choir.end_of(number) == (f"{SLUGS[number]} says hello", "complete")
        _, shown = await calls.call("GET", f"/chats/{chat.pk}")
        assert shown["generating"] is still_generating


@MANY_THREADS
async def test_each_is_shown_its_own_path_and_never_its_siblings(calls, chat, choir):
    for gate in choir.gates:
        gate.set()
    await all_ended()
    second = str(choir.generations[1].message_id)
    await calls.call("POST", f"/chats/{chat.pk}/messages", {"content": "You?", "parentId": second, "models": SPOKEN})
    await all_ended()
    for provider in choir.providers:
        first, then = ([(one.role, one.content) for one in request.messages] for request in provider.requests)
        assert first[-1:] == [("user", "Hello")]
        assert then == [*first, ("assistant", "two says hello"), ("user", "You?")]


@MANY_THREADS
async def test_stopping_one_lets_its_provider_go_and_the_others_finish(calls, chat, choir):
    second = {"generationId": str(choir.generations[1].pk)}
    stopped = await calls.call("POST", f"/chats/{chat.pk}/stop", second)
    assert stopped == (202, {"stopped": [second["generationId"]]})
    assert await choir.end_of(1) == ("two says ", "stopped")
    assert (choir.providers[1].open_streams, choir.providers[1].closed_early) == (0, 1)
    for number in (0, 2):
        choir.gates[number].set()
        assert await choir.end_of(number) == (f"{SLUGS[number]} says hello", "complete")
    assert await calls.call("POST", f"/chats/{chat.pk}/stop", second) == (202, {"stopped": []})


@MANY_THREADS
async def test_stopping_without_an_id_stops_them_all(calls, chat, choir):
    _, stopped = await calls.call("POST", f"/chats/{chat.pk}/stop")
    assert sorted(stopped["stopped"]) == sorted(str(generation.pk) for generation in choir.generations)
    for number, slug in enumerate(SLUGS):
        assert await choir.end_of(number) == (f"{slug} says ", "stopped")
    status, _ = await calls.call("POST", f"/chats/{chat.pk}/messages", {"content": "Now", "model": "one/model"})
    assert status == 202


@MANY_THREADS
async def test_deleting_one_while_they_write_stops_that_one_alone(calls, chat, choir):
    first, _, third = (str(generation.message_id) for generation in choir.generations)
    status, deleted = await calls.call("DELETE", f"/chats/{chat.pk}/messages/{first}")
    assert (status, deleted) == (200, {"deleted": 1, "leafId": third})
    assert await choir.end_of(0) == ("one says ", "stopped")
    for number in (1, 2):
        choir.gates[number].set()
        assert await choir.end_of(number) == (f"{SLUGS[number]} says hello", "complete")
    _, shown = await calls.call("GET", f"/chats/{chat.pk}")
    assert (shown["generating"], shown["leafId"]) == (False, third)


@MANY_THREADS
async def test_deleting_the_question_while_they_write_stops_them_all_and_keeps_their_text(calls, chat, choir):
    question = read_events(choir.heard[0])[0].data["userMessageId"]
    status, deleted = await calls.call("DELETE", f"/chats/{chat.pk}/messages/{question}")
    assert (status, deleted) == (200, {"deleted": 4, "leafId": None})
    for number, slug in enumerate(SLUGS):
        assert await choir.end_of(number) == (f"{slug} says ", "stopped")
    assert await calls.call("POST", f"/chats/{chat.pk}/messages/{question}/restore") == (
        200,
        {"restored": 4, "leafId": str(choir.generations[0].message_id)},
    )
    kept = await in_db(lambda: list(Message.objects.filter(role="assistant").siblings_in_order()))
    assert [(one.status, one.text) for one in kept] == [("stopped", f"{slug} says ") for slug in SLUGS]
