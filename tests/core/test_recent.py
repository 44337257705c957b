"""A bounded memory of results."""

from apps.core.recent import Recent


def test_what_is_remembered_stays_within_its_room() -> None:
    recent = Recent(100)
    for number in range(50):
        recent.put(f"{number:02}", "h" * 18)
        recent.put(f"{number:02}", "h" * 18)
    assert [number for number in range(50) if recent.get(f"{number:02}")] == [45, 46, 47, 48, 49]


def test_what_was_used_last_stays() -> None:
    recent = Recent(6)
    recent.put("a", "1")
    recent.put("b", "2")
    recent.put("c", "3")
    assert recent.get("a") == "1"
    recent.put("d", "4")
    assert recent.get("a") == "1"
    assert recent.get("b") is None


def test_what_is_larger_than_the_room_is_not_kept() -> None:
    recent = Recent(5)
    recent.put("a", "12345")
    assert recent.get("a") is None
    recent.put("a", "1")
    recent.clear()
    assert recent.get("a") is None
