"""The command line: parse, call, render, exit code. The launcher's only broad `except` is here."""

from __future__ import annotations

import signal
import sys
import traceback
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

import sep_models
from sep_launcher import files, models, render
from sep_launcher import plan as plans
from sep_launcher import route as routes
from sep_launcher.awake import awake
from sep_launcher.engines import native
from sep_launcher.probe import probe
from sep_launcher.render import Screen, Style
from sep_launcher.request import NAME, Request
from sep_launcher.route import Wanted
from sep_protocol import Bench, DeviceChosen, Output
from sep_protocol.errors import (
    DeviceError,
    ExitCode,
    InterruptedJob,
    NotReadyError,
    SepError,
    UsageError,
)
from sep_protocol.version import __version__

if TYPE_CHECKING:
    from sep_launcher.engines import Engine
    from sep_launcher.plan import Plan

# The parser's own errors, wherever this typer keeps the parser.
ParserFault: type[Exception] = typer.BadParameter.__mro__[2]

EngineName = Literal["auto", "native", "container"]

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

Engines = Annotated[EngineName, typer.Option(help="Where the runtime runs.")]
Devices = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N; a named one is kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, also on failure.")]


@app.callback()
def _sep(
    *, version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False
) -> None:
    """Split music into stems, drums first, as fast as this machine can."""
    if version:
        render.lines([f"sep {__version__}"])
        raise typer.Exit


@app.command()
def run(
    *,
    paths: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="Files, folders or globs.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model's name, or a checkpoint file.")
    ] = None,
    model_config: Annotated[
        Path | None, typer.Option(help="The YAML of a checkpoint that sep does not know.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the tracks' folders go.")] = Path(
        "separated"
    ),
    name: Annotated[
        str, typer.Option(help="FOLDER/FILE of a stem, of {track}, {stem} and {model}.")
    ] = NAME,
    stems: Annotated[
        str | None, typer.Option(help="Which stems to write, as in kick,snare; all by default.")
    ] = None,
    file_format: Annotated[
        Literal["wav", "flac", "mp3", "ogg"], typer.Option("--format", help="Of the stems.")
    ] = "wav",
    bit_depth: Annotated[
        Literal["16", "24", "32", "float"] | None,
        typer.Option(help="24 by default, float for float input in wav; 32 is float."),
    ] = None,
    device: Devices = "auto",
    engine: Engines = "auto",
    overlap: Annotated[
        float | None, typer.Option(help="Chunk / hop, at least 1; the model's own by default.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Chunks through the network at once.")] = None,
    downmix: Annotated[
        bool, typer.Option("--downmix", help="Make stereo of more than two channels.")
    ] = False,
    residual: Annotated[
        bool, typer.Option("--residual", help="Write the song minus all stems, too.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave tracks that are done already as they are.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace stems that are there already.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing, whatever is missing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Answer yes to what would be asked.")
    ] = False,
    no_fallback: Annotated[
        bool, typer.Option("--no-fallback", help="Fail where auto would take a lesser device.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the command that would run, do nothing.")
    ] = False,
    json_: Json = False,
    events: Annotated[
        bool, typer.Option("--events", help="Print the runtime's events as JSON Lines.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what was turned down, show logs.")
    ] = False,
) -> int:
    """Separate audio files into stems."""
    del offline, yes  # nothing is fetched or asked in a run
    style = Style(
        machine="json" if json_ else "events" if events else "", quiet=quiet, verbose=verbose
    )
    screen = Screen(style)
    try:
        if json_ and events:
            raise UsageError("--json and --events exclude each other")
        request = Request(
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
        )
        plan = _plan(request)
        screen.route(plan)
        if dry_run:
            _dry_run(plan, screen)
        else:
            _check_ready(plan)
            with awake():
                _follow(plan, native.NativeEngine(screen.log), screen)
    except SepError as fault:
        screen.fault(fault)
    except KeyboardInterrupt:
        screen.fault(InterruptedJob("stopped before anything was done"))
    return screen.close()


def _plan(request: Request) -> Plan:
    found = files.find(request.files)
    model, manifest = models.choose(request)
    if manifest is not None:
        sep_models.wanted_stems(request.output.stems, manifest)
    host = probe()
    route = routes.choose(host, request.wanted)
    plan = plans.plan(request, host, route, found=found, model=model, manifest=manifest)
    folders = [Path(track.out) for track in plan.job.tracks]
    output = request.output
    mixes = [each.path for each in found]
    files.check_outputs(folders, mixes, overwrite=output.overwrite, resume=output.resume)
    return plan


def _check_ready(plan: Plan) -> None:
    """Raise NotReadyError unless what the route needs is set up."""
    if not plan.route.ready and plan.route.engine == "container":
        raise NotReadyError(
            "no container image is set up", hint=f"take --engine native: {native.SETUP}"
        )
    if plan.python is None:
        raise NotReadyError("no Python environment with torch is set up", hint=native.SETUP)


def _dry_run(plan: Plan, screen: Screen) -> None:
    _check_ready(plan)
    job_file = native.write_job(plan)
    screen.say(f"     the job file is kept: {job_file}")
    screen.command(native.shown(plan, job_file))


