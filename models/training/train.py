"""Train `mdx23c-mini` for a number of minutes; run again to go on where it stopped."""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import signal
import time
from pathlib import Path

import kits
import losses
import torch
import validation
from mini import CHUNK, OVERLAP, SHAPE
from notes import SECONDS
from pool import Pool, vary
from safetensors.torch import load_file, save_file
from score import Tally, score_net
from stems import RATE, STEMS
from together import Together
from torch import Tensor
from workers import Renderers

from sep_runtime.models.mdx23c import cut_for
from sep_runtime.nets.tfc_tdf import TfcTdf

EMA = 0.998
CLIP_NORM = 1.0
# Waveforms and other window lengths cost a third of a step: one step in so many has them.
WAVEFORM_EVERY = 4


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="folder written by pack.py")
    parser.add_argument("--state", type=Path, required=True, help="full checkpoint, on this disk")
    parser.add_argument("--out", type=Path, required=True, help="weights in fp16 and the curve")
    parser.add_argument("--start", type=Path, help="a former --out, where --state is lost")
    parser.add_argument("--warm", type=Path, help="weights to begin with, as of another input")
    parser.add_argument("--minutes", type=float, required=True, help="of this run, all included")
    parser.add_argument("--budget", type=float, help="training minutes of all runs; else of this")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--warmup", type=float, default=0.03, help="part of the budget")
    parser.add_argument("--slots", type=int, default=2400, help="clips kept on the device")
    parser.add_argument("--first", type=int, default=200, help="clips rendered before step 1")
    parser.add_argument("--per-second", type=float, default=25, help="clips rendered later on")
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--score-every", type=float, default=2.0, help="training minutes")
    parser.add_argument("--clips", type=int, default=validation.CLIPS, help="of each kit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compile", type=int, default=0, help="s for the losses; 0: do not")
    parser.add_argument("--record", action="store_true", help="steps as CUDA graphs if faster")
    return parser.parse_args()


