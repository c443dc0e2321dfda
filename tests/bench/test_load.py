"""What h2load prints becomes counts of answers and errors."""

import pytest

from bench.load import Load, LoadFailed, parse_h2load

OUTPUT = """finished in 275.57ms, 72577.37 req/s, 10.52MB/s
requests: 200 total, 200 started, 200 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {ok} 2xx, 0 3xx, 0 4xx, {bad} 5xx
"""


def test_all_good() -> None:
    output = OUTPUT.format(succeeded=200, failed=0, ok=200, bad=0)
    assert parse_h2load(output, 200, 5) == Load(200, 0, 5)


def test_error_answers_are_errors() -> None:
    assert parse_h2load(OUTPUT.format(succeeded=150, failed=50, ok=150, bad=50), 200, 5).errors == 50


def test_answers_that_were_cut_off_are_errors() -> None:
    """The status line came, the body did not."""
    assert parse_h2load(OUTPUT.format(succeeded=190, failed=10, ok=200, bad=0), 200, 5).errors == 10


def test_a_generator_that_failed_is_not_a_result() -> None:
    with pytest.raises(LoadFailed, match="could not connect"):
        parse_h2load("could not connect", 200, 5)
