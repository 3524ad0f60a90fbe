"""The store: nothing wrong is ever served, everything is computed once, and a broken disk costs nobody their result."""

import errno
import faulthandler
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import BadInput
from core.runtime.cache import cached, if_cached
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored, default_store

PROJECT = Path(__file__).resolve().parents[2]
KEY = result_key("test", n=1)


@pytest.fixture(autouse=True)
def fail_when_hanging():
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


def start_python(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def example() -> Stored:
    return Stored({"scores": np.arange(12.0).reshape(3, 4), "layers": np.array([1, 2])}, {"loss": 1.5, "names": ["a"]})


class Counted:
    """A computation that counts how often it runs."""

    def __init__(self, result: Stored) -> None:
        self.result = result
        self.runs = 0

    def __call__(self) -> Stored:
        self.runs += 1
        return self.result


def assert_same(stored: Stored | None, expected: Stored) -> None:
    assert stored is not None
    assert stored.meta == expected.meta
    assert stored.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert stored.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(stored.arrays[name], array, strict=True)


def files(root: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in root.rglob(pattern) if path.is_file())


# Keys


def test_order_of_parts_does_not_change_the_key():
    first = result_key("scores", a=1, b={"x": [1, 2], "y": None})
    assert first == result_key("scores", b={"y": None, "x": [1, 2]}, a=1)
    assert len(first) == 64


def test_changing_anything_changes_the_key():
    keys = [
        result_key("scores", seed=1, model="m"),
        result_key("losses", seed=1, model="m"),
        result_key("scores", seed=2, model="m"),
        result_key("scores", seed="1", model="m"),
        result_key("scores", seed=1.0, model="m"),
        result_key("scores", seed=True, model="m"),
        result_key("scores", seed=[1], model="m"),
        result_key("scores", seed=None, model="m"),
        result_key("scores", seeds=1, model="m"),
        result_key("scores", seed=1),
        result_key("scores", parts={"seed": 1, "model": "m"}),
    ]
    assert len(set(keys)) == len(keys)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.floats(-2, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, json_values)
@settings(max_examples=40, deadline=None)
def test_keys_are_equal_only_for_equal_parts(first, second):
    assert (result_key("k", part=first) == result_key("k", part=second)) == (repr_sorted(first) == repr_sorted(second))


def repr_sorted(value: object) -> str:
    """The value written so that it is the same text exactly for the same JSON."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name!r}:{repr_sorted(value[name])}" for name in sorted(value)) + "}"
    return "[" + ",".join(map(repr_sorted, value)) + "]" if isinstance(value, list) else repr(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1: "a"}, np.int64(3), {1}, b"x", [[np.ones(2)]]])
def test_parts_that_are_not_json_are_rejected(value):
    with pytest.raises((TypeError, ValueError), match="part"):
        result_key("scores", part={"part": [value]})


@pytest.mark.parametrize("key", ["", "ab", "../" * 20 + "etcd", "A" * 64, KEY + "0"])
def test_a_key_can_not_name_another_file(key, tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="result_key"):
        store.get(key)
    with pytest.raises(ValueError, match="result_key"):
        store.put(key, {}, {})


# What comes back


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.one_of(
            hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
            for dtype in (np.float32, np.float64, np.int64, np.bool_, np.float16, np.uint8)
        ),
        max_size=3,
    ),
    st.dictionaries(st.text(max_size=5), json_values, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_what_was_put_comes_back_from_memory_and_from_disk(arrays, meta):
    with tempfile.TemporaryDirectory() as folder:
        expected = Stored(arrays, meta)
        store = Store(Path(folder))
        assert_same(store.put(KEY, arrays, meta), expected)
        assert_same(store.get(KEY), expected)
        assert_same(Store(Path(folder)).get(KEY), expected)


def test_views_and_tuples_come_back_as_plain_values(tmp_path):
    table = np.arange(24.0).reshape(4, 6)
    store = Store(tmp_path)
    stored = store.put(KEY, {"part": table[::2, ::-3].T}, {"pair": (1, 2)})
    expected = Stored({"part": table[::2, ::-3].T.copy()}, {"pair": [1, 2]})
    assert_same(stored, expected)
    assert_same(Store(tmp_path).get(KEY), expected)


@pytest.mark.parametrize(
    ("arrays", "meta"),
    [
        ({"a": np.array(["text"])}, {}),
        ({"a": np.array([None])}, {}),
        ({"a": np.array([1j])}, {}),
        ({"__metadata__": np.ones(1)}, {}),
        ({}, {"loss": float("nan")}),
        ({}, {"loss": np.float32(1)}),
    ],
)
def test_what_cannot_be_stored_is_refused(arrays, meta, tmp_path):
    with pytest.raises((TypeError, ValueError)):
        Store(tmp_path).put(KEY, arrays, meta)
    assert files(tmp_path) == []


def test_nobody_can_change_what_others_get(tmp_path):
    mine = np.zeros(3)
    store = Store(tmp_path)
    stored = store.put(KEY, {"a": mine}, {"names": ["x"]})
    mine[:] = 7
    for result in (stored, store.get(KEY), Store(tmp_path).get(KEY)):
        assert result is not None
        with pytest.raises(ValueError, match="read-only"):
            result.arrays["a"][0] = 1
        result.meta["names"].append("y")
        result.arrays["b"] = mine
    assert_same(store.get(KEY), Stored({"a": np.zeros(3)}, {"names": ["x"]}))


def test_memory_serves_without_the_disk_and_is_bounded(tmp_path):
    store = Store(tmp_path, memory_entries=2)
    keys = [result_key("test", n=n) for n in range(3)]
    for key in keys:
        store.put(key, {}, {"key": key})
    for path in files(tmp_path):
        path.unlink()
    assert store.get(keys[0]) is None
    assert [store.get(key).meta["key"] for key in keys[1:]] == keys[1:]


# Once


def test_threads_compute_a_key_once(tmp_path):
    store = Store(tmp_path)
    computed = Counted(example())

    def slow():
        time.sleep(0.05)
        return computed()

    with ThreadPoolExecutor(20) as threads:
        results = list(threads.map(lambda _: store.get_or_compute(KEY, slow), range(40)))
    assert computed.runs == 1
    for result in results:
        assert_same(result, example())
    assert [path.name for path in files(tmp_path)] == [f"{KEY}.safetensors"]


def test_a_failed_computation_is_not_kept(tmp_path):
    store = Store(tmp_path)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.get_or_compute(KEY, fail)
    assert_same(store.get_or_compute(KEY, example), example())


def test_a_computation_may_use_the_store(tmp_path):
    store = Store(tmp_path)
    inner = result_key("inner")

    def outer():
        return Stored({}, {"outer": store.get_or_compute(inner, lambda: Stored({}, {"inner": 1})).meta["inner"] + 1})

    assert store.get_or_compute(KEY, outer).meta == {"outer": 2}
    assert store.get(inner).meta == {"inner": 1}


MANY_GETS = """
import os, random, sys, threading, time
from pathlib import Path
import numpy as np
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored

root, log, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = Store(root, memory_entries=2)

def compute(n):
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{n}\\n".encode())
    os.close(file)
    time.sleep(.01)
    return Stored({"n": np.full(1000, n)}, {"n": n})

def ask(seed):
    chance = random.Random(seed)
    for _ in range(80):
        n = chance.randrange(20)
        stored = store.get_or_compute(result_key("many", n=n), lambda: compute(n))
        assert stored.meta == {"n": n} and (stored.arrays["n"] == n).all()

threads = [threading.Thread(target=ask, args=(seed * 10 + i,)) for i in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert "torch" not in sys.modules and "streamlit" not in sys.modules
print("ok" if store.warning is None else store.warning)
"""


def test_processes_and_threads_compute_a_key_once(tmp_path):
    log = tmp_path / "log"
    processes = [start_python(MANY_GETS, tmp_path / "store", log, seed) for seed in range(6)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["ok"] * 6
    computed = Counter(log.read_text().split())
    assert computed == {str(n): 1 for n in range(20)}
    assert len(files(tmp_path / "store")) == 20


# Damage

WRITE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored

store = Store(Path(sys.argv[1]), memory_entries=0)
large = np.zeros(300_000)
print("ready", flush=True)
while True:
    for n in range(4):
        key = result_key("kill", n=n)
        store.path(key).unlink(missing_ok=True)
        store.get_or_compute(key, lambda: Stored({"large": large + n}, {"n": n}))
"""


def test_kill_while_writing_leaves_nothing_wrong(tmp_path):
    chance = random.Random(0)
    keys = {n: result_key("kill", n=n) for n in range(4)}
    for _ in range(12):
        process = start_python(WRITE_FOR_EVER, tmp_path)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.005, 0.06))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        process.stdout.close()
        for n, key in keys.items():
            stored = Store(tmp_path).get(key)
            assert stored is None or (stored.meta == {"n": n} and (stored.arrays["large"] == n).all())
    assert files(tmp_path, "*.bad") == []
    # The locks of the dead hold up nobody.
    for key in keys.values():
        Store(tmp_path).get_or_compute(key, example)


