import pytest
from django.core.checks import run_checks


def _found(*, deploy=True):
    return {message.id for message in run_checks(tags=["bough"], include_deployment_checks=deploy)}


@pytest.fixture
def sound(settings):
    settings.FIELD_KEYS = ["0123456789abcdefghijklmnopqrstuv"]
    settings.SITE_URL, settings.SITE_IS_LOOPBACK = "https://chat.example.org", False
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    return settings


def test_a_sound_site_has_nothing_to_say(sound):
    assert _found() == set()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("FIELD_KEYS", ["short"], "bough.W001"),
        ("SITE_URL", "http://chat.example.org", "bough.W002"),
        ("TRUSTED_PROXIES", [], "bough.W003"),
        ("TRUSTED_PROXIES", ["proxy.internal"], "bough.E003"),
        ("GENERATIONS_HOST", "external", "bough.W005"),
    ],
)
def test_what_will_hurt_is_named(sound, name, value, found):
    setattr(sound, name, value)
    assert _found() == {found}


def test_open_sign_up_without_mail_is_named(sound):
    sound.SIGNUP, sound.EMAIL_BACKEND = "open", "django.core.mail.backends.console.EmailBackend"
    assert _found() == {"bough.W004"}


@pytest.mark.parametrize(
    ("engine", "options", "found"),
    [
        ("apps.core.sqlite", {}, {"bough.E002"}),
        ("apps.core.sqlite", {"transaction_mode": "IMMEDIATE"}, set()),
        ("django.db.backends.sqlite3", {}, {"bough.E002"}),
        ("django.db.backends.sqlite3", {"transaction_mode": "IMMEDIATE"}, set()),
        ("django.db.backends.postgresql", {}, set()),
    ],
)
def test_sqlite_without_immediate_transactions_is_an_error(sound, monkeypatch, engine, options, found):
    # Put in place behind the settings' back: Django warns of whoever overrides DATABASES.
    monkeypatch.setitem(sound.DATABASES, "default", {"ENGINE": engine, "OPTIONS": options})
    assert _found(deploy=False) == found


def test_a_data_folder_without_the_right_to_write_is_an_error(sound, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    sound.DATA_DIR = tmp_path
    assert _found(deploy=False) == {"bough.E001"}
