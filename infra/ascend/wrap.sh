#!/usr/bin/env bash
# Writes the folder that an agent calls runtimeBin: python, torchrun, mm-convert and py-spy with CANN's environment around them. A trainer
# inherits nothing from its agent, so that a run does not depend on who started one; what CANN needs must come with the programs.
set -euo pipefail

if [ $# -ne 3 ]; then
  printf 'Usage: wrap.sh FOLDER ENV_BIN SET_ENV\n\n  FOLDER   where the programs are written\n  ENV_BIN  the bin of the Python environment\n  SET_ENV  the set_env.sh of CANN\n' >&2
  exit 2
fi
folder=$1 env_bin=$2 set_env=$3

mkdir -p "$folder"
for program in python python3 torchrun mm-convert py-spy; do
  {
    printf '#!/usr/bin/env bash\n'
    # No "set -u": set_env.sh reads variables that nobody has set. Its output would stand in the trainer's log.
    printf 'source %q > /dev/null\n' "$set_env"
    # Also what the program starts by name must be of this environment.
    printf 'export PATH=%q:"$PATH"\n' "$env_bin"
    # In this shell's place: the supervisor owns the process that it starts, and signals must reach the program.
    printf 'exec %q "$@"\n' "$env_bin/$program"
  } > "$folder/$program.new"
  chmod 755 "$folder/$program.new"
  mv "$folder/$program.new" "$folder/$program"
done
