"""Print a script that completes commands and options in bash, zsh or fish.

bash   eval "$(runwright completion bash)"            in ~/.bashrc
zsh    runwright completion zsh > _runwright          in a directory of $fpath
fish   runwright completion fish > runwright.fish     in ~/.config/fish/completions
"""

import argparse
from collections.abc import Iterator, Sequence

from msgspec import Struct

from runwright.cli.arguments import Arguments
from runwright.cli.dispatch import find, parser_of
from runwright.cli.main import COMMANDS

FILES = frozenset({"FILE", "DIR"})
GLOBAL = frozenset({"-C", "--store"})
SHELLS = ("bash", "zsh", "fish")


class Option(Struct, frozen=True):
    """An option of a command; `choices` is empty for one that takes anything, `valued` false for a flag."""

    names: tuple[str, ...]
    line: str
    valued: bool
    choices: tuple[str, ...]


class Command(Struct, frozen=True):
    """What there is to complete after a command."""

    name: str
    line: str
    options: Sequence[Option]
    words: tuple[str, ...]
    takes_files: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the argument of `completion`."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def execute(args: Arguments) -> int:
    """Print the script for one shell."""
    scripts = {"bash": bash, "zsh": zsh, "fish": fish}
    args.out.lines(scripts[args.shell](commands()))
    return 0


def commands() -> list[Command]:
    """Return every command of the table with its options."""
    return [_command(name) for name in COMMANDS]


def _command(name: str) -> Command:
    parser = parser_of(name, find(name))
    parser.finish()
    options = [_option(action) for action in parser._actions if action.option_strings]
    positional = [action for action in parser._actions if not action.option_strings]
    words = tuple(str(choice) for action in positional for choice in action.choices or ())
    return Command(
        name,
        COMMANDS[name][2],
        options,
        words,
        any(str(a.metavar).partition("|")[0] in FILES for a in positional),
    )


def _option(action: argparse.Action) -> Option:
    choices = tuple(str(choice) for choice in action.choices or ())
    return Option(tuple(action.option_strings), action.help or "", action.nargs != 0, choices)


def _all_names(command: Command) -> str:
    return " ".join(name for option in command.options for name in option.names)


def bash(found: Sequence[Command]) -> Iterator[str]:
    """Yield the script for bash, from version 3.2 on; where it offers nothing, bash offers files."""
    yield "# Completion of runwright for bash"
    yield "_runwright() {"
    yield '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i'
    yield "    COMPREPLY=()"
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield '        case "${COMP_WORDS[i]}" in'
    yield "            -C|--directory|--store) ((i++)) ;;"
    yield "            -*) ;;"
    yield '            *) command="${COMP_WORDS[i]}"; break ;;'
    yield "        esac"
    yield "    done"
    yield '    case "$command $prev" in'
    yield "        *' -C'|*' --directory'|*' --store') return ;;"
    for command in found:
        yield from _bash_values(command)
    yield "    esac"
    yield '    case "$command" in'
    names = " ".join(command.name for command in found)
    yield f'        "") words="{names} --help --version --store --no-color --verbose -C" ;;'
    for command in found:
        words = " ".join((*command.words, _all_names(command)))
        if command.takes_files:
            yield f'        {command.name}) [[ "$cur" == -* ]] || return; words="{words}" ;;'
        else:
            yield f'        {command.name}) words="{words}" ;;'
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$cur"))'
    yield "}"
    yield "complete -o bashdefault -o default -F _runwright runwright"


def _bash_values(command: Command) -> Iterator[str]:
    """Yield what follows an option: its choices, or nothing, so that files are offered."""
    free = []
    for option in command.options:
        pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
        if option.choices:
            words = " ".join(option.choices)
            yield f'        {pattern}) COMPREPLY=($(compgen -W "{words}" -- "$cur")); return ;;'
        elif option.valued and not GLOBAL.intersection(option.names):
            free.append(pattern)
    if free:
        yield f"        {'|'.join(free)}) return ;;"


def zsh(found: Sequence[Command]) -> Iterator[str]:
    """Yield the script for zsh."""
    yield "#compdef runwright"
    yield "# Completion of runwright for zsh"
    yield "_runwright() {"
    yield "    local -a commands options"
    yield "    local command word skip=0"
    yield "    for word in ${words[2,CURRENT-1]}; do"
    yield "        if ((skip)); then skip=0; continue; fi"
    yield "        case $word in"
    yield "            -C|--directory|--store) skip=1 ;;"
    yield "            -*) ;;"
    yield "            *) command=$word; break ;;"
    yield "        esac"
    yield "    done"
    yield "    case $command in"
    yield '        "")'
    yield "            commands=("
    yield from (f"                {_zsh_pair(command.name, command.line)}" for command in found)
    yield "            )"
    yield "            _describe 'command' commands; return ;;"
    for command in found:
        yield f"        {command.name})"
        yield from _zsh_values(command)
        yield "            options=("
        for option in command.options:
            yield from (f"                {_zsh_pair(name, option.line)}" for name in option.names)
        yield from (f"                {_zsh_pair(word, '')}" for word in command.words)
        yield "            ) ;;"
    yield "    esac"
    yield "    _describe -o 'option' options"
    yield "    [[ $PREFIX == -* ]] || _files"
    yield "}"
    yield '_runwright "$@"'


def _zsh_values(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.choices:
            pattern = "|".join(option.names)
            yield f"            case $words[CURRENT-1] in {pattern}) compadd {' '.join(option.choices)}; return ;; esac"


def _zsh_pair(name: str, line: str) -> str:
    text = line.replace("%%", "%").replace("'", "'\\''").replace(":", "\\:")
    return f"'{name}:{text}'"


def fish(found: Sequence[Command]) -> Iterator[str]:
    """Yield the script for fish."""
    yield "# Completion of runwright for fish"
    for command in found:
        line = _fish_text(command.line)
        yield f"complete -c runwright -n __fish_use_subcommand -f -a {command.name} -d {line}"
        inside = f"-n '__fish_seen_subcommand_from {command.name}'"
        if not command.takes_files:
            yield f"complete -c runwright {inside} -f"
        if command.words:
            yield f"complete -c runwright {inside} -a '{' '.join(command.words)}'"
        for option in command.options:
            yield f"complete -c runwright {inside} {_fish_option(option)}"


def _fish_option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r" if option.valued else ""
    return f"{names}{value} -d {_fish_text(option.line)}"


def _fish_text(line: str) -> str:
    text = line.replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
