"""The table of the campaigns sums the records of all tests."""

from types import SimpleNamespace

from tests import stops


def test_counts_are_summed_by_kind():
    properties: list[tuple[str, object]] = [("other", 1)]

    def note(name, value):
        properties.append((name, value))

    stops.record(note, "kill", stops=60, runs=20)
    stops.record(note, "kill", equal=19, seconds=1.5)
    stops.record(note, "full disk", stops=1, runs=1, equal=1)
    reports = [SimpleNamespace(when=when, user_properties=properties) for when in ("setup", "call")]
    header, *lines = stops.table([*reports, "deselected"])
    assert header.split() == ["kind", "stops", "runs", "equal", "longest", "end"]
    assert [" ".join(line.split()) for line in lines] == [
        "full disk 1 1 1 -",
        "kill 60 20 19 1.5 s",
        "sum 61 21 20 1.5 s",
    ]
    assert stops.table([]) == []
