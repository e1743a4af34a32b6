"""Files of every kind become the same records, damaged ones say where."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.data.checks import Finding
from tunesmith.data.files import find_files
from tunesmith.data.records import Record, read_records
from tunesmith.errors import DataError

ROWS = [{"prompt": f"question {i}", "completion": f"answer, with comma {i}"} for i in range(5)]


def _values(path: Path) -> list[object]:
    return [item.value for item in read_records(path) if isinstance(item, Record)]


def _found(path: Path) -> list[tuple[str, int | None]]:
    return [(item.name, item.line) for item in read_records(path) if isinstance(item, Finding)]


def _jsonl() -> str:
    return "".join(json.dumps(row) + "\n" for row in ROWS)


def _csv(delimiter: str = ",") -> str:
    quoted = [[f'"{text}"' for text in row.values()] for row in ROWS]
    return "\n".join(delimiter.join(cells) for cells in [list(ROWS[0]), *quoted]) + "\n"


CONTENTS = {
    "a.jsonl": _jsonl(),
    "a.ndjson": _jsonl(),
    "json_named.jsonl": json.dumps(ROWS, indent=2),
    "array.json": json.dumps(ROWS),
    "pretty.json": json.dumps(ROWS, indent=4),
    "lines_named.json": _jsonl(),
    "wrapped.json": json.dumps({"version": 1, "data": ROWS}),
    "a.csv": _csv(),
    "semicolon.csv": _csv(";"),
    "a.tsv": _csv("\t"),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_textual_file_gives_the_same_records(name: str, packing: str, encoding: str, tmp_path: Path) -> None:
    raw = CONTENTS[name].encode(encoding)
    if packing == ".gz":
        raw = gzip.compress(raw)
    if packing == ".zst":
        raw = pa.compress(raw, codec="zstd", asbytes=True)
    path = tmp_path / (name + packing)
    path.write_bytes(raw)
    assert _values(path) == ROWS


def test_parquet_and_both_kinds_of_arrow_file_give_the_same_records(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "file.arrow", "stream.arrow"):
        assert _values(tmp_path / name) == ROWS


def test_class_numbers_of_a_hub_table_are_read_as_their_names(tmp_path: Path) -> None:
    features = {"text": {"_type": "Value"}, "label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(pa.Table.from_pylist([{"text": "a", "label": 1}], schema), tmp_path / "a.parquet")
    assert _values(tmp_path / "a.parquet") == [{"text": "a", "label": "good"}]


def test_a_csv_row_knows_its_line_even_behind_cells_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one\ntwo",a\nthree,b\n')
    lines = [item.origin.line for item in read_records(path) if isinstance(item, Record)]
    assert lines == [2, 4]


@pytest.mark.parametrize(
    ("row", "name"),
    [("one,two,three", "ragged-row"), ("one", "ragged-row"), ('"one"x,two', "bad-csv"), ("", "blank-line")],
)
def test_a_broken_csv_row_is_found_and_the_next_is_read(row: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text,label\na,b\n{row}\nc,d\n")
    assert _found(path) == [(name, 3)]
    assert len(_values(path)) == 2


def test_a_quote_that_never_closes_says_that_the_rest_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\na,b\n"c,d\ne,f\n')
    assert _found(path) == [("rest-not-read", 3)]


def test_latin_1_in_a_csv_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nä,b\nc,d\n".encode("latin-1"))
    assert _found(path) == [("not-utf8", 2)]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,text\na,b\n")
    with pytest.raises(DataError, match="two columns are named 'text'"):
        _values(path)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_broken_element_of_an_array_costs_only_itself(indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    texts = [json.dumps(row, indent=indent) for row in ROWS]
    texts[2] = texts[2].replace(":", "", 1)
    path.write_text("[\n" + ",\n".join(texts) + "\n]")
    assert _found(path) == [("bad-json", 3)]
    assert _values(path) == [*ROWS[:2], *ROWS[3:]]


def test_a_broken_array_on_one_line_says_that_the_rest_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS).replace('"question 2"', "question 2"))
    assert _found(path) == [("rest-not-read", 3)]
    assert _values(path) == ROWS[:2]


def test_an_array_that_is_not_closed_or_goes_on_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS, indent=1)[:-1])
    assert [name for name, _ in _found(path)] == ["rest-not-read"]
    path.write_text(json.dumps(ROWS, indent=1) + "\n[]")
    assert [name for name, _ in _found(path)] == ["rest-not-read"]


def test_an_array_is_split_the_same_whatever_the_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.arrays.CHUNK", 7)
    path = tmp_path / "a.json"
    rows = [{"prompt": 'brackets ]}[{ and "quotes" \\ é' * i, "completion": "x"} for i in range(6)]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    assert _values(path) == rows


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_cut_packed_file_gives_its_whole_rows_and_a_finding(suffix: str, tmp_path: Path) -> None:
    text = "".join(json.dumps({"prompt": str(i * 7919), "completion": "a"}) + "\n" for i in range(4000)).encode()
    raw = gzip.compress(text) if suffix == ".gz" else pa.compress(text, codec="zstd", asbytes=True)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(raw[: len(raw) * 2 // 3])
    assert [name for name, _ in _found(path)] == ["truncated-file"]


def test_a_file_that_is_no_gzip_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_text(_jsonl())
    assert [name for name, _ in _found(path)] == ["truncated-file"]


def test_a_file_made_to_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.files.RATIO_FREE", 1000)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * 500_000))
    with pytest.raises(DataError, match="300 times its size"):
        _values(path)


def test_text_files_are_cut_into_pieces_that_join_to_the_file(tmp_path: Path) -> None:
    text = "".join(f"Line {i} of a paragraph.\n" + "\n" * (i % 7 == 0) for i in range(4000)) + "the end"
    path = tmp_path / "a.txt"
    path.write_text(text)
    pieces = [item for item in read_records(path) if isinstance(item, Record)]
    assert "".join(p.value for p in pieces) == text
    assert max(len(p.value) for p in pieces) <= 32_000
    assert text.splitlines()[pieces[1].origin.line - 1] == pieces[1].value.splitlines()[0]


def test_a_text_without_line_ends_is_still_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("a" * 100_000)
    pieces = _values(path)
    assert "".join(map(str, pieces)) == "a" * 100_000
    assert len(pieces) > 2


def test_a_folder_gives_its_files_by_name_and_leaves_the_readme_out(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"a": 2}\n')
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "README.txt").write_text("About the data.")
    (tmp_path / ".hidden.jsonl").write_text("nonsense")
    assert _values(tmp_path) == [{"a": 1}, {"a": 2}]
    assert [name for name, _ in _found(tmp_path)] == ["file-ignored"]
    assert [p.name for p in find_files(str(tmp_path / "*.jsonl"))[0]] == ["a.jsonl", "b.jsonl"]


def test_a_link_that_leads_out_of_its_folder_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text("{}")
    given = tmp_path / "given"
    given.mkdir()
    (given / "a.jsonl").write_text("{}")
    (given / "b.jsonl").symlink_to("a.jsonl")
    assert len(find_files(str(given))[0]) == 2
    (given / "c.jsonl").symlink_to("../secret.jsonl")
    with pytest.raises(DataError, match=r"c\.jsonl: this link leads out of the folder"):
        find_files(str(given))


def test_a_missing_file_names_the_near_ones(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(_jsonl())
    with pytest.raises(DataError, match=r"no such file\. Did you mean train\.jsonl\?"):
        _values(tmp_path / "trian.jsonl")
    with pytest.raises(DataError, match="does not exist either"):
        _values(tmp_path / "folder" / "train.jsonl")
    with pytest.raises(DataError, match="no file matches"):
        _values(tmp_path / "*.csv")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet", "a.jsonl.gz"])
def test_an_empty_file_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError):
        _values(tmp_path / name)


def test_an_unknown_kind_of_file_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"unknown kind of file '\.xlsx'; expected \.jsonl"):
        _values(tmp_path / "a.xlsx")


def test_a_parquet_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        _values(tmp_path / "a.parquet")


def test_several_lists_in_one_object_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"train": ROWS, "data": ROWS}))
    with pytest.raises(DataError, match="several lists of records: train, data"):
        _values(tmp_path / "a.json")


def test_blank_lines_inside_are_noted_and_at_the_end_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2}\n\n\n')
    assert _found(path) == [("blank-line", 2)]
    assert len(_values(path)) == 2
