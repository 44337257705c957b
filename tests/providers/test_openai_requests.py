import pytest

from apps.providers.base import ChatMessage, ChatRequest, Sampling
from apps.providers.openai_requests import CONTINUE, chat_body, unwelcome_field

REQUEST = ChatRequest(
    "gpt",
    (ChatMessage("system", "Be brief"), ChatMessage("user", "Hi")),
    sampling=Sampling(0.0, 0.9, 40, 0.1, 0.2, 1.1, 100),
)


def test_unset_sampling_is_not_sent():
    body = chat_body(ChatRequest("gpt", REQUEST.messages), is_strict=False, prefills=False)
    assert set(body) == {"model", "messages", "stream", "stream_options"}


def test_set_sampling_is_sent_zero_too():
    body = chat_body(REQUEST, is_strict=False, prefills=False)
    assert (body["temperature"], body["top_k"], body["repetition_penalty"], body["max_tokens"]) == (0.0, 40, 1.1, 100)


def test_openai_itself_gets_only_what_it_knows():
    body = chat_body(REQUEST, is_strict=True, prefills=False)
    assert {"top_k", "repetition_penalty", "max_tokens"}.isdisjoint(body)
    assert body["max_completion_tokens"] == 100


def test_a_continuation_ends_with_the_wish_to_go_on():
    request = ChatRequest("gpt", (*REQUEST.messages, ChatMessage("assistant", "We")), continuation=True)
    assert chat_body(request, is_strict=False, prefills=False)["messages"][-1] == {"role": "user", "content": CONTINUE}
    assert chat_body(request, is_strict=False, prefills=True)["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize(
    ("error", "field"),
    [
        ({"message": "Unrecognized request argument supplied: stream_options"}, "stream_options"),
        ([{"loc": ["body", "stream_options"], "type": "extra_forbidden"}], "stream_options"),
        ({"code": "unsupported_value", "param": "temperature"}, "temperature"),
        ({"code": "unsupported_parameter", "param": "top_p"}, "top_p"),
        ({"code": "unsupported_parameter", "param": "logit_bias"}, None),
        ({"code": "unsupported_parameter", "param": "messages"}, None),
        ({"code": "unsupported_parameter", "param": ["top_p"]}, None),
        ({"code": "invalid_value", "param": "temperature"}, None),
        ("temperature", None),
        (None, None),
    ],
)
def test_only_a_field_said_to_be_unsupported_is_unwelcome(error, field):
    assert unwelcome_field(error, chat_body(REQUEST, is_strict=False, prefills=False)) == field


def test_a_field_already_left_out_is_not_unwelcome_again():
    body = chat_body(REQUEST, is_strict=False, prefills=False)
    del body["stream_options"]
    assert unwelcome_field({"message": "stream_options"}, body) is None
