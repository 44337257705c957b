import pytest

from apps.providers.errors import ErrorKind, ProviderError, cut_off, sentence


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_sentence(kind):
    said = sentence(kind, name="OpenAI", model="gpt")
    assert said.endswith(".")
    assert "OpenAI" in said or "gpt" in said
    assert ProviderError(kind).message


def test_a_passing_fault_may_be_tried_again_and_a_lasting_one_not():
    assert ProviderError(ErrorKind.OVERLOADED).retryable
    assert not ProviderError(ErrorKind.KEY_REFUSED).retryable
    assert not ProviderError(ErrorKind.OVERLOADED, retryable=False).retryable


def test_a_cut_is_retryable_only_before_the_answer_began():
    assert cut_off(name="X", has_begun=False).retryable
    assert not cut_off(name="X", has_begun=True).retryable


def test_an_error_reads_well_in_a_log():
    error = ProviderError(ErrorKind.OVERLOADED, "X is overloaded.", status=529)
    assert (str(error), repr(error)) == (
        "X is overloaded.",
        "ProviderError('overloaded', 'X is overloaded.', status=529)",
    )
