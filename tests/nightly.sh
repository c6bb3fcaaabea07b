#!/usr/bin/env bash
# The tests that kill, fill and wear out runs of training, with the numbers that are to be reached;
# the test suite makes fewer of each. Half an hour on two quiet cores; the full disk needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export ZOO_KILLS=${ZOO_KILLS:-500}                # SIGKILL at a random moment
export ZOO_WRITE_KILLS=${ZOO_WRITE_KILLS:-200}    # SIGKILL while a checkpoint is written
export ZOO_STOPS=${ZOO_STOPS:-20}                 # SIGTERM, SIGUSR1, Ctrl-C
export ZOO_SECOND_RUNS=${ZOO_SECOND_RUNS:-20}     # a second process in the folder of a run
export ZOO_FULL_DISKS=${ZOO_FULL_DISKS:-50}       # disks of as many sizes, too small
export ZOO_SOAK=${ZOO_SOAK:-2000}                 # iterations of one run whose memory is watched

python -m pytest --timeout 7200 --durations 10 tests/test_training_kills.py "$@"
