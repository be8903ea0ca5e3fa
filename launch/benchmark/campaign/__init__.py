"""Everything that is measured on an accelerator, in one command, most valuable first.

    python -m launch.bench --what=campaign --out=DIR --data_dir=DATA --workdir=WORK

Each part runs in a process of its own with a time limit, so that a crash or a limit costs one part
only. After each figure, DIR/campaign.json is complete; DIR/campaign.log holds the output of all
processes. DATA holds MNIST's IDX files in `mnist/` and CIFAR-10 as published; a part whose data is
missing says so. With the same WORK, interrupted training runs resume and compiled programs are
reused. `--dry` runs tiny versions of all parts on any machine.
"""
