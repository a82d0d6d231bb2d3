"""The same data tests and profiles with other tools, each in an environment of its own.

Every script reads the table and tests columns, types, nulls, ranges and sets of 5, 50 and 5,000 values the way its own
documentation recommends for speed; or describes every column. CPU is that of the work, after import.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# name -> (packages, script); a script has `path`, and defines work().
PEERS: dict[str, tuple[tuple[str, ...], str]] = {
    "tests: pandera on polars": (
        ("pandera[polars]", "polars"),
        """
import pandera.polars as pa, polars as pl
frame = pl.read_parquet(path)
columns = {}
for name, dtype in frame.schema.items():
    tests = []
    if dtype.is_numeric():
        tests = [pa.Check.in_range(frame[name].min(), frame[name].max())]
    elif dtype == pl.String:
        tests = [pa.Check.isin(frame[name].drop_nulls().unique().to_list())]
    columns[name] = pa.Column(dtype, checks=tests, nullable=True)
schema = pa.DataFrameSchema(columns, strict=True)
del frame
def work():
    schema.validate(pl.read_parquet(path), lazy=True)
""",
    ),
    "tests: dataframely": (
        ("dataframely", "polars"),
        """
import dataframely as dy, polars as pl
frame = pl.read_parquet(path)
columns = {}
for name, dtype in frame.schema.items():
    if dtype == pl.Float64:
        columns[name] = dy.Float64(nullable=True, min=frame[name].min(), max=frame[name].max())
    elif dtype == pl.Int64:
        columns[name] = dy.Int64(nullable=True, min=frame[name].min(), max=frame[name].max())
    elif dtype == pl.Boolean:
        columns[name] = dy.Bool(nullable=True)
    elif dtype == pl.String:
        values = frame[name].drop_nulls().unique().to_list()
        columns[name] = dy.String(nullable=True, check=lambda c, values=values: c.is_in(values))
    else:
        columns[name] = dy.Datetime(nullable=True, time_zone="UTC")
Contract = type("Contract", (dy.Schema,), columns)
del frame
def work():
    Contract.validate(pl.read_parquet(path), cast=True)
""",
    ),
    "tests: pointblank": (
        ("pointblank", "polars"),
        """
import pointblank as pb, polars as pl
frame = pl.read_parquet(path)
limits = {}
for name, dtype in frame.schema.items():
    if dtype.is_numeric():
        limits[name] = (frame[name].min(), frame[name].max())
    elif dtype == pl.String:
        limits[name] = frame[name].drop_nulls().unique().to_list()
del frame
def work():
    tests = pb.Validate(pl.read_parquet(path))
    for name, held in limits.items():
        if isinstance(held, tuple):
            tests = tests.col_vals_between(name, held[0], held[1], na_pass=True)
        else:
            tests = tests.col_vals_in_set(name, [*held, None])
    tests.interrogate()
""",
    ),
    "tests: Great Expectations": (
        ("great_expectations", "pandas<3", "pyarrow"),
        """
