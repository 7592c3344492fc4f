"""The command line: parse, call, exit code. The launcher's only broad `except` is here."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

import click
import typer
import typer.core
from click.core import ParameterSource

from sep_launcher import library_cli, models_cli, session
from sep_launcher import options as o
from sep_launcher.engines import native
from sep_launcher.machine.probe import probe
from sep_launcher.planning import cluster, shards, workers
from sep_launcher.planning import route as routes
from sep_launcher.planning.listed import number, parted
from sep_launcher.planning.request import NAME, NONE, Request, bytes_of, size_of
from sep_launcher.planning.route import Wanted
from sep_launcher.show import phrases, render
from sep_launcher.show.render import Style, Terminal
from sep_launcher.words import completion, optional, slips, texts
from sep_launcher.words.pages import HELP, Contents, Page
from sep_protocol import Output
from sep_protocol.errors import ExitCode, InterruptedJob, PathError, SepError, UsageError
from sep_protocol.version import __version__

EMPTY = "is there a variable in it that is not set?"

app = typer.Typer(
    name="sep",
    cls=Contents,
    epilog=texts.SEP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": list(HELP)},
)
app.add_typer(models_cli.app, name="models")
app.add_typer(library_cli.app, name="library")


@app.callback()
def _sep(*, version: o.Version = False) -> None:
    """Split drums into stems: one file for the kick, one for the snare, and so on.

    Give it drums alone, or a whole song with --from-mix, which takes its drums out first.
    """
    if version:
        render.lines([f"sep {__version__}"])
        raise typer.Exit


@app.command(cls=Page, epilog=texts.RUN)
def run(
    *,
    paths: o.Files,
    downmix: o.Downmix = False,
    out: o.Out = "separated",
    name: o.Name = NAME,
    include: o.Include = None,
    shard: o.Shard = None,
    stems: o.Stems = None,
    file_format: o.FormatName = "wav",
    bit_depth: o.Depth = None,
    residual: o.Residual = False,
    intermediate: o.KeepIntermediate = False,
    from_mix: o.FromMix = NONE,
    model: o.ModelName = None,
    model_config: o.ModelConfig = None,
    weights: o.Weights = None,
    shifts: o.Shifts = 1,
    overlap: o.Overlap = None,
    device: o.DeviceName = "auto",
    jobs: o.Jobs = None,
    engine: o.RunEngine = "auto",
    precision: o.Precision = "auto",
    batch: o.BatchSize = None,
    memory: o.Memory = None,
    address: o.Address = None,
    cluster_workers: o.Workers = None,
    gpu_share: o.GpuShare = 1,
    cpus: o.WorkerCpus = None,
    insecure_cluster: o.InsecureCluster = False,
    dashboard: o.Dashboard = False,
    stage: o.Stage = None,
    stage_limit: o.StageLimit = None,
    fallback: o.Fallback = True,
    resume: o.Resume = False,
    verify: o.Verify = False,
    overwrite: o.Overwrite = False,
    retry_quarantined: o.RetryQuarantined = False,
    take_over: o.TakeOver = False,
    yes: o.Yes = False,
    offline: o.Offline = False,
    dry_run: o.DryRun = False,
    json_: o.Json = False,
    events: o.Events = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Split drum tracks into stems, or with --from-mix the drums of whole songs.

    Each track gets a folder with its stems. With a model for songs as --model it gets that
    model's, as in vocals, bass and drums.
    """
    if json_ and events:
        raise UsageError("choose --json or --events, not both")
    if stems is not None:
        slips.check_stems(paths)
    # A rule for all chains, in the file of settings, is no fault where there is none.
    source = click.get_current_context().get_parameter_source("intermediate")
    typed = source is ParameterSource.COMMANDLINE

    def request() -> Request:
        names = parted([model] if model is not None else (), "--model", os.path.exists)
        devices = workers.devices_of(device)
        shares = parted([weights] if weights is not None else (), "--weights")
        return Request(
            files=tuple(paths),
            out=out,
            name=name,
            include=tuple(include or ()),
            model=names[0] if names else None,
            model_config=model_config,
            beside=tuple(names[1:]),
            weights=tuple(number(each, float, "--weights") for each in shares),
            from_mix=None if from_mix == NONE else from_mix,
            shifts=shifts,
            output=Output(
                stems=None if stems is None else tuple(each.strip() for each in stems.split(",")),
                format=file_format,
                bit_depth="float" if bit_depth == "32" else bit_depth,
                residual=residual,
                intermediate=intermediate and (from_mix != NONE or typed),
                overwrite=overwrite,
                resume=resume,
                verify=verify,
            ),
            wanted=Wanted(
                engine="auto" if engine == "ray" else engine, device=workers.first(devices)
            ),
            devices=devices if workers.many(devices) else (),
            jobs=workers.jobs_of(jobs),
            cluster=cluster.wish(
                engine,
                device=device.lower(),
                address=address,
                workers=cluster_workers,
                gpu_share=gpu_share,
                cpus=cpus,
                insecure=insecure_cluster,
                dashboard=dashboard,
            ),
            take_over=take_over,
            retry_quarantined=retry_quarantined,
            fallback=fallback,
            overlap=overlap,
            batch=batch,
            precision=precision,
            downmix=downmix,
            memory=bytes_of(memory),
            shard=None if shard is None else shards.shard(shard),
            stage=stage,
            stage_limit=size_of(stage_limit, "--stage-limit"),
        )

    machine: render.Machine = "json" if json_ else "events" if events else ""
    screen = Terminal(Style(machine=machine, quiet=quiet, verbose=verbose))
    return session.run(request, screen, dry_run=dry_run, yes=yes, offline=offline)