def _follow(plan: Plan, engine: Engine, screen: Screen) -> None:
    """Show the events of a run; stop the runtime on Ctrl-C and its like, at once on a second."""
    # What nohup or a shell told us to ignore stays ignored.
    stopping = {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {
        each: signal.signal(each, signal.default_int_handler)
        for each in stopping
        if signal.getsignal(each) != signal.SIG_IGN
    }
    try:
        with closing(engine.start(plan)) as heard:
            for event in heard:
                screen.event(event)
                if isinstance(event, DeviceChosen):
                    _compare(plan, event, screen)
    except KeyboardInterrupt:
        screen.say("stopping ...")
        screen.fault(InterruptedJob("interrupted", hint=_go_on(plan)))
    finally:
        try:
            engine.stop()
        except KeyboardInterrupt:
            engine.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def _go_on(plan: Plan) -> str:
    return "" if plan.job.bench else "whole tracks are kept; --resume goes on with the others"


def _compare(plan: Plan, event: DeviceChosen, screen: Screen) -> None:
    """Tell when the runtime uses another device than the route promised."""
    real = event.device.partition(":")[0]
    if real == plan.route.device:
        return
    if plan.job.device != "auto":
        raise DeviceError(f"you asked for {plan.job.device}, the runtime took {event.device}")
    screen.warn(f"{plan.route.device} was expected, {event.device} is used: {event.reason}")


@app.command()
def bench(
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model's name, or a checkpoint file.")
    ] = None,
    model_config: Annotated[
        Path | None, typer.Option(help="The YAML of a checkpoint that sep does not know.")
    ] = None,
    device: Devices = "auto",
    engine: Engines = "auto",
    overlap: Annotated[float | None, typer.Option(help="Chunk / hop, at least 1.")] = None,
    batch: Annotated[int | None, typer.Option(help="Chunks through the network at once.")] = None,
    seconds: Annotated[float, typer.Option(help="Length of the audio.", min=0.1)] = 30.0,
    runs: Annotated[int, typer.Option(help="Medians are of so many.", min=1)] = 3,
    no_baselines: Annotated[
        bool, typer.Option("--no-baselines", help="Leave out the schemes of other tools.")
    ] = False,
    json_: Json = False,
) -> int:
    """Measure a model on a device, beside the schemes of other tools on the same network.

    demix is the scheme of the public training tools, uvr that of Ultimate Vocal Remover.
    """
    screen = Screen(Style(machine="json" if json_ else ""))
    try:
        request = Request(
            files=(),
            out=Path(),
            model=model,
            model_config=model_config,
            wanted=Wanted(engine=engine, device=device.lower()),
            overlap=overlap,
            batch=batch,
        )
        chosen, manifest = models.choose(request)
        host = probe()
        way = routes.choose(host, request.wanted)
        plan = plans.plan(request, host, way, found=[], model=chosen, manifest=manifest)
        measure = Bench(seconds=seconds, runs=runs, baselines=not no_baselines)
        plan = replace(plan, job=replace(plan.job, bench=measure))
        _check_ready(plan)
        screen.route(plan)
        _follow(plan, native.NativeEngine(screen.log), screen)
    except SepError as fault:
        screen.fault(fault)
    except KeyboardInterrupt:
        screen.fault(InterruptedJob("stopped before anything was done"))
    return screen.close()


@app.command()
def route(*, engine: Engines = "auto", device: Devices = "auto", json_: Json = False) -> int:
    """Show how this machine would do a run, why, and what was turned down."""
    chosen = routes.choose(probe(), Wanted(engine=engine, device=device.lower()))
    if json_:
        render.document(render.route_document(chosen))
        return ExitCode.OK
    setup = "" if chosen.ready else " (not set up)"
    render.lines(
        [
            f"{chosen.engine} {chosen.device}{setup}: {chosen.reason}",
            *render.alternatives(chosen),
        ]
    )
    return ExitCode.OK


@models_app.command("list")
def models_list(*, json_: Json = False) -> int:
    """Show the models, the best first, and which are here."""
    table = models.table()
    if json_:
        render.document({"models": table})
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
    if argv in ([], ["models"]):
        argv = [*argv, "--help"]
    try:
        return int(app(args=argv, standalone_mode=False) or 0)
    except ParserFault as fault:
        return _end(_usage(fault), argv)
    except SepError as fault:
        return _end(fault, argv)
    except (KeyboardInterrupt, typer.Abort):
        return _end(InterruptedJob("interrupted"), argv)
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.OK
    except Exception as fault:  # noqa: BLE001 (the one border where bugs are named)
        if "--verbose" in argv or "-v" in argv:
            traceback.print_exc()
        told = f"unexpected {type(fault).__name__}: {fault}"
        return _end(SepError(told, hint="a bug of ours: please report it with --verbose"), argv)


def _usage(fault: Any) -> UsageError:  # noqa: ANN401 (the parser's error, of a private class)
    text = str(fault.format_message()).replace("Value error, ", "").rstrip(".")
    command = fault.ctx.command_path if getattr(fault, "ctx", None) else "sep"
    return UsageError(text[:1].lower() + text[1:], hint=f"{command} --help")


def _end(fault: SepError, argv: list[str]) -> int:
    screen = Screen(Style(machine="json" if "--json" in argv else ""))
    screen.fault(fault)
    return screen.close()
