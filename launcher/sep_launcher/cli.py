"""The command line: parse, call, exit code. The launcher's only broad `except` is here."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any, cast

import typer
import typer.core

from sep_launcher import options as o
from sep_launcher import session
from sep_launcher.machine.probe import probe
from sep_launcher.planning import models
from sep_launcher.planning import route as routes
from sep_launcher.planning.request import NAME, Request, bench_of, bytes_of
from sep_launcher.planning.route import Wanted
from sep_launcher.show import render, words
from sep_launcher.show.render import Screen, Style
from sep_launcher.show.report import SCHEMA
from sep_protocol import Output
from sep_protocol.errors import ExitCode, InterruptedJob, PathError, SepError, UsageError
from sep_protocol.version import __version__

# The parser's own errors, wherever this typer keeps the parser.
ParserFault: type[Exception] = typer.BadParameter.__mro__[2]

EMPTY = "is there a variable in it that is not set?"

app = typer.Typer(
    name="sep",
    help="Split music into stems, drums first, as fast as this machine can.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="The models that sep knows.", no_args_is_help=True)
app.add_typer(models_app, name="models")


@app.callback()
def _sep(*, version: o.Version = False) -> None:
    """Split music into stems, drums first, as fast as this machine can."""
    if version:
        render.lines([f"sep {__version__}"])
        raise typer.Exit


@app.command()
def run(
    *,
    paths: o.Files,
    model: o.ModelName = None,
    model_config: o.ModelConfig = None,
    out: o.Out = Path("separated"),
    name: o.Name = NAME,
    stems: o.Stems = None,
    file_format: o.FormatName = "wav",
    bit_depth: o.Depth = None,
    device: o.DeviceName = "auto",
    engine: o.EngineName = "auto",
    overlap: o.Overlap = None,
    batch: o.BatchSize = None,
    memory: o.Memory = None,
    downmix: o.Downmix = False,
    residual: o.Residual = False,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    offline: o.Offline = False,
    yes: o.Yes = False,
    no_fallback: o.NoFallback = False,
    dry_run: o.DryRun = False,
    json_: o.Json = False,
    events: o.Events = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Separate audio files into stems."""
    if json_ and events:
        raise UsageError("--json and --events exclude each other")

    def request() -> Request:
        return Request(
            files=tuple(paths),
            out=out,
            name=name,
            model=model,
            model_config=model_config,
            output=Output(
                stems=None if stems is None else tuple(each.strip() for each in stems.split(",")),
                format=file_format,
                bit_depth="float" if bit_depth == "32" else bit_depth,
                residual=residual,
                overwrite=overwrite,
                resume=resume,
            ),
            wanted=Wanted(engine=engine, device=device.lower()),
            fallback=not no_fallback,
            overlap=overlap,
            batch=batch,
            downmix=downmix,
            memory=bytes_of(memory),
        )

    machine: render.Machine = "json" if json_ else "events" if events else ""
    screen = Screen(Style(machine=machine, quiet=quiet, verbose=verbose))
    return session.run(request, screen, dry_run=dry_run, yes=yes, offline=offline)


