"""The options of the command line, each declared once.

`rich_help_panel` is the section of the help, `envvar` a variable for the user's own default. A flag
with an opposite may be set in the file of settings; the opposite takes it back.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import typer

from sep_launcher.machine import storage
from sep_launcher.planning import models
from sep_launcher.words.completion import SHELLS, Listed, Offered
from sep_launcher.words.optional import VERIFY


class Place(click.Path):
    """A path. A `~` that no shell has filled in, as in settings, is the home folder here, too.

    What cannot be read or written is told by those who try, with its exit code.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 (the parser's)
        """Return the path."""
        return super().convert(os.path.expanduser(value), param, ctx)  # noqa: PTH111 (any text)


class Target(Place):
    """A path, or an address in an object store, which stays a text."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 (the parser's)
        """Return it."""
        return value if storage.is_url(value) else super().convert(value, param, ctx)


PLACE: Any = Place()
TARGET: Any = Target()
FILES: Any = Offered("file", files=True)
MODELS_OF_RUN: Any = Offered("models", models.names, files=True, separator=",")
FOR_SONGS: Any = Offered("model", models.named_for_songs, files=True)
KNOWN: Any = Offered("model", models.names)
STEMS: Any = Offered("stems", models.default_stems, separator=",")
MODELS_LISTED: Any = Listed("models", models.names, files=True)
DEVICES: Any = Listed("devices", lambda: ("auto", "cpu", "mps", "cuda"))
ENGINES: Any = Listed("engines", lambda: ("auto", "native", "container"))
PRECISIONS: Any = Listed("precisions", lambda: ("auto", "fp32", "fp16", "bf16"))
NUMBERS: Any = Listed("numbers", tuple)
DEVICE: Any = Offered("device", lambda: ("auto", "cpu", "mps", "cuda", "cuda:all"))

INPUT, OUTPUT, MODELS, WHERE = "Input", "Output", "Model", "Where it runs"
THERE = "If stems are there already"
ASKING, SAID = "Questions and downloads", "What it prints"
MEASURED = "What is measured"
CLUSTER = "With --engine ray"
PREPARED, PYTHON, IMAGE = "What is prepared", "The Python environment", "The container image"


def _in(section: str, *names: str, **more: Any) -> Any:  # noqa: ANN401 (typer's)
    """Return an option of a section of the help; variables are listed below all of them."""
    return typer.Option(*names, rich_help_panel=section, show_envvar=False, **more)


Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES...",
        click_type=FILES,
        rich_help_panel=INPUT,
        help="Audio files, folders, or globs like 'live/*.flac'; also in s3:// or gs://.",
    ),
]
ModelName = Annotated[
    str | None,
    _in(
        MODELS,
        "--model",
        "-m",
        metavar="MODEL",
        envvar="SEP_MODEL",
        click_type=MODELS_OF_RUN,
        help="A name that 'sep models list' shows, or a checkpoint file of your own. With commas "
        "several that make the same stems: their mean is written.",
    ),
]
FromMix = Annotated[
    str,
    _in(
        MODELS,
        "--from-mix",
        metavar="[MODEL]",
        envvar="SEP_FROM_MIX",
        click_type=FOR_SONGS,
        help="The files are whole songs: a model for songs takes their drums out, --model splits "
        "these, and rest is what they leave of the song. Without a name the best that is here; "
        "none: no such model.",
    ),
]
KeepIntermediate = Annotated[
    bool,
    _in(
        OUTPUT,
        "--keep-intermediate/--no-keep-intermediate",
        help="Also write what the model that hears the song first makes of it.",
    ),
]
Weights = Annotated[
    str | None,
    _in(
        MODELS,
        metavar="NUMBERS",
        help="How much each of several models counts, as in 2,1. Without it all the same.",
    ),
]
Shifts = Annotated[
    int,
    _in(
        MODELS,
        metavar="NUMBER",
        envvar="SEP_SHIFTS",
        help="So many passes of each model, each shifted in time, and their mean: better by a "
        "little, and so many times as long.",
    ),
]
ModelConfig = Annotated[
    Path | None,
    _in(
        MODELS,
        metavar="FILE",
        click_type=PLACE,
        help="The YAML file of a checkpoint of --model that sep does not know.",
    ),
]
Out = Annotated[
    str,  # and not Path: that would make one of an address
    _in(
        OUTPUT,
        "--out",
        "-o",
        metavar="FOLDER",
        envvar="SEP_OUT",
        click_type=TARGET,
        help="Where the stems' folders go; also to s3:// or gs://.",
    ),
]
Name = Annotated[
    str,
    _in(
        OUTPUT,
        metavar="PATTERN",
        envvar="SEP_NAME",
        help="FOLDER/FILE of each stem, made of {track}, {parent}, {model} and {stem}.",
    ),
]
Stage = Annotated[
    Path | None,
    _in(
        WHERE,
        "--stage",
        metavar="FOLDER",
        envvar="SEP_STAGE",
        click_type=PLACE,
        help="Where files from s3:// or gs:// lie while they are separated. Without it the "
        "temporary folder, or a cluster job's own.",
    ),
]
StageLimit = Annotated[
    str | None,
    _in(
        WHERE,
        "--stage-limit",
        metavar="SIZE",
        envvar="SEP_STAGE_LIMIT",
        help="The most that may lie there, as in 50g. Without it 20 GB, or nine tenths of what is "
        "free.",
    ),
]
Include = Annotated[
    list[str] | None,
    _in(
        INPUT,
        metavar="GLOB",
        help="From folders, take only files that match, as in 'drums.*'. May be repeated.",
    ),
]
Stems = Annotated[
    str | None,
    _in(
        OUTPUT,
        metavar="NAMES",
        envvar="SEP_STEMS",
        click_type=STEMS,
        help="Write only these, as in kick,snare.",
    ),
]
FormatName = Annotated[
    Literal["wav", "flac", "mp3", "ogg"],
    _in(OUTPUT, "--format", envvar="SEP_FORMAT", help="The format of the stems."),
]
Depth = Annotated[
    Literal["16", "24", "32", "float"] | None,
    _in(
        OUTPUT,
        metavar="BITS",
        envvar="SEP_BIT_DEPTH",
        help="16, 24 or float, of wav and flac. Without it 24, or float where the input is float.",
    ),
]
DeviceName = Annotated[
    str,
    _in(
        WHERE,
        metavar="DEVICE",
        envvar="SEP_DEVICE",
        click_type=DEVICE,
        help="auto, cpu, cuda (NVIDIA), cuda:1 and so on, or mps (Apple). One that you name is "
        "never replaced by another. With commas several that share the tracks, as in cuda:0,1; "
        "cuda:all: all of them.",
    ),
]
Jobs = Annotated[
    str | None,
    _in(
        WHERE,
        "--jobs",
        "-j",
        metavar="NUMBER",
        envvar="SEP_JOBS",
        help="So many tracks at once, each by a process of its own, dealt round the devices; auto: "
        "as many as are good here. Without it one for each device. A single track is never parted.",
    ),
]
EngineName = Annotated[
    Literal["auto", "native", "container"],
    _in(
        WHERE,
        metavar="ENGINE",
        envvar="SEP_ENGINE",
        help="auto, native (directly on this computer) or container (in Docker).",
    ),
]
RunEngine = Annotated[
    Literal["auto", "native", "container", "ray"],
    _in(
        WHERE,
        metavar="ENGINE",
        envvar="SEP_ENGINE",
        help="auto, native (directly on this computer), container (in Docker), or ray (on the "
        "nodes of a Ray cluster).",
    ),
]
Address = Annotated[
    str | None,
    _in(
        CLUSTER,
        metavar="HOST:PORT",
        help="The head of a Ray cluster that is there. Without it RAY_ADDRESS, else sep starts one "
        "on this computer alone.",
    ),
]
Workers = Annotated[
    int | None,
    _in(
        CLUSTER,
        "--workers",
        metavar="NUMBER",
        help="So many workers at most. Without it as many as fit.",
    ),
]
GpuShare = Annotated[int, _in(CLUSTER, metavar="NUMBER", help="So many workers on each GPU.")]
WorkerCpus = Annotated[
    int | None,
    _in(
        CLUSTER,
        "--cpus",
        metavar="NUMBER",
        help="CPUs of each worker. Without it a fair share of its node.",
    ),
]
InsecureCluster = Annotated[
    bool, _in(CLUSTER, "--insecure-cluster", help="Use a cluster that asks for no token.")
]
Dashboard = Annotated[
    bool, _in(CLUSTER, "--dashboard", help="With Ray's page, of a cluster that sep starts.")
]
Overlap = Annotated[
    float | None,
    _in(
        MODELS,
        metavar="NUMBER",
        envvar="SEP_OVERLAP",
        help="How much neighbouring pieces overlap, 1 or more, in every model of a run. Each has "
        "its own; that of mdx23c-mini is 1.25: with 2 it gains at most 0.05 dB and takes 1.4 times "
        "as long.",
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "fp16", "bf16"],
    _in(
        WHERE,
        metavar="PRECISION",
        envvar="SEP_PRECISION",
        help="auto (the fastest whose stems are as good on the device), fp32, fp16 or bf16. One "
        "that you name is never replaced by another, in no model of the run.",
    ),
]
BatchSize = Annotated[
    int | None,
    _in(
        WHERE,
        metavar="NUMBER",
        help="How many pieces each model computes at once. More need more memory; the stems differ "
        "by rounding alone.",
    ),
]
Memory = Annotated[
    str | None,
    _in(WHERE, metavar="SIZE", help="The most memory that a container may use, as in 4g."),
]
Downmix = Annotated[
    bool,
    _in(
        INPUT,
        "--downmix/--no-downmix",
        help="Make stereo of files with more than two channels.",
    ),
]
Residual = Annotated[
    bool,
    _in(
        OUTPUT,
        "--residual/--no-residual",
        help="Also write what is left over: the mix minus all stems.",
    ),
]
Resume = Annotated[
    bool,
    _in(
        THERE,
        "--resume/--no-resume",
        help="Skip tracks that are done already, by their reports and the files' sizes and times. "
        "--resume=verify reads the files, too.",
    ),
]
# What --resume=verify stands for: a flag of the parser's takes no value.
Verify = Annotated[
    bool,
    _in(THERE, VERIFY, hidden=True, help="With --resume, read files of the same size and time."),
]
Shard = Annotated[
    str | None,
    _in(
        INPUT,
        "--shard",
        metavar="K/N",
        help="Take only part K of N, counted from 0, for N runs that share the files: 0/4, 1/4, "
        "2/4 and 3/4 together are all of them.",
    ),
]
Overwrite = Annotated[
    bool,
    _in(THERE, "--overwrite/--no-overwrite", help="Make them again and replace what is there."),
]
RetryQuarantined = Annotated[
    bool,
    _in(
        THERE,
        "--retry-quarantined",
        help="With --resume: try again at songs that the runtime died at three times in an earlier "
        "run of several workers, or of a shard.",
    ),
]
TakeOver = Annotated[
    bool,
    _in(
        THERE,
        "--take-over",
        help="Go on where another run of several workers, or of this shard, works; it ends.",
    ),
]
Offline = Annotated[
    bool,
    _in(
        ASKING,
        "--offline/--no-offline",
        help="Fetch nothing from the network, whatever is missing.",
    ),
]
Yes = Annotated[
    bool,
    _in(ASKING, "--yes/--no-yes", "-y", help="Answer yes to every question."),
]
Fallback = Annotated[
    bool,
    _in(
        WHERE,
        "--fallback/--no-fallback",
        help="Stop instead of going on with a slower device.",
    ),
]
DryRun = Annotated[
    bool, _in(SAID, "--dry-run", help="List what would be read and written, do nothing.")
]
Json = Annotated[
    bool,
    _in(SAID, "--json", help="For scripts: one JSON document, also on failure."),
]
Events = Annotated[
    bool,
    _in(SAID, "--events", help="For scripts: events as JSON Lines."),
]
Quiet = Annotated[
    bool,
    _in(SAID, "--quiet/--no-quiet", "-q", help="Only warnings and errors."),
]
Verbose = Annotated[
    bool,
    _in(
        SAID,
        "--verbose/--no-verbose",
        "-v",
        help="More: why it runs where it runs, logs, which settings were used.",
    ),
]
SetupEngine = Annotated[
    Literal["auto", "native", "container"],
    _in(
        PREPARED,
        metavar="ENGINE",
        help="native (a Python environment), container (an image), or auto: what a run would take.",
    ),
]
SetupModels = Annotated[
    list[str] | None,
    _in(
        PREPARED,
        "--model",
        "-m",
        metavar="MODEL",
        click_type=KNOWN,
        help="Fetch this model, too. May be given more than once.",
    ),
]
Repair = Annotated[bool, _in(PREPARED, "--repair", help="Make it anew.")]
Remove = Annotated[bool, _in(PREPARED, "--remove", help="Take away what setup made.")]
WheelFolder = Annotated[
    Path | None,
    _in(
        PREPARED,
        "--wheel",
        metavar="FOLDER",
        click_type=PLACE,
        help="Only write this sep as a wheel into a folder.",
    ),
]
Torch = Annotated[
    str | None,
    _in(
        PYTHON,
        metavar="BUILD",
        help="PyTorch's build, if not the one that fits: cpu, cu126, cu128, cu130, 2.10.0 or "
        "2.10.0+cu126.",
    ),
]
TorchIndex = Annotated[
    str | None,
    _in(
        PYTHON,
        metavar="URL",
        envvar="SEP_TORCH_INDEX",
        help="PyTorch's index, if not its own.",
    ),
]
Conda = Annotated[bool, _in(PYTHON, "--conda", help="With micromamba, mamba or conda.")]
Pip = Annotated[bool, _in(PYTHON, "--pip", help="With venv and pip, even if uv is here.")]
Wheelhouse = Annotated[
    Path | None,
    _in(
        PYTHON,
        metavar="FOLDER",
        click_type=PLACE,
        help="Take packages from this folder alone.",
    ),
]
VariantName = Annotated[
    Literal["cpu", "cuda"] | None,
    _in(IMAGE, help="Of the image, if not the one that fits."),
]
Base = Annotated[str | None, _in(IMAGE, metavar="IMAGE", help="The image to build on.")]
Index = Annotated[
    str | None,
    _in(IMAGE, metavar="URL", help="Where its packages come from."),
]
Certificate = Annotated[
    Path | None,
    _in(
        IMAGE,
        "--ca",
        metavar="FILE",
        click_type=PLACE,
        help="One more certificate authority, while the image is built.",
    ),
]
FromTar = Annotated[
    Path | None,
    _in(
        IMAGE,
        metavar="FILE",
        click_type=PLACE,
        help="Load the image that 'docker save' wrote.",
    ),
]
BuildNetwork = Annotated[
    str | None,
    _in(IMAGE, metavar="NAME", help="Docker's network for the build: host."),
]
ModelNames = Annotated[
    list[str],
    typer.Argument(
        metavar="MODELS...", click_type=KNOWN, help="Names that 'sep models list' shows."
    ),
]
SomeModels = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODELS...]", click_type=KNOWN, help="Which ones; without it all that are here."
    ),
]
OneModel = Annotated[
    str,
    typer.Argument(metavar="MODEL", click_type=KNOWN, help="A name that 'sep models list' shows."),
]
RunFolder = Annotated[
    str,
    typer.Argument(metavar="FOLDER", click_type=TARGET, help="The --out of the runs."),
]
Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        click_type=PLACE,
        help="A file of weights: .ckpt, .th, .pt, .pth or .safetensors.",
    ),
]
Settings = Annotated[
    Path | None,
    _in(
        MODELS,
        "--config",
        "--model-config",
        metavar="YAML",
        click_type=PLACE,
        help="The YAML file that was published with it, where the weights do not tell enough.",
    ),
]
NewName = Annotated[
    str | None,
    _in(MODELS, "--name", metavar="NAME", help="What you will call it, if not as the file."),
]
Replace = Annotated[
    bool,
    _in(MODELS, "--overwrite", help="Put it in the place of a model of yours of that name."),
]
Deep = Annotated[
    bool,
    typer.Option(
        "--deep", help="Also separate a clip in every way and compare with the CPU: minutes."
    ),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", click_type=PLACE, help="Write a report for a bug report, without names."
    ),
]
ListRules = Annotated[bool, typer.Option("--list-rules", help="Show all that is looked for.")]
BenchModels = Annotated[
    list[str] | None,
    _in(
        MODELS,
        "--model",
        "-m",
        metavar="MODELS",
        envvar="SEP_MODEL",
        click_type=MODELS_LISTED,
        help="Names that 'sep models list' shows, or checkpoints. Without it what runs take.",
    ),
]
BenchOverlaps = Annotated[
    list[str] | None,
    _in(
        MODELS,
        "--overlap",
        metavar="NUMBERS",
        envvar="SEP_OVERLAP",
        click_type=NUMBERS,
        help="As in 1.25,2. Without it each model's own.",
    ),
]
BenchDevices = Annotated[
    list[str] | None,
    _in(
        WHERE,
        "--device",
        metavar="DEVICES",
        envvar="SEP_DEVICE",
        click_type=DEVICES,
        help="As in cpu,cuda. Without it all that are set up; auto: the one that runs take.",
    ),
]
BenchEngines = Annotated[
    list[str] | None,
    _in(
        WHERE,
        "--engine",
        metavar="ENGINES",
        envvar="SEP_ENGINE",
        click_type=ENGINES,
        help="native, container. Without it all that are set up.",
    ),
]
BenchPrecisions = Annotated[
    list[str] | None,
    _in(
        WHERE,
        "--precision",
        metavar="PRECISIONS",
        envvar="SEP_PRECISION",
        click_type=PRECISIONS,
        help="auto, fp32, fp16, bf16. Without it auto.",
    ),
]
BenchBatches = Annotated[
    list[str] | None,
    _in(
        WHERE,
        "--batch",
        metavar="NUMBERS",
        click_type=NUMBERS,
        help="As in 1,8. Without it sep's choice.",
    ),
]
Seconds = Annotated[float, _in(MEASURED, metavar="NUMBER", help="Length of the audio, 0.1 to 600.")]
Runs = Annotated[
    int, _in(MEASURED, metavar="NUMBER", help="Each figure is the median of so many, 1 to 1000.")
]
Baselines = Annotated[
    bool,
    _in(
        MEASURED,
        "--baselines/--no-baselines",
        help="Also the schemes of other tools with the same network; uvr takes 8 passes.",
    ),
]
Snr = Annotated[
    bool,
    _in(
        MEASURED,
        "--snr/--no-snr",
        help="Do not compare the stems with those of the CPU in fp32.",
    ),
]
Whole = Annotated[
    bool,
    _in(
        MEASURED,
        "--whole/--no-whole",
        help="Also whole commands: a file in, wav and flac files out, each in a new process.",
    ),
]
Profile = Annotated[
    bool,
    _in(MEASURED, "--profile", help="Also which operators take the time, of one combination."),
]
Tuning = Annotated[
    bool, _in(MEASURED, "--tuning", help="Also what the fast ways chose for each shape.")
]
ReportFolder = Annotated[
    Path | None,
    _in(
        SAID,
        "--report",
        metavar="FOLDER",
        click_type=PLACE,
        help="Write a page, a picture and a document to send, without names, into a new folder.",
    ),
]
Trace = Annotated[
    Path | None,
    _in(
        SAID,
        metavar="FILE",
        click_type=PLACE,
        help="Where a profile writes the times of every call; else in the report's folder.",
    ),
]
Compare = Annotated[
    tuple[Path, Path] | None,
    _in(
        SAID,
        metavar="FILE FILE",
        help="Measure nothing: put two documents side by side.",
    ),
]
Shell = Annotated[
    str,
    typer.Argument(
        metavar="SHELL",
        click_type=click.Choice(SHELLS),
        help="bash, zsh, fish or powershell.",
    ),
]
UiFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILES...]",
        click_type=FILES,
        help="Audio files or folders that the page begins with.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        max=65535,
        help="The port on 127.0.0.1; 0: any that is free. Without it 8737 or one of the next.",
    ),
]
Browser = Annotated[
    bool, typer.Option("--browser/--no-browser", help="Whether a browser is opened.")
]
Version = Annotated[bool, typer.Option("--version", "-V", help="Print the version.")]