def assert_heals(root: Path, damaged: bytes) -> None:
    """A store that finds these bytes computes the result once more, and the next store reads it from disk."""
    path = Store(root).path(KEY)
    path.write_bytes(damaged)
    computed = Counted(example())
    assert Store(root).get(KEY) is None
    assert_same(Store(root).get_or_compute(KEY, computed), example())
    assert computed.runs == 1
    assert_same(Store(root).get(KEY), example())


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, bytes]:
    """A root with one result, and the bytes of its file."""
    root = tmp_path_factory.mktemp("written")
    store = Store(root)
    stored = example()
    store.put(KEY, stored.arrays, stored.meta)
    return root, store.path(KEY).read_bytes()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_never_served(written, data):
    root, right = written
    index = data.draw(st.integers(0, len(right) - 1))
    damaged = bytearray(right)
    damaged[index] ^= 1 << data.draw(st.integers(0, 7))
    assert_heals(root, bytes(damaged))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 60, 150, 300, -65, -64, -8, -1])
def test_a_truncated_file_is_never_served(written, length):
    root, right = written
    assert_heals(root, right[:length])


@pytest.mark.parametrize("extra", [b"\0", b" " * 100])
def test_a_file_with_more_at_its_end_is_never_served(written, extra):
    root, right = written
    assert_heals(root, right + extra)


