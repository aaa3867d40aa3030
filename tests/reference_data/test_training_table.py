"""The training data and its split are read as written, or refused by name."""

from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference_data.errors import ImportRefused
from reference_data.importing.survey import choose_for_parity, survey
from reference_data.importing.table import SPLIT_LINE, Row, Table, check_labels, read_table
from tests.reference_data.odd_pictures import encoded, noise, sixteen_bits


def fill(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(seed=seed), "PNG"))
    return root


def sides(table: Table) -> dict[str, bool | None]:
    return {row.item: row.held_out for row in table.rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "bears", "black/1.png", "black/2.png", "teddy/1.png", "teddy/2.png")


def test_a_folder_per_class_without_a_split_is_refused_with_three_ways_to_give_one(
    folder: Path,
) -> None:
    with pytest.raises(ImportRefused) as refused:
        read_table(folder)
    message = str(refused.value)
    for way in ("split.csv", "dls.valid_ds.items", "valid/<class>/", "is_valid", "--split unknown"):
        assert way in message


def test_an_unknown_split_leaves_every_row_undecided(folder: Path) -> None:
    table = read_table(folder, split_unknown=True)
    assert set(sides(table).values()) == {None}
    assert not table.split_known
    assert [row.label for row in table.rows] == ["black", "black", "teddy", "teddy"]


@pytest.mark.parametrize("valid", ["valid", "val"])
def test_train_and_valid_folders_give_the_split(tmp_path: Path, valid: str) -> None:
    root = fill(tmp_path, "train/a/1.png", "train/b/1.png", f"{valid}/a/2.png")
    assert sides(read_table(root)) == {
        "train/a/1.png": False,
        "train/b/1.png": False,
        f"{valid}/a/2.png": True,
    }


def test_hidden_folders_other_files_and_loose_pictures_are_passed_over(folder: Path) -> None:
    fill(folder, ".ipynb_checkpoints/black/1.png", "loose.png", "__MACOSX/black/1.png")
    (folder / "black/notes.txt").write_text("no picture")
    assert len(read_table(folder, split_unknown=True).rows) == 4


@pytest.mark.parametrize(
    "written",
    [
        "black/2.png",
        "bears/black/2.png",
        "/somewhere/else/bears/black/2.png",
        "..\\bears\\black\\2.png",
    ],
)
def test_a_list_of_held_out_paths_is_understood_wherever_it_was_written(
    folder: Path, written: str
) -> None:
    (folder / "split.csv").write_text(f"path\n{written}\n")
    assert [item for item, held in sides(read_table(folder)).items() if held] == ["black/2.png"]


def test_a_split_file_may_say_of_each_item_which_side_it_is_on(folder: Path) -> None:
    (folder / "split.csv").write_text("path,is_valid\nblack/1.png,True\nblack/2.png,False\n")
    assert [item for item, held in sides(read_table(folder)).items() if held] == ["black/1.png"]


@pytest.mark.torch
def test_the_line_for_the_notebook_writes_a_split_file_from_paths_and_from_rows(
    folder: Path,
) -> None:
    import numpy
    import pandas  # type: ignore[import-untyped]  # ships no types
    from fastcore.foundation import L

    paths = L(folder / "black/2.png", Path("bears/teddy/1.png"))
    rows = pandas.DataFrame({"file": ["black/2.png", "teddy/1.png"], "label": ["a", "b"]}, [3, 7])
    for items in (paths, rows):
        dls = SimpleNamespace(valid_ds=SimpleNamespace(items=items))
        names = {"pd": pandas, "np": numpy, "dls": dls}
        exec(SPLIT_LINE.format(folder=folder), names)  # noqa: S102  our own constant
        held_out = [item for item, held in sides(read_table(folder)).items() if held]
        assert held_out == ["black/2.png", "teddy/1.png"]


def test_a_split_file_for_other_data_is_refused_by_name(folder: Path) -> None:
    (folder / "split.csv").write_text("path\nblack/9.png\n")
    with pytest.raises(ImportRefused, match=r"black/9\.png"):
        read_table(folder)


@pytest.mark.parametrize("text", ["", "path\n", "name\nblack/1.png\n"])
def test_a_split_file_without_paths_is_refused(folder: Path, text: str) -> None:
    (folder / "split.csv").write_text(text)
    with pytest.raises(ImportRefused, match="column path"):
        read_table(folder)


def test_a_table_gives_labels_split_episodes_and_segments(tmp_path: Path) -> None:
    fill(tmp_path, "p/1.png", "p/2.png", "p/3.png")
    file = tmp_path / "items.csv"
    file.write_text(
        "path,label,is_valid,episode,camera\n"
        "p/1.png,black,0,e1,north\np/2.png,black,1,e2,\np/3.png,teddy,true,,south\n"
    )
    table = read_table(file)
    assert sides(table) == {"p/1.png": False, "p/2.png": True, "p/3.png": True}
    assert [row.episode for row in table.rows] == ["e1", "e2", None]
    assert [dict(row.segments) for row in table.rows] == [
        {"camera": "north"},
        {},
        {"camera": "south"},
    ]
    assert table.segments == ("camera",)
    assert table.episodes_known


