"""Coverage-guided fuzzing of every parser of foreign input: `make fuzz`, or `python -m tests.fuzz.parsers NAME`.

A parser may reject its input with its own error of one line. It may not raise another error, take longer than ten seconds, use more
than a gigabyte, or return anything outside its documented values. Options of libFuzzer may follow the name, and so may a file that it
wrote, to reproduce a finding.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import typing
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import atheris

with atheris.instrument_imports(include=["ninezero.schemas", "ninezero.streams", "ninezero.agents.logic"]):
    from ninezero.agents.logic.policy.evaluator import Evaluator
    from ninezero.agents.logic.policy.policy import DEFAULT
    from ninezero.agents.logic.watchlist.index import WatchlistIndex
    from ninezero.agents.screening.event_kinds import CHECKPOINTS, STATIONS
    from ninezero.schemas import events
    from ninezero.streams.edge.documents.checks import check
    from ninezero.streams.edge.documents.csv_checks import check_documents
    from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError
    from ninezero.streams.edge.documents.mrz import mrz
    from ninezero.streams.edge.documents.normal_forms import normalise, passport
    from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
    from ninezero.streams.edge.listfiles.dates import FOREVER, parse_time
    from ninezero.streams.edge.listfiles.errors import ListFileError
    from ninezero.streams.edge.listfiles.list_file import open_list_file
    from ninezero.streams.edge.listfiles.push_lines import PushOptions, read_lines
    from ninezero.streams.kafka.decoding import Rejected, decode

TODAY = date(2026, 1, 1)
ZONE = ZoneInfo("Asia/Shanghai")
FLAGS = frozenset(typing.get_args(events.QualityFlag))
KINDS = ("id", "passport", "phone", "plate", "pass")
SHOWN = frozenset((*KINDS, "mrz", "unknown"))
WIRE = (
    events.Scan, events.Arrival, events.PushBatch, events.Disposition, events.QuarantineEvent, events.FollowupEvent,
)  # fmt: skip
VECTORS = json.loads((files("ninezero.schemas") / "vectors" / "documents.json").read_bytes())["vectors"]
VALUES = [vector["value"].encode() for vector in VECTORS if "value" in vector]
ZONES = ["\n".join(vector["lines"]).encode() for vector in VECTORS if "lines" in vector]
NOBODY_LISTED = WatchlistIndex()
EVALUATORS = [(kind, Evaluator(DEFAULT, kind.shape)) for kind in (CHECKPOINTS, STATIONS)]
RING = KeyRing("k1", {"k1": (b"1" * 32, None)})
OPTIONS = PushOptions("delta", "close_contact", datetime(2020, 2, 3, tzinfo=UTC), ZONE, days=14)
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass") if data.isascii() else data.decode("utf-8", "replace")


def fuzz_normalise(data: bytes) -> None:
    for kind in KINDS:
        normal = normalise(kind, text(data))
        if normal:
            RING.token(kind, normal)
    passport(text(data[:4]), text(data[4:]))


def fuzz_check(data: bytes) -> None:
    for kind in KINDS:
        flags = check(kind, text(data), TODAY)
        assert set(flags) <= FLAGS and len(flags) == len(set(flags))
        assert flags or normalise(kind, text(data))


def fuzz_mrz(data: bytes) -> None:
    zone = mrz(text(data).split("\n"), TODAY)
    assert set(zone.flags) <= FLAGS and len(zone.flags) == len(set(zone.flags))
    assert zone.flags or passport(zone.state, zone.number)


def fuzz_check_documents(data: bytes) -> None:
    rows = list(check_documents(BytesIO(data), TODAY))
    assert [row for row, _, _ in rows] == sorted({row for row, _, _ in rows})
    assert all(kind in SHOWN and set(flags) <= FLAGS for _, kind, flags in rows)


def fuzz_parse_time(data: bytes) -> None:
    cells: list[str | float] = [text(data)]
    with suppress(ValueError):
        cells.append(float(data))
    for cell in cells:
        for end in (False, True):
            found = parse_time(cell, ZONE, end=end, epoch_1904=len(data) % 2 == 0)
            assert found is None or found <= FOREVER


def fuzz_list_file(data: bytes) -> None:
    path = FOLDER / "list"
    path.write_bytes(data)
    for mapping in (None, ColumnMapping(id="A", plate="B", valid_to=3)):
        expect_rejection(
            ListFileError,
            lambda mapping=mapping: [
                *read_lines([open_list_file(path, mapping=mapping, hidden="include")], RING, OPTIONS, check)
            ],
        )


def fuzz_workbook(data: bytes) -> None:
    """The XML of one part, in a workbook that is valid otherwise; the first byte selects the part."""
    part = PARTS[data[0] % len(PARTS)] if data else PARTS[0]
    fuzz_list_file(packed(BOOK | {part: data[1:]}))


def fuzz_mapping(data: bytes) -> None:
    path = FOLDER / "mapping"
    path.write_bytes(data)
    expect_rejection(ListFileError, lambda: ColumnMapping.load(path).save(path))


def fuzz_key_ring(data: bytes) -> None:
    path = FOLDER / "keys"
    path.touch(0o600)
    path.write_bytes(data)
    expect_rejection(KeyRingError, lambda: KeyRing.load(path).tokens("pass", "A1"))


def fuzz_wire(data: bytes) -> None:
    for kind in WIRE:
        try:
            assert isinstance(decode(kind, data), kind)
        except Rejected as error:
            assert error.reason in ("not_json", "schema_invalid", "too_large") and error.__context__ is None
    for screened, evaluator in EVALUATORS:
        events = screened.reader.read([data])
        if events.events and not evaluator.judge(events, NOBODY_LISTED, lambda site: "370115", 0.0).undecided[0]:
            decode(screened.event, data)  # what is decided together can be decoded


def packed(parts: dict[str, bytes]) -> bytes:
    whole = BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return whole.getvalue()


def expect_rejection(kind: type[Exception], act: Callable[[], object]) -> None:
    """Runs `act`. Its error, if any, has one line and no cause or context that could quote the input."""
    try:
        act()
    except kind as error:
        assert "\n" not in str(error) and error.__cause__ is None and error.__context__ is None


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def relations(*targets: tuple[str, str]) -> bytes:
    each = "".join(f'<Relationship Id="{t}" Type="{OFFICE}/{t}" Target="{path}"/>' for t, path in targets)
    return f"<Relationships>{each}</Relationships>".encode()


BOOK = {
    "_rels/.rels": relations(("officeDocument", "xl/workbook.xml")),
    "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{OFFICE}"><sheets><sheet name="a" sheetId="1" r:id="worksheet"/></sheets></workbook>'.encode(),
    "xl/_rels/workbook.xml.rels": relations(
        ("worksheet", "worksheets/sheet1.xml"), ("sharedStrings", "sharedStrings.xml"), ("styles", "styles.xml")
    ),
    "xl/sharedStrings.xml": f"<sst {MAIN}><si><t>id</t></si><si><r><t>_x0031_10105</t></r><rPh><t>x</t></rPh></si></sst>".encode(),
    "xl/styles.xml": f'<styleSheet {MAIN}><numFmts><numFmt numFmtId="164" formatCode="[&gt;9]&quot;JY&quot;000-0_);[Red]@"/><numFmt numFmtId="165" formatCode="[$-804]yyyy/m/d h:mm;@"/></numFmts><cellXfs><xf numFmtId="164"/><xf numFmtId="165"/></cellXfs></styleSheet>'.encode(),
    "xl/worksheets/sheet1.xml": (
        f'<worksheet {MAIN}><cols><col min="3" max="9" hidden="1"/></cols><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>截止</t></is></c></row>'
        '<row r="2"><c r="A2" s="0"><v>1.1E17</v></c><c r="B2" s="1"><v>43864</v></c></row>'
        '<row r="3" hidden="1" ht="0"><c r="A3" t="d"><v>2020-02-03T00:00:00</v></c></row></sheetData><mergeCells><mergeCell ref="B2:B3"/></mergeCells></worksheet>'
    ).encode(),
}  # fmt: skip
PARTS = ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml")
SHEET = "姓名,身份证号,手机号,截止\n张三,11010519491231002X,13800138000,2020年2月17日\n".encode()
RECORDS = b"kind,value\nid,11010519491231002X\n" + b'mrz,"' + ZONES[0] + b'"\nplate,' + "鲁A12345".encode()
TOKENS = '"tokens":{"id":"k1.9f86d081884c7d659a2feaa0c55ad015"}'
EVENT = '"device_id":"d","seq":0,"observed_at":"2020-02-03T10:00:00+08:00"'
VALUES_ON_THE_WIRE = [
    one.encode()
    for one in (
        f'{{{EVENT},"site_id":"s","kind":"vehicle","people":[{{"role":"driver",{TOKENS},"temperature_c":36.5,"temperature_confirmed_c":null}}]}}',
        f'{{{EVENT},"site_id":"s","mode":"rail","service":"G1","stage":"boarded","transfer_id":null,"destination":null,"person":{{"role":"traveller",{TOKENS},"temperature_c":null}}}}',
        f'{{{EVENT},"site_id":"s","of":{{"device_id":"d","seq":1}},"action":"released","override":null}}',
        f'{{{EVENT},"site_id":"s","case_id":"c.{"0" * 32}","type":"reading","slot":"am","temperature_c":36.5,"symptoms":false,"to_site_id":null,"term_days":null,"reason":null}}',
        f'{{{EVENT},"case_id":"c.{"0" * 32}","district":"370115","type":"visit","source":null,"batch_id":null,"visit":"seen_well","closed":null}}',
        '{"batch_id":"b","authority":"a","pushed_by":"p","list":"l","category":"close_contact","mode":"delta","sequence":1,"issued_at":"2020-02-03T10:00:00Z","legal_basis":"x",'
        '"purpose":"epidemic_control","declared_lines":1,"lines":[{"line":1,"tokens":{"id":["k1.9f86d081884c7d659a2feaa0c55ad015"]},"valid_from":"2020-02-03T10:00:00Z","valid_to":"2020-02-04T10:00:00Z"}]}',
    )
]
KEYS = b'{"active":"k1","keys":{"k1":{"hex":"' + b"0" * 64 + b'","not_after":"2020-02-03T10:00:00Z"}}}'

TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "normalise": (fuzz_normalise, VALUES),
    "check": (fuzz_check, VALUES),
    "mrz": (fuzz_mrz, ZONES),
    "check_documents": (fuzz_check_documents, [RECORDS, RECORDS.decode().encode("gb18030")]),
    "parse_time": (fuzz_parse_time, ["2020年2月3日 14时".encode(), b"2020-02-03T10:00:00.5+08:00", b"43864.5", b"20200203"]),
    "list_file": (fuzz_list_file, [packed(BOOK), SHEET, SHEET.decode().encode("gb18030"), SHEET.decode().encode("utf-16"), b'id;tel\n"1"""\n;2']),
    "workbook": (fuzz_workbook, [bytes([number]) + BOOK[part] for number, part in enumerate(PARTS)]),
    "mapping": (fuzz_mapping, [b'{"id":"C","valid_to":4,"first_row":2}']),
    "key_ring": (fuzz_key_ring, [KEYS]),
    "wire": (fuzz_wire, VALUES_ON_THE_WIRE),
}  # fmt: skip


def main(name: str, *options: str) -> None:
    target, seeds = TARGETS[name]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    limits = [
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={os.environ.get('TMPDIR', '/tmp')}/fuzz-{name}-",
    ]
    files = [option for option in options if not option.startswith("-")]
    atheris.Setup([sys.argv[0], *limits, *options, *([] if files else [str(corpus)])], target)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.parsers {{{','.join(TARGETS)}}} [FILE] [-max_total_time=60]")
    main(*sys.argv[1:])