@app.command()
def setup(
    *,
    engine: o.SetupEngine = "auto",
    model: o.SetupModels = None,
    torch: o.Torch = None,
    torch_index: o.TorchIndex = None,
    conda: o.Conda = False,
    pip: o.Pip = False,
    wheelhouse: o.Wheelhouse = None,
    variant: o.VariantName = None,
    base: o.Base = None,
    index: o.Index = None,
    ca: o.Certificate = None,
    from_tar: o.FromTar = None,
    build_network: o.BuildNetwork = None,
    offline: o.Offline = False,
    repair: o.Repair = False,
    remove: o.Remove = False,
    wheel: o.WheelFolder = None,
    dry_run: o.DryRunSetup = False,
    yes: o.Yes = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Prepare this machine: a Python environment with the right PyTorch, or an image, and models.

    It says first what it will do, how large that is and where it goes. Nothing else is touched.
    """
    from sep_launcher.setup import command, image, native  # noqa: PLC0415 (runs need none of it)

    screen = Screen(Style(quiet=quiet, verbose=verbose))
    if remove:
        return command.remove(screen, engine, yes=yes, dry_run=dry_run)
    if wheel is not None:
        return command.write_wheel(wheel, screen)
    contained = engine == "container"
    wish = native.Wish(
        torch=torch,
        index=torch_index,
        conda=conda,
        pip=pip,
        wheelhouse=None if contained else wheelhouse,
        repair=repair,
    )
    picture = image.Wish(
        variant=variant,
        base=base,
        index=index,
        torch=torch if contained else None,
        torch_index=torch_index if contained else None,
        wheelhouse=wheelhouse if contained else None,
        certificate=ca,
        archive=from_tar,
        network=build_network,
        repair=repair,
    )
    wanted = command.Wanted(
        engine=engine,
        native=wish,
        image=picture,
        models=tuple(model or ()),
        yes=yes,
        offline=offline,
        dry_run=dry_run,
    )
    return command.setup(wanted, screen)


@app.command()
def bench(
    *,
    model: o.ModelName = None,
    model_config: o.ModelConfig = None,
    device: o.DeviceName = "auto",
    engine: o.EngineName = "auto",
    overlap: o.Overlap = None,
    batch: o.BatchSize = None,
    seconds: o.Seconds = 30.0,
    runs: o.Runs = 3,
    no_baselines: o.NoBaselines = False,
    json_: o.Json = False,
) -> int:
    """Measure a model on a device, beside the schemes of other tools on the same network.

    demix is the scheme of the public training tools, uvr that of Ultimate Vocal Remover.
    """

    def request() -> Request:
        return Request(
            files=(),
            out=Path(),
            model=model,
            model_config=model_config,
            wanted=Wanted(engine=engine, device=device.lower()),
            overlap=overlap,
            batch=batch,
        )

    measure = bench_of(seconds=seconds, runs=runs, baselines=not no_baselines)
    return session.bench(request, Screen(Style(machine="json" if json_ else "")), measure)


@app.command()
def doctor(
    *,
    deep: o.Deep = False,
    bundle: o.Bundle = None,
    list_rules: o.ListRules = False,
    json_: o.Json = False,
    verbose: o.Verbose = False,
) -> int:
    """Say what is wrong with this machine, what that breaks, and the line that mends it.

    Exit code 0: healthy, or warnings alone. 1: errors.
    """
    from sep_launcher.doctor import command  # noqa: PLC0415 (runs need none of it)

    if list_rules:
        command.list_rules(as_json=json_)
        return ExitCode.OK
    return command.doctor(command.Wanted(deep=deep, json=json_, verbose=verbose, bundle=bundle))


@app.command()
def route(
    *, engine: o.EngineName = "auto", device: o.DeviceName = "auto", json_: o.Json = False
) -> int:
    """Show how this machine would do a run, why, and what was turned down."""
    chosen = routes.choose(probe(), Wanted(engine=engine, device=device.lower()))
    if json_:
        render.document(render.route_document(chosen))
        return ExitCode.OK
    setup = "" if chosen.ready else " (not set up)"
    first = f"{chosen.engine} {chosen.device}{setup}: {chosen.reason}"
    render.lines([first, *words.alternatives(chosen)])
    return ExitCode.OK


@models_app.command("pull")
def models_pull(
    *,
    names: o.ModelNames,
    yes: o.Yes = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Fetch models and convert them for sep, after showing their size and licence."""
    from sep_launcher.setup import command  # noqa: PLC0415 (runs need none of it)

    return command.pull_models(tuple(names), Screen(Style(quiet=quiet, verbose=verbose)), yes=yes)


@models_app.command("list")
def models_list(*, json_: o.Json = False) -> int:
    """Show the models, the best first, and which are here."""
    table = models.table()
    if json_:
        render.document({"schema": SCHEMA, "models": table})
        return ExitCode.OK
    render.rows(
        ("model", "for", "stems", "here", "licence"),
        [
            (
                str(each["name"]),
                str(each["expects"]),
                " ".join(cast("list[str]", each["stems"])),
                "default" if each["default"] else "yes" if each["installed"] else "no",
                str(each["licence"]),
            )
            for each in table
        ],
    )
    return ExitCode.OK


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code, whatever happens."""
    typer.core.HAS_RICH = False  # it escapes brackets for a markup that is off here
    try:
        Path.cwd()
        _check_filled(argv)
    except OSError:
        return _end(PathError("the current folder is gone", hint="cd to one that is there"), argv)
    except UsageError as fault:
        return _end(fault, argv)
    if argv in ([], ["models"]):
        argv = [*argv, "--help"]
    try:
        return int(app(args=argv, standalone_mode=False, prog_name="sep") or 0)
    except ParserFault as fault:
        return _end(_usage(fault), argv)
    except SepError as fault:
        return _end(fault, argv)
    except (KeyboardInterrupt, typer.Abort):
        return _end(InterruptedJob("interrupted"), argv)
    except Exception as fault:  # noqa: BLE001 (the one border where bugs are named)
        if "--verbose" in argv or "-v" in argv:
            for line in traceback.format_exc().splitlines():
                Screen(Style()).say(line)
        told = f"unexpected {type(fault).__name__}: {fault}"
        return _end(SepError(told, hint="a bug of ours: please report it with --verbose"), argv)


def _check_filled(argv: list[str]) -> None:
    """Raise UsageError for an empty argument: none means anything, shells make them of "$x"."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    for each in options:
        if re.fullmatch("--[a-z-]+=", each):
            raise UsageError(f"{each} has no value", hint=EMPTY)
    if "" in argv:
        number = argv.index("")
        after = f", after {argv[number - 1]}," if number else ""
        raise UsageError(f"argument {number + 1}{after} is empty", hint=EMPTY)


def _usage(fault: Any) -> UsageError:  # noqa: ANN401 (the parser's error, of a private class)
    text = str(fault.format_message()).replace("Value error, ", "").rstrip(".")
    command = fault.ctx.command_path if getattr(fault, "ctx", None) else "sep"
    return UsageError(text[:1].lower() + text[1:], hint=f"{command} --help")


def _end(fault: SepError, argv: list[str]) -> int:
    options = argv[: argv.index("--")] if "--" in argv else argv
    machine: render.Machine = "events" if "--events" in options else ""
    screen = Screen(Style(machine="json" if "--json" in options else machine))
    screen.fault(fault)
    return screen.close()
