"""Metrics of several processes as one text for Prometheus.

Used by the surface of a supervisor. Each sample gets the label `process`. There are no sums among them: Prometheus adds
up by itself, and would count everything twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN = """\
# HELP leasekeeper_process_up Whether the process in this place of the supervisor is ready.
# TYPE leasekeeper_process_up gauge
{up}# HELP leasekeeper_process_restarts_total How often a process in this place was started again.
# TYPE leasekeeper_process_restarts_total counter
{restarts}"""


def merged(texts: Mapping[int, bytes], processes: Iterable[Mapping[str, Any]]) -> bytes:
    """The metrics in the text format.

    Args:
        texts: what each process exposes, by its number.
        processes: what the supervisor knows of them.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for number, text in texts.items():
        heads, samples = list[str](), list[str]()
        for line in text.decode().splitlines():
            if line.startswith("# HELP "):
                heads, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
                if not heads:
                    heads.append(line)
            elif line.startswith("# TYPE ") and len(heads) == 1:
                heads.append(line)
            elif line and not line.startswith("#"):
                samples.append(_labelled(line, number))
    lines = [line for heads, samples in families.values() for line in (*heads, *samples)]
    known = list(processes)
    own = OWN.format(
        up="".join(
            f'leasekeeper_process_up{{process="{each["number"]}"}} {int(each["state"] == "ready")}\n' for each in known
        ),
        restarts="".join(
            f'leasekeeper_process_restarts_total{{process="{each["number"]}"}} {each["restarts"]}\n' for each in known
        ),
    )
    return ("\n".join(lines) + ("\n" if lines else "") + own).encode()


def _labelled(sample: str, number: int) -> str:
    """A sample with one more label, the first."""
    label = f'process="{number}"'
    brace, space = sample.find("{"), sample.find(" ")
    if 0 <= brace < space:
        comma = "" if sample[brace + 1] == "}" else ","
        return f"{sample[: brace + 1]}{label}{comma}{sample[brace + 1 :]}"
    return f"{sample[:space]}{{{label}}}{sample[space:]}"