@app.command(cls=Page, epilog=texts.SETUP)
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
    dry_run: o.DryRun = False,
    yes: o.Yes = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> int:
    """Prepare this computer for runs.

    It makes a Python environment with the PyTorch that fits, or a container image, and can fetch
    models. It says first what it will do, how large that is and where it goes. Nothing else is
    touched.
    """
    from sep_launcher.setup import command, image, native  # noqa: PLC0415 (runs need none of it)

    screen = Terminal(Style(quiet=quiet, verbose=verbose))
    if remove:
        return command.remove(screen, engine, yes=yes, dry_run=dry_run)
    if wheel is not None:
        return command.write_wheel(wheel, screen, torch, torch_index)
    contained = engine == "container"
    wish = native.Wish(
        torch=torch,
        index=torch_index,
        conda=conda,
        pip=pip,
        wheelhouse=None if contained else wheelhouse,
        offline=offline,
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


@app.command(cls=Page, epilog=texts.BENCH)
def bench(
    *,
    model: o.BenchModels = None,
    model_config: o.ModelConfig = None,
    overlap: o.BenchOverlaps = None,
    device: o.BenchDevices = None,
    engine: o.BenchEngines = None,
    precision: o.BenchPrecisions = None,
    batch: o.BenchBatches = None,
    seconds: o.Seconds = 30.0,
    runs: o.Runs = 3,
    baselines: o.Baselines = False,
    snr: o.Snr = True,
    whole: o.Whole = False,
    profile: o.Profile = False,
    tuning: o.Tuning = False,
    report: o.ReportFolder = None,
    trace: o.Trace = None,
    compare: o.Compare = None,
    json_: o.Json = False,
    verbose: o.Verbose = False,
) -> int:
    """Measure how fast models are here, on every device.

    Each option may have many values: every combination is measured.
    """
    from sep_launcher.bench import command, matrix  # noqa: PLC0415 (runs need none of it)

    if compare is not None:
        if json_ or report or trace or profile or whole or tuning:
            raise UsageError("--compare measures and writes nothing", hint="leave out the others")
        return command.compare(compare)
    wish = matrix.wish(
        engines=engine,
        devices=device,
        models=model,
        precisions=precision,
        overlaps=overlap,
        batches=batch,
        model_config=model_config,
        measure=matrix.measure(
            seconds=seconds,
            runs=runs,
            baselines=baselines,
            snr=snr,
            profile=profile,
            tuning=tuning,
        ),
        whole=whole,
    )
    told = command.Told(json=json_, verbose=verbose, report=report, trace=trace)
    return command.bench(wish, told)


@app.command(cls=Page, epilog=texts.DOCTOR)
def doctor(
    *,
    deep: o.Deep = False,
    bundle: o.Bundle = None,
    list_rules: o.ListRules = False,
    json_: o.Json = False,
    verbose: o.Verbose = False,
) -> int:
    """Find out what is wrong here, and how to fix it."""
    from sep_launcher.doctor import command  # noqa: PLC0415 (runs need none of it)

    if list_rules:
        command.list_rules(as_json=json_)
        return ExitCode.OK
    return command.doctor(command.Wanted(deep=deep, json=json_, verbose=verbose, bundle=bundle))


@app.command(cls=Page, epilog=texts.ROUTE)
def route(
    *, engine: o.EngineName = "auto", device: o.DeviceName = "auto", json_: o.Json = False
) -> int:
    """Show where a run would be computed, and why."""
    wanted = Wanted(engine=engine, device=workers.first(workers.devices_of(device)))
    host = probe(ask_torch=wanted.kind == "cuda")
    chosen = routes.choose(host, wanted)
    python = host.native.python if host.native else None
    if python and chosen.engine == "native":
        native.check_python(python)
    if json_:
        render.document({**render.route_document(chosen), "python": python})
        return ExitCode.OK
    setup = "" if chosen.ready else " (not set up)"
    first = f"{chosen.engine} {chosen.device}{setup}: {chosen.reason}"
    own = [f"Python: {python}"] if python else []
    render.lines([first, *phrases.alternatives(chosen), *own])
    return ExitCode.OK


@app.command(cls=Page, epilog=texts.UI)
def ui(*, files: o.UiFiles = None, port: o.Port = None, browser: o.Browser = True) -> int:
    """Open a page in the browser: drop songs, watch and hear their stems, take them."""
    from sep_launcher.ui import command  # noqa: PLC0415 (runs need none of it)

    return command.ui(files or (), port=port, browser=browser)


@app.command("completion", cls=Page, epilog=texts.COMPLETION)
def _completion(*, shell: o.Shell) -> int:
    """Print what makes the Tab key complete commands in a shell."""
    return completion.answer(typer.main.get_command(app), f"{shell}_source")


def main(argv: list[str]) -> int:
    """Run the command line; return the exit code, whatever happens."""
    typer.core.HAS_RICH = False  # it escapes brackets for a markup that is off here
    command = typer.main.get_command(app)
    try:
        if asked := os.environ.get(completion.VARIABLE):
            return completion.answer(command, asked)
        _check(argv)
        meant = optional.valued(slips.helped(argv, command))
        return int(command.main(args=meant, standalone_mode=False, prog_name="sep") or 0)
    except click.ClickException as fault:
        return _end(slips.usage(fault), argv)
    except SepError as fault:
        return _end(fault, argv)
    except (KeyboardInterrupt, typer.Abort):
        return _end(InterruptedJob("interrupted"), argv)
    except Exception as fault:  # noqa: BLE001 (the one border where bugs are named)
        if "--verbose" in argv or "-v" in argv:
            for line in traceback.format_exc().splitlines():
                Terminal(Style()).say(line)
        told = f"unexpected {type(fault).__name__}: {fault}"
        return _end(
            SepError(
                told, hint="a bug in sep: run it again with --verbose and report what it prints"
            ),
            argv,
        )


def _check(argv: list[str]) -> None:
    """Raise UsageError for an empty argument: none means anything, shells make them of "$x".

    Raises PathError where there is no current folder.
    """
    try:
        Path.cwd()
    except OSError as fault:
        raise PathError("the current folder is gone", hint="cd to one that is there") from fault
    options = argv[: argv.index("--")] if "--" in argv else argv
    for each in options:
        if re.fullmatch("--[a-z-]+=", each):
            raise UsageError(f"{each} has no value", hint=EMPTY)
    if "" in argv:
        number = argv.index("")
        after = f", after {argv[number - 1]}," if number else ""
        raise UsageError(f"argument {number + 1}{after} is empty", hint=EMPTY)


def _end(fault: SepError, argv: list[str]) -> int:
    options = argv[: argv.index("--")] if "--" in argv else argv
    machine: render.Machine = "events" if "--events" in options else ""
    screen = Terminal(Style(machine="json" if "--json" in options else machine))
    screen.fault(fault)
    return screen.close()
