"""The options of the command line, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Files = Annotated[list[str], typer.Argument(metavar="FILES...", help="Files, folders or globs.")]
ModelName = Annotated[
    str | None, typer.Option("--model", "-m", help="A model's name, or a checkpoint file.")
]
# `readable=False`: what cannot be read or written is told by those who try, with its exit code.
ModelConfig = Annotated[
    Path | None,
    typer.Option(readable=False, help="The YAML of a checkpoint that sep does not know."),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", readable=False, help="Where the tracks' folders go.")
]
Name = Annotated[str, typer.Option(help="FOLDER/FILE of a stem, of {track}, {stem} and {model}.")]
Stems = Annotated[
    str | None, typer.Option(help="Which stems to write, as in kick,snare; all by default.")
]
FormatName = Annotated[
    Literal["wav", "flac", "mp3", "ogg"], typer.Option("--format", help="Of the stems.")
]
Depth = Annotated[
    Literal["16", "24", "32", "float"] | None,
    typer.Option(help="24 by default, float for float input in wav; 32 is float."),
]
DeviceName = Annotated[
    str, typer.Option(help="auto, cpu, mps, cuda or cuda:N; a named one is kept.")
]
EngineName = Annotated[
    Literal["auto", "native", "container"], typer.Option(help="Where the runtime runs.")
]
Overlap = Annotated[
    float | None, typer.Option(help="Chunk / hop, at least 1; the model's own by default.")
]
BatchSize = Annotated[int | None, typer.Option(help="Chunks through the network at once.")]
Memory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Most that a container may take, as in 4g.")
]
Downmix = Annotated[bool, typer.Option("--downmix", help="Make stereo of more than two channels.")]
Residual = Annotated[bool, typer.Option("--residual", help="Write the song minus all stems, too.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Leave tracks that are done already as they are.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace stems that are there already.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing, whatever is missing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to what would be asked.")]
NoFallback = Annotated[
    bool, typer.Option("--no-fallback", help="Fail where auto would take a lesser device.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List what would be read and written, do nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, also on failure.")]
Events = Annotated[bool, typer.Option("--events", help="Print the runtime's events as JSON Lines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what was turned down, show logs.")
]
SetupEngine = Annotated[
    Literal["auto", "native", "container"],
    typer.Option(help="What to prepare; auto: what a run would choose."),
]
VariantName = Annotated[
    Literal["cpu", "cuda"] | None, typer.Option(help="Of the image; the one that fits by default.")
]
Base = Annotated[str | None, typer.Option(metavar="IMAGE", help="The image to build on.")]
Index = Annotated[str | None, typer.Option(metavar="URL", help="Of packages, for the image.")]
Certificate = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="One more CA, while the image is built.")
]
FromTar = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Load the image that docker save wrote.")
]
BuildNetwork = Annotated[str | None, typer.Option(help="Docker's network for the build: host.")]
SetupModels = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Fetch this model, too; repeatable.")
]
ModelNames = Annotated[list[str], typer.Argument(metavar="MODELS...", help="Names or aliases.")]
Torch = Annotated[
    str | None,
    typer.Option(help="Not the build that fits: cpu, cu126, cu128, cu130, 2.10.0 or 2.10.0+cu126."),
]
TorchIndex = Annotated[
    str | None,
    typer.Option(envvar="SEP_TORCH_INDEX", help="PyTorch's index; default: pip's or uv's own."),
]
Conda = Annotated[bool, typer.Option("--conda", help="By micromamba, mamba or conda.")]
Pip = Annotated[bool, typer.Option("--pip", help="By venv and pip, though uv is here.")]
Wheelhouse = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Packages come from this folder alone.")
]
Repair = Annotated[bool, typer.Option("--repair", help="Make the environment anew.")]
Remove = Annotated[bool, typer.Option("--remove", help="Take away what setup made.")]
WheelFolder = Annotated[
    Path | None,
    typer.Option("--wheel", metavar="DIR", help="Only write this sep as a wheel into a folder."),
]
DryRunSetup = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]
Deep = Annotated[
    bool, typer.Option("--deep", help="Separate a clip on every way and compare with the CPU.")
]
Bundle = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a report for a bug report, redacted.")
]
ListRules = Annotated[bool, typer.Option("--list-rules", help="Show all that is looked for.")]
Seconds = Annotated[float, typer.Option(help="Length of the audio, 0.1 to 600.")]
Runs = Annotated[int, typer.Option(help="Medians are of so many, 1 to 1000.")]
NoBaselines = Annotated[
    bool, typer.Option("--no-baselines", help="Leave out the schemes of other tools.")
]
Version = Annotated[bool, typer.Option("--version", "-V", help="Print the version.")]
