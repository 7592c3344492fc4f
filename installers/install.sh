#!/bin/sh
# Install sep for this user, without sudo: a small environment with the command `sep`, then what
# `sep setup` makes, then a first separation of the example. Run again to repair or upgrade.
#
#   sh installers/install.sh [--from DIR-OR-WHEEL] [--bin DIR] [--no-setup] [--uninstall]
#
# The same by environment variables: SEP_FROM, SEP_BIN, SEP_NO_SETUP=1, SEP_UNINSTALL=1.
set -eu

say() { printf '%s\n' "sep: $*"; }
die() {
  printf '%s\n' "sep: $*" >&2
  exit 1
}

# Where sep keeps its things; SEP_HOME moves it all.
data_folder() {
  if [ -n "${SEP_HOME:-}" ]; then
    printf '%s' "$SEP_HOME"
  elif [ "$(uname -s)" = Darwin ]; then
    printf '%s' "$HOME/Library/Application Support/sep"
  else
    printf '%s' "${XDG_DATA_HOME:-$HOME/.local/share}/sep"
  fi
}

# The first Python that is new enough; an Apple silicon Mac needs a native one for its GPU.
find_python() {
  for name in ${SEP_PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
    python=$(command -v "$name" || true)
    if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$python"
      return
    fi
  done
}

make_environment() {
  folder=$1
  if uv=$(command -v uv); then
    "$uv" venv --quiet --clear --no-project --python "${python:-3.13}" "$folder"
    "$uv" pip install --quiet --python "$folder/bin/python" "$from"
    return
  fi
  [ -n "$python" ] || die "Python 3.11 or newer was not found: install it, or uv"
  "$python" -c 'import ensurepip' 2>/dev/null ||
    die "$python cannot make environments; on Debian and Ubuntu: sudo apt install python3-venv"
  "$python" -m venv --clear "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir "$from"
}

install_launcher() {
  say "installing the command from $from"
  mkdir -p "$data" "$bin"
  trap 'rm -rf "$data/launcher.new"' EXIT
  make_environment "$data/launcher.new"
  rm -rf "$data/launcher"
  mv "$data/launcher.new" "$data/launcher"
  trap - EXIT
  # A script, not a link: it also finds its environment after the move above. Isolated: somebody's
  # PYTHONPATH and PYTHONHOME are not for it.
  rm -f "$bin/sep"
  printf '#!/bin/sh\n# made by sep install.sh\nexec "%s/launcher/bin/python" -I -m sep_launcher "$@"\n' \
    "$data" >"$bin/sep"
  chmod +x "$bin/sep"
}

first_separation() {
  example="$root/examples/groove.flac"
  if [ ! -f "$example" ]; then
    example=$("$data/launcher/bin/python" -P -c 'import sep_models; print(sep_models.golden_clip())')
  fi
  "$bin/sep" run "$example" --resume
}

tell_path() {
  case ":$PATH:" in
    *":$bin:"*) say "ready: sep run song.wav" ;;
    *)
      say "ready: $bin/sep run song.wav"
      say "to type just sep, add this line to your shell's profile:"
      printf '%s\n' "  export PATH=\"$bin:\$PATH\""
      ;;
  esac
}

uninstall() {
  if [ -x "$data/launcher/bin/python" ]; then
    "$data/launcher/bin/python" -P -m sep_launcher setup --remove --yes
  fi
  if [ -f "$bin/sep" ] && grep -q 'made by sep install.sh' "$bin/sep"; then
    rm -f "$bin/sep"
  fi
  rm -rf "$data/launcher" "$data/launcher.new"
  rmdir "$data/models" "$data" 2>/dev/null || true
  if [ -d "$data" ]; then
    say "kept: $data (models that you fetched)"
  fi
  say "removed"
}

main() {
  root=$(cd "$(dirname "$0")/.." 2>/dev/null && pwd) || root=$PWD
  from=${SEP_FROM:-}
  bin=${SEP_BIN:-$HOME/.local/bin}
  setup=${SEP_NO_SETUP:-}
  remove=${SEP_UNINSTALL:-}
  while [ $# -gt 0 ]; do
    case $1 in
      --from | --bin)
        [ $# -gt 1 ] || die "$1 needs a value"
        if [ "$1" = --from ]; then from=$2; else bin=$2; fi
        shift
        ;;
      --no-setup) setup=1 ;;
      --uninstall) remove=1 ;;
      -h | --help)
        sed -n '2,7s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      *) die "unknown option $1; --help lists them" ;;
    esac
    shift
  done
  data=$(data_folder)
  if [ -n "$remove" ]; then
    uninstall
    return
  fi
  if [ -z "$from" ]; then
    [ -f "$root/pyproject.toml" ] || die "--from must name sep's folder or wheel"
    from=$root
  fi
  [ -e "$from" ] || die "there is no $from"
  python=$(find_python)
  install_launcher
  if [ -z "$setup" ]; then
    "$bin/sep" setup --yes
    first_separation
  fi
  tell_path
}

main "$@"
