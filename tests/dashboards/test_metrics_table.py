"""The table of metrics says what the code exports."""

from dashboards.metrics_table import FILE, listed, table


def test_the_table_is_what_the_code_writes() -> None:
    assert FILE.read_text() == table(), "run `make dashboards`"


def test_every_metric_says_what_it_means_and_fits_its_row() -> None:
    for row in listed():
        assert row.meaning.endswith("."), row.name
        assert not {"|", "\n"} & set(row.meaning), row.name