def test_a_parquet_table_reads_like_a_csv(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png")
    file = tmp_path / "items.parquet"
    columns = {"path": ["1.png", "2.png"], "label": [3, 4], "is_valid": [False, True]}
    pq.write_table(pa.table(columns), file)
    table = read_table(file)
    assert [(row.label, row.held_out) for row in table.rows] == [("3", False), ("4", True)]


def test_a_table_without_a_split_may_have_a_split_file_beside_it(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png")
    (tmp_path / "items.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    (tmp_path / "split.csv").write_text("path\n2.png\n")
    assert sides(read_table(tmp_path / "items.csv")) == {"1.png": False, "2.png": True}


def test_a_split_file_that_contradicts_the_column_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "1.png", "2.png")
    (tmp_path / "items.csv").write_text("path,label,is_valid\n1.png,a,1\n2.png,b,0\n")
    (tmp_path / "split.csv").write_text("path\n1.png\n")
    assert sides(read_table(tmp_path / "items.csv")) == {"1.png": True, "2.png": False}

    (tmp_path / "split.csv").write_text("path\n2.png\n")
    with pytest.raises(ImportRefused, match=r"disagree about 2 of 2 items: 1\.png, 2\.png"):
        read_table(tmp_path / "items.csv")


def test_a_split_file_goes_before_the_folders_and_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/1.png", "train/a/2.png", "valid/a/3.png")
    (tmp_path / "split.csv").write_text("path\ntrain/a/2.png\nvalid/a/3.png\n")
    table = read_table(tmp_path)
    assert [row.item for row in table.rows if row.held_out] == ["train/a/2.png", "valid/a/3.png"]
    [note] = table.notes
    assert "the folders say otherwise of 1 items" in note


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no rows"),
        ("path,is_valid\n1.png,0\n", "no column label"),
        ("file,class\n1.png,a\n", "no column path and no label"),
        ("path,label,is_valid\n1.png,a,maybe\n", "'maybe'"),
        ("path,label,is_valid\n1.png,,0\n", "no label"),
        ("path,label,is_valid\n9.png,a,0\n", r"9\.png.* folder of the table, /"),
        ("path,label,is_valid\n1.png,a,0\n./1.png,a,1\n", "more than once"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, text: str, named: str
) -> None:
    fill(tmp_path, "1.png")
    (tmp_path / "items.csv").write_text(text)
    with pytest.raises(ImportRefused, match=named):
        read_table(tmp_path / "items.csv")


def test_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="no training data"):
        read_table(tmp_path / "nothing")
    with pytest.raises(ImportRefused, match="no pictures"):
        read_table(tmp_path)


def test_labels_the_learner_does_not_know_are_refused_with_their_numbers(folder: Path) -> None:
    table = read_table(folder, split_unknown=True)
    check_labels(table, ["black", "teddy", "grizzly"])
    with pytest.raises(ImportRefused, match=r"'teddy' \(2 items\)"):
        check_labels(table, ["black", "grizzly"])


def many(root: Path, train: int, held_out: int) -> Table:
    fill(
        root,
        *(f"train/a/{number}.png" for number in range(train)),
        *(f"valid/a/{number}.png" for number in range(train, train + held_out)),
    )
    return read_table(root)


def ignore(_count: int) -> None:
    pass


def test_held_out_copies_of_training_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    many(tmp_path, 5, 40)
    copied = (tmp_path / "train/a/3.png").read_bytes()
    (tmp_path / "valid/a/20.png").write_bytes(copied)
    result = survey(read_table(tmp_path), ignore)
    assert "valid/a/20.png" not in {row.item for row in result.table.rows}
    assert len(result.table.rows) == 44
    assert "valid/a/20.png = train/a/3.png" in result.notes[0]


def test_too_many_held_out_copies_are_refused(tmp_path: Path) -> None:
    many(tmp_path, 5, 10)
    (tmp_path / "valid/a/9.png").write_bytes((tmp_path / "valid/a/8.png").read_bytes())
    with pytest.raises(ImportRefused, match=r"valid/a/9\.png = valid/a/8\.png"):
        survey(read_table(tmp_path), ignore)


def test_an_unreadable_picture_is_left_out_and_named(tmp_path: Path) -> None:
    table = many(tmp_path, 15, 15)
    (tmp_path / "train/a/2.png").write_bytes(b"no picture")
    result = survey(table, ignore)
    assert len(result.table.rows) == 29
    assert "train/a/2.png" in result.notes[0]


def test_too_many_unreadable_pictures_are_refused(tmp_path: Path) -> None:
    table = many(tmp_path, 5, 5)
    (tmp_path / "train/a/2.png").write_bytes(b"")
    with pytest.raises(ImportRefused, match=r"1 of 10 items.*train/a/2\.png"):
        survey(table, ignore)


def test_rare_modes_are_accepted_only_where_training_had_them(tmp_path: Path) -> None:
    many(tmp_path, 5, 5)
    (tmp_path / "valid/a/7.png").write_bytes(sixteen_bits())
    assert "I;16" not in survey(read_table(tmp_path), ignore).accepted_modes
    (tmp_path / "train/a/0.png").write_bytes(sixteen_bits())
    (tmp_path / "valid/a/7.png").write_bytes(encoded(noise(seed=99), "PNG"))
    assert "I;16" in survey(read_table(tmp_path), ignore).accepted_modes


def test_parity_items_come_from_every_label_and_held_out_ones_first() -> None:
    rows = [
        Row(path=Path(f"{label}{n}"), item=f"{label}{n}", label=label, held_out=n >= 4)
        for label, count in (("a", 30), ("b", 6))
        for n in range(count)
    ]
    chosen = choose_for_parity(rows, 10, seed=1)
    assert [row.label for row in chosen].count("b") == 5
    assert [row.held_out for row in chosen if row.label == "b"] == [True, True, False, False, False]
    assert all(row.held_out for row in chosen if row.label == "a")
    assert chosen == choose_for_parity(rows, 10, seed=1)
    assert chosen != choose_for_parity(rows, 10, seed=2)
    assert len(choose_for_parity(rows, 100, seed=1)) == 36
