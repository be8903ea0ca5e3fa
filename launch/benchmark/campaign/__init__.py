"""All measurements for an accelerator in one command, the most valuable first.

    python -m launch.bench --what=campaign --out=DIR --data_dir=DATA --workdir=WORK

Each part runs in its own process with a time limit, so a crash or a timeout affects one part only.
DIR/campaign.json is updated after every measurement; DIR/campaign.log has the output of all
processes. DATA has MNIST's IDX files in `mnist/` and CIFAR-10 as published; a part reports if its
data is missing. With the same WORK, interrupted training runs resume and compiled programs are
reused. `--dry` runs tiny versions of all parts on any device.
"""