def test_the_file_of_another_key_is_never_served(written):
    root, _ = written
    store = Store(root)
    other = result_key("other")
    store.put(other, {}, {"answer": "of another question"})
    assert_heals(root, store.path(other).read_bytes())


def test_a_folder_in_the_place_of_a_file_is_survived(tmp_path):
    store = Store(tmp_path)
    store.path(KEY).mkdir(parents=True)
    assert_same(store.get_or_compute(KEY, example), example())
    assert store.warning is not None


def test_few_bad_files_are_kept(tmp_path):
    for n in range(20):
        store = Store(tmp_path)
        key = result_key("bad", n=n)
        store.put(key, {}, {})
        store.path(key).write_bytes(b"damaged")
        assert Store(tmp_path).get(key) is None
    Store(tmp_path).put(KEY, {}, {})
    assert 1 <= len(files(tmp_path, "*.bad")) <= 8


# Disks that cannot be written to

FILE_SIZE_LIMIT = """
import resource, sys
from pathlib import Path
import numpy as np
from core.runtime.keys import result_key
from core.runtime.store import Store, Stored

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = Store(Path(sys.argv[1]))
runs = []

def compute():
    runs.append(1)
    return Stored({"large": np.ones(100_000)}, {"n": 1})

for _ in range(3):
    assert store.get_or_compute(result_key("large"), compute).arrays["large"].sum() == 100_000
assert len(runs) == 1
assert store.get_or_compute(result_key("small"), lambda: Stored({}, {"n": 2})).meta == {"n": 2}
store.get_or_compute(result_key("large", n=2), compute)
print(store.warning)
"""