import great_expectations as gx, pandas as pd
import logging; logging.disable(logging.CRITICAL)
context = gx.get_context(mode="ephemeral")
frame = pd.read_parquet(path)
suite = gx.ExpectationSuite(name="bench")
for name in frame.columns:
    if pd.api.types.is_bool_dtype(frame[name]) or pd.api.types.is_datetime64_any_dtype(frame[name]):
        suite.add_expectation(gx.expectations.ExpectColumnValuesToNotBeNull(column=name))
    elif pd.api.types.is_numeric_dtype(frame[name]):
        low, high = frame[name].min(), frame[name].max()
        suite.add_expectation(gx.expectations.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
    else:
        values = frame[name].dropna().unique().tolist()
        suite.add_expectation(gx.expectations.ExpectColumnValuesToBeInSet(column=name, value_set=values))
del frame
def work():
    asset = context.data_sources.add_or_update_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b")
    batch.get_batch({"dataframe": pd.read_parquet(path)}).validate(suite)
""",
    ),
    "profile: polars describe": (
        ("polars",),
        """
import polars as pl
def work():
    pl.read_parquet(path).describe()
""",
    ),
    "profile: DuckDB SUMMARIZE": (
        ("duckdb",),
        """
import duckdb
def work():
    duckdb.sql(f"SUMMARIZE SELECT * FROM '{path}'").fetchall()
""",
    ),
    "profile: evidently": (
        ("evidently", "pandas<3", "pyarrow"),
        """
import pandas as pd
from evidently import Dataset, Report
from evidently.presets import DataSummaryPreset
def work():
    Report([DataSummaryPreset()]).run(Dataset.from_pandas(pd.read_parquet(path)), None).dict()
""",
    ),
    "profile: whylogs": (
        ("whylogs", "pandas<3", "numpy<2", "pyarrow"),
        """
import pandas as pd, whylogs
def work():
    whylogs.log(pd.read_parquet(path)).view().to_pandas()
""",
    ),
    "profile: ydata-profiling, minimal, 100,000 rows": (
        ("ydata-profiling", "pandas<3", "pyarrow", "setuptools<81"),
        """
import pandas as pd
from ydata_profiling import ProfileReport
def work():
    ProfileReport(pd.read_parquet(path).head(100_000), minimal=True, progress_bar=False).to_json()
""",
    ),
    "drift: nannyml, 100,000 against 100,000 rows": (
        ("nannyml", "statsmodels", "pandas<3", "pyarrow", "setuptools<81"),
        """
import pandas as pd, nannyml
frame = pd.read_parquet(path).head(200_000)
columns = [name for name in frame.columns if name != "departs"]
def work():
    drift = nannyml.UnivariateDriftCalculator(column_names=columns, chunk_number=1)
    drift.fit(frame.head(100_000)).calculate(frame.tail(100_000))
""",
    ),
}

_AROUND = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
path = sys.argv[1]
{script}
work() if {twice} else None
before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
work()
after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
held = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("MEASURED", used, ended - started, int(held.split()[1]) / 1024)
"""
INSTALL_S = 600
RUN_S = 300


def peak_mb() -> float:
    """The most memory this process held, in MB (Linux; a child's ru_maxrss begins with its parent's)."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(held.split()[1]) / 1024


def run(table: Path, folder: Path, decode: float) -> None:
    """Print what each peer takes for its job, or why it was left out; `decode` are the CPU seconds of reading alone."""
    print(f"{'peer':52}{'CPU ms':>10}{'wall ms':>10}{'x decoding':>12}{'MB':>8}")
    for name, (packages, script) in PEERS.items():
        try:
            python = environment(folder / name.partition(": ")[2].split(",")[0].replace(" ", "-"), packages)
        except CannotInstall as error:
            print(f"{name:52}skipped: it cannot be installed here: {error}")
            continue
        # A first run warms caches, but for those that take minutes.
        quick = not name.startswith(("profile: e", "profile: w", "profile: y", "drift"))
        text = _AROUND.format(script=script, twice=quick)
        try:
            done = subprocess.run([str(python), "-c", text, str(table)], capture_output=True, text=True, timeout=RUN_S)
        except subprocess.TimeoutExpired:
            print(f"{name:52}stopped after {RUN_S} s")
            continue
        said = next((line.split() for line in done.stdout.splitlines() if line.startswith("MEASURED")), None)
        if said is None:
            print(f"{name:52}skipped: {(done.stderr.strip().splitlines() or ['no answer'])[-1][:80]}")
            continue
        used, wall, memory = (float(one) for one in said[1:])
        print(f"{name:52}{used * 1e3:10.0f}{wall * 1e3:10.0f}{used / decode:12.1f}{memory:8.0f}")


class CannotInstall(Exception):
    """The packages of a peer cannot be installed; the message is the installer's last word."""


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """The interpreter of an environment that has the packages, made where it is missing. Raises CannotInstall."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
        except subprocess.CalledProcessError as error:
            said = [line for line in str(error.stderr).splitlines() if line.startswith("ERROR")]
            raise CannotInstall(said[-1][:120] if said else "no word") from error
        except subprocess.TimeoutExpired as error:
            raise CannotInstall(f"not done in {INSTALL_S} s") from error
        (folder / "ready").touch()
    return python
