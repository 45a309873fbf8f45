"""`ninezero device`: the screen of a checkpoint without a program of its own, in Chinese and English."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.streams import settings
from ninezero.streams.errors import UserError


def device(
    site: Annotated[str, typer.Option(help="Site at which the device stands. 设备所在的站点。")],
    device_: Annotated[
        str,
        typer.Option(
            "--device",
            help="Name of the device; its outbox and its counter belong to this name. 设备名称；发件箱和计数属于这个名称。",
        ),
    ],
) -> None:
    """Shows a small screen for a person with a keyboard or a scanner. 供值守人员用键盘或扫描枪操作的屏幕。"""
    from ninezero.streams.edge.gate.screen import run

    logging.disable()  # the screen shows every problem itself, and log lines would break it
    try:
        waiting = run(settings.load(edge=True, also_needed=("NINEZERO_KEYS",)), site, device_)
    except UserError as error:
        if not error.chinese:
            raise
        raise CommandError(f"{error.chinese} {error}") from None
    if waiting:
        raise CommandError(
            f"发件箱中有 {waiting} 条等待发送：请再次启动这台设备 {waiting} events in the outbox wait for Kafka: start the device again"
        )