def test_a_real_limit_on_file_size(tmp_path):
    process = start_python(FILE_SIZE_LIMIT, tmp_path)
    output = process.communicate(timeout=30)[0].strip()
    assert process.returncode == 0
    assert str(tmp_path) in output
    assert "kept in memory only" in output
    assert [path.name for path in files(tmp_path)] == [f"{result_key('small')}.safetensors"]


def test_a_full_disk_costs_no_result_and_heals(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(tmp_path)
    computed = Counted(example())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(3):
            assert_same(store.get_or_compute(KEY, computed), example())
        assert computed.runs == 1
        assert store.warning.startswith(f"The disk that holds {tmp_path} is full")
        assert "free some space" in store.warning
        assert "\n" not in store.warning
        assert files(tmp_path) == []
    store.put(KEY, example().arrays, example().meta)
    assert store.warning is None
    assert_same(Store(tmp_path).get(KEY), example())


@pytest.mark.parametrize("place", ["file/store", "/proc/headscope"])
def test_a_root_that_cannot_be_made_costs_no_result(place, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = Store(tmp_path / place)
    computed = Counted(example())

    def slowly():
        time.sleep(0.05)
        return computed()

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: store.get_or_compute(KEY, slowly), range(16)))
    for result in results:
        assert_same(result, example())
    assert computed.runs == 1
    assert str(store.root) in store.warning
    assert "HEADSCOPE_STORE" in store.warning


def test_a_read_only_folder_still_serves_what_it_holds(tmp_path, monkeypatch):
    Store(tmp_path).put(KEY, example().arrays, example().meta)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("replace", "utime", "unlink", "fsync"):
        monkeypatch.setattr(os, name, refuse)
    store = Store(tmp_path)
    assert_same(store.get(KEY), example())
    assert_same(store.get_or_compute(result_key("new"), example), example())
    assert "cannot be written to" in store.warning


# Size


def put_sized(store: Store, n: int) -> str:
    key = result_key("sized", n=n)
    store.put(key, {"filling": np.zeros(1250)}, {"n": n})
    return key


def test_the_folder_is_bounded_and_the_latest_used_stay(tmp_path):
    store = Store(tmp_path, max_bytes=60_000, memory_entries=0)
    first, second = put_sized(store, 0), put_sized(store, 1)
    for n in range(2, 30):
        time.sleep(0.006)
        latest = put_sized(store, n)
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 60_000
        assert store.get(first).meta == {"n": 0}
        assert store.get(latest).meta == {"n": n}
    assert store.get(second) is None
    assert len(files(tmp_path)) >= 4


def test_reading_from_memory_counts_as_use(tmp_path):
    store = Store(tmp_path, max_bytes=60_000)
    first = put_sized(store, 0)
    for n in range(1, 15):
        time.sleep(0.006)
        put_sized(store, n)
        store.get(first)
    assert store.path(first).exists()


def test_what_is_left_from_before_counts(tmp_path):
    for n in range(10):
        put_sized(Store(tmp_path), n)
    put_sized(Store(tmp_path, max_bytes=60_000), 11)
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 60_000


def test_a_result_larger_than_the_bound_removes_nothing(tmp_path):
    store = Store(tmp_path, max_bytes=60_000)
    small = put_sized(store, 0)
    large = store.put(KEY, {"large": np.ones(10_000)}, {})
    assert "HEADSCOPE_STORE_MAX_GB" in store.warning
    assert_same(store.get(KEY), large)
    assert Store(tmp_path).get(small) is not None
    assert Store(tmp_path).get(KEY) is None


def test_a_result_that_fills_the_folder_stays_alone(tmp_path):
    store = Store(tmp_path, max_bytes=60_000)
    put_sized(store, 0)
    store.put(KEY, {"large": np.ones(7100)}, {})
    assert store.warning is None
    assert files(tmp_path) == [store.path(KEY)]


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path):
    store = Store(tmp_path)
    folder = store.path(KEY).parent
    folder.mkdir(parents=True)
    old, new, lock = folder / ".old.tmp", folder / ".new.tmp", folder / ".old.lock"
    for path in (old, new, lock):
        path.write_bytes(b"")
    for path in (old, lock):
        os.utime(path, (0, 0))
    store.put(KEY, {}, {})
    assert files(tmp_path) == sorted([new, store.path(KEY)])


