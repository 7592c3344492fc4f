"""What is measured, what the command ends with, and what becomes of it: pages, pictures, pairs."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from sep_launcher.bench import chart, compare, computer, matrix, page, table
from sep_launcher.bench.document import Document, Fault, Machine, Nameless, Row, Whole, dumped, load
from sep_launcher.bench.folder import Folder
from sep_launcher.machine.host import Gpu, Host
from sep_launcher.planning.request import Request
from sep_launcher.planning.route import Wanted
from sep_protocol import (
    Bench,
    Benched,
    DeviceChosen,
    Measured,
    ModelLoaded,
    Operator,
    Profiled,
    Share,
    Tuned,
)
from sep_protocol.errors import ExitCode, PathError, UsageError

WAYS = [("native", "cpu"), ("native", "cuda"), ("container", "cpu"), ("container", "cuda")]
FAULT = Fault(code=13, error="DeviceError", message="no fp16 here", hint="--precision fp32")
SVG = "{http://www.w3.org/2000/svg}"


def wish(**named):
    options = dict.fromkeys(
        ("engines", "devices", "models", "precisions", "overlaps", "batches", "model_config")
    )
    return matrix.wish(**{**options, "measure": Bench(), "whole": False, **named})


def row(speed=7.5, device="cpu", scheme=(), **more):
    found = {
        "engine": "native",
        "device": device,
        "model": "mdx23c-mini",
        "code": "0123456789ab",
        "used": DeviceChosen(
            requested=device, device=device, name="A chip", torch="2.13.0", reason="you asked"
        ),
        "loaded": ModelLoaded(precision="fp32", batch=1),
        "bench": Benched(
            model="mdx23c-mini",
            device=device,
            audio_seconds=30.0,
            runs=3,
            chunk=261632,
            hop=209306,
            peak_memory=512 << 20,
            gpu_memory=0 if device == "cpu" else 3 << 30,
            threads=2,
            snr=61.5,
            phases={"import": 2.0, "load": 0.5, "network": 3.75},
            measured=(
                Measured(scheme="sep", seconds=30 / speed, real_time=speed, chunks=6, ratio=1.0),
                *scheme,
            ),
        ),
    }
    return Row(**{**found, **more})


def failed(**more):
    return row(**{"bench": None, "loaded": None, "used": None, "error": FAULT, **more})


def document(*rows, gpus=(), **more):
    machine = Machine(
        system="Debian GNU/Linux 12",
        kernel="Linux 6.1, x86_64",
        processor="AMD EPYC",
        processors=4,
        cores=2.0,
        memory=8 << 30,
        gpus=gpus,
        apple_gpu=False,
        python="3.11.7",
        inside="",
    )
    found = {
        "code": "0123456789ab",
        "date": "2026-11-26",
        "command": "sep bench --report mine",
        "exit_code": 0,
        "error": None,
        "machine": machine,
        "rows": rows,
        "seconds": 42.0,
    }
    return Document(**{**found, **more})


@pytest.mark.parametrize(
    ("named", "lanes"),
    [
        ({}, WAYS),
        ({"devices": ["cpu"]}, [("native", "cpu"), ("container", "cpu")]),
        ({"devices": ["cuda:1"]}, [("native", "cuda:1"), ("container", "cuda:1")]),
        ({"devices": ["mps"]}, [("auto", "mps")]),
        ({"devices": ["auto"]}, [("auto", "auto")]),
        ({"devices": ["CPU,mps", "cpu"], "engines": ["native"]}, [*WAYS[:1], ("native", "mps")]),
        ({"engines": ["container"]}, WAYS[2:]),
        ({"measure": Bench(profile=True)}, [("auto", "auto")]),
        ({"measure": Bench(profile=True), "engines": ["native"]}, WAYS[:2]),
    ],
)
def test_where_it_is_measured(named, lanes):
    assert matrix.lanes(wish(**named), WAYS) == [Wanted(engine=a, device=b) for a, b in lanes]


def test_what_is_not_set_up_is_asked_for_all_the_same():
    assert matrix.lanes(wish(), []) == [Wanted()]
    assert matrix.lanes(wish(engines=["container"]), WAYS[:1]) == [Wanted(engine="container")]


def test_every_combination_is_a_request():
    found = matrix.requests(
        wish(overlaps=["1.25,2"], precisions=["fp32", "fp16"], batches=["1,8"], models=["mini"]),
        WAYS[:2],
    )
    assert len(found) == len(set(map(str, found))) == 16
    assert found[0] == Request(
        files=(),
        out=Path(),
        model="mini",
        wanted=Wanted(engine="native", device="cpu"),
        fallback=False,
        precision="fp32",
        overlap=1.25,
        batch=1,
    )
    assert found[-1].wanted.device == "cuda"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"devices": ["gpu"]}, "no device 'gpu'"),
        ({"devices": ["cpu,"]}, "--device has an empty value"),
        ({"engines": ["podman"]}, "--engine knows no 'podman'"),
        ({"precisions": ["fp8"]}, "--precision knows no 'fp8'"),
        ({"overlaps": ["two"]}, "--overlap must be a number"),
        ({"overlaps": ["0.5"]}, "--overlap must be at least 1"),
        ({"overlaps": ["nan"]}, "--overlap must be at least 1"),
        ({"batches": ["1.5"]}, "--batch must be a whole number"),
        ({"batches": ["0"]}, "--batch must be from 1"),
        ({"model_config": Path("a.yaml")}, "--model-config belongs to one checkpoint"),
    ],
)
def test_what_has_no_meaning_is_told_before_any_work(named, told):
    with pytest.raises(UsageError, match=told):
        wish(**named)


def test_a_comma_in_the_name_of_a_file_parts_nothing(tmp_path):
    odd = tmp_path / "a,b.ckpt"
    odd.write_bytes(b"")
    assert wish(models=[str(odd), "mini,larsnet"]).models == (str(odd), "mini", "larsnet")


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e300, 0.0, -1.0])
def test_benches_without_an_end_are_refused(seconds):
    more = {"baselines": True, "snr": True, "profile": False, "tuning": False}
    with pytest.raises(UsageError, match="--seconds"):
        matrix.measure(seconds=seconds, runs=3, **more)
    with pytest.raises(UsageError, match="--runs"):
        matrix.measure(seconds=1.0, runs=10**12, **more)


STOPPED = replace(FAULT, code=int(ExitCode.INTERRUPTED))


@pytest.mark.parametrize(
    ("named", "errors", "code"),
    [
        ({}, [None, None], 0),
        ({}, [None, FAULT], 0),  # nobody asked for it
        ({}, [FAULT, FAULT], 13),
        ({"devices": ["cpu,cuda"]}, [None, FAULT], 13),
        ({"engines": ["native"]}, [None, FAULT], 0),
        ({"precisions": ["fp32,fp16"]}, [None, FAULT, None, None], 0),
        ({"precisions": ["fp32,fp16"]}, [None, FAULT, None, FAULT], 13),
        ({"overlaps": ["1.25,2"]}, [FAULT, None, FAULT, None], 13),
        ({"batches": ["1,64"]}, [None, FAULT, None, FAULT], 13),
        ({"models": ["mini,nope"]}, [None, None, FAULT, FAULT], 13),
        ({}, [None, STOPPED], 130),
    ],
)
def test_what_was_named_and_never_measured_is_the_fault(named, errors, code):
    made = wish(**named)
    asked = matrix.requests(made, WAYS[:2])
    assert len(asked) == len(errors)
    rows = [failed(error=each) if each else row() for each in errors]
    fault = matrix.fault(made, asked, rows)
    assert (fault.code if fault else 0) == code


CUDA = row(
    210.0,
    "cuda",
    loaded=ModelLoaded(precision="fp16", batch=8, snr=58.0, ways=("graph", "fused norms")),
    scheme=(Measured(scheme="demix", seconds=0.5, real_time=60.0, chunks=9, ratio=3.5),),
    whole=(Whole(format="flac", seconds=5.0, real_time=6.0, phases={"import": 3.0}),),
)
CARD = Gpu(name="NVIDIA H100", driver="580.1", capability=9.0, memory=80 << 30)
EXPLAINED = row(
    bench=replace(
        row().bench,
        tuning=(
            Tuned(
                operator="convolution",
                shape="64 to 64, 3x3",
                way="nnpack",
                plain_ms=20.0,
                ms=8.0,
                error=4.5e-6,
            ),
        ),
        profile=Profiled(
            seconds=4.0,
            side="cuda",
            groups=(Share(group="convolutions", seconds=3.0, share=0.75),),
            operators=(
                Operator(
                    name="void at::native::gelu_kernel<float>(int, float | const*)",
                    group="norms and activations",
                    calls=12,
                    seconds=1.0,
                    share=0.25,
                ),
            ),
        ),
    )
)


def test_the_figures_that_people_ask_for():
    head, cpu, gpu = table.summary([row(), CUDA])
    assert dict(zip(head, cpu, strict=True)) == {
        "where": "native cpu",
        "x real time": "7.5",
        "seconds": "4.00",
        "chunks": "6",
        "precision": "fp32",
        "batch": "1",
        "dB": "62",
        "memory": "512 MiB",
        "GPU memory": "-",
    }
    assert gpu[head.index("x real time")] == "210"
    assert gpu[head.index("GPU memory")] == "3.0 GiB"
    # What is the same for all is in the heading, what tells them apart in the table.
    other = row(bench=replace(row().bench, hop=130816))
    assert "overlap 1.25" in table.heading(document(row()))[0]
    assert "overlap" in table.summary([row(), other])[0]
    assert "overlap" not in table.heading(document(row(), other))[0]
    # Without a GPU nobody hears of its memory.
    assert "GPU memory" not in table.summary([row()])[0]


AT = "void at::native::"
EACH = f"{AT}elementwise_kernel<128, 2, at::native::gpu_kernel_impl_nocast<at::native::"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aten::mkldnn_convolution", "mkldnn_convolution"),
        (f"{EACH}(anonymous namespace)::GroupNormKernel<float>(at::T", "GroupNormKernel"),
        (f"{EACH}direct_copy_kernel_cuda(at::Tensor&)", "direct_copy_kernel_cuda"),
        (f"{AT}vectorized_elementwise_kernel<4, at::native::GeluImpl(at::T)", "GeluImpl"),
        (f"{EACH}BinaryFunctor<float, at::native::MulFunctor<float> >", "MulFunctor"),
        (f"{EACH}CUDAFunctor_add<c10::Half> >(at::Ten", "CUDAFunctor_add"),
        ("void cudnn::engines::nchwToNhwcKernel<float, false>(int)", "nchwToNhwcKernel"),
        ("Memcpy DtoH (Device -> Pageable)", "Memcpy DtoH"),
        ("sm80_xmma_fprop_implicit_gemm_f32f32_nchwkcrs", "sm80_xmma_fprop_implicit_gemm_f32..."),
        ("<odd>", "<odd>"),
    ],
)
def test_kernels_have_names_that_fit(name, told):
    assert table.name(name) == told


def test_tables_fit_a_terminal():
    from sep_launcher.show.layout import table as laid

    rows = [row(), CUDA, row(9.0, engine="container"), EXPLAINED]
    tables = [table.summary(rows), table.phases(rows), table.whole(rows), table.baselines(rows)]
    profile = EXPLAINED.bench.profile
    tables += [table.tuning(EXPLAINED), table.groups(profile), table.operators(profile)]
    tables += [compare.side_by_side(document(*rows), document(*rows))]
    for each in tables:
        assert max(map(len, laid(each, 80))) <= 80
        assert laid(each, 40)


def test_a_page_has_all_of_it():
    found = document(row(), CUDA, EXPLAINED, failed(precision="bf16"), gpus=(CARD,))
    text = page.page(found, picture="bench.svg", trace="trace.json")
    for words in (
        *("AMD EPYC, 4 logical, 2 of them may be used", "NVIDIA H100, 80.0 GiB, driver 580.1"),
        *("sep bench --report mine", "![times real time](bench.svg)", "trace.json", "2.13.0"),
        *("graph, fused norms", "no fp16 here", "| demix |", "| flac |", "nnpack", "0123456789ab"),
    ):
        assert words in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 7
    for each in tables:  # a cell may hold the sign between cells
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in each.splitlines()}) == 1


@pytest.mark.parametrize("rows", [[row()], [row(), CUDA], [row(0.2), row(model='<b>&"x" ünder')]])
def test_a_picture_is_one(rows):
    tree = ET.fromstring(chart.chart(rows))  # noqa: S314 (ours)
    assert tree.tag == f"{SVG}svg"
    _, _, width, height = map(float, tree.get("viewBox").split())
    bars = tree.findall(f"{SVG}rect")
    speeds = [each.real_time for one in rows for each in one.bench.measured]
    assert len(bars) == len(speeds)
    widths = [float(bar.get("width")) for bar in bars]
    assert widths == pytest.approx([each * max(widths) / max(speeds) for each in speeds], abs=1)
    for each in (*bars, *tree.findall(f"{SVG}text")):
        assert 0 <= float(each.get("x")) <= width
        assert 0 <= float(each.get("y")) <= height
    said = "".join(tree.itertext())
    assert all(f"{table.factor(each)} x" in said for each in speeds)
    assert "prefers-color-scheme: dark" in said


def test_a_document_is_what_was_written(tmp_path):
    found = document(row(), CUDA, EXPLAINED, failed(), gpus=(CARD,), exit_code=13, error=FAULT)
    (tmp_path / "bench.json").write_text(json.dumps(dumped(found)))
    assert load(tmp_path) == load(tmp_path / "bench.json") == found
    later = json.dumps({**dumped(found), "new_field": 1})
    (tmp_path / "later.json").write_text(later)
    assert load(tmp_path / "later.json") == found


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (None, PathError, "cannot be read"),
        ("not json", UsageError, "is not JSON"),
        ("[" * 100_000, UsageError, "is not JSON"),
        ("[]", UsageError, "is not a document of sep bench"),
        ('{"schema": 1, "tracks": []}', UsageError, "is not a document of sep bench"),
        ('{"kind": "bench", "schema": 2}', UsageError, "has form 2"),
        ('{"kind": "bench", "schema": 1, "rows": 1}', UsageError, "is not whole"),
    ],
)
def test_what_is_no_document_is_told(tmp_path, text, kind, told):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=told):
        load(path)


def test_alike_rows_stand_side_by_side():
    ours = document(row(8.0), row(30.0, precision="fp16"), CUDA, failed(precision="bf16"))
    explicit = row(12.0, overlap=1.25)  # by name what is the other's own
    theirs = document(explicit, row(100.0, "mps"), row(5.0, batch=4), machine=MAC)
    head, only = compare.side_by_side(ours, theirs)
    assert dict(zip(head, only, strict=True)) == {
        "both": "native cpu",
        "precision": "fp32",
        "A: x real time": "8",
        "B: x real time": "12",
        "B / A": "1.50",
        "dB A / B": "62 / 62",
    }
    alone = compare.alone(ours, theirs)
    assert [(each[0], each[1], each[3], each[5]) for each in alone[1:]] == [
        ("A", "native cpu", "fp16", "auto"),
        ("A", "native cuda", "auto", "auto"),
        ("B", "native mps", "auto", "auto"),
        ("B", "native cpu", "auto", "4"),
    ]
    told = "\n".join(compare.heading(ours, theirs))
    assert "Apple M3" in told
    assert "the machines differ: system, processor, memory, GPU" in told
    assert "differ" not in "\n".join(compare.heading(ours, ours))
    longer = document(row(bench=replace(row().bench, audio_seconds=10.0)))
    assert "seconds of audio 10 and 30" in "\n".join(compare.heading(ours, longer))
    assert compare.side_by_side(ours, document(row(1.0, "mps"))) == []


MAC = Machine(
    system="macOS 15.1",
    kernel="Darwin 24.1.0, arm64",
    processor="Apple M3",
    processors=8,
    cores=8.0,
    memory=16 << 30,
    gpus=(),
    apple_gpu=True,
    python="3.11.7",
    inside="",
)


def test_a_report_replaces_nothing(tmp_path):
    place = tmp_path / "deep" / "mine"
    written = Folder(place).write(document(row()))
    assert [each.name for each in written] == ["bench.md", "bench.svg", "bench.json"]
    assert {each.name for each in place.iterdir()} == {each.name for each in written}
    before = {each.name: each.read_bytes() for each in place.iterdir()}
    with pytest.raises(PathError, match="is there already"):
        Folder(place)
    # What comes to be there while it is measured is not replaced either.
    (tmp_path / "other").mkdir()
    late = Folder(tmp_path / "other")
    (tmp_path / "other" / "bench.json").write_text("somebody's")
    with pytest.raises(PathError, match="is there already"):
        late.write(document(row()))
    assert [each.read_text() for each in (tmp_path / "other").iterdir()] == ["somebody's"]
    assert before == {each.name: each.read_bytes() for each in place.iterdir()}
    (tmp_path / "file").write_text("")
    with pytest.raises(PathError, match="cannot be written"):
        Folder(tmp_path / "file" / "mine")


def test_a_folder_that_nothing_came_into_is_gone(tmp_path):
    (tmp_path / "kept").mkdir()
    folder = Folder(tmp_path / "kept" / "a" / "b")
    folder.leave()
    assert [each.name for each in tmp_path.rglob("*")] == ["kept"]


def test_nothing_in_a_document_names_anybody(home, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "somebody")
    nameless = Nameless()
    told = nameless.text(
        f"there are no weights in {home}/models/x of somebody, /opt/somebody's/python3 fails: "
        "'/mnt/a b/full.ckpt', C:\\Users\\ana\\y.ckpt, ~/z.yaml; native/container, 1/2"
    )
    for name in ("/home", str(home), "somebody", "/opt", "Users", "/mnt", "~"):
        assert name not in told
    assert "x of" in told
    assert "python3 fails" in told
    assert "native/container, 1/2" in told
    assert nameless.argument("--model=/home/ana/a.ckpt,b/c.ckpt") == "--model=a.ckpt,c.ckpt"
    assert nameless.argument("1.25,2") == "1.25,2"


def test_a_machine_is_described():
    found = computer.describe(Host(system="linux", cores=1.5, memory=1 << 30, wsl=True))
    assert (found.cores, found.memory, found.inside) == (1.5, 1 << 30, "WSL")
    assert found.processor
    assert re.fullmatch(r"\w+ [\d.]*, \w+", found.kernel)
    assert computer.describe(Host(system="macos", version="15.1")).system == "macOS 15.1"
