#!/bin/sh
# Install sep for this user, without sudo: a small environment with the command `sep`, then what
# `sep setup` makes, then a first separation of the example. Run again to repair; to update:
#   git pull && sh installers/install.sh
#
#   sh installers/install.sh [--from DIR-OR-WHEEL] [--bin DIR] [--no-setup] [--uninstall]
#
# The same by environment variables: SEP_FROM, SEP_BIN, SEP_NO_SETUP=1, SEP_UNINSTALL=1.
set -eu

mark=.made-by-sep # a file in every folder that may be deleted again; `sep setup` has the same
made='# made by sep install.sh'
newline='
'

say() { printf '%s\n' "sep: $*"; }
die() {
  printf '%s\n' "sep: $*" >&2
  exit 1
}

# Where everything goes is written into a script, so it has to be one line and one place.
check_path() {
  case $2 in
    *"$newline"*) die "$1 has a line break in it: choose another folder" ;;
    /*) ;;
    *) die "$1 is not an absolute path: $2" ;;
  esac
}

need_home() {
  [ -n "${HOME:-}" ] || die "HOME is not set: set it, or SEP_HOME and --bin"
  check_path HOME "$HOME"
}

# Where sep keeps its things; SEP_HOME moves it all.
find_data() {
  if [ -n "${SEP_HOME:-}" ]; then
    check_path SEP_HOME "$SEP_HOME"
    data=$SEP_HOME
  elif [ -n "${XDG_DATA_HOME:-}" ]; then
    check_path XDG_DATA_HOME "$XDG_DATA_HOME"
    data=$XDG_DATA_HOME/sep
  else
    need_home
    data=$HOME/.local/share/sep
    [ "$(uname -s)" != Darwin ] || data="$HOME/Library/Application Support/sep"
  fi
  case $data in
    *:*) die "Python makes no environment in a folder with a colon: $data" ;;
  esac
  quoted=$(printf '%s' "$data" | LC_ALL=C sed "s/'/'\\\\''/g")
}

# Print where a program is; one that lies in the current folder is none.
program() {
  found=$(command -v "$1") || return 1
  case $found in
    /*) printf '%s' "$found" ;;
    *) return 1 ;;
  esac
}

# Isolated, and not in the current folder: no module or setting there is for us.
is_new_enough() {
  (cd / && "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))') 2>/dev/null
}

# The first Python that is new enough; an Apple silicon Mac needs a native one for its GPU.
find_python() {
  python=
  if [ -n "${SEP_PYTHON:-}" ]; then
    case $SEP_PYTHON in
      /*) python=$SEP_PYTHON ;;
      */*) python=$PWD/$SEP_PYTHON ;;
      *) python=$(program "$SEP_PYTHON") || true ;;
    esac
    is_new_enough "$python" || die "SEP_PYTHON is no Python 3.11 or newer: $SEP_PYTHON"
    return
  fi
  for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
    if python=$(program "$name") && is_new_enough "$python"; then
      return
    fi
  done
  python=
}

# uv, or else what Python has itself.
find_installer() {
  find_python
  uv=$(program uv) || uv=
  [ -z "$uv" ] || return 0
  [ -n "$python" ] || die "Python 3.11 or newer was not found: install it, or uv"
  (cd / && "$python" -I -c 'import ensurepip') 2>/dev/null ||
    die "$python cannot make environments; on Debian and Ubuntu: sudo apt install python3-venv"
}

is_ours() { [ ! -L "$1" ] && [ -f "$1/$mark" ]; }

refuse_others() {
  for folder in "$data/launcher" "$data/launcher.new"; do
    rmdir "$folder" 2>/dev/null || true
    if [ -e "$folder" ] || [ -L "$folder" ]; then
      is_ours "$folder" ||
        die "$folder was not made by this installer: move it away, or choose another SEP_HOME"
    fi
  done
  if [ -e "$bin/sep" ] || [ -L "$bin/sep" ]; then
    command_is_ours ||
      die "there is another $bin/sep, which is left as it is: --bin DIR chooses another folder"
  fi
}

command_is_ours() {
  [ ! -L "$bin/sep" ] && [ -f "$bin/sep" ] && [ "$(sed -n 2p "$bin/sep")" = "$made" ]
}

# The mark goes last: half of a folder is ours, too.
remove_ours() {
  if is_ours "$1"; then
    find "$1" -mindepth 1 -maxdepth 1 ! -name "$mark" -exec rm -rf {} +
    rm -rf "$1"
  fi
}

# What it says is shown if it fails, not if it is interrupted.
quietly() {
  "$@" >log 2>&1 || {
    tail -n 10 log >&2
    die "the command could not be installed: fix that and run this again"
  }
}