def test_eviction_during_many_writes_never_loses_an_answer(tmp_path):
    stores = [Store(tmp_path, max_bytes=60_000, memory_entries=1) for _ in range(3)]
    failures = []

    def work(store, seed):
        chance = random.Random(seed)
        for _ in range(40):
            n = chance.randrange(15)
            key = result_key("sized", n=n)
            stored = store.get_or_compute(key, lambda n=n: Stored({"filling": np.full(1250, n)}, {"n": n}))
            if stored.meta != {"n": n} or not (stored.arrays["filling"] == n).all():
                failures.append(n)

    threads = [threading.Thread(target=work, args=(store, seed)) for seed, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert failures == []
    assert [store.warning for store in stores] == [None] * 3


# Results that travel with the project


def test_bundled_results_are_served_and_never_written(tmp_path):
    bundled = tmp_path / "bundled"
    Store(bundled).put(KEY, example().arrays, example().meta)
    before = {path: path.read_bytes() for path in files(bundled)}
    store = Store(tmp_path / "root", bundled=bundled)
    computed = Counted(example())
    assert_same(store.get_or_compute(KEY, computed), example())
    assert computed.runs == 0
    store.put(result_key("new"), {}, {})
    assert {path: path.read_bytes() for path in files(bundled)} == before


def test_a_damaged_bundled_result_is_computed_and_left_alone(tmp_path):
    bundled = tmp_path / "bundled"
    Store(bundled).put(KEY, example().arrays, example().meta)
    path = Store(bundled).path(KEY)
    path.write_bytes(path.read_bytes()[:-1])
    computed = Counted(example())
    assert_same(Store(tmp_path / "root", bundled=bundled).get_or_compute(KEY, computed), example())
    assert computed.runs == 1
    assert files(bundled) == [path]


# Only what is there


def test_only_what_is_there_computes_nothing(empty_store):
    computed = Counted(example())
    work = partial(cached, KEY, computed)
    assert if_cached(work) is None and computed.runs == 0
    assert_same(work(), example())
    assert_same(if_cached(work), example())
    assert computed.runs == 1


def test_only_what_is_there_ends_with_the_question_and_in_its_own_thread(empty_store):
    other = result_key("test", n=2)

    def nested() -> int:
        assert if_cached(partial(cached, other, Counted(example()))) is None
        with ThreadPoolExecutor(1) as threads:
            assert_same(threads.submit(cached, other, Counted(example())).result(60), example())
        # The inner question is over, the outer one is not.
        cached(KEY, Counted(example()))
        return 1

    assert if_cached(nested) is None
    assert_same(cached(KEY, Counted(example())), example())


def test_bad_input_is_told_although_nothing_may_be_computed(empty_store):
    def bad() -> None:
        raise BadInput("no")

    with pytest.raises(BadInput):
        if_cached(bad)
    computed = Counted(example())
    cached(KEY, computed)
    assert computed.runs == 1, "after an error everything may be computed again"


# The store of the process


def test_default_store_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path))
    monkeypatch.setenv("HEADSCOPE_STORE_MAX_GB", "0.5")
    store = default_store()
    assert store is default_store()
    assert (store.root, store.max_bytes) == (tmp_path, 500_000_000)
    monkeypatch.delenv("HEADSCOPE_STORE")
    monkeypatch.delenv("HEADSCOPE_STORE_MAX_GB")
    assert default_store().root == Path.home() / ".cache/headscope/results"
    assert default_store().max_bytes == 2_000_000_000


@pytest.mark.parametrize("limit", ["much", "0", "-1", "nan", "inf"])
def test_a_bad_bound_is_explained(limit, monkeypatch):
    monkeypatch.setenv("HEADSCOPE_STORE_MAX_GB", limit)
    with pytest.raises(BadInput, match=r"HEADSCOPE_STORE_MAX_GB is .* must be a positive number of gigabytes"):
        default_store()
