"""Categories: how well messages of known templates are grouped, and how fast.

The messages are made here, with a fixed seed, from templates of the kinds that logs have, in two corpora: one whose
values are numbers, ids, addresses and the like, one with words for values as well. Grouping accuracy is the share of
messages whose category holds exactly the messages of their template (Zhu et al., ICSE-SEIP 2019). With
MARIGRAPH_TEST_DATA the yardstick there turns messages per CPU second into messages per yardstick, which carries between
machines.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.table import print_table
from domain.categories import Categorizer

N_LINES = 50_000
SEED = 20

TEMPLATES = (
    "Connection from {ipv4}:{number} accepted in {duration}",
    "Connection from {ipv6} closed after {duration}, {number} bytes sent",
    "Connection to {host} refused: {number} attempts left",
    "Session {uuid} opened for user {number}",
    "Session {uuid} closed for user {number}",
    "Failed to open {path}: permission denied (errno={number})",
    "Failed to open {path}: no such file (errno={number})",
    "GET {path}?id={number} returned {number} in {duration}",
    "Query {quoted} took {duration} on shard {number}",
    "Cache miss for key {quoted} in region {number}",
    "Cache hit for key {quoted} in region {number}",
    "mail from={email} to={email} size={number} status=sent",
    "checksum of block {hex} at {path} does not match {hex}",
    "heap usage {number}% of {number} MB, next collection in {duration}",
    "[worker-{number}] job {uuid} finished with code {number} after {duration}",
    "[worker-{number}] job {uuid} started by {email}",
    "Neighbor {ipv6} on eth{number} is unreachable, removing route {ipv4}/{number}",
    "Renamed {quoted} to {quoted} ({number} files)",
    "Certificate {hex} expires in {number} days, renew it for {email}",
    "level=warn ts={number}.{number} caller={path} disk={quoted} free={number} detail={quoted}",
)
WORDY_TEMPLATES = (
    "User {name} logged in from {ipv4}",
    "User {name} logged out after {duration}",
    "Password for {name} changed by {name}",
    "Invalid user {name} from {ipv6} port {number}",
    "Starting service {service} on {machine}",
    "Stopping service {service} on {machine}",
    "Deployed {service} version {number}.{number} to {machine}",
    "Health check of {service} failed: {number} of {number} probes",
    "{service}: request {uuid} from {name} rejected, quota of {number} exceeded",
    "Order placed by {name}, total {number}.{number} EUR",
    "kernel: device {machine} entered promiscuous mode",
    "kernel: device {machine} left promiscuous mode",
    "Subscribed {service} to topic {service} at offset {number}",
    "worker {machine} lost its lease on {path}",
    "worker {machine} took over the lease on {path} from {machine}",
    "Backup of {service} to {path} finished, {number} MB",
    "su: (to {name}) {name} on pts/{number}",
    "Granted role {number} to {name}",
    "lookup of {host} timed out, retrying with {host}",
    "Scheduled task {uuid} for {service} every {duration}",
)
NAMES = (
    "alice,bob,carol,dave,erin,frank,grace,heidi,ivan,judy,mallory,niaj,olivia,peggy,rupert,sybil,trent,victor,wendy,"
    "zoe,o.brien,anna-maria,m_schmidt,admin,test,operator,nobody,backup,postgres,www-data,guest"
)
SERVICES = (
    "billing,nginx,postgres,kafka,redis,auth,payments,search-api,mailer,inventory,checkout,frontend-web,etcd,haproxy,"
    "order-service,cartService,prometheus"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks categories", description=__doc__.split("\n\n")[0])
    parser.add_argument("--lines", type=int, default=N_LINES, help="messages per corpus (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the messages (default: %(default)s)")
    parser.add_argument("--mistakes", action="store_true", help="show the templates that were not grouped rightly")
    parser.add_argument("--file", type=Path, action="append", default=[], help="a log to show the categories of")
    options = parser.parse_args(arguments)
    before = yardstick()
    corpora = (("values", TEMPLATES), ("words for values", WORDY_TEMPLATES), ("both", TEMPLATES + WORDY_TEMPLATES))
    measured = [measure(name, *generate(templates, options.lines, options.seed)) for name, templates in corpora]
    logs = [(path, path.read_text("utf-8", "replace").splitlines()) for path in options.file]
    measured += [measure(path.name, lines, None) for path, lines in logs]
    unit = [each for each in (before, yardstick()) if each is not None]
    columns = ("corpus", "messages", "categories", "grouping accuracy", "CPU s", "messages/CPU s", "messages/yardstick")
    rows = [(*row, f"{row[-1] * statistics.median(unit):,.0f}" if unit else "-") for row in measured]
    print_table("Categories", columns, rows)
    if options.mistakes:
        for _, templates in corpora[:2]:
            show_mistakes(templates, *generate(templates, options.lines, options.seed))
    for path, lines in logs:
        show_categories(path.name, lines)


def generate(templates: Sequence[str], n_lines: int, seed: int) -> tuple[list[str], list[int]]:
    """Return messages and the number of the template of each."""
    rng = random.Random(seed)
    values = {name: (lambda maker=maker: maker(rng)) for name, maker in MAKERS.items()}
    parts = [_parts(template) for template in templates]
    truth = [rng.randrange(len(templates)) for _ in range(n_lines)]
    lines = ["".join(values[text]() if is_value else text for is_value, text in parts[each]) for each in truth]
    return lines, truth


def _parts(template: str) -> list[tuple[bool, str]]:
    pieces = template.replace("}", "{").split("{")
    return [(place % 2 == 1, piece) for place, piece in enumerate(pieces)]


def _ipv6(rng: random.Random) -> str:
    groups = [f"{rng.randrange(65536):x}" for _ in range(8)]
    if rng.random() < 0.5:
        start = rng.randrange(1, 5)
        return ":".join(groups[:start]) + "::" + ":".join(groups[start + 3 :])
    return ":".join(groups)


def _quoted(rng: random.Random) -> str:
    words = [
        rng.choice(("open", "red", "user", "the", "Failed", "x", "report", "42", "of"))
        for _ in range(rng.randrange(1, 5))
    ]
    quote = rng.choice("\"'")
    return quote + " ".join(words) + quote


def _pick(rng: random.Random, words: str) -> str:
    return rng.choice(words.split(","))


def _letters(rng: random.Random, low: int, high: int) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(rng.randrange(low, high)))


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "number": lambda rng: str(rng.randrange(10 ** rng.randrange(1, 7))),
    "duration": lambda rng: f"{rng.randrange(10_000)}{rng.choice((' ms', 'ms', ' s', '.5s', ' seconds', 'us'))}",
    "ipv4": lambda rng: ".".join(str(rng.randrange(256)) for _ in range(4)),
    "ipv6": _ipv6,
    "hex": lambda rng: rng.choice(("", "0x")) + f"{rng.getrandbits(32):08x}",
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128))),
    "path": lambda rng: (
        "".join("/" + _letters(rng, 2, 9) for _ in range(rng.randrange(1, 5))) + rng.choice(("", ".log"))
    ),
    "quoted": _quoted,
    "email": lambda rng: f"{_pick(rng, NAMES)}@{_letters(rng, 3, 9)}.{rng.choice(('com', 'org', 'example'))}",
    "host": lambda rng: f"{_letters(rng, 3, 9)}.{_letters(rng, 3, 9)}.{rng.choice(('com', 'net', 'internal'))}",
    "name": lambda rng: _pick(rng, NAMES),
    "service": lambda rng: _pick(rng, SERVICES),
    "machine": lambda rng: rng.choice((f"{_letters(rng, 3, 6)}-{rng.randrange(100)}", _letters(rng, 4, 8))),
}


def grouping_accuracy(found: Sequence[int], truth: Sequence[int]) -> float:
    """Return the share of messages whose group is exactly that of their template."""
    sizes, true_sizes, both = Counter(found), Counter(truth), Counter(zip(found, truth, strict=True))
    right = sum(count for (group, true), count in both.items() if count == sizes[group] == true_sizes[true])
    return right / len(truth)


def measure(name: str, lines: list[str], truth: list[int] | None) -> tuple:
    categorizer = Categorizer()
    start = time.process_time()
    found = categorizer.categorize(lines)
    seconds = time.process_time() - start
    accuracy = None if truth is None else f"{grouping_accuracy(found, truth):.4f}"
    return name, len(lines), categorizer.category_count, accuracy, seconds, len(lines) / seconds


def show_mistakes(templates: Sequence[str], lines: list[str], truth: list[int]) -> None:
    categorizer = Categorizer()
    groups = defaultdict(Counter)
    for category_id, true in zip(categorizer.categorize(lines), truth, strict=True):
        groups[true][category_id] += 1
    owners = Counter(category_id for counts in groups.values() for category_id in counts)
    rows = [
        (templates[true], count, categorizer.resource(category_id)["terms"])
        for true, counts in sorted(groups.items())
        if len(counts) > 1 or any(owners[each] > 1 for each in counts)
        for category_id, count in counts.most_common(5)
    ]
    print_table("Templates whose messages are not one category", ("template", "messages", "terms"), rows)


def show_categories(name: str, lines: list[str]) -> None:
    categorizer = Categorizer(examples_limit=1)
    categorizer.categorize(lines)
    found = sorted(categorizer.resources(), key=lambda each: -each["num_matches"])
    rows = [(each["terms"], each["category_id"], each["num_matches"], each["examples"][0][:60]) for each in found]
    print_table(f"Categories of {name}", ("terms", "id", "messages", "example"), rows)
    print(categorizer.counts())


def yardstick() -> float | None:
    """Return the CPU seconds of the yardstick's work; None where it is not to be had."""
    script = Path(os.environ.get("MARIGRAPH_TEST_DATA", ""), "tools", "yardstick.py")
    if not script.is_file():
        return None
    answer = subprocess.run([sys.executable, script, "3"], check=True, capture_output=True, text=True)
    return float(answer.stdout.split()[1])
