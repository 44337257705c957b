"""One part as HTML: its versions, and its end."""

from apps.streaming.painting import View
from tests.streaming.doubles import Paragraphs, rendered


def test_a_version_counts_only_what_changed():
    view = View("text", Paragraphs())
    view.refresh()
    assert view.version == 0
    view.feed("one")
    view.refresh()
    view.refresh()
    assert (view.version, view.tail) == (1, "<p>one</p>")


def test_a_closed_part_is_settled_and_takes_no_more():
    view = View("text", Paragraphs())
    view.feed("one\n\ntwo")
    view.close()
    view.close()
    view.feed("three")
    view.refresh()
    assert ("".join(view.settled), view.tail, view.html, view.version) == (rendered("one\n\ntwo"), "", None, 1)


def test_whoever_missed_a_version_gets_the_whole_tail():
    view = View("text", Paragraphs())
    for word in ["a long beginning that is worth keeping ", "more ", "and more"]:
        view.feed(word)
        view.refresh()
    assert view.tail_after(2) == {"keep": 47, "add": "and more</p>"}
    assert view.tail_after(2) is view.tail_after(2)
    assert view.tail_after(1) == view.tail_after(-1) == view.tail