class Trainer:
    """Network, moving average, optimizer and where training stands."""

    def __init__(self, options: argparse.Namespace, together: Together) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.together = together
        self.device = device = together.device
        self.net = TfcTdf(SHAPE).to(device)
        self.ema = TfcTdf(SHAPE).to(device).eval().requires_grad_(requires_grad=False)
        self.ema.load_state_dict(self.net.state_dict())
        self.masks = self.net.masks
        self.spectral_loss, self.shape_errors = losses.spectral_loss, losses.shape_errors
        self.budget = options.budget or 1.0  # training minutes of all runs
        self.windows = tuple(torch.hann_window(size, device=device) for size in (512, 8192))
        self.skipped = torch.zeros((), device=device)
        self.plain = False  # every step with waveforms
        self.leak = torch.zeros((), device=device)
        self.graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(),
            lr=torch.tensor(options.rate, device=device),  # a recorded step reads it
            capturable=on_gpu,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=True,
        )
        self.step = 0
        self.minutes = 0.0
        self.rows: list[dict[str, float]] = []
        self._load()
        # Renderers and batches of every run differ: their seeds hold the step it starts from.
        torch.manual_seed(options.seed + 7919 * self.step + 104729 * together.rank)

    def _load(self) -> None:
        options = self.options
        if options.state.exists():
            state = torch.load(options.state, map_location=self.device, weights_only=True)
            self.net.load_state_dict(state["net"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.minutes, self.rows = state["step"], state["minutes"], state["rows"]
        elif options.warm:
            saved = load_file(options.warm)
            self.net.load_state_dict({key: tensor.float() for key, tensor in saved.items()})
        elif options.start:
            for name, net in (("net", self.net), ("ema", self.ema)):
                saved = load_file(options.start / f"{name}.safetensors")
                net.load_state_dict({key: tensor.float() for key, tensor in saved.items()})
            progress = json.loads((options.start / "progress.json").read_text())
            self.step, self.minutes, self.rows = (
                progress[key] for key in ("step", "minutes", "rows")
            )

    def save(self) -> None:
        """Write fp16 weights, the curve, and the checkpoint to resume from."""
        out = self.options.out
        out.mkdir(parents=True, exist_ok=True)
        for name, net in (("net", self.net), ("ema", self.ema)):
            half = {key: tensor.half().contiguous() for key, tensor in net.state_dict().items()}
            save_file(half, out / f"{name}.safetensors")
        progress = {"step": self.step, "minutes": self.minutes, "rows": self.rows}
        (out / "progress.json").write_text(json.dumps(progress))
        if self.rows:
            with (out / "curve.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(self.rows[-1]))
                writer.writeheader()
                writer.writerows(self.rows)
        nets = {"net": self.net.state_dict(), "ema": self.ema.state_dict()}
        partial = self.options.state.with_suffix(".part")
        torch.save(nets | {"optimizer": self.optimizer.state_dict()} | progress, partial)
        partial.replace(self.options.state)

    def loss(self, stems: Tensor, *, waveform: bool) -> Tensor:
        """[B, 5, 2, T] to []: the transforms in fp32, the network in bf16 on a GPU."""
        mix = stems.sum(1)
        spectrum = self.net.stft(mix)
        on_gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=on_gpu):
            masks = self.masks(spectrum)
        masks = masks.float()
        with torch.no_grad():
            reference = torch.view_as_real(self.net.stft(stems))
        if not waveform:
            return self.spectral_loss(masks, torch.view_as_real(spectrum), reference, self.leak)
        shapes = self.shape_errors(masks, torch.view_as_real(spectrum), reference)
        found = self.net.stft.inverse(masks * spectrum.unsqueeze(1))
        other = losses.multi_resolution(found, stems, self.windows)
        return losses.log_error(found, stems, self.leak).mean() + 3 * other + shapes

    def learn(self, stems: Tensor, *, waveform: bool) -> Tensor:
        """Take one step on [B, 5, 2, T] and return its loss; nothing here waits for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(stems, waveform=waveform)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        spoiled = (~norm.isfinite()).float()
        self.skipped += spoiled
        # The fused step reads this on the device and then leaves the weights as they are.
        self.optimizer.found_inf = spoiled  # type: ignore[attr-defined]
        self.optimizer.step()
        return loss.detach().nan_to_num(0.0, 0.0, 0.0)

    def update(self, pool: Pool) -> Tensor:
        """Take one step on a batch of the pool and return its loss, still on the device."""
        with torch.no_grad():
            stems = vary(pool.batch(self.options.batch, CHUNK)).nan_to_num(0.0, 0.0, 0.0)
        done = self.minutes / self.budget
        self.leak.fill_(losses.leak_floor(done))
        rate = self.options.rate * losses.cosine(done, self.options.warmup)
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate)
        waveform = self.plain or self.step % WAVEFORM_EVERY == 0
        if waveform in self.graphs:
            graph, kept, loss = self.graphs[waveform]
            kept.copy_(stems)
            graph.replay()
        else:
            loss = self.learn(stems, waveform=waveform)
        self.step += 1
        keep = min(EMA, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), 1 - keep)
        return loss.clone()

    def capture(self, pool: Pool) -> None:
        """Record both kinds of step as CUDA graphs: one launch each in place of thousands."""
        with torch.no_grad():
            kept = vary(pool.batch(self.options.batch, CHUNK)).nan_to_num(0.0, 0.0, 0.0)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for waveform in (True, False, True, False):
                self.learn(kept, waveform=waveform)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graphs = {}
        for waveform in (True, False):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                loss = self.learn(kept, waveform=waveform)
            graphs[waveform] = (graph, kept, loss)
        self.graphs = graphs

    def recover(self, steps: int) -> None:
        """Go back to the average where most of the last steps were not finite."""
        skipped = int(self.skipped)
        if skipped:
            print(f"  {skipped} of {steps} steps were not finite", flush=True)
        if skipped > steps // 2:
            self.net.load_state_dict(self.ema.state_dict())
            self.graphs = {}
            self.optimizer.state.clear()
            self.options.rate /= 2
            self.plain = not self.plain
        self.skipped.zero_()

    def pace(self, pool: Pool, steps: int) -> float:
        """Train a few steps and return seconds per step."""
        self.update(pool)
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self.update(pool)
        self._wait()
        return (time.perf_counter() - started) / steps

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def compiled(self, pool: Pool, plain: float) -> float:
        """Compile the losses if that is faster than `plain`; return seconds per step."""
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(self.options.compile)
        try:
            self.spectral_loss = torch.compile(losses.spectral_loss, dynamic=False)
            self.shape_errors = torch.compile(losses.shape_errors, dynamic=False)
            for _ in range(WAVEFORM_EVERY):
                self.update(pool)
            compiled = self.pace(pool, 12)
        except Exception as error:  # noqa: BLE001  a compiler may fail in any way
            compiled = math.inf
            print(f"compiling failed: {str(error)[:500]}", flush=True)
        finally:
            signal.alarm(0)
        if compiled > plain:
            self.spectral_loss, self.shape_errors = losses.spectral_loss, losses.shape_errors
        print(f"losses compiled: {compiled:.3f} s a step", flush=True)
        return compiled

    def choose(self, pool: Pool) -> None:
        """Compile losses, record steps as graphs where that is faster; a failure leaves them."""
        started = time.perf_counter()
        plain = self.pace(pool, 12)
        print(f"plain: {plain:.3f} s a step", flush=True)
        compiled = self.compiled(pool, plain) if self.options.compile else math.inf
        if not self.options.record or self.device.type != "cuda":
            return
        try:
            self.capture(pool)
            recorded = self.pace(pool, 12)
        except Exception as error:  # noqa: BLE001  as above
            recorded = math.inf
            print(f"recording failed: {str(error)[:500]}", flush=True)
        if recorded > min(plain, compiled):
            self.graphs = {}
            self.optimizer.zero_grad(set_to_none=True)
        taken = time.perf_counter() - started
        print(f"recorded: {recorded:.3f} s a step, {taken:.0f} s so far", flush=True)

    def run(self, pool: Pool, clips: list[list[Tensor]], until: float) -> None:
        """Train until the clock, scoring the moving average now and then."""
        total = torch.zeros((), device=self.device)
        count = 0
        next_score = (self.minutes // self.options.score_every + 1) * self.options.score_every
        last = time.perf_counter()
        if self.options.budget is None:
            self.budget = self.minutes + (until - last) / 60
        began = (self.step, last)
        steps, going = 0, True
        while going:
            total += self.update(pool)
            count += 1
            steps += 1
            if count % 10 == 0:
                self._wait()
            if count % 50 == 0:
                self.recover(50)
            if steps % self.together.every:
                continue
            self.together.mean(self.net.parameters())
            now = time.perf_counter()
            self.minutes += (now - last) / 60
            last = now
            told = self.together.first(self.minutes, now < until and self.minutes < self.budget)
            self.minutes, going = told[0], bool(told[1])
            if self.minutes >= next_score:
                self.report(clips, float(total / count), began)
                total.zero_()
                count = 0
                next_score += self.options.score_every
                began = (self.step, time.perf_counter())
                print(f"  pool: {pool.seen} clips rendered, {pool.filled} held", flush=True)
        if count:
            self.report(clips, float(total / count), began)

    def report(self, clips: list[list[Tensor]], loss: float, began: tuple[int, float]) -> None:
        """Score, print and record a line of the curve, and save weights; the first process does."""
        if self.together.rank:
            return
        pace = (self.step - began[0]) / max(time.perf_counter() - began[1], 1e-6)
        row = {"step": self.step, "minutes": round(self.minutes, 2), "loss": round(loss, 3)}
        cut = cut_for(SHAPE, CHUNK, OVERLAP, batch=4)
        for index, set_ in enumerate(clips):
            tally, _ = score_net(self.ema, set_, validation.RULES["set"], cut)
            means = tally.means()
            mark = "" if index == 0 else f" {index + 1}"
            row |= {name + mark: round(means.get(name, math.nan), 2) for name in (*STEMS, "mean")}
            row["leak" + mark] = round(worst_leak(tally), 1)
        best = all(score_of(row) > score_of(earlier) for earlier in self.rows)
        self.rows.append(row)
        print(" ".join(f"{key} {value}" for key, value in row.items()), f"| {pace:.1f} steps/s")
        if self.device.type == "cuda":
            print(f"  {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)
        self.save()
        if best:
            shutil.copy(self.options.out / "ema.safetensors", self.options.out / "best.safetensors")


def _too_long(*_: object) -> None:
    raise TimeoutError("compiling takes too long")


def score_of(row: dict[str, float]) -> float:
    """Return the mean in dB over the validation kits of a line of the curve."""
    means = [value for key, value in row.items() if key.split()[0] == "mean"]
    return sum(means) / len(means)


def worst_leak(tally: Tally) -> float:
    """Return the mean leakage in dBFS of the stem where it is highest."""
    return max(tally.means("leakage").values(), default=math.nan)


def main() -> None:
    """Render, train, save."""
    until = time.perf_counter()
    options = parse()
    until += options.minutes * 60
    together = Together()
    seed = options.seed + 1000 * together.rank
    if options.state.exists():
        seed += int(options.state.stat().st_mtime)
    elif not options.start and (options.out / "progress.json").exists():
        message = f"{options.out} holds a run without its --state: --start {options.out} goes on"
        raise SystemExit(f"{message} from its weights, another --out begins anew")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bank, grooves = kits.load(options.pack / "train.npz")
    renderers = Renderers(bank, grooves, processes=options.workers, seed=seed)
    together.start()
    rules = validation.RULES["set"]
    validation_bank, validation_grooves = kits.load(options.pack / "validation.npz")
    clips = [
        validation.clips(kit, validation_grooves, 0 if together.rank else options.clips, rules)
        for kit in validation_bank.values()
    ]
    device = together.device
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    trainer = Trainer(options, together)
    clips = [[clip.to(device) for clip in set_] for set_ in clips]
    pool = Pool(options.slots, int(SECONDS * RATE), device)
    renderers.feed(pool, options.first, options.per_second)
    while pool.seen < options.first:
        time.sleep(0.1)
    ready = until - options.minutes * 60
    print(f"ready after {time.perf_counter() - ready:.0f} s on {device}", flush=True)
    try:
        if options.compile or options.record:
            trainer.choose(pool)
        renderers.more.set()
        trainer.run(pool, clips, until)
        together.end()
    except KeyboardInterrupt:
        if not together.rank:
            trainer.save()
        print(f"stopped at step {trainer.step}; the same command goes on from there", flush=True)
        raise SystemExit(130) from None
    finally:
        renderers.close()


if __name__ == "__main__":
    main()
