"""What operators are given to deploy agrees with the program: commands, variables, ports and limits exist and fit together."""

import subprocess

import pytest

from tests.process.fleet import Nginx


def test_nginx_takes_our_configuration(tmp_path):
    try:
        said = Nginx(tmp_path, port=8080, webs=[8001, 8002]).check()
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr)
    assert "syntax is ok" in said
    assert "[warn]" not in said
