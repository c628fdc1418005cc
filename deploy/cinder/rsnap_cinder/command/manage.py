"""cinder-rsnap-manage --config-file FILE sync: makes the tables, or brings them up to date. Can be run again."""

import sys

from cinder.common import config  # noqa: F401  registers the options of all services
from oslo_config import cfg

from rsnap_cinder import database

CONF = cfg.CONF


def main():
    choices = cfg.SubCommandOpt(
        "command",
        handler=lambda commands: commands.add_parser("sync", help="make the tables, or bring them up to date"),
    )
    CONF.register_cli_opt(choices)
    CONF(sys.argv[1:], project="cinder")
    if not CONF.command.name:
        sys.exit("cinder-rsnap-manage: write a command: sync")
    try:
        made = database.sync()
    except database.NotReady as fault:
        sys.exit(f"cinder-rsnap-manage: {fault}")
    print("the tables are ready" if made else "nothing to do: the tables are there")


if __name__ == "__main__":
    main()
