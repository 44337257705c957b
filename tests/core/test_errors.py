from apps.core import errors
from apps.core.errors import DomainError, HasForks


def _all_errors(kind=DomainError):
    for sub in kind.__subclasses__():
        yield sub
        yield from _all_errors(sub)


def test_every_error_has_a_code_of_its_own_a_sentence_and_a_status():
    ours = [kind for kind in _all_errors() if kind.__module__ == errors.__name__]
    assert len(ours) > 10
    codes = [kind.code for kind in ours]
    assert len(codes) == len(set(codes))
    for kind in ours:
        assert kind.message.endswith("."), kind
        assert 400 <= kind.status <= 503, kind


def test_an_error_carries_its_data_and_its_own_words():
    assert HasForks(forks=2).as_dict() == {"error": "has_forks", "message": HasForks.message, "forks": 2}
    assert str(HasForks("Two.")) == "Two."