# In the new folder, where there are no settings and modules but its own.
make_environment() (
  trap 'exit 130' INT
  cd "$1"
  unset PYTHONPATH PYTHONHOME
  if [ -n "$uv" ]; then
    : >uv.toml # uv looks into the folders above until it finds one
    quietly "$uv" venv --allow-existing --no-project --python "${python:-3.13}" "$1"
    quietly "$uv" pip install --python "$1/bin/python" "${from}[ui]"
  else
    quietly "$python" -I -m venv "$1"
    quietly "$1/bin/python" -I -m pip install --disable-pip-version-check --no-cache-dir "${from}[ui]"
  fi
  rm log
)

install_launcher() {
  find_installer
  refuse_others
  say "installing the command from $from"
  mkdir -p "$data" "$bin"
  trap 'remove_ours "$data/launcher.new"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
  remove_ours "$data/launcher.new"
  mkdir "$data/launcher.new"
  : >"$data/launcher.new/$mark"
  make_environment "$data/launcher.new"
  remove_ours "$data/launcher"
  mv "$data/launcher.new" "$data/launcher"
  trap - EXIT INT HUP TERM
  # A script, not a link: it also finds its environment after the move above. Isolated: somebody's
  # PYTHONPATH and PYTHONHOME are not for it.
  rm -f "$bin/sep"
  printf '#!/bin/sh\n%s\nexec '\''%s/launcher/bin/python'\'' -I -m sep_launcher "$@"\n' \
    "$made" "$quoted" >"$bin/sep"
  chmod +x "$bin/sep"
}

first_separation() {
  example="$root/examples/groove.flac"
  if [ -z "$root" ] || [ ! -f "$example" ]; then
    example=$("$data/launcher/bin/python" -I -c 'import sep_models; print(sep_models.golden_clip())')
  fi
  stems=separated/$(basename "$example" .flac)
  [ -e "$stems" ] || "$bin/sep" run "$example"
}

profile() {
  case ${HOME:+${SHELL:-}} in
    */zsh) printf '%s' "$HOME/.zshrc" ;;
    */bash) printf '%s' "$HOME/.bashrc" ;;
    *) printf '%s' "your shell's profile" ;;
  esac
}

tell_path() {
  case ":$PATH:" in
    *":$bin:"*) say "ready: sep run drums.wav, or sep ui for a window" ;;
    *)
      say "ready: $bin/sep run drums.wav, or $bin/sep ui for a window"
      say "to type just sep, add this line to $(profile) and open a new terminal:"
      printf "  export PATH='%s':\"\$PATH\"\n" "$(printf '%s' "$bin" | LC_ALL=C sed "s/'/'\\\\''/g")"
      ;;
  esac
  say "completion by the TAB key: sep completion --help"
}

uninstall() {
  if is_ours "$data/launcher" && [ -x "$data/launcher/bin/python" ]; then
    "$data/launcher/bin/python" -I -m sep_launcher setup --remove --yes
  fi
  # One that starts another installation stays, too.
  if command_is_ours && grep -qF "exec '$quoted/launcher/" "$bin/sep"; then
    rm -f "$bin/sep"
  elif [ -e "$bin/sep" ] || [ -L "$bin/sep" ]; then
    say "kept: $bin/sep (it does not start what was in $data)"
  fi
  remove_ours "$data/launcher"
  remove_ours "$data/launcher.new"
  rmdir "$data/models" "$data" 2>/dev/null || true
  if [ -d "$data" ]; then
    say "kept: $data (models that you fetched, settings, and what is not sep's)"
  fi
  say "removed"
}

main() {
  # Read from a pipe it has no folder, and the one above the current one is anybody's.
  root=
  case $0 in
    install.sh | */install.sh) root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) ;;
  esac
  from=${SEP_FROM:-}
  bin=${SEP_BIN:-}
  setup=${SEP_NO_SETUP:-}
  remove=${SEP_UNINSTALL:-}
  while [ $# -gt 0 ]; do
    case $1 in
      --from | --bin)
        [ -n "${2:-}" ] || die "$1 needs a value"
        if [ "$1" = --from ]; then from=$2; else bin=$2; fi
        shift
        ;;
      --no-setup) setup=1 ;;
      --uninstall) remove=1 ;;
      -h | --help)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      *) die "unknown option $1; --help lists them" ;;
    esac
    shift
  done
  find_data
  if [ -z "$bin" ]; then
    need_home
    bin=$HOME/.local/bin
  fi
  case $bin in /*) ;; *) bin=$PWD/$bin ;; esac
  check_path --bin "$bin"
  if [ -n "$remove" ]; then
    uninstall
    return
  fi
  if [ -z "$from" ]; then
    if [ -z "$root" ] || [ ! -f "$root/pyproject.toml" ]; then
      die "--from must name sep's folder or wheel"
    fi
    from=$root
  fi
  [ -e "$from" ] || die "there is no $from"
  case $from in /*) ;; *) from=$PWD/$from ;; esac
  install_launcher
  if [ -z "$setup" ]; then
    "$bin/sep" setup --yes || {
      code=$?
      [ "$code" = 130 ] || say "fix that, then type the same line again (the command is $bin/sep)"
      exit "$code"
    }
    first_separation
  fi
  tell_path
}

main "$@"
